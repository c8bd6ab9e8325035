"""What ``trio-ws ping`` can be asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import typer

from .connection import ConnectionOptions

_PINGS = "Pings"


@dataclass(frozen=True, kw_only=True)
class PingOptions(ConnectionOptions):
    """How many pings, how often, and how patiently."""

    count: Annotated[
        int | None,
        typer.Option(
            "--count",
            "-c",
            metavar="N",
            min=1,
            help="End after so many pings; by default, at Ctrl-C.",
            rich_help_panel=_PINGS,
        ),
    ] = None
    interval: Annotated[
        float,
        typer.Option(
            "--interval",
            "-i",
            metavar="SECONDS",
            min=0.001,
            help="Seconds from one ping to the next. Servers may take many for an attack.",
            rich_help_panel=_PINGS,
        ),
    ] = 1.0
    timeout: Annotated[
        float,
        typer.Option(
            "--timeout",
            "-W",
            metavar="SECONDS",
            min=0.001,
            help="Seconds until a ping without a pong is called late, and until the wait for the "
            "last ones is over.",
            rich_help_panel=_PINGS,
        ),
    ] = 10.0
    deadline: Annotated[
        float | None,
        typer.Option(
            "--deadline",
            "-w",
            metavar="SECONDS",
            min=0.001,
            help="Seconds, from the first ping, until it ends whatever is on its way.",
            rich_help_panel=_PINGS,
        ),
    ] = None
    quiet: Annotated[
        bool,
        typer.Option("--quiet", "-q", help="Only the summary.", rich_help_panel=_PINGS),
    ] = False
    json: Annotated[
        bool,
        typer.Option(
            "--json",
            help="Only the summary, as one JSON object, in seconds.",
            rich_help_panel=_PINGS,
        ),
    ] = False
    # What is measured here must not end the measuring.
    ping_interval: Annotated[
        float,
        typer.Option(
            metavar="SECONDS",
            min=0,
            help="Seconds between further pings that end the connection to a dead server; 0: none.",
            rich_help_panel="Heartbeat",
        ),
    ] = 0.0
