"""What a backplane is: the interface between a hub and what joins it with others.

Theory of operation
===================

Each hub has a `Link`, for the length of `Backplane.connect`, and is its `Receiver`::

    hub.publish() -> Link.publish() ~~~~> Receiver.deliver() -> members, in every process

A message comes back to the hub that published it by the same way as to every other, so that there
is one order of a topic's messages, and one place where they get their `Position`.

Rules that every backplane keeps:

1. What goes out never waits: `Link.publish`, `subscribe`, `unsubscribe`, `enter` and `leave` are
   synchronous. What has not been sent yet is bounded; beyond the bound messages are dropped and
   counted (`Link.dropped`). `Link.wait_room` is where a publisher waits, and it never waits for a
   network that is gone.
2. A message that was published while the link was subscribed to its topic is delivered to the
   link's own receiver exactly once, sooner or later, whatever becomes of the network; to others,
   at most once.
3. A topic's messages are delivered in one order. Where they have positions, offsets of one epoch
   grow by one; whatever is missing in between is told before (`Receiver.missed`).
4. Receivers are called in the event loop's thread. They do not block and do not raise.
5. A link that has closed has unsubscribed from everything, and its members are present no more.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from .._settings import MIB

if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextlib import AbstractAsyncContextManager


@dataclass(frozen=True, slots=True)
class Position:
    """A place in a topic's sequence of messages: behind the one with this offset.

    A client that remembers the position of the last message it has seen can be brought up to date
    after an absence (``since=``). ``str()`` of it is short and safe to send to clients; `parse`
    reads it back.

    Attributes:
      epoch: names the sequence. When a topic's history is lost, a new sequence begins, and
        positions in the old one mean nothing any more.
      offset: the number of the message, from 1; 0 is before the first.
      OLDEST: before everything that is kept, in whatever epoch.
    """

    epoch: str
    offset: int

    OLDEST: ClassVar[Position]

    def __str__(self) -> str:
        return f"{self.epoch}:{self.offset}"

    @classmethod
    def parse(cls, text: str) -> Position:
        """The position that ``str()`` gave.

        Raises:
          ValueError: it is none; clients may send anything.
        """
        epoch, separator, offset = text.rpartition(":")
        if not separator or not (offset.isascii() and offset.isdigit()) or len(offset) > 18:
            raise ValueError(f"not a position: {text[:80]!a}")
        return cls(epoch, int(offset))


Position.OLDEST = Position("", 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """How much of a topic is kept, for those who come back or come late.

    Whichever bound is met first; what is beyond is forgotten, oldest first.

    Attributes:
      messages: how many.
      seconds: for how long.
      size: bytes of payload.
    """

    messages: int = 100
    seconds: float = 300.0
    size: int = MIB

    def __post_init__(self) -> None:
        for name in ("messages", "seconds", "size"):
            value = getattr(self, name)
            if not isinstance(value, int | float) or not value > 0:
                raise ValueError(f"History.{name} must be a positive number, not {value!r}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """A message on its way to the members of a topic.

    Attributes:
      topic: which.
      payload: the message; of text, its UTF-8.
      text: whether it is text.
      node: `Link.node` of whoever published it.
      exclude: `WebSocket.id` of connections of that node which do not get it.
      position: behind this message; ``None`` where the backplane does not number them.
    """

    topic: str
    payload: bytes
    text: bool
    node: str
    exclude: frozenset[str] = frozenset()
    position: Position | None = None

    @property
    def message(self) -> str | bytes:
        """The message as `WebSocket.send` takes it."""
        return self.payload.decode() if self.text else self.payload


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """What `Link.replay` found.

    Attributes:
      envelopes: the messages after the position that was asked for, in order.
      position: behind the newest message of the topic; ``None`` where that is not known.
      recovered: whether *envelopes* is everything since then. ``False``: some of it is no longer
        kept, or the topic's history was lost, and then there are none.
    """

    envelopes: tuple[Envelope, ...] = ()
    position: Position | None = None
    recovered: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Presence:
    """Somebody who is in a topic.

    Attributes:
      id: names this stay; unique among all processes, and never used again.
      node: `Link.node` of the process whose member it is.
      info: what the application says of it; what JSON can say, where a backplane leaves the
        process.
    """

    id: str
    node: str
    info: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class PresenceChange:
    """Somebody joined a topic, or left it.

    Attributes:
      topic: which.
      member: who.
      joined: which of the two.
    """

    topic: str
    member: Presence
    joined: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """Messages of a topic may have been missed.

    Attributes:
      topic: which.
      cause: why, for people.
      missed: how many; ``None`` where that is not known.
    """

    topic: str
    cause: str
    missed: int | None = None


class Receiver(ABC):
    """What a backplane tells of: the hub. Nothing here raises; only `wait_room` waits."""

    __slots__ = ()

    @abstractmethod
    def deliver(self, envelope: Envelope) -> None:
        """The next message of a topic that the link is subscribed to."""

    @abstractmethod
    def presence_changed(self, change: PresenceChange) -> None:
        """Somebody joined or left a topic that the link is subscribed to, here or elsewhere."""

    @abstractmethod
    def missed(self, gap: Gap) -> None:
        """Messages before the next one that is delivered may have been missed."""

    @abstractmethod
    def connection_changed(self, *, connected: bool, cause: str = "") -> None:
        """`Link.connected` has changed; *cause* says why, for people."""

    @abstractmethod
    def has_room(self, topic: str) -> bool:
        """Whether the topic's members have been given nearly all that was delivered."""

    @abstractmethod
    async def wait_room(self, topic: str) -> None:
        """Wait until that may have changed, for whoever would otherwise deliver without end."""


