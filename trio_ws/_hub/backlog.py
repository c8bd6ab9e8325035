"""What waits for one member, and what becomes of a message that there is no room for."""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable

    from ..protocol.prepared import Prepared
    from .settings import HubLimits


#: Messages that pile up go to a member in runs of about this many bytes, each in one write.
_RUN_SIZE: Final = 64 * 1024


def run_length(messages: Iterable[Prepared]) -> int:
    """How many of *messages*, the first of them, make a run: at least one, where there is one."""
    size = count = 0
    for message in messages:
        if size >= _RUN_SIZE:
            break
        size += len(message)
        count += 1
    return count


class Backlog:
    """Messages that wait, in order. This one keeps them all; its user watches `is_over`.

    Attributes:
      size: bytes of payload.
    """

    __slots__ = ("_limits", "_messages", "size")

    def __init__(self, limits: HubLimits) -> None:
        self._limits = limits
        self._messages: deque[Prepared] = deque()
        self.size = 0

    def __len__(self) -> int:
        return len(self._messages)

    @property
    def is_over(self) -> bool:
        """Whether more waits than ``backlog_messages`` or ``backlog_bytes``."""
        return self._is_beyond(len(self), self.size)

    def push(self, message: Prepared) -> int:
        """Append *message*; return how many messages were dropped for it, or with it."""
        self.append(message)
        return 0

    def append(self, message: Prepared) -> None:
        """Append *message*, whatever the bounds."""
        self._messages.append(message)
        self.size += len(message)

    def pop(self) -> Prepared:
        """Take the next message."""
        message = self._messages.popleft()
        self.size -= len(message)
        return message

    def take_run(self) -> list[Prepared]:
        """Take the messages that go in one write, at least one."""
        return [self.pop() for _ in range(run_length(self._waiting()))]

    def _waiting(self) -> Iterable[Prepared]:
        return self._messages

    def clear(self) -> None:
        """Drop everything."""
        self._messages.clear()
        self.size = 0

    def _is_beyond(self, messages: int, size: int) -> bool:
        return messages > self._limits.backlog_messages or size > self._limits.backlog_bytes


class DropOldestBacklog(Backlog):
    """Makes room by dropping what has waited longest. The newest message always fits."""

    __slots__ = ()

    def push(self, message: Prepared) -> int:
        self.append(message)
        dropped = 0
        while self.is_over and len(self) > 1:
            self.pop()
            dropped += 1
        return dropped


class DropNewestBacklog(Backlog):
    """Drops what comes while there is no room. One message of any size fits when it is empty."""

    __slots__ = ()

    def push(self, message: Prepared) -> int:
        if len(self) and self._is_beyond(len(self) + 1, self.size + len(message)):
            return 1
        self.append(message)
        return 0


class ConflatingBacklog(Backlog):
    """Keeps the newest message of each key, in the place where the key's oldest waited.

    So a key that changes often is not overtaken for ever by the others.
    """

    __slots__ = ("_by_key", "_key")

    def __init__(self, limits: HubLimits, key: Callable[[str | bytes], Hashable | None]) -> None:
        super().__init__(limits)
        self._key = key
        self._by_key: OrderedDict[Hashable, Prepared] = OrderedDict()

    def __len__(self) -> int:
        return len(self._by_key)

    def push(self, message: Prepared) -> int:
        key = self._key(message.message)
        if key is None:
            # Like no other.
            key = object()
        replaced = self._by_key.get(key)
        self._by_key[key] = message
        self.size += len(message)
        if replaced is None:
            return 0
        self.size -= len(replaced)
        return 1

    def append(self, message: Prepared) -> None:
        self.push(message)

    def _waiting(self) -> Iterable[Prepared]:
        return self._by_key.values()

    def pop(self) -> Prepared:
        _, message = self._by_key.popitem(last=False)
        self.size -= len(message)
        return message

    def clear(self) -> None:
        self._by_key.clear()
        self.size = 0
