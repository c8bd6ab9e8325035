"""`Topic`: the members of one topic here, and the messages that they have still to be given."""

from __future__ import annotations

import math
from functools import cached_property
from time import perf_counter
from typing import TYPE_CHECKING, NamedTuple

import trio

from .._standstill import last_turns
from ..protocol.prepared import Prepared, PreparedRun
from .backlog import run_length

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from ..backplane import Position, PresenceChange
    from .members import Member
    from .presence import PresenceWatch
    from .settings import HubLimits


class Outgoing(NamedTuple):
    """A message that the members are to be given.

    Attributes:
      prepared: the message.
      number: its place in the order of this topic here, from 1.
      position: the backplane's.
      exclude: who does not get it: the `WebSocket.id` of members here.
    """

    prepared: Prepared
    number: int
    position: Position | None
    exclude: frozenset[str]


class Batch:
    """Messages that are given to members together.

    Attributes:
      messages: the messages, at least one.
      first: the number of the first; most members were there before it came.
      last: the number of the last.
      exclude: who does not get all of them.
    """

    def __init__(self, messages: Sequence[Outgoing]) -> None:
        self.messages = messages
        self.first = messages[0].number
        self.last = messages[-1].number
        self.exclude: frozenset[str] = frozenset().union(*(one.exclude for one in messages))

    def __len__(self) -> int:
        return len(self.messages)

    @cached_property
    def parts(self) -> list[Prepared]:
        """The messages without what is said of them."""
        return [message.prepared for message in self.messages]

    @cached_property
    def run(self) -> Prepared | PreparedRun:
        """The messages as one."""
        return self.parts[0] if len(self.parts) == 1 else PreparedRun(self.parts)


class Counters:
    """What `TopicStatistics` and `HubStatistics` count."""

    __slots__ = ("delivered", "dropped", "evicted", "published")

    def __init__(self) -> None:
        self.published = 0
        self.delivered = 0
        self.dropped = 0
        self.evicted = 0

    def add(self, other: Counters) -> None:
        """Add the counts of *other* to these."""
        self.published += other.published
        self.delivered += other.delivered
        self.dropped += other.dropped
        self.evicted += other.evicted


class Topic:
    """One topic.

    Args:
      name: its name.
      limits: the hub's.
      wake: called when there is something to give to members.
      unused: called when the last member or watch has left.

    Attributes:
      name: as given.
      members: the members, in the order in which they joined, by what they are: a WebSocket, a
        subscription.
      watches: who watches its members come and go.
      number: how many messages have come.
      counters: what happened to them.
      is_queued: whether the fan-out task knows that there is something to do.
    """

    __slots__ = (
        "_batch",
        "_holding",
        "_limits",
        "_pending",
        "_pending_size",
        "_rest",
        "_room",
        "_unused",
        "_wake",
        "counters",
        "is_queued",
        "members",
        "name",
        "number",
        "watches",
    )

    def __init__(
        self,
        name: str,
        limits: HubLimits,
        *,
        wake: Callable[[Topic], None],
        unused: Callable[[Topic], None],
    ) -> None:
        self.name = name
        self.members: dict[object, Member] = {}
        self.watches: dict[PresenceWatch, None] = {}
        self.number = 0
        self.counters = Counters()
        self.is_queued = False
        self._limits = limits
        self._wake = wake
        self._unused = unused
        self._pending: list[Outgoing] = []
        self._pending_size = 0
        # The messages that are being given, and the members that have not been given them.
        self._batch: Batch | None = None
        self._rest: Iterator[Member] = iter(())
        # Members that publishers wait for, and until when.
        self._holding: dict[Member, float] = {}
        # Most topics never need one.
        self._room: trio.lowlevel.ParkingLot | None = None

    # Members

    def add(self, key: object, member: Member) -> None:
        """*key* has become a member."""
        self.members[key] = member

    def remove(self, key: object, member: Member) -> None:
        """It is a member no more."""
        del self.members[key]
        self.release(member)
        self._check_used()

    def watch(self, watch: PresenceWatch) -> None:
        """Have *watch* told who comes and goes."""
        self.watches[watch] = None

    def unwatch(self, watch: PresenceWatch) -> None:
        """Tell it no more."""
        del self.watches[watch]
        self._check_used()

    def _check_used(self) -> None:
        if not self.members and not self.watches:
            self._unused(self)

    def tell(self, change: PresenceChange) -> None:
        """Tell the watches."""
        for watch in tuple(self.watches):
            watch.put(change)

    # Room for publishers

    def has_room(self) -> bool:
        """Whether a publisher may go on."""
        return (
            not self._holding
            and len(self._pending) < self._limits.pending_messages
            and self._pending_size < self._limits.pending_bytes
        )

    async def wait_room(self) -> None:
        """Wait until that may have changed. Evicts members that have been waited for in vain."""
        if self._room is None:
            self._room = trio.lowlevel.ParkingLot()
        deadline = min(self._holding.values(), default=math.inf)
        with trio.move_on_at(deadline) as waiting:
            await self._room.park()
        if waiting.cancelled_caught:
            await last_turns()
            for member, until in tuple(self._holding.items()):
                if until <= deadline:
                    member.evict("it was waited for in vain")

    def hold(self, member: Member, until: float) -> None:
        """Let publishers wait for *member*, no longer than *until*."""
        if member not in self._holding:
            self._holding[member] = until
            if self._room is not None:
                # Who waits already has to know until when.
                self._room.unpark_all()

    def release(self, member: Member) -> None:
        """Wait for *member* no longer."""
        if self._holding.pop(member, None) is not None:
            self._tell_room()

    def _tell_room(self) -> None:
        if self._room is not None and self.has_room():
            self._room.unpark_all()

    # Messages

    def receive(
        self, prepared: Prepared, position: Position | None, exclude: frozenset[str]
    ) -> None:
        """The next message has come."""
        self.number += 1
        self.counters.published += 1
        if self.members:
            self._pending.append(Outgoing(prepared, self.number, position, exclude))
            self._pending_size += len(prepared)
            self._wake(self)

    def give(self, until: float) -> bool:
        """Give members what has come, until that time by `perf_counter`, or one at the least.

        Returns whether something is left to do.
        """
        while self._batch is not None or self._pending:
            if self._batch is None:
                self._batch = self._next_batch()
                self._rest = iter(tuple(self.members.values()))
            for member in self._rest:
                if not member.left:
                    member.hand(self._batch)
                if perf_counter() >= until:
                    return True
            self._batch = None
            self._tell_room()
        return False

    def give_rest(self, member: Member) -> None:
        """Give *member*, which is about to leave, what has come until now."""
        being_given = () if self._batch is None else self._batch.messages
        rest = [*being_given, *self._pending]
        while rest and not member.left:
            member.hand(_taken_run(rest))

    def _next_batch(self) -> Batch:
        batch = _taken_run(self._pending)
        self._pending_size -= sum(map(len, batch.parts))
        return batch


def _taken_run(messages: list[Outgoing]) -> Batch:
    """The first of *messages*, at least one, as many as go in one write. They are taken from it."""
    count = run_length(message.prepared for message in messages)
    batch = Batch(messages[:count])
    del messages[:count]
    return batch
