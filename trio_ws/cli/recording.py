"""``--format jsonl``: what happens on a server's connections, as JSON lines.

`Recorder` is a hook for what is told of connections, and wraps handlers for the messages. Lines
wait in memory until a worker thread has written them. Room is waited for before a message is
received or sent, never after: so what was received or sent is always recorded, `receive` and
`send` stay atomic under cancellation, and a reader that is slow slows the connections down.
"""

from __future__ import annotations

import time
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Final

import trio

from .._close import ClosedBy
from ..instrumentation import (
    ConnectionEnded,
    ConnectionOpened,
    HandlerCrashed,
    HeartbeatLost,
    PingReceived,
    PingSent,
    PongReceived,
)
from .jsonlines import Direction, Entry, encode
from .recorded import RecordedWebSocket

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from .._server import Handler
    from .._websocket import WebSocket
    from ..instrumentation import Record

#: Bytes of lines that wait before connections do.
CAPACITY: Final = 1 << 20
_DIRECTIONS: Final[dict[ClosedBy, Direction | None]] = {
    ClosedBy.LOCAL: "out",
    ClosedBy.REMOTE: "in",
    ClosedBy.NETWORK: None,
}


class Recorder:
    """Takes entries, and has them written in their order.

    Args:
      write: writes bytes, all of them; called in a worker thread, one call at a time.
      capacity: bytes that may wait to be written. Each task that has found room may add one
        entry beyond.
      now: the time of entries, in seconds since 1970.
    """

    def __init__(
        self,
        write: Callable[[bytes], object],
        *,
        capacity: int = CAPACITY,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._write = write
        self._capacity = capacity
        self._now = now
        self._lines: list[bytes] = []
        self._size = 0  # of what waits and what is being written
        self._filled = trio.Event()
        self._room = trio.Event()
        self._room.set()
        self._idle = trio.Event()
        self._idle.set()
        self._stopped = False
        # By the ids of connections whose handler runs: their close, where it came already.
        self._handling: dict[str, Entry | None] = {}

    # Entries

    def record(self, entry: Entry) -> None:
        """Add *entry*. Never waits; see `wait_for_room`."""
        if self._stopped:
            return
        line = encode(entry)
        self._lines.append(line)
        self._size += len(line)
        self._filled.set()
        if self._idle.is_set():
            self._idle = trio.Event()
        if not self.has_room and self._room.is_set():
            self._room = trio.Event()

    def message(self, conn: str, direction: Direction, data: str | bytes) -> None:
        """Add a message."""
        self.record(Entry(ts=self._now(), conn=conn, type="message", dir=direction, data=data))

    @property
    def has_room(self) -> bool:
        """Whether another entry may be added."""
        return self._size < self._capacity

    async def wait_for_room(self) -> None:
        """Wait until another entry may be added. Cancellation: nothing happened."""
        await self._room.wait()

    # Writing

    async def run(self) -> None:
        """Write what is added, until cancelled or until nobody reads it any more.

        What is added afterwards is thrown away, so that no connection waits for it.

        Raises:
          Exception: what ``write`` raises besides.

        Cancellation: prompt. A write under way is left to itself, and may still happen.
        """
        try:
            while True:
                await self._filled.wait()
                await self._write_lines()
        except BrokenPipeError:
            pass
        finally:
            self._stopped = True
            self._lines.clear()
            self._size = 0
            self._room.set()
            self._idle.set()

    async def _write_lines(self) -> None:
        lines = b"".join(self._lines)
        self._lines.clear()
        self._filled = trio.Event()
        await trio.to_thread.run_sync(self._write, lines, abandon_on_cancel=True)
        self._size -= len(lines)
        if self.has_room:
            self._room.set()
        if not self._lines:
            self._idle.set()

    async def wait_written(self) -> None:
        """Wait until everything added is written. Cancellation: nothing happened."""
        await self._idle.wait()

    # What is recorded

    def handler(self, handler: Handler) -> Handler:
        """*handler*, with the messages of its connection recorded."""

        async def run(ws: WebSocket) -> None:
            with self._messages_first(ws.id):
                await handler(RecordedWebSocket(ws, self))

        return run

    @contextmanager
    def _messages_first(self, conn: str) -> Generator[None]:
        """Keep the connection's close back: what came before it may still be read."""
        self._handling[conn] = None
        try:
            yield
        finally:
            close = self._handling.pop(conn)
            if close is not None:
                self.record(close)

    def __call__(self, told: Record, /) -> None:
        """Record what is told to hooks."""
        entry = self._entry(told)
        if entry is None:
            return
        if entry.type == "close" and entry.conn in self._handling:
            self._handling[entry.conn] = entry
        else:
            self.record(entry)

    def _entry(self, told: Record) -> Entry | None:
        entry = partial(Entry, ts=self._now())
        match told:
            case ConnectionOpened():
                return entry(conn=told.id, type="open", url=told.target)
            case PingReceived():
                return entry(conn=told.id, type="ping", dir="in", data=told.payload)
            case PingSent():
                return entry(conn=told.id, type="ping", dir="out")
            case PongReceived():
                return entry(conn=told.id, type="pong", dir="in", data=told.payload)
            case HeartbeatLost():
                silence = f"nothing came for {told.silent:.1f} s"
                return entry(conn=told.id, type="error", reason=silence)
            case HandlerCrashed():
                crash = _utf8(f"the handler raised {type(told.error).__name__}: {told.error}")
                return entry(conn=told.id, type="error", reason=crash)
            case ConnectionEnded(reason=reason):
                return entry(
                    conn=told.id,
                    type="close",
                    dir=_DIRECTIONS[reason.closed_by],
                    code=int(reason.code),
                    reason=reason.reason or None,
                )
            case _:
                return None


def _utf8(text: str) -> str:
    """*text* with what UTF-8 cannot carry escaped; an exception may say anything."""
    return text.encode(errors="backslashreplace").decode()
