"""What ``trio-ws replay`` can be asked for."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Annotated

import typer

from .connection import ConnectionOptions

_REPLAY = "Replay"


class Side(enum.StrEnum):
    """Whose messages."""

    OUT = "out"
    IN = "in"


@dataclass(frozen=True, kw_only=True)
class _Recording:
    # A class of its own, so that FILE stands in front of URL.
    file: Annotated[
        str,
        typer.Argument(
            metavar="FILE|-",
            help="JSON lines, as --record and --format jsonl write them; - is standard input.",
            show_default=False,
        ),
    ]


@dataclass(frozen=True, kw_only=True)
class ReplayOptions(ConnectionOptions, _Recording):
    """What is sent, when, and what is to come back."""

    speed: Annotated[
        float,
        typer.Option(
            metavar="FACTOR",
            min=0,
            help="2 is twice as fast as it was recorded; 0 is as fast as the peer takes it.",
            rich_help_panel=_REPLAY,
        ),
    ] = 1.0
    direction: Annotated[
        Side,
        typer.Option(
            help="Send what was sent (out), or what was received (in).", rich_help_panel=_REPLAY
        ),
    ] = Side.OUT
    loop: Annotated[
        int,
        typer.Option(
            metavar="N", min=1, help="Send all of it so many times.", rich_help_panel=_REPLAY
        ),
    ] = 1
    expect_same: Annotated[
        bool,
        typer.Option(
            "--expect-same",
            help="What comes must be what is recorded for the other direction, in its order; "
            "exit code 8 where it is not.",
            rich_help_panel=_REPLAY,
        ),
    ] = False
    linger: Annotated[
        float,
        typer.Option(
            metavar="SECONDS",
            min=0,
            help="Quiet seconds, after the last message, before closing.",
            rich_help_panel=_REPLAY,
        ),
    ] = 2.0
