"""What ``trio-ws serve`` can be asked for."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from .engine import EngineName, ServerEngine

_HANDLING = "What it does with connections"
_PROCESSES = "Processes"
_LISTENING = "Listening"
_TLS = "TLS"
_ADMISSION = "Who is let in"
_CONNECTIONS = "Connections"
_HTTP = "Plain HTTP on the same port"
_OUTPUT = "Output"
_FAULTS = "Faults, to test a client of one's own"


class LogLevel(enum.StrEnum):
    """How much of what happens is logged."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class ServeFormat(enum.StrEnum):
    """What is written to stdout."""

    AUTO = "auto"
    JSONL = "jsonl"


@dataclass(frozen=True, kw_only=True, init=False, repr=False, eq=False)
class HandlingOptions:
    """What to do with connections: one of these, by default `echo`."""

    handler: Annotated[
        str | None,
        typer.Argument(
            metavar="[MODULE:HANDLER]",
            help="An async function of one connection, found in the current directory or among "
            "what is installed.",
            show_default=False,
        ),
    ] = None
    echo: Annotated[
        bool,
        typer.Option(
            "--echo",
            help="Answer every message with itself; so it is where nothing else is asked for.",
            rich_help_panel=_HANDLING,
        ),
    ] = False
    broadcast: Annotated[
        bool,
        typer.Option(
            "--broadcast",
            help="Send every message to all other clients.",
            rich_help_panel=_HANDLING,
        ),
    ] = False
    backplane: Annotated[
        str | None,
        typer.Option(
            metavar="URL|@FILE",
            help="Broadcast to the clients of all servers that use this Redis as well: "
            "redis://HOST. A URL with a password in it belongs in a file.",
            rich_help_panel=_HANDLING,
        ),
    ] = None
    exec: Annotated[
        str | None,
        typer.Option(
            metavar="COMMAND",
            help="Run a shell command for each client: a line of its output is a message, a "
            "message a line of its input.",
            rich_help_panel=_HANDLING,
        ),
    ] = None
    interactive: Annotated[
        bool,
        typer.Option(
            "--interactive",
            "-i",
            help="Show what clients send, and send them what is typed.",
            rich_help_panel=_HANDLING,
        ),
    ] = False
    replay: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.jsonl",
            help="Send each client what a recording says was received, at its times, and close.",
            rich_help_panel=_HANDLING,
        ),
    ] = None
    shared: Annotated[
        bool,
        typer.Option(
            "--shared",
            help="One process of --exec for all clients, each of whom hears all of it.",
            rich_help_panel=_PROCESSES,
        ),
    ] = False
    binary: Annotated[
        bool,
        typer.Option(
            "--binary",
            "-b",
            help="Bytes of --exec as they come, as binary messages, instead of lines.",
            rich_help_panel=_PROCESSES,
        ),
    ] = False
    pty: Annotated[
        bool,
        typer.Option(
            "--pty",
            help="Give --exec a terminal: what it shows is text as it comes, and messages are "
            "keys.",
            rich_help_panel=_PROCESSES,
        ),
    ] = False
    max_processes: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            help="How many of --exec run at once, by default 100; further clients are answered "
            "503.",
            show_default=False,
            rich_help_panel=_PROCESSES,
        ),
    ] = None


