"""Sees to it that no connection goes unread for long.

A lone message costs one trip through the scheduler less when the task that waits in ``receive``
reads the socket itself: a fifth of a round trip. Meanwhile the receive task stands by. In
between, while the receiver is busy with what it got, nobody reads, and that must not last: pings
are to be answered, and a close is to be noticed. So the `Watch` has the receive task read on
where the receiver has not come back for a while.
"""

from __future__ import annotations

from typing import Final, Protocol

import trio

#: Seconds of one round. Nothing is unread for longer than two of them.
ROUND: Final = 0.005


class Unread(Protocol):
    """What nobody reads at the moment."""

    def read_on(self) -> None:
        """Have it read again."""


class Watch:
    """Everything in one Trio run that nobody reads at the moment.

    One task serves it all, and only while there is anything: a timer for each connection would
    take more time than is saved.
    """

    __slots__ = ("_new", "_old", "_running")

    def __init__(self) -> None:
        # Since this round, and since the one before.
        self._new: set[Unread] = set()
        self._old: set[Unread] = set()
        self._running = False

    def add(self, unread: Unread) -> None:
        """Call its `read_on` after one round, at the latest after two, unless it is discarded."""
        self._new.add(unread)
        if not self._running:
            self._running = True
            trio.lowlevel.spawn_system_task(self._task)

    def discard(self, unread: Unread) -> None:
        """Somebody reads it again."""
        self._new.discard(unread)
        self._old.discard(unread)

    async def _task(self) -> None:
        # Also where everything is read again by now: starting this once a round is cheap, and
        # once a message is not.
        while self._running:
            await trio.sleep(ROUND)
            due, self._old, self._new = self._old, self._new, set()
            for unread in due:
                unread.read_on()
            self._running = bool(self._new or self._old)


_watches: Final[trio.lowlevel.RunVar[Watch]] = trio.lowlevel.RunVar("trio_ws._watch")


def watch_of_this_run() -> Watch:
    try:
        return _watches.get()
    except LookupError:
        watch = Watch()
        _watches.set(watch)
        return watch
