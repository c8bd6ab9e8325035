"""Clients that are all told the same, none of whom holds up the others for long.

Every member has a bounded queue and a task that sends what is in it. Whoever tells a member whose
queue is full waits until there is room, so that a client that is only a little slower than the
sender slows the sender down, as TCP would. A member that has not taken, after `PATIENCE` seconds,
what was in its full queue is not a little slower: it is closed with 1013.
"""

from __future__ import annotations

from collections import deque
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

import trio

from .mode import ENDED

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from ..._websocket import WebSocket
    from .mode import Message

#: Bounds of a member's queue: messages, and bytes of binary or characters of text in them. One
#: larger message still passes.
MAX_MESSAGES: Final = 1024
MAX_SIZE: Final = 1 << 20
#: Seconds that a member gets to take what its full queue holds.
PATIENCE: Final = 1.0


class Member:
    """One client, and what waits to be sent to it.

    Attributes:
      ws: its connection.
      left: whether it is no longer to be told anything.
    """

    def __init__(self, ws: WebSocket) -> None:
        self.ws = ws
        self.left = False
        self._queue: deque[Message] = deque()
        self._size = 0
        self._accepted = 0
        self._sent = 0
        # What must have been sent by the deadline; while the queue is not known to be full, 0.
        self._owed = 0
        self._deadline = 0.0
        self._changed = trio.lowlevel.ParkingLot()
        self._scope: trio.CancelScope | None = None
        self._farewell: tuple[int, str] | None = None

    def has_room(self, message: Message) -> bool:
        """Whether `put` may be called."""
        return not self._queue or (
            len(self._queue) < MAX_MESSAGES and self._size + len(message) <= MAX_SIZE
        )

    def put(self, message: Message) -> None:
        """Queue *message*, for which there must be room."""
        self._queue.append(message)
        self._size += len(message)
        self._accepted += 1
        self._changed.unpark_all()

    async def put_soon(self, message: Message) -> None:
        """Queue *message* when there is room, or dismiss the member if that takes too long.

        Cancellation: the message is not queued.
        """
        while not (self.left or self.has_room(message)):
            if self._sent >= self._owed:
                self._owed = self._accepted
                self._deadline = trio.current_time() + PATIENCE
            with trio.move_on_at(self._deadline) as waiting:
                await self._changed.park()
            if waiting.cancelled_caught:
                self.dismiss(1013, "too slow")
        if not self.left:
            self.put(message)

    async def wait_sent(self) -> None:
        """Wait until nothing is queued, or never will be sent."""
        while self._queue and not self.left:
            await self._changed.park()

    def dismiss(self, code: int, reason: str) -> None:
        """Tell it nothing more, and close its connection. Nothing happens the second time."""
        if not self.left:
            self._farewell = (code, reason)
            self._leave()
            if self._scope is not None:
                self._scope.cancel()

    async def say_farewell(self) -> None:
        """Close the connection, if the member was dismissed."""
        if self._farewell is not None:
            await self.ws.aclose(*self._farewell)

    @asynccontextmanager
    async def present(self) -> AsyncGenerator[None]:
        """Send what is queued, while the block runs. Being dismissed ends the block."""
        async with trio.open_nursery() as nursery:
            self._scope = nursery.cancel_scope
            nursery.start_soon(self._send_queued)
            try:
                yield
            finally:
                self._leave()
                nursery.cancel_scope.cancel()

    def _leave(self) -> None:
        self.left = True
        self._queue.clear()
        self._changed.unpark_all()

    async def _send_queued(self) -> None:
        while True:
            while not self._queue:
                await self._changed.park()
            try:
                await self.ws.send(self._queue[0])
            except ENDED:
                # Whoever receives sees it as well.
                self._leave()
                return
            if not self.left:
                self._size -= len(self._queue.popleft())
                self._sent += 1
                self._changed.unpark_all()


class Crowd:
    """The clients that are present."""

    def __init__(self) -> None:
        self._members: dict[Member, None] = {}

    def __len__(self) -> int:
        return len(self._members)

    @asynccontextmanager
    async def joined(self, ws: WebSocket) -> AsyncGenerator[Member]:
        """*ws* is a member while the block runs. Being dismissed ends the block, and closes it."""
        member = Member(ws)
        self._members[member] = None
        try:
            async with member.present():
                yield member
        finally:
            del self._members[member]
        await member.say_farewell()

    async def tell(self, message: Message, besides: Member | None = None) -> None:
        """Send *message* to all, or all but one.

        Waits for slow members, `PATIENCE` seconds at most while none of them makes progress; those
        who are not slow have the message by then.

        Cancellation: some may have been told, and some not.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        slow: list[Member] = []
        for member in self._members:
            if member is besides or member.left:
                continue
            if member.has_room(message):
                member.put(message)
            else:
                slow.append(member)
        for member in slow:
            await member.put_soon(message)

    async def wait_sent(self) -> None:
        """Wait until nothing is queued for anybody who is present now."""
        for member in list(self._members):
            await member.wait_sent()
        await trio.lowlevel.checkpoint_if_cancelled()

    def dismiss_all(self, code: int, reason: str) -> None:
        """Close every member's connection."""
        for member in list(self._members):
            member.dismiss(code, reason)
