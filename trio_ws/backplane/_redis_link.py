"""`RedisLink`: one hub's link to Redis.

Theory of operation
===================

A link has one task that keeps a session with Redis going (`RedisLink.run`), as long as that
works, and tries again after a growing pause. Within a session there are tasks that write, receive,
subscribe, and look after things. Nothing of coredis tries again by itself: what it makes up for
without a word, messages are missing from.

A message goes out with whatever else was published in the same turn of the event loop, and comes
back over the link's own subscription, in one order for all. Until it has come back it is pending.
When the session is lost, what is pending is delivered here, and so is what is published from then
on: members of this process go without nothing.

In a new session, topics are subscribed to again. Where a topic has a history, what was published
meanwhile is read from it; else its members are told that something may be missing.
"""

from __future__ import annotations

import itertools
import json
import logging
import math
import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import anyio
import coredis
import trio
from coredis.retry import NoRetryPolicy

from .._backoff import Backoff
from .._settings import MIB
from ._interface import Envelope, Gap, Link, Position, Presence, PresenceChange, Replay
from ._redis_store import ALIVE, Outgoing, Store, envelope_of, kept
from ._redis_wire import Message, decode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from ._interface import History, Receiver

_logger: Final = logging.getLogger("trio_ws.backplane")

#: Channels that are subscribed to in one command: with more, Redis takes too long to confirm.
_CHANNELS: Final = 1000
#: Seconds that a topic stays subscribed to after its last member has left.
_LINGER: Final = 5.0
#: Bytes that are published and have not come back, beyond which publishers wait, or messages are
#: dropped.
_MAX_PENDING: Final = 4 * MIB
#: Bytes that a message takes beside its payload, more or less.
_OVERHEAD: Final = 300
#: Messages that have come from Redis and are not handed out, beyond which they are missed: a new
#: session begins, and with it those of them that are in a history are read from there.
_MOST_UNTAKEN: Final = 20_000
#: Seconds between two signs of life.
_PULSE: Final = 5.0
#: Seconds that the last messages and farewells have when a link is closed.
_LAST_WORDS: Final = 2.0
#: How coredis is told that there is nobody any more.
_CUT: Final = (
    EOFError,
    trio.BrokenResourceError,
    trio.ClosedResourceError,
    anyio.BrokenResourceError,
    anyio.ClosedResourceError,
    anyio.EndOfStream,
)
#: What the network, Redis and coredis may do; everything else is a fault of this module's.
_EXPECTED: Final = (coredis.exceptions.RedisError, OSError, TimeoutError, trio.TooSlowError, *_CUT)
_BACKOFF: Final = Backoff(initial=0.2, maximum=10.0)


@dataclass(eq=False, slots=True)
class _Topic:
    """What a link knows of a topic.

    Attributes:
      name: its name.
      history: how much of it is kept.
      wanted: whether it is subscribed to, as far as the hub is concerned.
      lingers_until: when it is unsubscribed from, where it is not wanted any more.
      subscribed: whether it is, in this session.
      gap: why something may be missing, since a session was lost.
      start: where it was when it was subscribed to.
      last: the position of the last message that came.
      members: who is in it, by id; of all nodes.
      refresh_at: when its history is to be kept for longer.
    """

    name: str
    history: History | None = None
    wanted: bool = True
    lingers_until: float = math.inf
    subscribed: bool = False
    gap: str | None = None
    start: Position | None = None
    last: Position | None = None
    members: dict[str, Presence] = field(default_factory=dict)
    refresh_at: float = 0.0


@dataclass(frozen=True, slots=True)
class _Pending:
    """A message on its way to Redis and back."""

    envelope: Envelope
    since: float


