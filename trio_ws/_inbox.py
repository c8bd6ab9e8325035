"""The inbox: received messages between the receive task and whoever calls ``receive``.

Bounded in messages and in bytes. When it is full the receive task stops reading, so the
kernel's buffers fill and TCP pushes back on the peer.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final, TypeAlias

import trio

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ._settings import Limits
    from .protocol.machine import Part

Item: TypeAlias = "str | bytes | Part"

#: What every inbox that waits has in place of a queue of its own: an empty deque takes 624 bytes,
#: and most connections are idle most of the time. Never appended to.
_NOTHING: Final[deque[Item]] = deque(maxlen=0)


class Inbox:
    """A bounded queue with one task at each end: the receive task and the receiver.

    Every item leaves through `get`, which does not wait; the waiting is done before, so a
    cancelled wait cannot lose one.

    Attributes:
      items: what waits to be handed out. The hot path reads it; only methods change it.
      size: bytes (of text, characters) in `items`.
      ended: set when nothing more will be put; the receive task then never waits here.
      stopped: set when the receive task is to stand still until `ended`.
    """

    __slots__ = (
        "_limits",
        "_reader",
        "_receiver",
        "ended",
        "items",
        "size",
        "stopped",
    )

    def __init__(self, limits: Limits) -> None:
        self.items = _NOTHING
        self.size = 0
        self.ended = False
        self.stopped = False
        self._limits = limits
        self._receiver: trio.lowlevel.Task | None = None
        self._reader: trio.lowlevel.Task | None = None

    @property
    def receiver_waits(self) -> bool:
        """Whether a task waits for an item."""
        return self._receiver is not None

    def put(self, items: Sequence[Item]) -> None:
        """Append *items*, whether there is room or not, and wake the receiver."""
        if self.items is _NOTHING:
            self.items = deque()
        self.items.extend(items)
        self.size += sum(map(len, items))
        self.wake_receiver()

    def get(self) -> Item:
        """Take the next item, which must be there."""
        item = self.items.popleft()
        self.size -= len(item)
        if self._reader is not None:
            self.wake_reader()
        return item

    def end(self) -> None:
        """Wake both tasks, for good: the receiver has what is here, the receive task drops more."""
        self.ended = True
        self.wake_receiver()
        self.wake_reader()

    def clear(self) -> None:
        """Throw everything away."""
        self.items = _NOTHING
        self.size = 0

    def begin_wait(self) -> Callable[[object], trio.lowlevel.Abort]:
        """Begin to wait, as the receiver of an empty inbox, for an item or for `wake_receiver`.

        What it returns is for ``wait_task_rescheduled``, which the receiver itself awaits: a
        coroutine in between would take 200 bytes while the connection is idle, and be one more
        to resume for every lone message.

        Raises:
          trio.BusyResourceError: another task waits already.
        """
        if self._receiver is not None:
            raise trio.BusyResourceError("another task is receiving from this connection")
        self._receiver = trio.lowlevel.current_task()
        self.items = _NOTHING
        if self._reader is not None:
            self.wake_reader()
        return self._receiver_cancelled

    async def wait_room(self, held: int) -> None:
        """Wait, as the receive task, until reading may go on.

        *held* bytes of an unfinished message count as if they were here. An empty inbox with
        a receiver waiting has room for anything, or no message larger than the bound could
        ever pass.
        """
        while not (self.has_room(held) or self.ended):
            await self._wait_as_reader()

    def has_room(self, held: int) -> bool:
        """Whether `wait_room` would return at once."""
        if self.stopped:
            return False
        full = (
            len(self.items) >= self._limits.inbox_messages
            or self.size + held >= self._limits.inbox_bytes
        )
        return not full or self._is_dry()

    async def wait_dry(self) -> None:
        """Wait, as the receive task, until everything is handed out and a receiver wants more."""
        while not (self._is_dry() or self.ended):
            await self._wait_as_reader()

    def stop(self) -> None:
        """Throw everything away, and let the receive task stand still until `end`."""
        self.stopped = True
        self.clear()

    async def wait_empty(self) -> None:
        """Wait, as the receive task, until everything is handed out."""
        while self.items:
            await self._wait_as_reader()

    def wake_receiver(self) -> None:
        """Let the waiting receiver, if there is one, look again."""
        if self._receiver is not None:
            task, self._receiver = self._receiver, None
            trio.lowlevel.reschedule(task)

    def wake_reader(self) -> None:
        """Let the waiting receive task, if it waits here, look again."""
        if self._reader is not None:
            task, self._reader = self._reader, None
            trio.lowlevel.reschedule(task)

    def _is_dry(self) -> bool:
        return not self.items and self._receiver is not None

    async def _wait_as_reader(self) -> None:
        self._reader = trio.lowlevel.current_task()
        await trio.lowlevel.wait_task_rescheduled(self._reader_cancelled)

    def _receiver_cancelled(self, _: object) -> trio.lowlevel.Abort:
        self._receiver = None
        return trio.lowlevel.Abort.SUCCEEDED

    def _reader_cancelled(self, _: object) -> trio.lowlevel.Abort:
        self._reader = None
        return trio.lowlevel.Abort.SUCCEEDED
