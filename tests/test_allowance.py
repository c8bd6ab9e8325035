"""What a peer may send of control frames."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from trio_ws import Limits
from trio_ws._allowance import ControlAllowance

if TYPE_CHECKING:
    from trio.testing import MockClock

LIMITS = Limits(control_frame_burst=10, control_frame_rate=2)


def spent(allowance: ControlAllowance) -> int:
    """How many frames pass now."""
    count = 0
    while allowance.spend():
        count += 1
    return count


async def test_a_burst_and_then_a_rate(autojump_clock: MockClock) -> None:
    allowance = ControlAllowance(LIMITS)
    assert spent(allowance) == 10
    # One too many was counted as well.
    await trio.sleep(3)
    assert spent(allowance) == 5
    await trio.sleep(1_000)
    assert spent(allowance) == 10


async def test_what_came_in_a_pause_passes_at_once(autojump_clock: MockClock) -> None:
    allowance = ControlAllowance(LIMITS)
    await trio.sleep(7)
    paused_at = trio.current_time()
    await trio.sleep(100)
    allowance.reading_resumed(paused_at)
    assert spent(allowance) == 10 + 2 * 100
    await trio.sleep(1_000)
    assert spent(allowance) == 10


async def test_what_a_pause_left_is_kept_and_grows_no_further(autojump_clock: MockClock) -> None:
    allowance = ControlAllowance(LIMITS)
    paused_at = trio.current_time()
    await trio.sleep(100)
    allowance.reading_resumed(paused_at)
    await trio.sleep(1_000)
    assert spent(allowance) == 10 + 2 * 100
