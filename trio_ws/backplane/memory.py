"""`MemoryBackplane`: topics within one process. Nothing waits, and nothing is ever missed."""

from __future__ import annotations

import itertools
import secrets
from collections import OrderedDict, deque
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import trio

from ._interface import (
    Backplane,
    Envelope,
    Link,
    Position,
    Presence,
    PresenceChange,
    Replay,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping

    from ._interface import History, Receiver


class MemoryBackplane(Backplane):
    """Joins the hubs of one process. A hub that is given no backplane has one of these to itself.

    Like the hubs, it belongs to one thread: that of their event loop.

    A topic that nobody is subscribed to is kept as long as its history lasts. Names of topics
    often come from peers, so how many of those are kept is bounded.

    Args:
      max_idle_topics: topics with a history and without subscribers. Beyond, the one that has
        been so for longest is forgotten, and with it its epoch: who comes back is told that it
        cannot be brought up to date.
    """

    def __init__(self, *, max_idle_topics: int = 10_000) -> None:
        self._max_idle_topics = max_idle_topics
        self._topics: dict[str, _Topic] = {}
        # Topics without subscribers, the one without for longest first.
        self._idle: OrderedDict[str, _Topic] = OrderedDict()

    def __repr__(self) -> str:
        return f"<MemoryBackplane: {len(self._topics)} topics>"

    @asynccontextmanager
    async def connect(self, receiver: Receiver) -> AsyncGenerator[Link]:
        """A link for the length of the block; see `Backplane.connect`."""
        await trio.lowlevel.checkpoint()
        link = _MemoryLink(self, receiver)
        try:
            yield link
        finally:
            link.close()

    def topic(self, name: str) -> _Topic | None:
        """The topic, if anything is known of it."""
        self._forget_expired()
        return self._topics.get(name)

    def topic_in_use(self, name: str) -> _Topic:
        """The topic, for who is about to put something in it; then call `settle`."""
        topic = self.topic(name)
        if topic is None:
            topic = self._topics[name] = _Topic()
        return topic

    def settle(self, name: str, topic: _Topic) -> None:
        """Keep the topic, or forget it, as it is in use or not."""
        if topic.links:
            self._idle.pop(name, None)
        elif topic.kept_for:
            topic.expires_at = trio.current_time() + topic.kept_for
            self._idle[name] = topic
            self._idle.move_to_end(name)
            if len(self._idle) > self._max_idle_topics:
                self._forget_oldest()
        else:
            del self._topics[name]

    def _forget_expired(self) -> None:
        now = trio.current_time()
        while self._idle and next(iter(self._idle.values())).expires_at <= now:
            self._forget_oldest()

    def _forget_oldest(self) -> None:
        name, _ = self._idle.popitem(last=False)
        del self._topics[name]


class _Topic:
    """What is known of one topic.

    Attributes:
      links: who is subscribed.
      present: who is in it.
      entries: what is kept, with the time when each message expires.
      kept_for: seconds that the topic is kept when nobody is subscribed to it any more.
      expires_at: until when, then.
    """

    __slots__ = (
        "_size",
        "entries",
        "epoch",
        "expires_at",
        "kept_for",
        "links",
        "offset",
        "present",
    )

    def __init__(self) -> None:
        self.epoch = secrets.token_hex(6)
        self.offset = 0
        self.links: dict[_MemoryLink, None] = {}
        self.present: dict[str, Presence] = {}
        self.entries: deque[tuple[float, Envelope]] = deque()
        self.kept_for = 0.0
        self.expires_at = 0.0
        self._size = 0

    @property
    def position(self) -> Position:
        return Position(self.epoch, self.offset)

    def next_position(self) -> Position:
        self.offset += 1
        return self.position

    def keep(self, envelope: Envelope, history: History | None) -> None:
        """Remember a message, and forget what is beyond the bounds."""
        if history is None:
            # What came before is of no use with a hole behind it.
            self.entries.clear()
            self._size = 0
            return
        self.kept_for = history.seconds
        self.entries.append((trio.current_time() + history.seconds, envelope))
        self._size += len(envelope.payload)
        while len(self.entries) > history.messages or self._size > history.size:
            self._forget_first()
        self._forget_expired()

    def replay(self, since: Position | None) -> Replay:
        if since is None:
            return Replay(position=self.position)
        self._forget_expired()
        kept = tuple(envelope for _, envelope in self.entries)
        if since == Position.OLDEST:
            return Replay(envelopes=kept, position=self.position, recovered=True)
        missed = self.offset - since.offset
        if since.epoch != self.epoch or not 0 <= missed <= len(kept):
            return Replay(position=self.position)
        newest = kept[len(kept) - missed :]
        return Replay(envelopes=newest, position=self.position, recovered=True)

    def tell(self, change: PresenceChange) -> None:
        for link in tuple(self.links):
            link.receiver.presence_changed(change)

    def _forget_expired(self) -> None:
        now = trio.current_time()
        while self.entries and self.entries[0][0] <= now:
            self._forget_first()

    def _forget_first(self) -> None:
        _, envelope = self.entries.popleft()
        self._size -= len(envelope.payload)


class _MemoryLink(Link):
    """One hub's link. Everything is done at once, so nothing is ever dropped."""

    __slots__ = ("_backplane", "_ids", "_subscribed", "dropped", "node", "receiver")

    def __init__(self, backplane: MemoryBackplane, receiver: Receiver) -> None:
        self.node = secrets.token_hex(6)
        self.dropped = 0
        self.receiver = receiver
        self._backplane = backplane
        self._subscribed: dict[str, _Topic] = {}
        self._ids = itertools.count(1)

    @property
    def connected(self) -> bool:
        return True

    def publish(
        self,
        topic: str,
        payload: bytes,
        *,
        text: bool,
        exclude: frozenset[str] = frozenset(),
        history: History | None = None,
    ) -> None:
        known = self._backplane.topic(topic)
        if known is None:
            if history is None:
                return
            known = self._backplane.topic_in_use(topic)
        envelope = Envelope(
            topic=topic,
            payload=payload,
            text=text,
            node=self.node,
            exclude=exclude,
            position=known.next_position(),
        )
        known.keep(envelope, history)
        for link in tuple(known.links):
            link.receiver.deliver(envelope)
        if not known.links:
            self._backplane.settle(topic, known)

    def has_room(self, topic: str) -> bool:
        return self._without_room(topic) is None

    async def wait_room(self, topic: str) -> None:
        receiver = self._without_room(topic)
        if receiver is None:
            await trio.lowlevel.checkpoint()
        else:
            await receiver.wait_room(topic)

    def _without_room(self, topic: str) -> Receiver | None:
        known = self._backplane.topic(topic)
        if known is not None:
            for link in known.links:
                if not link.receiver.has_room(topic):
                    return link.receiver
        return None

    def subscribe(self, topic: str, history: History | None = None) -> None:
        known = self._subscribed[topic] = self._backplane.topic_in_use(topic)
        known.links[self] = None
        if history is not None:
            known.kept_for = history.seconds
        self._backplane.settle(topic, known)

    async def wait_subscribed(self, topic: str) -> None:
        await trio.lowlevel.checkpoint()

    def unsubscribe(self, topic: str) -> None:
        known = self._subscribed.pop(topic, None)
        if known is not None:
            del known.links[self]
            self._backplane.settle(topic, known)

    async def replay(self, topic: str, since: Position | None) -> Replay:
        await trio.lowlevel.checkpoint()
        known = self._backplane.topic(topic)
        return Replay() if known is None else known.replay(since)

    def enter(self, topic: str, info: Mapping[str, Any]) -> Presence:
        member = Presence(id=f"{self.node}-{next(self._ids)}", node=self.node, info=info)
        known = self._backplane.topic(topic)
        if known is not None:
            known.present[member.id] = member
            known.tell(PresenceChange(topic=topic, member=member, joined=True))
        return member

    def leave(self, topic: str, member: Presence) -> None:
        known = self._backplane.topic(topic)
        if known is not None and known.present.pop(member.id, None) is not None:
            known.tell(PresenceChange(topic=topic, member=member, joined=False))

    async def present(self, topic: str) -> tuple[Presence, ...]:
        await trio.lowlevel.checkpoint()
        known = self._backplane.topic(topic)
        return () if known is None else tuple(known.present.values())

    def close(self) -> None:
        for topic, known in tuple(self._subscribed.items()):
            gone = [member for member in known.present.values() if member.node == self.node]
            self.unsubscribe(topic)
            for member in gone:
                self.leave(topic, member)
