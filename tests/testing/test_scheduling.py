"""The order of tasks, by a seed."""

from __future__ import annotations

import pytest
import trio
from trio._core import _run

from trio_ws.testing import shuffled_tasks


async def order() -> tuple[int, ...]:
    done: list[int] = []

    async def one(number: int) -> None:
        await trio.lowlevel.checkpoint()
        done.append(number)

    async with trio.open_nursery() as nursery:
        for number in range(6):
            nursery.start_soon(one, number)
    return tuple(done)


def under(seed: int) -> tuple[int, ...]:
    with shuffled_tasks(seed):
        return trio.run(order)


def test_the_seed_decides() -> None:
    orders = [under(seed) for seed in range(40)]
    assert orders == [under(seed) for seed in range(40)]
    assert len(set(orders)) > 20


async def test_it_holds_within_a_run_too() -> None:
    async def under(seed: int) -> tuple[int, ...]:
        with shuffled_tasks(seed):
            return await order()

    assert len({await under(seed) for seed in range(40)}) > 20


def test_what_was_is_again(monkeypatch: pytest.MonkeyPatch) -> None:
    before = _run._ALLOW_DETERMINISTIC_SCHEDULING
    state = _run._r.getstate()
    with pytest.raises(KeyError), shuffled_tasks(1):
        raise KeyError
    assert before == _run._ALLOW_DETERMINISTIC_SCHEDULING
    assert _run._r.getstate() == state


@pytest.mark.parametrize("name", ["_r", "_ALLOW_DETERMINISTIC_SCHEDULING"])
def test_where_trio_calls_it_otherwise_that_is_said(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(_run, name)
    with pytest.raises(RuntimeError, match="cannot be told in which order"), shuffled_tasks(1):
        pass
