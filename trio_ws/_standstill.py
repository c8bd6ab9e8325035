"""Notices that this process, or the whole machine, stood still.

A deadline that passed meanwhile says nothing about the peer: what it sent lies unread, and what
this side would have sent was not. `stood_still` tells of a process that did not run (a blocked
event loop, a paused container), for whose clock time went on. `AwakeUntil` and `seconds_asleep`
tell of a machine that was asleep, during which the clock of tasks stops: nothing else would wake
whoever waits on it, so one task per process looks every second, on behalf of all.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

import trio

if TYPE_CHECKING:
    from types import TracebackType

#: Waking up later than this share of what was waited for means that the event loop stood still.
_LATE: Final = 0.25
#: Turns that other tasks get before a verdict, to do what has become possible: TLS needs several.
_LAST_TURNS: Final = 5
#: Seconds between two looks at the clock that goes on in sleep.
LOOK: Final = 1.0
#: Seconds of sleep that count; adjusted clocks give less.
ASLEEP: Final = 1.0


def stood_still(deadline: float, patience: float) -> bool:
    """Whether this process did not run when *deadline*, after *patience* seconds, passed."""
    return trio.current_time() - deadline > _LATE * patience


async def last_turns() -> None:
    """Let other tasks do what they can before they are judged."""
    for _ in range(_LAST_TURNS):
        await trio.lowlevel.checkpoint()


def seconds_asleep() -> float:
    """How far clocks that go on while the machine sleeps are ahead of the one that stops."""
    if hasattr(time, "CLOCK_BOOTTIME"):
        return time.clock_gettime(time.CLOCK_BOOTTIME) - time.monotonic()
    return time.time() - time.monotonic()


class AwakeUntil:
    """Cancels its block at *deadline*, or when the machine has been asleep. Nothing is raised."""

    __slots__ = ("_scope", "_watch")

    def __init__(self, deadline: float) -> None:
        self._scope = trio.CancelScope(deadline=deadline)
        self._watch = _watch.get(None) or _Watch()
        _watch.set(self._watch)

    def end_by(self, deadline: float) -> None:
        """Have the block cancelled at *deadline*, which is earlier than the one given."""
        self._scope.deadline = deadline

    def __enter__(self) -> None:
        self._watch.add(self._scope)
        self._scope.__enter__()

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        self._watch.remove(self._scope)
        return self._scope.__exit__(exc_type, exc_value, traceback)


class _Watch:
    """The blocks to be cancelled, and the task that looks while there are any."""

    def __init__(self) -> None:
        self._scopes: set[trio.CancelScope] = set()
        self._looks = False

    def add(self, scope: trio.CancelScope) -> None:
        self._scopes.add(scope)
        if not self._looks:
            self._looks = True
            trio.lowlevel.spawn_system_task(self._look)

    def remove(self, scope: trio.CancelScope) -> None:
        self._scopes.remove(scope)

    async def _look(self) -> None:
        # It goes on to its next look when there is nothing to wake any more: a heartbeat ends one
        # wait and begins the next, and each would start a task.
        while self._scopes:
            before = seconds_asleep()
            await trio.sleep(LOOK)
            if seconds_asleep() - before > ASLEEP:
                for scope in self._scopes:
                    scope.cancel()
        self._looks = False


#: Of each run of Trio.
_watch: Final[trio.lowlevel.RunVar[_Watch | None]] = trio.lowlevel.RunVar("trio_ws sleep watch")
