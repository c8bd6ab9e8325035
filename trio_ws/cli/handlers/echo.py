"""``--echo``: every message comes back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .mode import Mode

if TYPE_CHECKING:
    from ..._websocket import WebSocket


async def echo(ws: WebSocket) -> None:
    """Answer every message with itself."""
    async for message in ws:
        await ws.send(message)


class Echo(Mode):
    """Answers every message with itself."""

    async def __call__(self, ws: WebSocket) -> None:
        await echo(ws)
