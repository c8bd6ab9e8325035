"""`PresenceWatch`: who is in a topic, and who comes and goes."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

import trio

from ..backplane import PresenceChange

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from contextlib import AbstractAsyncContextManager
    from types import TracebackType
    from typing import Self

    from ..backplane import Presence


class PresenceWatch(trio.abc.ReceiveChannel[PresenceChange]):
    """Who comes to a topic and goes, in all processes: what `Hub.presence` returns.

    It watches for the length of an ``async with`` block; iterate over it there. When nobody takes
    what has happened, the oldest of it makes room; `members` is right all the same.

    Attributes:
      topic: its name.
      dropped: changes that made room.
    """

    def __init__(
        self,
        topic: str,
        bound: int,
        watching: Callable[[PresenceWatch], AbstractAsyncContextManager[None]],
    ) -> None:
        self.topic = topic
        self.dropped = 0
        self._bound = bound
        self._watching = watching(self)
        self._entered = False
        self._members: dict[str, Presence] = {}
        self._changes: deque[PresenceChange] = deque()
        self._waiters = trio.lowlevel.ParkingLot()
        # Until it is known who is there, what happens is only remembered.
        self._known = False
        self._ended = False
        self._closed = False

    @property
    def members(self) -> tuple[Presence, ...]:
        """Who is there now, in the order of joining."""
        return tuple(self._members.values())

    async def __aenter__(self) -> Self:
        """Begin to watch; then `members` are known. Cancelled: nothing happened.

        Raises:
          trio.ClosedResourceError: the hub's block has been left.
          RuntimeError: this watch has been entered before, or the hub was not.
        """
        if self._entered:
            raise RuntimeError("a PresenceWatch can be entered once; ask the hub for another")
        self._entered = True
        await self._watching.__aenter__()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._close()
        await self._watching.__aexit__(exc_type, exc_value, traceback)

    async def receive(self) -> PresenceChange:
        """The next change. Atomic under cancellation.

        Raises:
          trio.EndOfChannel: the hub's block has been left.
          trio.ClosedResourceError: the watch was closed.
        """
        await trio.lowlevel.checkpoint()
        while not self._changes:
            if self._closed:
                raise trio.ClosedResourceError("the watch is closed")
            if self._ended:
                raise trio.EndOfChannel
            await self._waiters.park()
        return self._changes.popleft()

    async def aclose(self) -> None:
        """Take no more changes. Idempotent."""
        self._close()
        await trio.lowlevel.checkpoint()

    def _close(self) -> None:
        self._closed = True
        self._changes.clear()
        self._waiters.unpark_all()

    # What the hub calls

    def begin(self, members: Iterable[Presence]) -> None:
        """These are there; what has happened meanwhile may be among it already."""
        self._members = {member.id: member for member in members}
        self._known = True
        changes, self._changes = self._changes, deque()
        for change in changes:
            self.put(change)

    def put(self, change: PresenceChange) -> None:
        """Somebody came or went."""
        if self._closed:
            return
        if self._known:
            if change.joined is (change.member.id in self._members):
                return
            if change.joined:
                self._members[change.member.id] = change.member
            else:
                del self._members[change.member.id]
        self._changes.append(change)
        if self._known and len(self._changes) > self._bound:
            self._changes.popleft()
            self.dropped += 1
        self._waiters.unpark()

    def end(self) -> None:
        """The hub is closed."""
        self._ended = True
        self._waiters.unpark_all()
