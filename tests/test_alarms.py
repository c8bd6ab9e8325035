"""One task sleeps for all alarms: each rings at its time, and none after it was cancelled."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio
import trio.testing

from tests.network import Sleeper
from tests.sweeps import living_tasks
from trio_ws._alarms import Alarm

if TYPE_CHECKING:
    import pytest
    from trio.testing import MockClock


class Bell(Alarm):
    """Remembers when it rang."""

    __slots__ = ("again", "rang")

    def __init__(self, due: float | None = None, again: float | None = None) -> None:
        super().__init__()
        self.rang: list[tuple[float, bool]] = []
        self.again = again
        if due is not None:
            self.set(due)

    def ring(self, *, awoke: bool) -> None:
        self.rang.append((trio.current_time(), awoke))
        if self.again is not None:
            self.set(trio.current_time() + self.again)


async def test_each_rings_at_its_time(autojump_clock: MockClock) -> None:
    late, early, between = Bell(3), Bell(1), Bell(2)
    await trio.sleep(1.5)
    assert (early.rang, between.rang, late.rang) == ([(1, False)], [], [])
    await trio.sleep(10)
    assert (between.rang, late.rang) == ([(2, False)], [(3, False)])
    assert early.rang == [(1, False)]


async def test_an_earlier_one_shortens_the_sleep(autojump_clock: MockClock) -> None:
    late = Bell(100)
    await trio.sleep(1)
    early = Bell(2)
    await trio.sleep(98)
    assert (early.rang, late.rang) == ([(2, False)], [])


async def test_one_that_is_overdue_rings_at_once(autojump_clock: MockClock) -> None:
    await trio.sleep(5)
    bell = Bell(1)
    await trio.testing.wait_all_tasks_blocked()
    assert bell.rang == [(5, False)]


async def test_it_can_be_set_again_when_it_rings(autojump_clock: MockClock) -> None:
    bell = Bell(1, again=1)
    await trio.sleep(3.5)
    assert [at for at, _ in bell.rang] == [1, 2, 3]
    bell.cancel()


async def test_a_cancelled_one_never_rings(autojump_clock: MockClock) -> None:
    bell, other = Bell(1), Bell(2)
    bell.cancel()
    bell.set(3)
    await trio.sleep(10)
    assert (bell.rang, other.rang) == ([], [(2, False)])
    bell.cancel()


async def test_many_that_are_cancelled_are_forgotten(autojump_clock: MockClock) -> None:
    bells = [Bell(1 + number) for number in range(300)]
    for bell in bells[::2]:
        bell.cancel()
    await trio.sleep(1_000)
    assert [len(bell.rang) for bell in bells] == [0, 1] * 150


async def test_without_alarms_there_is_no_task(autojump_clock: MockClock) -> None:
    before = living_tasks()
    bell = Bell(1)
    await trio.testing.wait_all_tasks_blocked()
    assert living_tasks() > before
    bell.cancel()
    await trio.testing.wait_all_tasks_blocked()
    assert living_tasks() == before
    again = Bell(2)
    await trio.sleep(3)
    assert again.rang == [(2, False)]
    assert living_tasks() == before


async def test_cancelled_ones_are_not_waited_for_behind_the_last(autojump_clock: MockClock) -> None:
    tasks = living_tasks()
    last, cancelled = Bell(1), Bell(1000)
    cancelled.cancel()
    await trio.sleep(2)
    assert last.rang == [(1, False)]
    assert living_tasks() == tasks
    await trio.sleep(2000)
    assert cancelled.rang == []


async def test_one_set_while_the_task_is_about_to_end_rings(autojump_clock: MockClock) -> None:
    bell = Bell(1)
    await trio.testing.wait_all_tasks_blocked()
    bell.cancel()
    another = Bell(2)
    await trio.sleep(3)
    assert another.rang == [(2, False)]


async def test_all_ring_when_the_machine_awakes(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    sleeper = Sleeper(monkeypatch)
    bells = [Bell(50), Bell(100)]
    await trio.sleep(10.5)
    sleeper.asleep = 3600.0
    await trio.sleep(1)
    assert [bell.rang for bell in bells] == [[(11, True)]] * 2


async def test_many_at_once_leave_others_their_turn(autojump_clock: MockClock) -> None:
    bells = [Bell(1) for _ in range(200)]
    rung: list[int] = []

    class Count(trio.abc.Instrument):
        def after_task_step(self, task: trio.lowlevel.Task) -> None:
            if task.name.endswith("_Alarms._task"):
                rung.append(sum(bool(bell.rang) for bell in bells))

    count = Count()
    trio.lowlevel.add_instrument(count)
    await trio.sleep(2)
    trio.lowlevel.remove_instrument(count)
    assert [number for number in rung if number] == [64, 128, 192, 200]


class Ending(Bell):
    """Cancels another when it rings."""

    __slots__ = ("other",)

    other: Bell

    def ring(self, *, awoke: bool) -> None:
        super().ring(awoke=awoke)
        self.other.cancel()


async def test_one_may_cancel_another(mock_clock: MockClock) -> None:
    ending = Ending(1)
    ending.other = Bell(1.5)
    await trio.testing.wait_all_tasks_blocked()
    mock_clock.jump(2)
    await trio.testing.wait_all_tasks_blocked()
    assert ending.rang == [(2, False)]
    assert ending.other.rang == []


async def test_one_that_is_set_again_as_the_machine_awakes_rings_at_its_time(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    sleeper = Sleeper(monkeypatch)
    bell = Bell(50, again=20)
    await trio.sleep(10.5)
    sleeper.asleep = 3600.0
    await trio.sleep(21)
    assert bell.rang == [(11, True), (31, False)]
    bell.cancel()
