"""What a hub does about a member that does not keep up: policies for ``Hub.join(slow=...)``.

A policy applies to one member when more waits for it than ``HubLimits.backlog_messages`` or
``HubLimits.backlog_bytes``. The others never notice, except with `wait`, which holds up whoever
publishes. Whatever the policy, a member is evicted, that is, its connection closed with 1013, when
it makes no progress for ``HubLimits.progress_timeout`` seconds meanwhile, or when more than
``HubLimits.max_backlog_bytes`` wait for it.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Final

from ._hub.backlog import Backlog, ConflatingBacklog, DropNewestBacklog, DropOldestBacklog

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from ._hub.settings import HubLimits

__all__ = [
    "SlowConsumerPolicy",
    "conflate",
    "disconnect",
    "drop_newest",
    "drop_oldest",
    "wait",
]


class SlowConsumerPolicy(ABC):
    """What becomes of a member that does not keep up. This module makes them.

    Attributes:
      patience: seconds that publishers wait for the member.
      drops_for_room: whether dropping a message means that there was no room for it.
    """

    __slots__ = ()

    patience: float = 0.0
    drops_for_room: ClassVar[bool] = False

    @abstractmethod
    def new_backlog(self, limits: HubLimits) -> Backlog:
        """Where a member's messages wait. For the hub."""


@dataclass(frozen=True, slots=True)
class _Disconnect(SlowConsumerPolicy):
    def new_backlog(self, limits: HubLimits) -> Backlog:
        return Backlog(limits)


@dataclass(frozen=True, slots=True)
class _DropOldest(SlowConsumerPolicy):
    drops_for_room = True

    def new_backlog(self, limits: HubLimits) -> Backlog:
        return DropOldestBacklog(limits)


@dataclass(frozen=True, slots=True)
class _DropNewest(SlowConsumerPolicy):
    drops_for_room = True

    def new_backlog(self, limits: HubLimits) -> Backlog:
        return DropNewestBacklog(limits)


@dataclass(frozen=True, slots=True)
class _Conflate(SlowConsumerPolicy):
    key: Callable[[str | bytes], Hashable | None]

    def new_backlog(self, limits: HubLimits) -> Backlog:
        return ConflatingBacklog(limits, self.key)


@dataclass(frozen=True, slots=True)
class _Wait(SlowConsumerPolicy):
    patience: float

    def new_backlog(self, limits: HubLimits) -> Backlog:
        return Backlog(limits)


#: Drop nothing: who does not keep up is evicted, to come back and catch up, as most clients do.
disconnect: Final[SlowConsumerPolicy] = _Disconnect()

#: Drop the messages that have waited longest: for what is soon out of date.
drop_oldest: Final[SlowConsumerPolicy] = _DropOldest()

#: Drop what comes while there is no room: for what is of no use without its beginning.
drop_newest: Final[SlowConsumerPolicy] = _DropNewest()


def conflate(key: Callable[[str | bytes], Hashable | None]) -> SlowConsumerPolicy:
    """Keep only the newest message of each key, of those that wait: for prices and positions.

    It applies to everything that waits for the member, however little that is. A member that is
    always kept waiting gets every key in turn, each as it is then; messages of different keys may
    come in another order than they were published in.

    Args:
      key: given a message, says what it is about; ``None``: about nothing, so keep it. It must not
        block. Where it raises, the log has the traceback, and the member is evicted.
    """
    return _Conflate(key)


def wait(seconds: float) -> SlowConsumerPolicy:
    """Let ``Hub.publish`` wait until the member is below its bounds, as TCP does for one peer.

    Then drop nothing, and evict the member. Messages that other processes publish do not wait for
    it. A task that receives from its own `Subscription` must not be the one that is to publish.

    Args:
      seconds: how long, at the most, each time that the member gets over its bounds.

    Raises:
      ValueError: *seconds* is not a positive number.
    """
    if not (seconds > 0 and math.isfinite(seconds)):
        raise ValueError(f"wait() takes a positive number of seconds, not {seconds!r}")
    return _Wait(seconds)
