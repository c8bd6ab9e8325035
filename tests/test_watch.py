"""The watch over connections that nobody reads."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio
import trio.testing

from trio_ws._watch import ROUND, Watch, watch_of_this_run

from .sweeps import living_tasks

if TYPE_CHECKING:
    from trio.testing import MockClock


class Unread:
    def __init__(self) -> None:
        self.read_on_at: list[float] = []

    def read_on(self) -> None:
        self.read_on_at.append(trio.current_time())


async def test_what_stays_unread_is_read_after_one_round_and_before_two(
    autojump_clock: MockClock,
) -> None:
    watch, early, late = Watch(), Unread(), Unread()
    began = trio.current_time()
    watch.add(early)
    await trio.sleep(ROUND / 2)
    watch.add(late)
    await trio.sleep(10 * ROUND)
    for unread, since in ((early, began), (late, began + ROUND / 2)):
        (read_on_at,) = unread.read_on_at
        assert ROUND <= read_on_at - since <= 2 * ROUND


async def test_what_is_read_again_is_left_alone(autojump_clock: MockClock) -> None:
    watch, unread = Watch(), Unread()
    for wait in (0, ROUND / 2, ROUND * 0.9):
        watch.add(unread)
        await trio.sleep(wait)
        watch.discard(unread)
    await trio.sleep(10 * ROUND)
    assert unread.read_on_at == []


async def test_it_costs_nothing_while_everything_is_read(autojump_clock: MockClock) -> None:
    tasks = trio.lowlevel.current_statistics().tasks_living
    watch = watch_of_this_run()
    assert watch_of_this_run() is watch
    watch.add(Unread())
    watch.add(Unread())
    assert trio.lowlevel.current_statistics().tasks_living == tasks + 1
    # That one is no task of anybody's.
    assert living_tasks() == tasks
    await trio.sleep(10 * ROUND)
    assert trio.lowlevel.current_statistics().tasks_living == tasks
