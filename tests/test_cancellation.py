"""Whether the current task is cancelled, without a checkpoint."""

from __future__ import annotations

import sys
from types import ModuleType

import pytest
import trio
import trio._core._run

from trio_ws._cancellation import _find_out_how, is_cancelled


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


def test_where_trio_has_it_elsewhere_every_call_takes_the_long_way(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "trio._core._run", ModuleType("empty"))
    assert _find_out_how()()


@pytest.mark.parametrize("name", ["Task", "CancelStatus"])
def test_where_trio_calls_it_otherwise_too(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(trio._core._run, name, object)
    assert _find_out_how()()