class Link(ABC):
    """A hub's link to its backplane: what `Backplane.connect` gives.

    Attributes:
      node: names the hub among all hubs; unique, and new for each link.
      dropped: messages that were published here and that no other process will get.
    """

    __slots__ = ()

    node: str
    dropped: int

    @property
    @abstractmethod
    def connected(self) -> bool:
        """Whether other processes can be reached."""

    @abstractmethod
    def publish(
        self,
        topic: str,
        payload: bytes,
        *,
        text: bool,
        exclude: frozenset[str] = frozenset(),
        history: History | None = None,
    ) -> None:
        """Send a message to all who are subscribed to *topic*, this link included.

        Args:
          topic: which.
          payload: the message; of text, its UTF-8.
          text: whether it is text.
          exclude: see `Envelope.exclude`.
          history: how much of the topic to keep, this message included; ``None`` for nothing.
        """

    @abstractmethod
    def has_room(self, topic: str) -> bool:
        """Whether `publish` may be called without `wait_room`."""

    @abstractmethod
    async def wait_room(self, topic: str) -> None:
        """Wait until `has_room` may be true again.

        It is bounded, and does not wait for a network that is gone: then messages are dropped.

        Cancellation: nothing happened.
        """

    @abstractmethod
    def subscribe(self, topic: str, history: History | None = None) -> None:
        """Have the topic's messages and changes of presence delivered, from some time on.

        Args:
          topic: which.
          history: as in `publish`. Where there is one, positions in the topic mean something for at
            least ``History.seconds`` after the last has unsubscribed, published to or not.
        """

    @abstractmethod
    async def wait_subscribed(self, topic: str) -> None:
        """Wait until messages published from now on, anywhere, are delivered.

        Where the network is gone it returns at once: the subscription is made when it is back. It
        returns also when the topic is unsubscribed from meanwhile.

        Cancellation: nothing happened; the subscription goes on.
        """

    @abstractmethod
    def unsubscribe(self, topic: str) -> None:
        """Have nothing more delivered of the topic."""

    @abstractmethod
    async def replay(self, topic: str, since: Position | None) -> Replay:
        """What was published since then, of what is kept; ``None``: only where the topic is.

        After `wait_subscribed`, nothing is missing between what this gives and what is delivered;
        what comes both ways has the same position.

        Where the network is gone, nothing is recovered. Cancellation: nothing happened.
        """

    @abstractmethod
    def enter(self, topic: str, info: Mapping[str, Any]) -> Presence:
        """Somebody has joined the topic here: all who are subscribed to it are told.

        The link must be subscribed to it, and stay so until everybody has left again.
        A node that dies without a word is noticed by the backplane, and its members have left.
        """

    @abstractmethod
    def leave(self, topic: str, member: Presence) -> None:
        """Who joined the topic here has left it."""

    @abstractmethod
    async def present(self, topic: str) -> tuple[Presence, ...]:
        """Who is in the topic, in all processes; where the network is gone, of this node.

        Cancellation: nothing happened.
        """


class Backplane(ABC):
    """Joins hubs: those that are connected to it share their topics."""

    __slots__ = ()

    @abstractmethod
    def connect(self, receiver: Receiver) -> AbstractAsyncContextManager[Link]:
        """A link for the length of an ``async with`` block, in whose task's nursery it lives.

        Entering does not wait for a network that is not there. At the end of the block what was
        published is sent, if that can be done at once, and the link is closed.
        """
