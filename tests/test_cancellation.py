"""Whether the current task is cancelled, without a checkpoint."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from trio_ws import _cancellation
from trio_ws._cancellation import is_cancelled

if TYPE_CHECKING:
    import pytest


async def test_every_scope_around_the_task_counts() -> None:
    assert not is_cancelled()
    with trio.CancelScope() as outer, trio.CancelScope() as inner:
        outer.cancel()
        assert is_cancelled()
        inner.shield = True
        assert not is_cancelled()
        inner.cancel()
        assert is_cancelled()
        await trio.lowlevel.cancel_shielded_checkpoint()
    assert not is_cancelled()


async def test_a_scope_that_is_entered_cancelled_counts() -> None:
    with trio.move_on_after(0):
        assert is_cancelled()
        await trio.lowlevel.cancel_shielded_checkpoint()


async def test_where_trio_does_not_tell_every_call_takes_the_long_way(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(_cancellation, "_READABLE", False)
    assert is_cancelled()
