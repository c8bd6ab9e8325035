"""``--broadcast``: what one client says, all others hear; with ``--backplane`` everywhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from ..._hub.hub import Hub
from ..failures import Usage
from .crowd import Crowd
from .mode import Mode

if TYPE_CHECKING:
    from ..._websocket import WebSocket
    from ...backplane import Backplane

_TOPIC = "broadcast"


class Broadcast(Mode):
    """Sends every message to all other clients."""

    def __init__(self) -> None:
        super().__init__()
        self._crowd = Crowd()

    async def __call__(self, ws: WebSocket) -> None:
        async with self._crowd.joined(ws) as member:
            async for message in ws:
                await self._crowd.tell(message, besides=member)


class FarBroadcast(Mode):
    """The same, to the clients of all processes that share a backplane."""

    def __init__(self, backplane: Backplane) -> None:
        super().__init__()
        self._hub = Hub(backplane=backplane)

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        async with self._hub:
            await super().run(task_status)

    def troubles(self) -> list[str]:
        return [] if self._hub.connected else ["the backplane is gone: each process is on its own"]

    async def __call__(self, ws: WebSocket) -> None:
        async with self._hub.join(ws, _TOPIC):
            async for message in ws:
                await self._hub.publish(_TOPIC, message, exclude=ws)


def redis_at(url: str) -> Backplane:
    """The backplane that ``--backplane`` names.

    Raises:
      Usage: it names none, or coredis is not installed.
    """
    if not url.startswith(("redis://", "rediss://", "unix://")):
        raise Usage("--backplane takes the URL of a Redis: redis://, rediss:// or unix://")
    try:
        from ...backplane.redis import RedisBackplane
    except ImportError:
        raise Usage("--backplane needs coredis: pip install 'trio-ws[redis]'") from None
    return RedisBackplane(url)
