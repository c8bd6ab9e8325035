"""`Member`: what one member of a topic has been given, and what becomes of it when it is slow."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypedDict

import trio

from .._errors import ConnectionClosed
from ..protocol.prepared import PreparedRun
from .backlog import run_length
from .topics import Batch

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Unpack

    from ..backplane import Position, Presence
    from ..protocol.prepared import Prepared
    from ..slow_consumers import SlowConsumerPolicy
    from .backlog import Backlog
    from .outlets import Outlet
    from .settings import HubLimits
    from .topics import Outgoing, Topic

#: How a connection tells that it has ended.
_ENDED: Final = (ConnectionClosed, trio.ClosedResourceError, trio.BrokenResourceError)
#: Seconds between the look that finds no progress and the one that evicts. Where this process stood
#: still, what could not be written meanwhile is written in between.
_SECOND_LOOK: Final = 1.0

_logger: Final = logging.getLogger("trio_ws.hub")


class MemberOptions(TypedDict):
    """What every member needs.

    Attributes:
      policy: what to do when it is slow.
      limits: the hub's.
      on_left: called when it leaves.
      on_evicted: called when it is evicted, with the reason.
    """

    policy: SlowConsumerPolicy
    limits: HubLimits
    on_left: Callable[[Member], None]
    on_evicted: Callable[[Member, str], None]


class Member(ABC):
    """A member of one topic.

    Args:
      topic: which.
      key: what it is known by there.
      name: what `Outgoing.exclude` calls it: the `WebSocket.id`.
      options: what all members need.

    Attributes:
      topic: as given.
      name: as given.
      left: whether it is a member no more.
      evicted: whether it was made to leave, because it was too slow.
      dropped: messages that its policy has dropped.
      presence: what others were told of it, once they were.
    """

    __slots__ = (
        "_after",
        "_backlog",
        "_held",
        "_held_size",
        "_key",
        "_limits",
        "_on_evicted",
        "_on_left",
        "_over_since",
        "_policy",
        "_suspected",
        "_up_to",
        "dropped",
        "evicted",
        "left",
        "name",
        "presence",
        "topic",
    )

    def __init__(
        self,
        topic: Topic,
        key: object,
        *,
        name: str = "",
        **options: Unpack[MemberOptions],
    ) -> None:
        self.topic = topic
        self.left = False
        self.evicted = False
        self.dropped = 0
        self.presence: Presence | None = None
        self._key = key
        self.name = name
        self._policy = options["policy"]
        self._limits = options["limits"]
        self._on_left = options["on_left"]
        self._on_evicted = options["on_evicted"]
        # What came before it did is not for it, nor is what it was given.
        self._after = topic.number
        # While it catches up: what has come meanwhile.
        self._held: list[Outgoing] | None = None
        self._held_size = 0
        # Then: what it has caught up with, until the topic's members have.
        self._up_to: Position | None = None
        self._backlog: Backlog | None = None
        # Since when it is over its bounds.
        self._over_since: float | None = None
        # The last progress that was seen of it, when it was found to be too long ago; and when.
        self._suspected: tuple[float, float] | None = None

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name or id(self)} of {self.topic.name!a}>"

    # What it is given

    def hand(self, batch: Batch) -> None:
        """Give it the messages of *batch*, but for those that it is not to have."""
        try:
            if (
                self._after >= batch.first
                or self._held is not None
                or self._up_to is not None
                or (batch.exclude and self.name in batch.exclude)
            ):
                self._hand_some(batch)
            else:
                self._take(batch)
            self._after = batch.last
        except Exception:
            # A policy's key function, or a WebSocket of somebody's own: not the others' concern.
            _logger.exception("%r failed", self)
            self.evict("it could not be given a message", code=1011)

    def _hand_some(self, batch: Batch) -> None:
        messages = [message for message in batch.messages if self._is_for_it(message)]
        if self._held is None:
            if messages:
                self._take(Batch(messages))
            return
        self._held += messages
        self._held_size += sum(len(message.prepared) for message in messages)
        if self._held_size > self._limits.max_backlog_bytes:
            self.evict("more came while it caught up than may wait")

    def _is_for_it(self, message: Outgoing) -> bool:
        is_due = message.number > self._after and self.name not in message.exclude
        return is_due and self._is_news(message)

    def _is_news(self, message: Outgoing) -> bool:
        """Whether it was not among what it has caught up with."""
        if self._up_to is not None and message.position is not None:
            if (
                message.position.epoch == self._up_to.epoch
                and message.position.offset <= self._up_to.offset
            ):
                return False
            # Nor is anything that comes behind it.
            self._up_to = None
        return True

    def begin_catching_up(self) -> None:
        """Hold what comes, until `catch_up`."""
        self._held = []

    def catch_up(self, missed: list[Prepared], up_to: Position | None) -> None:
        """Give it what it has missed, then what has come meanwhile, and go on from there.

        *up_to* is where the topic was when *missed* was found; ``None``: nothing was.
        """
        held, self._held = self._held or [], None
        if self.left:
            return
        self._up_to = up_to
        news = [message.prepared for message in held if self._is_news(message)]
        rest = self._offer([*missed, *news])
        replayed = max(0, len(rest) - len(news))
        for message in rest[:replayed]:
            # However much that is: asked for once, it is not what makes it slow.
            self.backlog.append(message)
        if rest[replayed:]:
            self._queue(rest[replayed:])
        if rest:
            self._queued()

    @abstractmethod
    def _offer(self, messages: list[Prepared]) -> list[Prepared]:
        """Take what there is room for at once; return the rest."""

    @abstractmethod
    def _take(self, batch: Batch) -> None:
        """Take the messages of *batch*, or `_queue` them."""

    @abstractmethod
    def _queued(self) -> None:
        """Something was put in the backlog."""

    # What waits for it

    @property
    def backlog(self) -> Backlog:
        """What waits for it."""
        if self._backlog is None:
            self._backlog = self._policy.new_backlog(self._limits)
        return self._backlog

    def _queue(self, messages: list[Prepared]) -> None:
        backlog = self.backlog
        dropped = sum(backlog.push(message) for message in messages)
        self.dropped += dropped
        self.topic.counters.dropped += dropped
        if backlog.size > self._limits.max_backlog_bytes:
            self.evict(f"over {self._limits.max_backlog_bytes} bytes waited")
        elif backlog.is_over or (dropped and self._policy.drops_for_room):
            self._over_bounds()

    def _over_bounds(self) -> None:
        now = trio.current_time()
        if self._over_since is None:
            self._over_since = now
        if self._policy.patience and self._backlog is not None and self._backlog.is_over:
            until = self._over_since + self._policy.patience
            self.topic.hold(self, until)
        moved = max(self._over_since, self._last_progress())
        if now - moved < self._limits.progress_timeout:
            return
        if self._suspected is None or self._suspected[0] != moved:
            self._suspected = moved, now
        elif now - self._suspected[1] >= _SECOND_LOOK:
            self.evict(f"nothing was taken for {now - moved:.0f} s")

    def _drained(self) -> None:
        """Less waits for it than before."""
        if self._over_since is not None and not (self._backlog and self._backlog.is_over):
            self._over_since = None
            self.topic.release(self)

    @abstractmethod
    def _last_progress(self) -> float:
        """When something that waited was last taken."""

    # How it ends

    def leave_now(self) -> None:
        """Be given what was published until now, then `leave`."""
        if not self.left:
            self.topic.give_rest(self)
        self.leave()

    def leave(self) -> None:
        """Be a member no more. Idempotent; what waits is dropped."""
        if not self.left:
            self.left = True
            self._backlog = None
            self._held = None
            # First, because what is not used any more is not told of.
            self._on_left(self)
            self.topic.remove(self._key, self)
            self._ended()

    def evict(self, reason: str, *, code: int = 1013) -> None:
        """Make it leave, because of what it did, and end what it is."""
        if not self.left:
            self.evicted = True
            self.topic.counters.evicted += 1
            self._on_evicted(self, reason)
            self.leave()
            self._close(code)

    @abstractmethod
    def _ended(self) -> None:
        """It has left."""

    @abstractmethod
    def _close(self, code: int) -> None:
        """End what it is: a connection, a channel."""


class WebSocketMember(Member):
    """A WebSocket that is a member. It needs a task only while messages wait for it."""

    __slots__ = ("_draining", "_nursery", "_outlet")

    def __init__(
        self,
        topic: Topic,
        outlet: Outlet,
        nursery: trio.Nursery,
        **options: Unpack[MemberOptions],
    ) -> None:
        super().__init__(topic, outlet.ws, name=outlet.ws.id, **options)
        self._outlet = outlet
        self._nursery = nursery
        self._draining: trio.CancelScope | None = None

    def _take(self, batch: Batch) -> None:
        if self._draining is not None:
            self._queue(batch.parts)
            return
        try:
            taken = self._outlet.put(batch.run, batch.parts)
        except _ENDED:
            self.leave()
            return
        self.topic.counters.delivered += taken
        if taken < len(batch):
            self._queue(batch.parts[taken:])
            self._queued()

    def _offer(self, messages: list[Prepared]) -> list[Prepared]:
        try:
            while messages:
                run = messages[: run_length(messages)]
                taken = self._outlet.put(PreparedRun(run), run)
                self.topic.counters.delivered += taken
                messages = messages[taken:]
                if taken < len(run):
                    break
        except _ENDED:
            self.leave()
            return []
        return messages

    def _queued(self) -> None:
        if self._draining is None and not self.left:
            self._draining = trio.CancelScope()
            self._nursery.start_soon(self._drain, self._draining)

    async def _drain(self, scope: trio.CancelScope) -> None:
        with scope:
            try:
                while self._backlog:
                    taken = await self._outlet.put_waiting(self._backlog)
                    self.topic.counters.delivered += taken
                    self._drained()
            except _ENDED:
                self.leave()
            except Exception:
                _logger.exception("%r failed", self)
                self.evict("it could not be sent a message", code=1011)
        self._draining = None

    def _last_progress(self) -> float:
        return self._outlet.ws.last_sent

    def _ended(self) -> None:
        self._outlet.forget_at_end()
        if self._draining is not None:
            self._draining.cancel()

    def _close(self, code: int) -> None:
        self._outlet.close(code, "too slow" if code == 1013 else "")


@dataclass(frozen=True, slots=True)
class Joined:
    """What came of joining a topic.

    Attributes:
      member: the member.
      position: where the topic was then, if that is known.
      recovered: whether ``since=`` could be honoured; ``None`` where it was not given.
    """

    member: Member
    position: Position | None
    recovered: bool | None