@dataclass(frozen=True, kw_only=True, init=False, repr=False, eq=False)
class ListeningOptions(HandlingOptions):
    """Where to listen."""

    host: Annotated[
        str, typer.Option(help="The address or name to listen on.", rich_help_panel=_LISTENING)
    ] = "127.0.0.1"
    port: Annotated[
        int,
        typer.Option(
            "--port",
            "-p",
            metavar="PORT",
            min=0,
            max=65535,
            help="The TCP port; 0 takes any free one.",
            rich_help_panel=_LISTENING,
        ),
    ] = 8765
    unix_socket: Annotated[
        Path | None,
        typer.Option(
            help="Listen on this Unix socket instead of a TCP port.", rich_help_panel=_LISTENING
        ),
    ] = None
    fd: Annotated[
        tuple[int, ...],
        typer.Option(
            "--fd",
            min=0,
            help="Listen on a socket that is open already, by its descriptor's number, instead "
            "of a TCP port.",
            rich_help_panel=_LISTENING,
        ),
    ] = ()
    systemd: Annotated[
        bool,
        typer.Option(
            "--systemd",
            help="Listen on the sockets that systemd hands over (socket activation), instead of "
            "a TCP port.",
            rich_help_panel=_LISTENING,
        ),
    ] = False
    workers: Annotated[
        str,
        typer.Option(
            metavar="N|auto",
            help="Serve by so many processes, which are started again when they end; auto: one "
            "for each processor. SIGHUP replaces one after the other.",
            rich_help_panel=_LISTENING,
        ),
    ] = "1"
    path: Annotated[
        str | None,
        typer.Option(
            help="Serve this path only; others are answered 404. By default, every path.",
            rich_help_panel=_LISTENING,
        ),
    ] = None
    tls_cert: Annotated[
        Path | None,
        typer.Option(
            help="Serve wss with this certificate (PEM). SIGHUP loads it again.",
            rich_help_panel=_TLS,
        ),
    ] = None
    tls_key: Annotated[
        Path | None,
        typer.Option(
            help="The certificate's key, where it is a file of its own.", rich_help_panel=_TLS
        ),
    ] = None
    tls_self_signed: Annotated[
        bool,
        typer.Option(
            "--tls-self-signed",
            help="Serve wss with a certificate made for this run; where to find it is said.",
            rich_help_panel=_TLS,
        ),
    ] = False
    client_ca: Annotated[
        Path | None,
        typer.Option(
            help="Let in only clients with a certificate that one of these (PEM) has signed.",
            rich_help_panel=_TLS,
        ),
    ] = None


@dataclass(frozen=True, kw_only=True, init=False, repr=False, eq=False)
class AdmissionOptions(ListeningOptions):
    """Who is let in, and how much they may do."""

    subprotocol: Annotated[
        tuple[str, ...],
        typer.Option(
            "--subprotocol",
            "-s",
            help="One that is spoken; several by preference. Clients may do without.",
            rich_help_panel=_ADMISSION,
        ),
    ] = ()
    allow_origin: Annotated[
        tuple[str, ...],
        typer.Option(
            metavar="ORIGIN",
            help="Pages that may connect: https://example.com, *.example.com, same (as the "
            "server), or *. By default * with --echo and --broadcast where no credentials are "
            "asked for, else same.",
            rich_help_panel=_ADMISSION,
        ),
    ] = ()
    auth: Annotated[
        tuple[str, ...],
        typer.Option(
            metavar="USER:PASSWORD|@FILE",
            help="Ask for Basic credentials, of plain HTTP as well; a file holds one a line. With "
            "--bearer, either will do.",
            rich_help_panel=_ADMISSION,
        ),
    ] = ()
    bearer: Annotated[
        tuple[str, ...],
        typer.Option(
            metavar="TOKEN|@FILE",
            help="Ask for a bearer token, of plain HTTP as well; a file holds one a line.",
            rich_help_panel=_ADMISSION,
        ),
    ] = ()
    trusted_proxy: Annotated[
        tuple[str, ...],
        typer.Option(
            metavar="NETWORK",
            help="Believe X-Forwarded-For from this address or network (10.0.0.0/8), from whoever "
            "connects to a Unix socket (unix), or from everybody (*).",
            rich_help_panel=_ADMISSION,
        ),
    ] = ()
    proxy_protocol: Annotated[
        bool,
        typer.Option(
            "--proxy-protocol",
            help="Trusted proxies begin each connection with a PROXY header, which says the same.",
            rich_help_panel=_ADMISSION,
        ),
    ] = False
    max_connections: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            help="Further clients are answered 503, by each worker.",
            rich_help_panel=_CONNECTIONS,
        ),
    ] = None
    max_size: Annotated[
        int,
        typer.Option(
            metavar="BYTES",
            min=1,
            help="Bytes of the largest message that is accepted.",
            rich_help_panel=_CONNECTIONS,
        ),
    ] = 1 << 20
    compress: Annotated[
        bool,
        typer.Option(
            "--compress/--no-compress",
            help="Accept permessage-deflate.",
            rich_help_panel=_CONNECTIONS,
        ),
    ] = False
    engine: ServerEngine = EngineName.BUILT_IN
    ping_interval: Annotated[
        float,
        typer.Option(
            metavar="SECONDS",
            min=0,
            help="Seconds between pings that look for a dead client; 0: none.",
            rich_help_panel=_CONNECTIONS,
        ),
    ] = 20.0
    ping_timeout: Annotated[
        float,
        typer.Option(
            metavar="SECONDS",
            min=0,
            help="Seconds of silence after a ping until it is dead; 0: never.",
            rich_help_panel=_CONNECTIONS,
        ),
    ] = 20.0
    drain_timeout: Annotated[
        float,
        typer.Option(
            metavar="SECONDS",
            min=0,
            help="Seconds that open connections get on SIGTERM or Ctrl-C.",
            rich_help_panel=_CONNECTIONS,
        ),
    ] = 30.0


