"""`Inbound`: what the backplane tells the hub."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

import trio

from .._fragments import normalized
from ..backplane import Receiver
from ..instrumentation import BackplaneChanged, MessagesMissed
from ..protocol.prepared import Prepared

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ..backplane import Envelope, Gap, Position, PresenceChange
    from ..instrumentation import Hooks
    from .topics import Topic

_NOBODY: Final[frozenset[str]] = frozenset()

_logger: Final = logging.getLogger("trio_ws.hub")


class Inbound(Receiver):
    """Gives what comes from the backplane to the hub's topics.

    Args:
      topics: the hub's.
      stamp: see `Hub`.
      on_gap: see `Hub`.
      hooks: the hub's.

    Attributes:
      node: the link's.
      gaps: how many times messages may have been missed.
    """

    __slots__ = ("_hooks", "_on_gap", "_stamp", "_topics", "gaps", "node")

    def __init__(
        self,
        topics: Mapping[str, Topic],
        *,
        stamp: Callable[[str | bytes, Position | None], str | bytes] | None,
        on_gap: Callable[[Gap], None] | None,
        hooks: Hooks,
    ) -> None:
        self.node = ""
        self.gaps = 0
        self._topics = topics
        self._stamp = stamp
        self._on_gap = on_gap
        self._hooks = hooks

    def deliver(self, envelope: Envelope) -> None:
        topic = self._topics.get(envelope.topic)
        prepared = None if topic is None else self.prepared(envelope)
        if topic is not None and prepared is not None:
            # Connections have their names within one process.
            exclude = envelope.exclude if envelope.node == self.node else _NOBODY
            topic.receive(prepared, envelope.position, exclude)

    def prepared(self, envelope: Envelope) -> Prepared | None:
        """What is sent to members; ``None`` where that could not be made."""
        if self._stamp is None:
            return Prepared(envelope.payload, text=envelope.text)
        try:
            stamped = normalized(self._stamp(envelope.message, envelope.position))
            return Prepared.of(stamped)
        except Exception:
            _logger.exception("a message of %a is lost: stamp= failed on it", envelope.topic)
            return None

    def presence_changed(self, change: PresenceChange) -> None:
        topic = self._topics.get(change.topic)
        if topic is not None:
            topic.tell(change)

    def missed(self, gap: Gap) -> None:
        self.gaps += 1
        if self._hooks:
            record = MessagesMissed(topic=gap.topic, cause=gap.cause, messages=gap.missed)
            self._hooks.tell(record)
        if self._on_gap is not None:
            try:
                self._on_gap(gap)
            except Exception:
                _logger.exception("on_gap= failed on %a", gap.topic)

    def connection_changed(self, *, connected: bool, cause: str = "") -> None:
        if self._hooks:
            self._hooks.tell(BackplaneChanged(connected=connected, cause=cause))

    def has_room(self, topic: str) -> bool:
        known = self._topics.get(topic)
        return known is None or known.has_room()

    async def wait_room(self, topic: str) -> None:
        known = self._topics.get(topic)
        if known is None or known.has_room():
            await trio.lowlevel.checkpoint()
        else:
            await known.wait_room()
