"""`Backlog` and its kinds: what waits, and what makes room."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_ws import HubLimits
from trio_ws._hub.backlog import Backlog, ConflatingBacklog, DropNewestBacklog, DropOldestBacklog
from trio_ws.protocol.prepared import Prepared

if TYPE_CHECKING:
    from collections.abc import Callable

LIMITS = HubLimits(backlog_messages=3, backlog_bytes=10)


def first_letter(message: str | bytes) -> str | None:
    return str(message)[:1] or None


KINDS: list[Callable[[], Backlog]] = [
    lambda: Backlog(LIMITS),
    lambda: DropOldestBacklog(LIMITS),
    lambda: DropNewestBacklog(LIMITS),
    lambda: ConflatingBacklog(LIMITS, first_letter),
]


def push(backlog: Backlog, *messages: str) -> int:
    return sum(backlog.push(Prepared.of(message)) for message in messages)


def popped(backlog: Backlog) -> list[str | bytes]:
    return [backlog.pop().message for _ in range(len(backlog))]


@pytest.mark.parametrize("new_backlog", KINDS)
def test_what_waits_comes_out_in_order(new_backlog: Callable[[], Backlog]) -> None:
    backlog = new_backlog()
    assert push(backlog, "a", "b", "c") == 0
    assert (len(backlog), backlog.size, backlog.is_over) == (3, 3, False)
    assert popped(backlog) == ["a", "b", "c"]
    assert (len(backlog), backlog.size) == (0, 0)


@pytest.mark.parametrize("new_backlog", KINDS)
def test_it_is_cleared(new_backlog: Callable[[], Backlog]) -> None:
    backlog = new_backlog()
    push(backlog, "a", "b")
    backlog.clear()
    assert (len(backlog), backlog.size, popped(backlog)) == (0, 0, [])


@pytest.mark.parametrize("new_backlog", KINDS)
def test_it_is_taken_in_runs(
    new_backlog: Callable[[], Backlog], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trio_ws._hub.backlog._RUN_SIZE", 4)
    backlog = new_backlog()
    push(backlog, "aaa", "bbb", "c")
    assert [message.message for message in backlog.take_run()] == ["aaa", "bbb"]
    assert [message.message for message in backlog.take_run()] == ["c"]
    push(backlog, "d" * 9, "e")
    assert [message.message for message in backlog.take_run()] == ["d" * 9]


@pytest.mark.parametrize("messages", [["a", "b", "c", "d"], ["aaaaaa", "bbbbb"]])
def test_it_tells_that_too_much_waits(messages: list[str]) -> None:
    backlog = Backlog(LIMITS)
    assert push(backlog, *messages) == 0
    assert backlog.is_over
    backlog.pop()
    assert not backlog.is_over


def test_the_oldest_make_room() -> None:
    backlog = DropOldestBacklog(LIMITS)
    assert push(backlog, "a", "b", "c", "d", "e") == 2
    assert push(backlog, "f" * 9) == 2
    assert popped(backlog) == ["e", "f" * 9]


def test_the_newest_always_fits() -> None:
    backlog = DropOldestBacklog(LIMITS)
    assert push(backlog, "a", "b" * 20) == 1
    assert popped(backlog) == ["b" * 20]


def test_the_newest_are_dropped() -> None:
    backlog = DropNewestBacklog(LIMITS)
    assert push(backlog, "a", "b", "c", "d", "e") == 2
    assert popped(backlog) == ["a", "b", "c"]
    assert push(backlog, "a" * 20, "b") == 1
    assert popped(backlog) == ["a" * 20]


def test_each_key_keeps_its_place() -> None:
    backlog = ConflatingBacklog(LIMITS, first_letter)
    assert push(backlog, "a1", "b1", "", "a22", "", "c1", "b2") == 2
    assert backlog.size == 7
    assert popped(backlog) == ["a22", "b2", "", "", "c1"]


@given(st.lists(st.one_of(st.sampled_from(["a", "bb", "ccc", "a" * 12]), st.none()), max_size=40))
def test_sizes_are_right_and_bounded(operations: list[str | None]) -> None:
    for new_backlog in KINDS:
        backlog = new_backlog()
        pushed = gone = 0
        for message in operations:
            if message is not None:
                pushed += 1
                gone += push(backlog, message)
            elif len(backlog):
                backlog.pop()
                gone += 1
            assert len(backlog) == pushed - gone
            if isinstance(backlog, DropOldestBacklog | DropNewestBacklog):
                assert len(backlog) <= 1 or not backlog.is_over
        assert backlog.size == sum(len(str(message)) for message in popped(backlog))
