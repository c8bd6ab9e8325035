"""How messages get into a WebSocket: `Outlet`, and which one is for whom."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Final

import trio

from .._connection import Connection
from ..protocol.prepared import PreparedRun

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .._websocket import WebSocket
    from ..protocol.prepared import Prepared
    from .backlog import Backlog

_logger: Final = logging.getLogger("trio_ws.hub")


class Outlet(ABC):
    """Puts messages into one WebSocket.

    Every call raises what `WebSocket.send` does once the connection has ended.
    """

    __slots__ = ("ws",)

    def __init__(self, ws: WebSocket) -> None:
        self.ws = ws

    @abstractmethod
    def put(self, run: Prepared | PreparedRun, parts: Sequence[Prepared]) -> int:
        """Send what can be sent without waiting; return how many messages that was.

        *run* and *parts* are the same messages.
        """

    @abstractmethod
    async def put_waiting(self, backlog: Backlog) -> int:
        """Wait for room, then send at least one message of *backlog*; return how many.

        Cancellation: nothing is sent; a message may have been taken from the backlog.
        """

    @abstractmethod
    def close(self, code: int, reason: str) -> None:
        """Close the connection, so that its handler sees it as if the peer had closed."""

    @abstractmethod
    def call_at_end(self, tell: Callable[[], None]) -> None:
        """Call *tell* at the connection's end, once, unless `forget_at_end` comes first."""

    @abstractmethod
    def forget_at_end(self) -> None:
        """Do not call any more what `call_at_end` was given."""


class PreparedOutlet(Outlet):
    """The built-in engine's outbox on a server, which takes frames that were made for many."""

    __slots__ = ("_connection", "_tell")

    def __init__(self, connection: Connection) -> None:
        super().__init__(connection)
        self._connection = connection
        self._tell: Callable[[], None] | None = None

    def put(self, run: Prepared | PreparedRun, parts: Sequence[Prepared]) -> int:
        return run.count if self._connection.put_prepared(run) else 0

    async def put_waiting(self, backlog: Backlog) -> int:
        await self._connection.wait_prepared()
        run = PreparedRun(backlog.take_run())
        self._connection.put_prepared(run)
        return run.count

    def close(self, code: int, reason: str) -> None:
        self._connection.close_soon(code, reason)

    def call_at_end(self, tell: Callable[[], None]) -> None:
        self._tell = tell
        self._connection.call_at_end(tell)

    def forget_at_end(self) -> None:
        if self._tell is not None:
            self._connection.forget_at_end(self._tell)
            self._tell = None


class AnyOutlet(Outlet):
    """Any WebSocket: what its interface has is enough, for a task that waits for its end."""

    __slots__ = ("_nursery", "_waiting")

    def __init__(self, ws: WebSocket, nursery: trio.Nursery) -> None:
        super().__init__(ws)
        self._nursery = nursery
        self._waiting = trio.CancelScope()

    def put(self, run: Prepared | PreparedRun, parts: Sequence[Prepared]) -> int:
        for count, part in enumerate(parts):
            try:
                self.ws.send_nowait(part.message)
            except trio.WouldBlock:
                return count
        return len(parts)

    async def put_waiting(self, backlog: Backlog) -> int:
        await self.ws.send(backlog.pop().message)
        return 1

    def close(self, code: int, reason: str) -> None:
        self._nursery.start_soon(self._aclose, code, reason)

    async def _aclose(self, code: int, reason: str) -> None:
        try:
            await self.ws.aclose(code, reason)
        except Exception:
            # That of a WebSocket of somebody's own would end the hub.
            _logger.exception("%s could not be closed", self.ws.id)

    def call_at_end(self, tell: Callable[[], None]) -> None:
        self._nursery.start_soon(self._wait_closed, tell)

    def forget_at_end(self) -> None:
        self._waiting.cancel()

    async def _wait_closed(self, tell: Callable[[], None]) -> None:
        with self._waiting:
            try:
                await self.ws.wait_closed()
            except Exception:
                _logger.exception("%s: nobody knows when it ends", self.ws.id)
            tell()


def outlet_of(ws: WebSocket, nursery: trio.Nursery) -> Outlet:
    """The best outlet for *ws*; tasks that it needs live in *nursery*."""
    if isinstance(ws, Connection) and ws.takes_prepared:
        return PreparedOutlet(ws)
    return AnyOutlet(ws, nursery)
