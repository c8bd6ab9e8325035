"""What stood still: this process, or the whole machine."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
import trio

from trio_ws import _standstill
from trio_ws._standstill import LOOK, AwakeUntil, last_turns, seconds_asleep, stood_still

from .network import Sleeper

if TYPE_CHECKING:
    from trio.testing import MockClock


async def test_a_deadline_missed_by_a_quarter_is_a_standstill(mock_clock: MockClock) -> None:
    deadline = trio.current_time() + 20
    mock_clock.jump(24.9)
    assert not stood_still(deadline, 20)
    mock_clock.jump(0.2)
    assert stood_still(deadline, 20)


async def test_others_get_several_turns() -> None:
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            await trio.lowlevel.checkpoint()
            turns += 1

    async with trio.open_nursery() as nursery:
        nursery.start_soon(other)
        await last_turns()
        nursery.cancel_scope.cancel()
    assert turns >= 3


def test_sleep_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    # Until the machine sleeps, nothing is gained between two looks.
    assert abs(seconds_asleep() - seconds_asleep()) < 0.5
    monkeypatch.delattr(time, "CLOCK_BOOTTIME", raising=False)
    assert abs(seconds_asleep() - seconds_asleep()) < 0.5


async def test_a_block_is_left_at_its_deadline(autojump_clock: MockClock) -> None:
    start = trio.current_time()
    with AwakeUntil(start + 100):
        await trio.sleep_forever()
    assert trio.current_time() == start + 100
    with pytest.raises(KeyError), AwakeUntil(start + 200):
        raise KeyError


async def test_blocks_are_left_when_the_machine_wakes(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    sleeper = Sleeper(monkeypatch)
    left = []

    async def wait() -> None:
        with AwakeUntil(trio.current_time() + 1_000):
            await trio.sleep_forever()
        left.append(trio.current_time())

    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(wait)
        await trio.sleep(100)
        sleeper.asleep += 0.5
        await trio.sleep(100)
        assert not left
        woken = trio.current_time()
        sleeper.asleep += 60
    assert max(left) <= woken + LOOK


async def test_one_task_looks_for_all_and_only_while_there_are_any(
    autojump_clock: MockClock,
) -> None:
    def tasks() -> int:
        return trio.lowlevel.current_statistics().tasks_living

    before = tasks()
    with AwakeUntil(trio.current_time() + 100), AwakeUntil(trio.current_time() + 100):
        assert tasks() == before + 1
    with AwakeUntil(trio.current_time() + 100):
        assert tasks() == before + 1
    await trio.sleep(LOOK * 2)
    assert tasks() == before
    with AwakeUntil(trio.current_time() + 100):
        assert tasks() == before + 1
    assert isinstance(_standstill.seconds_asleep(), float)