class RedisLink(Link):
    """One hub's link."""

    def __init__(
        self,
        make_client: Callable[[], Any],
        receiver: Receiver,
        *,
        prefix: str,
        timeout: float,
    ) -> None:
        self.node = secrets.token_hex(6)
        self.dropped = 0
        self._make_client = make_client
        self._receiver = receiver
        self._timeout = timeout
        self._store = Store(prefix, self.node, timeout)
        self._topics: dict[str, _Topic] = {}
        self._own: dict[tuple[str, str], Presence] = {}
        # Of this node, and still said to be there by Redis.
        self._stale: list[tuple[str, Presence]] = []
        self._numbers = itertools.count(1)
        self._pending: dict[int, _Pending] = {}
        self._pending_size = 0
        self._outgoing = Outgoing()
        self._connected = False
        self._client: Any = None
        # Something about subscriptions has changed.
        self._changed = trio.Event()
        # For whoever waits for room, or for a subscription.
        self._waiting = trio.lowlevel.ParkingLot()

    # The hub's side

    @property
    def connected(self) -> bool:
        return self._connected

    def publish(
        self,
        topic: str,
        payload: bytes,
        *,
        text: bool,
        exclude: frozenset[str] = frozenset(),
        history: History | None = None,
    ) -> None:
        envelope = Envelope(
            topic=topic, payload=payload, text=text, node=self.node, exclude=exclude
        )
        if not self._connected or self._size() > 2 * _MAX_PENDING:
            self.dropped += 1
            self._deliver(envelope)
            return
        sequence = next(self._numbers)
        known = self._topics.get(topic)
        if known is not None and known.subscribed:
            self._pending[sequence] = _Pending(envelope, trio.current_time())
            self._pending_size += len(payload) + _OVERHEAD
        else:
            # It may not come back, and is ignored if it does.
            self._deliver(envelope)
        command = self._store.publish(envelope, sequence, history)
        self._outgoing.put(command, len(payload), sequence)

    def has_room(self, topic: str) -> bool:
        return self._receiver.has_room(topic) and not self._is_full()

    def _is_full(self) -> bool:
        return self._connected and self._size() > _MAX_PENDING

    def _size(self) -> int:
        """Bytes that are on their way."""
        return self._outgoing.size + self._pending_size

    def _take_pending(self, sequence: int) -> _Pending | None:
        pending = self._pending.pop(sequence, None)
        if pending is not None:
            self._pending_size -= len(pending.envelope.payload) + _OVERHEAD
            self._waiting.unpark_all()
        return pending

    async def wait_room(self, topic: str) -> None:
        await trio.lowlevel.checkpoint()
        if not self._receiver.has_room(topic):
            await self._receiver.wait_room(topic)
        while self._is_full():
            await self._waiting.park()

    def subscribe(self, topic: str, history: History | None = None) -> None:
        known = self._topics.get(topic)
        if known is None:
            known = self._topics[topic] = _Topic(topic)
        known.wanted = True
        known.lingers_until = math.inf
        known.history = history
        self._changed.set()

    def unsubscribe(self, topic: str) -> None:
        known = self._topics.get(topic)
        if known is not None and known.wanted:
            known.wanted = False
            known.lingers_until = trio.current_time() + _LINGER
            self._changed.set()
            self._waiting.unpark_all()

    async def wait_subscribed(self, topic: str) -> None:
        await trio.lowlevel.checkpoint()
        while (
            self._connected
            and (known := self._topics.get(topic)) is not None
            and known.wanted
            and not known.subscribed
        ):
            await self._waiting.park()

    async def replay(self, topic: str, since: Position | None) -> Replay:
        known = self._topics.get(topic)
        if not self._connected or known is None or known.history is None:
            await trio.lowlevel.checkpoint()
            return Replay()
        try:
            return await self._store.read_history(self._client, topic, known.history, since)
        except Exception as error:
            _logger.warning("no history of %a: %s", topic, _text(_innermost(error)))
            return Replay()

    def enter(self, topic: str, info: Mapping[str, Any]) -> Presence:
        member = Presence(id=f"{self.node}-{next(self._numbers)}", node=self.node, info=info)
        self._own[topic, member.id] = member
        known = self._topics.get(topic)
        if known is not None:
            known.members[member.id] = member
        self._tell(topic, member, joined=True)
        self._announce(topic, member, joined=True)
        return member

    def leave(self, topic: str, member: Presence) -> None:
        if self._own.pop((topic, member.id), None) is not None:
            if (known := self._topics.get(topic)) is not None:
                known.members.pop(member.id, None)
            self._tell(topic, member, joined=False)
            self._announce(topic, member, joined=False)

    async def present(self, topic: str) -> tuple[Presence, ...]:
        await trio.lowlevel.checkpoint()
        everybody = {one.id: one for (name, _), one in self._own.items() if name == topic}
        if self._connected:
            try:
                (others,) = await self._store.read_presence(self._client, [topic])
            except Exception as error:
                why = _text(_innermost(error))
                _logger.warning("who is in %a is known of this process only: %s", topic, why)
            else:
                # In the order in which Redis has them; own ones that it has not yet come last.
                everybody = {
                    **{
                        key: everybody.get(key, other)
                        for key, other in others.items()
                        # Of its own, it knows better.
                        if other.node != self.node or key in everybody
                    },
                    **everybody,
                }
        return tuple(everybody.values())

    # Sessions

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Keep a session going until cancelled. Started when one is there, or cannot be had."""
        failures = 0
        started = trio.Event()

        async def tell_started() -> None:
            await started.wait()
            task_status.started()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(tell_started)
            while True:
                began = trio.current_time()
                cause: BaseException | None = None
                try:
                    await self._session(started)
                except BaseException as error:
                    if not isinstance(_innermost(error), Exception):
                        raise
                    # coredis may say that it was cut off while this is cancelled as well.
                    await trio.lowlevel.checkpoint_if_cancelled()
                    cause = _innermost(error)
                    if not isinstance(cause, _EXPECTED):
                        _logger.exception("a session with Redis crashed")
                finally:
                    self._end_session(cause, first=not started.is_set())
                started.set()
                failures = 1 if trio.current_time() - began > ALIVE else failures + 1
                await trio.sleep(_BACKOFF.delay(failures))

    async def _session(self, started: trio.Event) -> None:
        self._client = self._make_client()
        async with self._client as client:
            await self._store.open(client)
            async with client.pubsub(
                retry_policy=NoRetryPolicy(),
                # Always one, so that it never ends for want of a subscription.
                channels=[self._store.node_channel()],
                subscription_timeout=self._timeout,
                max_idle_seconds=max(1, int(self._timeout)),
            ) as pubsub:
                await self._subscribe(pubsub, list(self._topics.values()))
                await self._catch_up()
                self._connected = True
                self._receiver.connection_changed(connected=True)
                self._waiting.unpark_all()
                for (topic, _), member in self._own.items():
                    self._announce(topic, member, joined=True)
                for topic, member in self._stale:
                    self._announce(topic, member, joined=False)
                self._stale.clear()
                started.set()
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._receive, pubsub)
                    nursery.start_soon(self._write, client)
                    nursery.start_soon(self._keep_subscribed, pubsub)
                    nursery.start_soon(self._look_after)

    def _end_session(self, cause: BaseException | None, *, first: bool) -> None:
        """What was under way is delivered here, and the hub is told why; ``None``: it closes."""
        lost, self._connected = self._connected, False
        self._client = None
        self.dropped += self._outgoing.clear()
        pending, self._pending, self._pending_size = self._pending, {}, 0
        for topic in self._topics.values():
            if topic.subscribed:
                topic.subscribed = False
                topic.gap = f"Redis was gone: {_text(cause)}"
        for one in pending.values():
            self._deliver(one.envelope)
        if cause is not None and (lost or first):
            self._receiver.connection_changed(connected=False, cause=_text(cause))
        self._waiting.unpark_all()

    async def close(self, code: int) -> None:
        """Say goodbye, where Redis is there to hear it."""
        for (name, _), member in tuple(self._own.items()):
            self.leave(name, member)
        for known in self._topics.values():
            if known.history is not None:
                # For as long as its history says, from now on.
                self._outgoing.put(self._store.keep_history(known.name, known.history))
        self._outgoing.put(self._store.die())
        if self._connected:
            with trio.move_on_after(_LAST_WORDS, shield=True):
                await self._outgoing.idle.wait()
        await trio.lowlevel.checkpoint()

    # Writing

    async def _write(self, client: Any) -> None:
        while True:
            taken = await self._outgoing.take()
            size = sum(size for _, size, _ in taken)
            requests = []
            async with client.pipeline(transaction=False, raise_on_error=False) as pipe:
                for command, _, sequence in taken:
                    requests += [(one, sequence) for one in command(pipe)]
            for request, sequence in requests:
                try:
                    await request
                except Exception as error:
                    self._refused(sequence, error)
            self._outgoing.done(size)
            self._waiting.unpark_all()

    def _refused(self, sequence: int | None, error: Exception) -> None:
        """Redis would not do something: others do not get it."""
        if not isinstance(error, coredis.exceptions.ResponseError) or isinstance(
            error, coredis.exceptions.NoScriptError
        ):
            # It was cut off; or it has forgotten the scripts, which the next session loads again.
            raise error
        _logger.error("Redis refused: %s", error)
        if sequence is not None:
            self.dropped += 1
        pending = None if sequence is None else self._take_pending(sequence)
        if pending is not None:
            self._deliver(pending.envelope)

    def _announce(self, topic: str, member: Presence, *, joined: bool) -> None:
        """Tell the others that somebody came or went."""
        if self._connected:
            self._outgoing.put(self._store.announce(topic, member, joined=joined))

    # Receiving

    async def _receive(self, pubsub: Any) -> None:
        # coredis holds what is not taken yet, without a bound; and tells how much only in private.
        held = getattr(pubsub, "_receive_stream", None)
        while True:
            received = await pubsub.get_message()
            if held is not None and held.statistics().current_buffer_used > _MOST_UNTAKEN:
                raise coredis.exceptions.ConnectionError(
                    f"it sends faster than this process takes: {_MOST_UNTAKEN} messages wait"
                )
            if received is None or received["type"] != "message":
                continue
            topic = self._topics.get(self._store.topic_of(bytes(received["channel"])) or "")
            if topic is None:
                continue
            try:
                message = decode(bytes(received["data"]))
            except ValueError as error:
                _logger.warning("%a: %s", topic.name, error)
                continue
            if message.presence:
                self._take_presence(topic, message)
            else:
                await self._take(topic, message)

    async def _take(self, topic: _Topic, message: Message) -> None:
        """Deliver a message, and before it what is missing."""
        position = Position(message.epoch, message.offset) if message.epoch else None
        last = topic.last
        if position is not None and last is not None:
            if position.epoch != last.epoch:
                self._missed(topic, "its history was lost")
            elif position.offset <= last.offset:
                # It was read from the history already.
                if message.node == self.node:
                    self._take_pending(message.sequence)
                return
            elif position.offset > last.offset + 1:
                await self._read_missing(topic, last, up_to=position)
        self._accept(topic, message, position)

    def _accept(self, topic: _Topic, message: Message, position: Position | None) -> None:
        if position is not None:
            topic.last = position
        # What is not pending any more was delivered when a session was lost.
        if message.node == self.node and self._take_pending(message.sequence) is None:
            return
        self._deliver(envelope_of(topic.name, message, position))

    def _deliver(self, envelope: Envelope) -> None:
        known = self._topics.get(envelope.topic)
        if known is not None and known.wanted:
            self._receiver.deliver(envelope)

    def _missed(self, topic: _Topic, cause: str, count: int | None = None) -> None:
        if topic.wanted:
            self._receiver.missed(Gap(topic=topic.name, cause=cause, missed=count))

    async def _read_missing(
        self, topic: _Topic, last: Position, *, up_to: Position | None = None
    ) -> None:
        """Deliver what came after *last*, from the history; or tell that it is missing."""
        assert topic.history is not None
        replay = await self._store.read_history(self._client, topic.name, topic.history, last)
        for message in replay.envelopes if replay.recovered else ():
            position = message.position
            assert position is not None
            if up_to is not None and position.offset >= up_to.offset:
                break
            if message.node != self.node:
                topic.last = position
                self._deliver(message)
        if not replay.recovered:
            missed = None if up_to is None else up_to.offset - last.offset - 1
            self._missed(topic, topic.gap or "messages did not come", missed)
            topic.last, topic.start = None, replay.position
        elif up_to is None:
            topic.last = replay.position

    # Subscriptions

    async def _keep_subscribed(self, pubsub: Any) -> None:
        """Subscribe to what is wanted, and after a while unsubscribe from what is not any more."""
        while True:
            now = trio.current_time()
            due = [one for one in self._topics.values() if one.lingers_until <= now]
            for topic in due:
                del self._topics[topic.name]
            for some in _chunks([one for one in due if one.subscribed]):
                await pubsub.unsubscribe(*(self._store.channel(one.name) for one in some))
            await self._subscribe(
                pubsub, [one for one in self._topics.values() if not one.subscribed]
            )
            wait_until = min((one.lingers_until for one in self._topics.values()), default=math.inf)
            with trio.move_on_at(wait_until):
                await self._changed.wait()
            self._changed = trio.Event()

    async def _subscribe(self, pubsub: Any, topics: list[_Topic]) -> None:
        for some in _chunks(topics):
            await pubsub.subscribe(*(self._store.channel(one.name) for one in some))
            names = [one.name for one in some]
            there = await self._store.read_presence(self._client, names)
            for topic, members in zip(some, there, strict=True):
                self._compare(topic, members)
                if topic.history is not None and topic.last is None and topic.start is None:
                    replay = await self._store.read_history(
                        self._client, topic.name, topic.history, None
                    )
                    topic.start = replay.position
                topic.subscribed = True
            self._waiting.unpark_all()

    async def _catch_up(self) -> None:
        """Make up for what came while there was no session, as far as there is a history."""
        for topic in tuple(self._topics.values()):
            if topic.gap is None:
                continue
            since = topic.last or topic.start
            if topic.history is not None and since is not None:
                await self._read_missing(topic, since)
            else:
                self._missed(topic, topic.gap)
            topic.gap = None

    # Presence

    def _take_presence(self, topic: _Topic, message: Message) -> None:
        if message.node == self.node:
            return
        try:
            told = json.loads(message.payload)
            member = Presence(id=told["id"], node=message.node, info=told["info"])
            joined = bool(told["joined"])
        except (ValueError, KeyError, TypeError) as error:
            _logger.warning("%a: nobody's presence: %s", topic.name, error)
            return
        if joined is (member.id in topic.members):
            return
        if joined:
            topic.members[member.id] = member
        else:
            del topic.members[member.id]
        self._tell(topic.name, member, joined=joined)

    def _tell(self, topic: str, member: Presence, *, joined: bool) -> None:
        known = self._topics.get(topic)
        if known is not None and known.wanted:
            self._receiver.presence_changed(
                PresenceChange(topic=topic, member=member, joined=joined)
            )

    def _compare(self, topic: _Topic, members: dict[str, Presence]) -> None:
        """Take *members* for who is there; after a gap, tell what has changed."""
        for member in tuple(topic.members.values()):
            if member.node != self.node and member.id not in members:
                del topic.members[member.id]
                self._tell(topic.name, member, joined=False)
        for member in members.values():
            if member.node == self.node and (topic.name, member.id) not in self._own:
                # It left while nobody could be told.
                self._stale.append((topic.name, member))
            elif member.id not in topic.members and member.node != self.node:
                topic.members[member.id] = member
                if topic.gap is not None:
                    self._tell(topic.name, member, joined=True)

    async def _look_after(self) -> None:
        """Give signs of life, miss those of others, and keep histories that are in use."""
        while True:
            await trio.sleep(min(_PULSE, self._timeout))
            now = trio.current_time()
            self._outgoing.put(self._store.live())
            for topic in self._topics.values():
                if topic.history is not None and topic.refresh_at <= now:
                    topic.refresh_at = now + kept(topic.history) / 4
                    self._outgoing.put(self._store.keep_history(topic.name, topic.history))
            for name in {topic for topic, _ in self._own}:
                self._outgoing.put(self._store.keep_presence(name))
            await self._miss_nodes()
            oldest = next(iter(self._pending.values()), None)
            if oldest is not None and oldest.since + self._timeout < now:
                raise coredis.exceptions.ConnectionError("a message did not come back in time")

    async def _miss_nodes(self) -> None:
        known = {
            member.node for topic in self._topics.values() for member in topic.members.values()
        }
        gone = await self._store.gone_nodes(self._client, known)
        for topic in self._topics.values() if gone else ():
            left = [one for one in topic.members.values() if one.node in gone]
            for member in left:
                del topic.members[member.id]
                self._tell(topic.name, member, joined=False)
            if left:
                ids = [one.id for one in left]
                self._outgoing.put(self._store.remove_presence(topic.name, ids))


def _chunks(topics: list[_Topic]) -> Iterable[list[_Topic]]:
    for start in range(0, len(topics), _CHANNELS):
        yield topics[start : start + _CHANNELS]


def _innermost(error: BaseException) -> BaseException:
    """What it comes from: coredis raises groups within groups, and causes behind causes."""
    while True:
        if isinstance(error, BaseExceptionGroup):
            others = error.split(trio.Cancelled)[1]
            error = (others or error).exceptions[0]
        elif isinstance(error, coredis.exceptions.ConnectionError) and error.__cause__ is not None:
            error = error.__cause__
        else:
            return error


def _text(error: BaseException | None) -> str:
    """For people, in ASCII."""
    if isinstance(error, trio.TooSlowError | TimeoutError):
        return "it did not answer in time"
    if isinstance(error, _CUT):
        return "the connection was cut"
    return ascii(str(error))[1:-1] or type(error).__name__
