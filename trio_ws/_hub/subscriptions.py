"""`Subscription`: a topic as a Trio channel, for tasks of this process."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from .members import Member

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from types import TracebackType
    from typing import Self, Unpack

    from ..backplane import Position
    from ..protocol.prepared import Prepared
    from .members import Joined, MemberOptions
    from .topics import Batch, Topic


class ChannelMember(Member):
    """A member whose messages wait until somebody receives them."""

    __slots__ = ("_progress", "_waiters")

    def __init__(self, topic: Topic, **options: Unpack[MemberOptions]) -> None:
        super().__init__(topic, self, **options)
        self._waiters = trio.lowlevel.ParkingLot()
        self._progress = trio.current_time()

    async def receive(self) -> str | bytes | None:
        """The next message; ``None`` when it has left."""
        await trio.lowlevel.checkpoint()
        while not self.left:
            if self.backlog:
                message = self.backlog.pop()
                self._progress = trio.current_time()
                self.topic.counters.delivered += 1
                self._drained()
                return message.message
            await self._waiters.park()
        return None

    def _take(self, batch: Batch) -> None:
        self._queue(batch.parts)
        self._queued()

    def _offer(self, messages: list[Prepared]) -> list[Prepared]:
        return messages

    def _queued(self) -> None:
        self._waiters.unpark_all()

    def _last_progress(self) -> float:
        return self._progress

    def _ended(self) -> None:
        self._waiters.unpark_all()

    def _close(self, code: int) -> None:
        pass


class Subscription(trio.abc.ReceiveChannel[str | bytes]):
    """The messages of one topic: what `Hub.subscribe` returns.

    Subscribed for the length of an ``async with`` block; iterate over it there. Any number of tasks
    may receive; each message goes to one of them.

    Attributes:
      topic: its name.
    """

    def __init__(self, topic: str, join: Callable[[], Awaitable[Joined]]) -> None:
        self.topic = topic
        self._join = join
        self._joined: Joined | None = None
        self._closed = False

    def __repr__(self) -> str:
        return f"<Subscription to {self.topic!a}>"

    @property
    def position(self) -> Position | None:
        """Where the topic was when it was subscribed to; see `Membership.position`."""
        return self._entered().position

    @property
    def recovered(self) -> bool | None:
        """Whether ``since=`` could be honoured; see `Membership.recovered`."""
        return self._entered().recovered

    @property
    def dropped(self) -> int:
        """Messages that its policy has dropped."""
        return self._entered().member.dropped

    async def __aenter__(self) -> Self:
        """Subscribe. Cancelled: nothing happened.

        Raises:
          trio.ClosedResourceError: the hub's block has been left.
          RuntimeError: this subscription has been entered before, or the hub was not.
        """
        if self._joined is not None or self._closed:
            raise RuntimeError("a Subscription can be entered once; ask the hub for another")
        self._joined = await self._join()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._leave()

    async def receive(self) -> str | bytes:
        """The next message. Atomic under cancellation.

        Raises:
          trio.EndOfChannel: the hub's block has been left.
          trio.BrokenResourceError: this subscription did not keep up, and was evicted.
          trio.ClosedResourceError: it was closed.
        """
        member = self._entered().member
        assert isinstance(member, ChannelMember)
        message = await member.receive()
        if message is not None:
            return message
        if self._closed:
            raise trio.ClosedResourceError("the subscription is closed")
        if member.evicted:
            raise trio.BrokenResourceError(
                f"evicted from {self.topic!a}: messages were not received in time; "
                "receive sooner, or choose another policy with slow="
            )
        raise trio.EndOfChannel

    async def aclose(self) -> None:
        """Unsubscribe. What has not been received is dropped. Idempotent."""
        self._leave()
        await trio.lowlevel.checkpoint()

    def _leave(self) -> None:
        self._closed = True
        if self._joined is not None:
            self._joined.member.leave()

    def _entered(self) -> Joined:
        if self._joined is None:
            raise RuntimeError("use it in a block: async with hub.subscribe(...) as channel")
        return self._joined