@dataclass(frozen=True, kw_only=True, init=False, repr=False, eq=False)
class HTTPOptions(AdmissionOptions):
    """What else is answered on the same port. ``/healthz`` always is, to anybody."""

    static: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Serve the files in this directory, but none whose name begins with a dot.",
            rich_help_panel=_HTTP,
        ),
    ] = None
    console: Annotated[
        bool,
        typer.Option(
            "--console",
            help="Serve a page at / to try the server from a browser. With --bearer alone a "
            "browser cannot open it.",
            rich_help_panel=_HTTP,
        ),
    ] = False
    metrics: Annotated[
        bool,
        typer.Option(
            "--metrics",
            help="Prometheus metrics at /metrics, with the credentials asked for.",
            rich_help_panel=_HTTP,
        ),
    ] = False


@dataclass(frozen=True, kw_only=True)
class ServeOptions(HTTPOptions):
    """All of it."""

    format: Annotated[
        ServeFormat,
        typer.Option(
            help="jsonl: a JSON object a line on stdout for everything that happens.",
            rich_help_panel=_OUTPUT,
        ),
    ] = ServeFormat.AUTO
    log_level: Annotated[
        LogLevel, typer.Option(help="What is logged on stderr.", rich_help_panel=_OUTPUT)
    ] = LogLevel.INFO
    latency: Annotated[
        str | None,
        typer.Option(
            metavar="SECONDS[-SECONDS]",
            help="Hold every message to a client back for so long, or for a time drawn between "
            "the two; their order stays.",
            rich_help_panel=_FAULTS,
        ),
    ] = None
    drop_after: Annotated[
        str | None,
        typer.Option(
            metavar="N|SECONDSs",
            help="Cut the TCP connection once so many messages were sent, or more than that "
            "received; or after seconds (5s).",
            rich_help_panel=_FAULTS,
        ),
    ] = None
    close_code: Annotated[
        int | None,
        typer.Option(
            metavar="CODE",
            min=1000,
            max=4999,
            help="Close with this code: at once, or where --drop-after says.",
            rich_help_panel=_FAULTS,
        ),
    ] = None
    no_pong: Annotated[
        bool,
        typer.Option("--no-pong", help="Do not answer pings.", rich_help_panel=_FAULTS),
    ] = False
    stall: Annotated[
        str | None,
        typer.Option(
            metavar="N|SECONDSs",
            help="Stop reading for good after so many messages, or seconds (5s); 0: at once. The "
            "connection stays open.",
            rich_help_panel=_FAULTS,
        ),
    ] = None
    reject: Annotated[
        str | None,
        typer.Option(
            metavar="STATUS[:PROBABILITY]",
            help="Answer opening handshakes with this HTTP status, all or some: 503:0.5.",
            rich_help_panel=_FAULTS,
        ),
    ] = None
    seed: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Of what is drawn by chance, so that a run can be repeated.",
            rich_help_panel=_FAULTS,
        ),
    ] = None
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the traceback of what goes wrong.")
    ] = False
