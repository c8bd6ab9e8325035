"""``--broadcast``: what one client says, all others hear."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .crowd import Crowd
from .mode import Mode

if TYPE_CHECKING:
    from ..._websocket import WebSocket


class Broadcast(Mode):
    """Sends every message to all other clients."""

    def __init__(self) -> None:
        super().__init__()
        self._crowd = Crowd()

    async def __call__(self, ws: WebSocket) -> None:
        async with self._crowd.joined(ws) as member:
            async for message in ws:
                await self._crowd.tell(message, besides=member)
