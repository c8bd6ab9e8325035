"""`Mode`: what ``trio-ws serve`` does with connections."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias

import trio

from ..._errors import ConnectionClosed

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from ..._websocket import WebSocket
    from ...protocol.http import Request, Response

Message: TypeAlias = str | bytes

#: What a connection raises once it has ended, whoever ended it.
ENDED: Final = (ConnectionClosed, trio.ClosedResourceError)


class Mode:
    """A handler for `serve`, and what runs beside it.

    Attributes:
      over: set when there is nothing left to serve; the server is then drained.
    """

    def __init__(self) -> None:
        self.over = trio.Event()

    def process_request(self, request: Request) -> Response | Awaitable[Response | None] | None:
        """Answer a request that is not to become a connection; ``None`` lets it go on.

        Nothing is awaited between a synchronous answer and the first step of the handler, so
        what is counted here and there cannot be overrun.
        """
        return None

    def troubles(self) -> list[str]:
        """What does not work as it should, while it serves all the same; for ``/healthz``."""
        return []

    async def __call__(self, ws: WebSocket) -> None:
        """Handle one connection."""
        raise NotImplementedError

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Do what has to be done beside the connections, until cancelled.

        It has started before the first connection, and ends after the last.
        """
        task_status.started()
        await trio.sleep_forever()


class Around(Mode):
    """A mode that changes another: by default, nothing of it."""

    def __init__(self, inner: Mode) -> None:
        super().__init__()
        self.over = inner.over
        self._inner = inner

    def process_request(self, request: Request) -> Response | Awaitable[Response | None] | None:
        return self._inner.process_request(request)

    def troubles(self) -> list[str]:
        return self._inner.troubles()

    async def __call__(self, ws: WebSocket) -> None:
        await self._inner(ws)

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        await self._inner.run(task_status)
