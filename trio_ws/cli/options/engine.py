"""The option that servers and clients have in common: what connections run on."""

from __future__ import annotations

import enum
from typing import Annotated, TypeAlias

import typer


class EngineName(enum.StrEnum):
    """As ``engine=`` of `trio_ws.connect` names them."""

    BUILT_IN = "built-in"
    TRIO_WEBSOCKET = "trio-websocket"


ClientEngine: TypeAlias = Annotated[
    EngineName,
    typer.Option(
        help="What the connection runs on; trio-websocket is the library of that name.",
        rich_help_panel="Connection",
    ),
]
ServerEngine: TypeAlias = Annotated[
    EngineName,
    typer.Option(
        help="What connections run on; trio-websocket is the library of that name.",
        rich_help_panel="Connections",
    ),
]
