"""`Delayed`: a WebSocket that holds back what is sent, as a long way would."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final, NamedTuple

import trio

from .._fragments import normalized
from .._websocket import WebSocket
from .handlers.mode import ENDED
from .wrapper import Wrapper

if TYPE_CHECKING:
    from collections.abc import Callable

    from .._websocket import BytesLike, Sendable

#: Bounds of what is on its way: messages, and bytes of binary or characters of text in them. One
#: larger message still passes.
MAX_MESSAGES: Final = 1024
MAX_SIZE: Final = 1 << 20


class _Held(NamedTuple):
    due: float
    message: str | bytes
    compress: bool | None


class Delayed(Wrapper[WebSocket]):
    """Sends each message some time later, in the same order. `run` has to run beside it.

    Args:
      inner: the connection.
      draw: says how many seconds the next message is held back.
    """

    def __init__(self, inner: WebSocket, draw: Callable[[], float]) -> None:
        super().__init__(inner)
        self._draw = draw
        self._held: deque[_Held] = deque()
        self._size = 0
        self._ended = False
        self._changed = trio.lowlevel.ParkingLot()

    async def send(self, message: Sendable, *, compress: bool | None = None) -> None:
        if not isinstance(message, str | bytes | bytearray | memoryview):
            # Half a message cannot be held back: its fragments are made as they are sent.
            await self.wait_sent()
            await trio.sleep(self._draw())
            await self._inner.send(message, compress=compress)
            return
        await trio.lowlevel.checkpoint()
        whole = _checked(message)
        while not (self._has_room(whole) or self._ended):
            await self._changed.park()
        if self._ended:
            # This raises what says why.
            await self._inner.send(whole)
        else:
            self._hold(whole, compress)

    def send_nowait(self, message: str | BytesLike, *, compress: bool | None = None) -> None:
        whole = _checked(message)
        if self._ended:
            self._inner.send_nowait(whole)
        elif self._has_room(whole):
            self._hold(whole, compress)
        else:
            raise trio.WouldBlock

    async def aclose(self, code: int = 1000, reason: str = "") -> None:
        try:
            await self.wait_sent()
        finally:
            await self._inner.aclose(code, reason)

    async def wait_sent(self) -> None:
        """Wait until nothing is held back, or the connection has ended."""
        while self._held and not self._ended:
            await self._changed.park()

    async def run(self) -> None:
        """Send what is due, until the connection has ended."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._send_due)
            await self._inner.wait_closed()
            self._end()
            nursery.cancel_scope.cancel()

    async def _send_due(self) -> None:
        while True:
            while not self._held:
                await self._changed.park()
            due, message, compress = self._held[0]
            await trio.sleep_until(due)
            try:
                await self._inner.send(message, compress=compress)
            except ENDED:
                self._end()
                return
            self._held.popleft()
            self._size -= len(message)
            self._changed.unpark_all()

    def _has_room(self, message: str | bytes) -> bool:
        return not self._held or (
            len(self._held) < MAX_MESSAGES and self._size + len(message) <= MAX_SIZE
        )

    def _hold(self, message: str | bytes, compress: bool | None) -> None:
        due = trio.current_time() + self._draw()
        if self._held:
            due = max(due, self._held[-1].due)
        self._held.append(_Held(due, message, compress))
        self._size += len(message)
        self._changed.unpark_all()

    def _end(self) -> None:
        self._ended = True
        self._held.clear()
        self._changed.unpark_all()


def _checked(message: str | BytesLike) -> str | bytes:
    """*message*, if it can be sent: whoever sends it must hear of it if not, not we later."""
    whole = normalized(message)
    if isinstance(whole, str):
        whole.encode()
    return whole
