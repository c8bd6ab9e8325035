"""`Hub`: topics, and what users do with them."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final

import trio

from .. import slow_consumers
from .._cancellation import is_cancelled
from .._client import supervised
from .._fragments import normalized
from .._websocket import WebSocket
from ..backplane import History, MemoryBackplane, Replay
from ..instrumentation import Hooks, MemberEvicted, log_record
from .fanout import FanOut
from .inbound import Inbound
from .members import Joined, MemberOptions, WebSocketMember
from .membership import Membership
from .outlets import outlet_of
from .presence import PresenceWatch
from .settings import HubLimits
from .subscriptions import ChannelMember, Subscription
from .topics import Counters, Topic

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
    from types import TracebackType
    from typing import Self

    from .._websocket import BytesLike
    from ..backplane import Backplane, Gap, Link, Position, Presence
    from ..instrumentation import Hook
    from ..slow_consumers import SlowConsumerPolicy
    from .members import Member

#: As `Connection.send`: so many messages in a row, and for so long, before others have their turn.
_TURN_MESSAGES: Final = 64
_TURN_SECONDS: Final = 0.001

DEFAULT_HUB_LIMITS: Final = HubLimits()
DEFAULT_HUB_HOOKS: Final = (log_record,)


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicStatistics:
    """A snapshot of one topic's counters, in this process, since its first member joined.

    Attributes:
      members: WebSockets and subscriptions that are in it.
      published: messages that came, from this process and others.
      delivered: messages handed to members' connections, and those received from subscriptions.
      dropped: messages that policies for slow members have dropped.
      evicted: members that were made to leave.
    """

    members: int
    published: int
    delivered: int
    dropped: int
    evicted: int


@dataclass(frozen=True, slots=True, kw_only=True)
class HubStatistics:
    """A snapshot of a hub's counters, in this process.

    Attributes:
      topics: topics with members here.
      members: WebSockets and subscriptions that are in them; who is in two counts twice.
      published: messages that came to topics with members here, from this process and others.
      delivered: messages handed to members' connections, and those received from subscriptions.
      dropped: messages that policies for slow members have dropped.
      evicted: members that were made to leave.
      missed: gaps that the backplane has told of.
      connected: see `Hub.connected`.
      not_sent: messages published here that no other process will get.
    """

    topics: int
    members: int
    published: int
    delivered: int
    dropped: int
    evicted: int
    missed: int
    connected: bool
    not_sent: int


class Hub:
    """Topics that WebSockets join, and that messages are published to.

    ::

        async with trio_ws.Hub() as hub:

            async def chat(ws: trio_ws.WebSocket) -> None:
                async with hub.join(ws, "lobby"):
                    async for message in ws:
                        await hub.publish("lobby", message, exclude=ws)

            await trio_ws.serve(chat, "127.0.0.1", 8765)

    A topic is a name; it exists while anybody is in it. A message is encoded once, and never waits
    for a slow member: `slow_consumers` says what becomes of those. All members of a topic get its
    messages in the same order.

    Use it in an ``async with`` block, around whatever uses it. When the block is left, what was
    published goes to the members that have room for it, subscriptions end, and connections stay
    open. Whoever publishes or joins afterwards gets `trio.ClosedResourceError`.

    Args:
      backplane: joins this hub with those of other processes; by default, a `MemoryBackplane` of
        its own.
      history: how much of a topic is kept for those who ask (``since=``), or a function that says
        so of each topic; ``None`` for nothing. The same in all processes.
      stamp: makes of a message and its `Position` what is sent in its place, so that clients know
        what to ask for after an absence. Called once per message in each process; must not block.
        The position is ``None`` where the backplane does not number messages.
      limits: what is held for members.
      on_gap: told when messages of a topic may have been missed, because the backplane was gone;
        called in the event loop's thread, must not block.
      hooks: told of evictions, and of the backplane; see `trio_ws.instrumentation`.
    """

    def __init__(
        self,
        *,
        backplane: Backplane | None = None,
        history: History | Callable[[str], History | None] | None = None,
        stamp: Callable[[str | bytes, Position | None], str | bytes] | None = None,
        limits: HubLimits = DEFAULT_HUB_LIMITS,
        on_gap: Callable[[Gap], None] | None = None,
        hooks: Iterable[Hook] = DEFAULT_HUB_HOOKS,
    ) -> None:
        self._backplane = MemoryBackplane() if backplane is None else backplane
        self._history = history
        self._limits = limits
        self._hooks = Hooks(hooks)
        self._topics: dict[str, Topic] = {}
        self._fan_out = FanOut()
        self._inbound = Inbound(self._topics, stamp=stamp, on_gap=on_gap, hooks=self._hooks)
        # Of topics that are gone.
        self._counters = Counters()
        self._nursery: trio.Nursery | None = None
        self._link: Link | None = None
        self._scope: Any = None
        self._not_sent = 0
        self._burst = 0
        self._turn_ends = 0.0

    def __repr__(self) -> str:
        state = "open" if self._link is not None else "closed" if self._scope else "not entered"
        return f"<Hub: {len(self._topics)} topics, {state}>"

    async def __aenter__(self) -> Self:
        if self._scope is not None:
            raise RuntimeError("a Hub can be entered once")
        self._scope = self._running()
        await self._scope.__aenter__()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        result: bool | None = await self._scope.__aexit__(exc_type, exc_value, traceback)
        return result

    @asynccontextmanager
    async def _running(self) -> AsyncGenerator[None]:
        async with (
            self._backplane.connect(self._inbound) as link,
            supervised(self._close) as nursery,
        ):
            self._nursery = nursery
            self._link = link
            self._inbound.node = link.node
            nursery.start_soon(self._fan_out.run)
            try:
                yield
            finally:
                self._leave_all()

    def _leave_all(self) -> None:
        # What was published is promised.
        self._fan_out.give()
        for topic in tuple(self._topics.values()):
            for member in tuple(topic.members.values()):
                member.leave()
            for watch in tuple(topic.watches):
                watch.end()
                topic.unwatch(watch)
        self._not_sent = self._open_link().dropped
        self._link = None

    async def _close(self, code: int) -> None:
        await trio.lowlevel.cancel_shielded_checkpoint()

    def _open_link(self) -> Link:
        if self._link is not None:
            return self._link
        if self._scope is None:
            raise RuntimeError("use the hub in an async with block: async with Hub() as hub")
        raise trio.ClosedResourceError("the hub is closed: its block has been left")

    # Publishing

    async def publish(
        self,
        topic: str,
        message: str | BytesLike,
        *,
        exclude: WebSocket | Iterable[WebSocket] = (),
    ) -> None:
        """Send *message* to all members of *topic*, in all processes.

        It does not wait for members: what one has no room for waits, or not, as its policy says. It
        waits while more messages are published than this process can hand out
        (``HubLimits.pending_messages``), and for members whose policy is `slow_consumers.wait`.

        Args:
          topic: any text. Where it comes from a peer, check it first.
          message: ``str`` goes as text, bytes-like as binary.
          exclude: a connection, or several, that do not get it, such as the one it came from. Not
            applied to what is replayed from history: they may be other connections by then.

        Raises:
          TypeError: *message* is neither.
          UnicodeEncodeError: the text holds a lone surrogate.
          trio.ClosedResourceError: the hub's block has been left.

        Cancellation: atomic. It returned, so every member has the message or will have it; it
        raised, so nobody will.
        """
        payload, text, excluded = _checked(message, exclude)
        if not (
            self._burst < _TURN_MESSAGES
            and perf_counter() < self._turn_ends
            and not is_cancelled()
            and self._has_room(topic)
        ):
            await self._wait_room(topic)
        self._publish(topic, payload, text, excluded)

    def publish_nowait(
        self,
        topic: str,
        message: str | BytesLike,
        *,
        exclude: WebSocket | Iterable[WebSocket] = (),
    ) -> None:
        """As `publish`, without waiting.

        Raises:
          trio.WouldBlock: `publish` would wait. Nobody will get the message.
          TypeError, UnicodeEncodeError, trio.ClosedResourceError: as in `publish`.
        """
        payload, text, excluded = _checked(message, exclude)
        self._open_link()
        if not self._has_room(topic):
            raise trio.WouldBlock
        self._publish(topic, payload, text, excluded)

    def _publish(self, topic: str, payload: bytes, text: bool, exclude: frozenset[str]) -> None:
        self._burst += 1
        self._open_link().publish(
            topic, payload, text=text, exclude=exclude, history=self._history_of(topic)
        )

    def _has_room(self, topic: str) -> bool:
        return self._inbound.has_room(topic) and self._open_link().has_room(topic)

    async def _wait_room(self, topic: str) -> None:
        """Go through the scheduler, then wait until a message may be published. Not FIFO."""
        await trio.lowlevel.checkpoint()
        while True:
            link = self._open_link()
            if not self._inbound.has_room(topic):
                await self._inbound.wait_room(topic)
            elif not link.has_room(topic):
                await link.wait_room(topic)
            else:
                break
        self._burst = 0
        self._turn_ends = perf_counter() + _TURN_SECONDS

    def _history_of(self, topic: str) -> History | None:
        return self._history(topic) if callable(self._history) else self._history

    # Joining

    def join(
        self,
        ws: WebSocket,
        topic: str,
        *,
        since: Position | None = None,
        slow: SlowConsumerPolicy = slow_consumers.disconnect,
        info: Mapping[str, Any] | None = None,
    ) -> Membership:
        """*ws* is a member of *topic* for the length of an ``async with`` block.

        It leaves at the end of the block, at the end of the connection, or when it is evicted,
        whichever comes first. It has been given what was published until then; what its connection
        had no room for is dropped. Messages sent with ``ws.send`` go in between those of the topic.

        Args:
          ws: any open connection, of a server or a client, of whatever engine.
          topic: any text. Where it comes from a peer, check it first.
          since: what the peer has seen already: it is first sent all that came after, and nothing
            twice. See `Position.OLDEST` for those who come for the first time, and
            `Membership.recovered`. Only where the topic has a ``history``.
          slow: what to do when the peer does not read as fast as messages come.
          info: what others are told of it by `presence` and `members`; what JSON can say.

        Entering the block:

        Raises:
          ValueError: *ws* is a member of *topic* already.
          trio.ClosedResourceError: the hub's block has been left.
          RuntimeError: the hub's block was not entered, or this membership was before.

        Cancellation: while entering, nothing happened.
        """
        return Membership(ws, topic, partial(self._join, ws, topic, since, slow, info or {}))

    def subscribe(
        self,
        topic: str,
        *,
        since: Position | None = None,
        slow: SlowConsumerPolicy = slow_consumers.disconnect,
    ) -> Subscription:
        """The messages of *topic* as a Trio channel, for a task of this process.

        Subscribed for the length of an ``async with`` block::

            async with hub.subscribe("lobby") as messages:
                async for message in messages:
                    print(message)

        Args:
          topic: any text.
          since: as in `join`.
          slow: what to do when messages are not received as fast as they come; evicted means that
            ``receive`` raises `trio.BrokenResourceError`.
        """
        return Subscription(topic, partial(self._subscribe, topic, since, slow))

    async def _join(
        self,
        ws: WebSocket,
        name: str,
        since: Position | None,
        slow: SlowConsumerPolicy,
        info: Mapping[str, Any],
    ) -> Joined:
        link = self._open_link()
        assert self._nursery is not None
        if name in self._topics and ws in self._topics[name].members:
            raise ValueError(f"{ws.id} is a member of {name!a} already")
        topic = self._topic_in_use(name)
        outlet = outlet_of(ws, self._nursery)
        member = WebSocketMember(topic, outlet, self._nursery, **self._member_options(slow))
        topic.add(ws, member)
        if ws.close_reason is None:
            outlet.call_at_end(member.leave)
        else:
            # Its next call will say so.
            member.leave()
        joined = await self._caught_up(member, since)
        if not member.left:
            member.presence = link.enter(name, info)
        return joined

    async def _subscribe(
        self, name: str, since: Position | None, slow: SlowConsumerPolicy
    ) -> Joined:
        self._open_link()
        topic = self._topic_in_use(name)
        member = ChannelMember(topic, **self._member_options(slow))
        topic.add(member, member)
        return await self._caught_up(member, since)

    async def _caught_up(self, member: Member, since: Position | None) -> Joined:
        """Give a new member what it has missed."""
        name = member.topic.name
        link = self._open_link()
        replay = Replay()
        try:
            if since is not None:
                member.begin_catching_up()
            await link.wait_subscribed(name)
            if self._history_of(name) is not None:
                replay = await link.replay(name, since)
            if since is not None:
                missed = map(self._inbound.prepared, replay.envelopes)
                up_to = replay.position if replay.recovered else None
                member.catch_up([one for one in missed if one is not None], up_to)
        except BaseException:
            member.leave()
            raise
        return Joined(member, replay.position, None if since is None else replay.recovered)

    def _member_options(self, slow: SlowConsumerPolicy) -> MemberOptions:
        return MemberOptions(
            policy=slow, limits=self._limits, on_left=self._on_left, on_evicted=self._on_evicted
        )

    def _on_left(self, member: Member) -> None:
        if member.presence is not None:
            self._open_link().leave(member.topic.name, member.presence)

    def _on_evicted(self, member: Member, reason: str) -> None:
        if self._hooks:
            self._hooks.tell(MemberEvicted(topic=member.topic.name, id=member.name, reason=reason))

    def _topic_in_use(self, name: str) -> Topic:
        topic = self._topics.get(name)
        if topic is None:
            topic = Topic(name, self._limits, wake=self._fan_out.wake, unused=self._on_unused)
            self._topics[name] = topic
            self._open_link().subscribe(name, self._history_of(name))
        return topic

    def _on_unused(self, topic: Topic) -> None:
        del self._topics[topic.name]
        self._counters.add(topic.counters)
        self._open_link().unsubscribe(topic.name)

    # Who is there

    async def members(self, topic: str) -> tuple[Presence, ...]:
        """Who is in *topic*, in all processes, in the order of joining as far as that is known.

        Only WebSockets: nobody is told of subscriptions. Where the backplane has lost the others,
        only those of this process.

        Raises:
          trio.ClosedResourceError: the hub's block has been left.

        Cancellation: nothing happened.
        """
        return await self._open_link().present(topic)

    def presence(self, topic: str) -> PresenceWatch:
        """Who is in *topic*, and who comes and goes, for the length of an ``async with`` block.

        ::

            async with hub.presence("lobby") as watch:
                print(len(watch.members), "are here")
                async for change in watch:
                    print(change.member.info, "came" if change.joined else "went")
        """
        return PresenceWatch(topic, self._limits.presence_changes, self._watching)

    @asynccontextmanager
    async def _watching(self, watch: PresenceWatch) -> AsyncGenerator[None]:
        link = self._open_link()
        topic = self._topic_in_use(watch.topic)
        topic.watch(watch)
        try:
            await link.wait_subscribed(watch.topic)
            watch.begin(await link.present(watch.topic))
            yield
        finally:
            if watch in topic.watches:
                topic.unwatch(watch)

    # What is known about it

    @property
    def topics(self) -> tuple[str, ...]:
        """The topics that somebody is in, in this process."""
        return tuple(name for name, topic in self._topics.items() if topic.members)

    @property
    def connected(self) -> bool:
        """Whether the backplane reaches other processes; with one in memory, in the hub's block."""
        return self._link is not None and self._link.connected

    def topic_statistics(self, topic: str) -> TopicStatistics:
        """A snapshot of the counters of *topic*; zeros where nobody is in it."""
        known = self._topics.get(topic)
        counters = Counters() if known is None else known.counters
        return TopicStatistics(
            members=0 if known is None else len(known.members),
            published=counters.published,
            delivered=counters.delivered,
            dropped=counters.dropped,
            evicted=counters.evicted,
        )

    def statistics(self) -> HubStatistics:
        """A snapshot of the counters."""
        total = Counters()
        total.add(self._counters)
        for topic in self._topics.values():
            total.add(topic.counters)
        return HubStatistics(
            topics=len(self.topics),
            members=sum(len(topic.members) for topic in self._topics.values()),
            published=total.published,
            delivered=total.delivered,
            dropped=total.dropped,
            evicted=total.evicted,
            missed=self._inbound.gaps,
            connected=self.connected,
            not_sent=self._not_sent if self._link is None else self._link.dropped,
        )


def _checked(
    message: str | BytesLike, exclude: WebSocket | Iterable[WebSocket]
) -> tuple[bytes, bool, frozenset[str]]:
    """The payload, whether it is text, and who does not get it."""
    message = normalized(message)
    if isinstance(exclude, WebSocket):
        exclude = (exclude,)
    excluded = frozenset(ws.id for ws in exclude)
    if isinstance(message, str):
        return message.encode(), True, excluded
    return message, False, excluded
