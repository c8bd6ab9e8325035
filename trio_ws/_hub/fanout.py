"""`FanOut`: the task that gives messages to members."""

from __future__ import annotations

import math
from collections import deque
from time import perf_counter
from typing import TYPE_CHECKING, Final, NoReturn

import trio

if TYPE_CHECKING:
    from .topics import Topic

#: Seconds after which the other tasks have their turn, as everywhere.
_TURN_SECONDS: Final = 0.001


class FanOut:
    """One task for all topics of a hub, each of which has its turn.

    A task, and not whoever publishes, because that may be cancelled half way; and because what is
    published within one turn of the scheduler, by however many tasks, can then go to each member in
    one write. With 1,000 members over TCP and messages of 64 bytes that took 0.3 us for each member
    and message, where writing them one by one took 10 us.
    """

    __slots__ = ("_busy", "_task")

    def __init__(self) -> None:
        self._busy: deque[Topic] = deque()
        # While it has nothing to do.
        self._task: trio.lowlevel.Task | None = None

    def wake(self, topic: Topic) -> None:
        """There is something to give to the members of *topic*."""
        if not topic.is_queued:
            topic.is_queued = True
            self._busy.append(topic)
            if self._task is not None:
                task, self._task = self._task, None
                trio.lowlevel.reschedule(task)

    async def run(self) -> NoReturn:
        """Give, until cancelled."""
        while True:
            if self._busy:
                self.give(perf_counter() + _TURN_SECONDS)
                await trio.lowlevel.checkpoint()
            else:
                self._task = trio.lowlevel.current_task()
                await trio.lowlevel.wait_task_rescheduled(self._parking_cancelled)

    def give(self, until: float = math.inf) -> None:
        """Give what there is, until that time by `perf_counter`."""
        while self._busy:
            topic = self._busy.popleft()
            if topic.give(until):
                self._busy.append(topic)
            else:
                topic.is_queued = False
            if perf_counter() >= until:
                break

    def _parking_cancelled(self, _: object) -> trio.lowlevel.Abort:
        self._task = None
        return trio.lowlevel.Abort.SUCCEEDED
