"""What ``trio-ws client``, ``send`` and ``listen`` can be asked for."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from .connection import ConnectionOptions

_SENDING = "Sending"
_FINISH = "Finish"
_OUTPUT = "Output"
_RECONNECTING = "Reconnecting"
_PROMPT = "Prompt"


class Format(enum.StrEnum):
    """How messages are written to stdout."""

    AUTO = "auto"
    RAW = "raw"
    PRETTY = "pretty"
    JSONL = "jsonl"
    HEX = "hex"
    BASE64 = "base64"


class Split(enum.StrEnum):
    """Where one message of the input ends and the next begins."""

    LINE = "line"
    NULL = "null"
    JSON = "json"
    NONE = "none"


class AtEnd(enum.StrEnum):
    """What happens at the end of the input."""

    CLOSE = "close"
    KEEP = "keep"


class Color(enum.StrEnum):
    """Whether there are colours."""

    AUTO = "auto"
    ALWAYS = "always"
    NEVER = "never"


class Offline(enum.StrEnum):
    """What becomes of input while there is no connection."""

    WAIT = "wait"
    QUEUE = "queue"
    RAISE = "raise"


@dataclass(frozen=True, kw_only=True, init=False, repr=False, eq=False)
class OutputOptions(ConnectionOptions):
    """How what happens is shown."""

    format: Annotated[
        Format,
        typer.Option(
            help="auto: as text, a line each; raw: the payload and no more; pretty: JSON "
            "indented; jsonl: an object for everything that happens.",
            rich_help_panel=_OUTPUT,
        ),
    ] = Format.AUTO
    timestamps: Annotated[
        bool,
        typer.Option("--timestamps", "-t", help="When each message came.", rich_help_panel=_OUTPUT),
    ] = False
    quiet: Annotated[
        bool,
        typer.Option("--quiet", "-q", help="Say nothing but errors.", rich_help_panel=_OUTPUT),
    ] = False
    verbose: Annotated[
        bool,
        typer.Option(
            "--verbose",
            "-v",
            help="Show both heads of the opening handshake.",
            rich_help_panel=_OUTPUT,
        ),
    ] = False
    show_control: Annotated[
        bool,
        typer.Option(
            "--show-control", help="Show pings, pongs and the close.", rich_help_panel=_OUTPUT
        ),
    ] = False
    record: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.jsonl",
            help="Write everything that happens to this file as well, as JSON lines.",
            rich_help_panel=_OUTPUT,
        ),
    ] = None
    color: Annotated[Color, typer.Option(help="Colours.", rich_help_panel=_OUTPUT)] = Color.AUTO


@dataclass(frozen=True, kw_only=True, init=False, repr=False, eq=False)
class FinishOptions(OutputOptions):
    """When it is over."""

    count: Annotated[
        int | None,
        typer.Option(
            "--count",
            "-n",
            metavar="N",
            min=0,
            help="End after so many messages; exit code 8 where fewer come.",
            rich_help_panel=_FINISH,
        ),
    ] = None
    one: Annotated[
        bool,
        typer.Option("-1", help="End after one message.", rich_help_panel=_FINISH),
    ] = False
    expect: Annotated[
        str | None,
        typer.Option(
            metavar="REGEX",
            help="End when a message matches; exit code 8 where none does.",
            rich_help_panel=_FINISH,
        ),
    ] = None
    timeout: Annotated[
        float | None,
        typer.Option(
            metavar="SECONDS",
            min=0.001,
            help="Seconds for all of it; exit code 6 beyond.",
            rich_help_panel=_FINISH,
        ),
    ] = None


@dataclass(frozen=True, kw_only=True, init=False, repr=False, eq=False)
class ReconnectOptions(FinishOptions):
    """What to do when the connection is lost."""

    reconnect: Annotated[
        bool,
        typer.Option(
            "--reconnect",
            help="Connect again when the connection is lost.",
            rich_help_panel=_RECONNECTING,
        ),
    ] = False
    retry_initial: Annotated[
        float,
        typer.Option(
            metavar="SECONDS",
            min=0.001,
            help="Seconds: the bound of the first wait.",
            rich_help_panel=_RECONNECTING,
        ),
    ] = 0.5
    retry_max: Annotated[
        float,
        typer.Option(
            metavar="SECONDS",
            min=0.001,
            help="Seconds: the bound of every wait.",
            rich_help_panel=_RECONNECTING,
        ),
    ] = 60.0
    retry_factor: Annotated[
        float,
        typer.Option(
            metavar="FACTOR",
            min=1.0,
            help="How much longer each wait may be.",
            rich_help_panel=_RECONNECTING,
        ),
    ] = 2.0
    max_retries: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=0,
            help="Attempts in a row that may fail after the first; by default, no bound.",
            rich_help_panel=_RECONNECTING,
        ),
    ] = None
    max_elapsed: Annotated[
        float | None,
        typer.Option(
            metavar="SECONDS",
            min=0.001,
            help="Seconds without a connection until it gives up.",
            rich_help_panel=_RECONNECTING,
        ),
    ] = None
    retry_on: Annotated[
        str,
        typer.Option(
            metavar="CODES",
            help="Close codes and HTTP statuses to retry as well: 4000-4099,1008,403.",
            rich_help_panel=_RECONNECTING,
        ),
    ] = ""
    fatal_on: Annotated[
        str,
        typer.Option(
            metavar="CODES", help="Those to give up on at once.", rich_help_panel=_RECONNECTING
        ),
    ] = ""
    on_connect: Annotated[
        tuple[str, ...],
        typer.Option(
            metavar="MESSAGE",
            help="Sent first, and again after every reconnect. May be given several times.",
            rich_help_panel=_SENDING,
        ),
    ] = ()
    heartbeat: Annotated[
        str | None,
        typer.Option(
            metavar="MESSAGE",
            help="Send this text every --heartbeat-every seconds, for servers that want it so.",
            rich_help_panel="Heartbeat",
        ),
    ] = None
    heartbeat_every: Annotated[
        float,
        typer.Option(
            metavar="SECONDS", min=0.001, help="Seconds between them.", rich_help_panel="Heartbeat"
        ),
    ] = 30.0


@dataclass(frozen=True, kw_only=True)
class ListenOptions(ReconnectOptions):
    """What ``trio-ws listen`` can be asked for."""


@dataclass(frozen=True, kw_only=True, init=False, repr=False, eq=False)
class SendingOptions(ReconnectOptions):
    """What is sent."""

    message: Annotated[
        tuple[str, ...],
        typer.Argument(metavar="[MESSAGE]...", help="Sent in order.", show_default=False),
    ] = ()
    file: Annotated[
        tuple[str, ...],
        typer.Option(
            metavar="FILE|-",
            help="Send what is in it, behind the messages; - is standard input.",
            rich_help_panel=_SENDING,
        ),
    ] = ()
    binary: Annotated[
        bool,
        typer.Option("--binary", "-b", help="Send binary messages.", rich_help_panel=_SENDING),
    ] = False
    hex: Annotated[
        bool,
        typer.Option(
            "--hex",
            help="Messages are written in hexadecimal, and sent as binary.",
            rich_help_panel=_SENDING,
        ),
    ] = False
    base64: Annotated[
        bool,
        typer.Option(
            "--base64",
            help="Messages are written in Base64, and sent as binary.",
            rich_help_panel=_SENDING,
        ),
    ] = False
    split: Annotated[
        Split | None,
        typer.Option(
            help="What ends a message of the input: a line's end, a NUL, the end of a JSON "
            "value, or only the input's own. By default line, and with --binary none.",
            rich_help_panel=_SENDING,
        ),
    ] = None
    delay: Annotated[
        float,
        typer.Option(
            metavar="SECONDS", min=0, help="Seconds between messages.", rich_help_panel=_SENDING
        ),
    ] = 0.0


@dataclass(frozen=True, kw_only=True)
class SendOptions(SendingOptions):
    """What ``trio-ws send`` can be asked for."""

    timeout: Annotated[
        float | None,
        typer.Option(
            metavar="SECONDS",
            min=0.001,
            help="Seconds for all of it; exit code 6 beyond.",
            rich_help_panel=_FINISH,
        ),
    ] = 30.0


@dataclass(frozen=True, kw_only=True)
class ClientOptions(SendingOptions):
    """What ``trio-ws client`` can be asked for."""

    eof: Annotated[
        AtEnd,
        typer.Option(
            help="At the end of the input, close or keep listening.", rich_help_panel=_FINISH
        ),
    ] = AtEnd.CLOSE
    linger: Annotated[
        float,
        typer.Option(
            metavar="SECONDS",
            min=0,
            help="Quiet seconds after the end of input before closing.",
            rich_help_panel=_FINISH,
        ),
    ] = 2.0
    listen_only: Annotated[
        bool, typer.Option("--listen-only", help="Never read the input.", rich_help_panel=_SENDING)
    ] = False
    offline: Annotated[
        Offline,
        typer.Option(
            help="Input while there is no connection waits, is queued, or is an error.",
            rich_help_panel=_RECONNECTING,
        ),
    ] = Offline.WAIT
    history: Annotated[
        bool,
        typer.Option(
            "--history/--no-history",
            help="Remember what is typed, for each host.",
            rich_help_panel=_PROMPT,
        ),
    ] = True
