"""What ``trio-ws bench`` can be asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import typer

from .client import Color
from .connection import ConnectionOptions

_LOAD = "Load"
_RESULT = "Result"


@dataclass(frozen=True, kw_only=True)
class BenchOptions(ConnectionOptions):
    """How much, for how long, and how good it must be."""

    connections: Annotated[
        int,
        typer.Option(
            "--connections",
            "-c",
            metavar="N",
            min=1,
            help="How many to open.",
            rich_help_panel=_LOAD,
        ),
    ] = 10
    ramp: Annotated[
        float,
        typer.Option(
            metavar="SECONDS",
            min=0,
            help="Seconds over which they are opened. Messages flow once all are.",
            rich_help_panel=_LOAD,
        ),
    ] = 0.0
    rate: Annotated[
        float | None,
        typer.Option(
            "--rate",
            "-r",
            metavar="N",
            min=0.001,
            help="Messages a second, in all. Latencies count from when a message was due, so a "
            "server that stalls cannot hide it. Without a rate, each connection waits for "
            "replies before it sends more.",
            rich_help_panel=_LOAD,
        ),
    ] = None
    pipeline: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            help="Without --rate: messages on their way on each connection; by default 1.",
            rich_help_panel=_LOAD,
        ),
    ] = None
    size: Annotated[
        int,
        typer.Option(
            metavar="BYTES",
            min=16,
            help="Bytes of a message. The first 16 tell it from others.",
            rich_help_panel=_LOAD,
        ),
    ] = 64
    binary: Annotated[
        bool,
        typer.Option("--binary/--text", help="Binary or text messages.", rich_help_panel=_LOAD),
    ] = False
    duration: Annotated[
        float,
        typer.Option(
            "--duration",
            "-d",
            metavar="SECONDS",
            min=0.001,
            help="Seconds measured.",
            rich_help_panel=_LOAD,
        ),
    ] = 10.0
    warmup: Annotated[
        float,
        typer.Option(
            metavar="SECONDS",
            min=0,
            help="Seconds of load before that, not measured.",
            rich_help_panel=_LOAD,
        ),
    ] = 1.0
    processes: Annotated[
        int,
        typer.Option(
            metavar="N", min=1, help="Processes that share the connections.", rich_help_panel=_LOAD
        ),
    ] = 1
    fail_if: Annotated[
        tuple[str, ...],
        typer.Option(
            metavar="'METRIC>VALUE'",
            help="Exit code 8 where this holds: 'p99>50ms', 'connect_max>1s', 'rate<1000', "
            "'errors>0'. May be given several times.",
            rich_help_panel=_RESULT,
        ),
    ] = ()
    json: Annotated[
        bool,
        typer.Option(
            "--json",
            help="The result as one JSON object on stdout, in seconds and bytes.",
            rich_help_panel=_RESULT,
        ),
    ] = False
    quiet: Annotated[
        bool,
        typer.Option("--quiet", "-q", help="No progress.", rich_help_panel=_RESULT),
    ] = False
    color: Annotated[Color, typer.Option(help="Colours.", rich_help_panel=_RESULT)] = Color.AUTO
    # A further task and a further ping for each connection would be measured as well.
    ping_interval: Annotated[
        float,
        typer.Option(
            metavar="SECONDS",
            min=0,
            help="Seconds between pings that look for a dead server; 0: none.",
            rich_help_panel="Heartbeat",
        ),
    ] = 0.0
