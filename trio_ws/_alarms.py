"""Wakes many, each at its time, from one task that sleeps for all.

A task that sleeps takes over 3 KiB: itself, its coroutines, its cancel scope, and what Trio
keeps to find it. An alarm that is set takes 150 bytes.
"""

from __future__ import annotations

import heapq
import math
from abc import ABC, abstractmethod
from typing import Final

import trio

from ._standstill import ASLEEP, AwakeUntil, seconds_asleep

#: How many cancelled alarms are kept before they are looked for: looking takes as long as they do.
_FEW: Final = 64
#: As many ring in one step; then everybody else has a turn.
_AT_ONCE: Final = 64


class Alarm(ABC):
    """What is to be done at a time to come.

    Attributes:
      due: when, on Trio's clock.
      is_set: whether it is going to ring.
      cancelled: whether it never rings again.
    """

    __slots__ = ("cancelled", "due", "is_set")

    due: float

    def __init__(self) -> None:
        self.is_set = False
        self.cancelled = False

    def __lt__(self, other: Alarm) -> bool:
        return self.due < other.due

    @abstractmethod
    def ring(self, *, awoke: bool) -> None:
        """It is time, or the machine has been asleep. Never raises.

        The alarm is set no more, and may be set again.
        """

    def set(self, due: float) -> None:
        """Ring at *due*; to be called when it is not set. Does nothing after `cancel`."""
        if not self.cancelled:
            self.due = due
            self.is_set = True
            _alarms_of_this_run().add(self)

    def cancel(self) -> None:
        """Never ring again."""
        self.cancelled = True
        if self.is_set:
            self.is_set = False
            _alarms_of_this_run().one_was_cancelled()


class _Alarms:
    """The alarms of one Trio run, and the task that sleeps while there are any."""

    def __init__(self) -> None:
        # The earliest first, cancelled ones among them.
        self._heap: list[Alarm] = []
        self._cancelled = 0
        self._sleep: AwakeUntil | None = None
        self._started = False

    def add(self, alarm: Alarm) -> None:
        heapq.heappush(self._heap, alarm)
        if not self._started:
            self._started = True
            trio.lowlevel.spawn_system_task(self._task)
        elif self._sleep is not None and self._heap[0] is alarm:
            self._sleep.end_by(alarm.due)

    def one_was_cancelled(self) -> None:
        self._cancelled += 1
        if self._cancelled == len(self._heap):
            self._forget_all()
            if self._sleep is not None:
                self._sleep.end_by(-math.inf)
        elif self._cancelled > max(_FEW, len(self._heap) // 4):
            self._heap = [alarm for alarm in self._heap if alarm.is_set]
            heapq.heapify(self._heap)
            self._cancelled = 0

    async def _task(self) -> None:
        while self._heap:
            asleep = seconds_asleep()
            self._sleep = AwakeUntil(self._heap[0].due)
            with self._sleep:
                await trio.sleep_forever()
            self._sleep = None
            await self._ring(awoke=seconds_asleep() - asleep > ASLEEP)
            if self._cancelled == len(self._heap):
                # None of those that are left will ring: it was the last but cancelled ones.
                self._forget_all()
        self._started = False

    def _forget_all(self) -> None:
        self._heap.clear()
        self._cancelled = 0

    async def _ring(self, *, awoke: bool) -> None:
        for number, alarm in enumerate(self._taken(math.inf if awoke else trio.current_time()), 1):
            # The one before may have cancelled it.
            if not alarm.cancelled:
                alarm.ring(awoke=awoke)
            if number % _AT_ONCE == 0:
                await trio.lowlevel.checkpoint()

    def _taken(self, until: float) -> list[Alarm]:
        """Those that are due by *until*, which are set no more."""
        taken = []
        while self._heap and self._heap[0].due <= until:
            alarm = heapq.heappop(self._heap)
            if alarm.is_set:
                alarm.is_set = False
                taken.append(alarm)
            else:
                self._cancelled -= 1
        return taken


_alarms: Final[trio.lowlevel.RunVar[_Alarms]] = trio.lowlevel.RunVar("trio_ws._alarms")


def _alarms_of_this_run() -> _Alarms:
    try:
        return _alarms.get()
    except LookupError:
        alarms = _Alarms()
        _alarms.set(alarms)
        return alarms
