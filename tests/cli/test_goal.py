"""When it is over, and what is missing when it is over too early."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from trio_ws.cli.failures import Unmet, Usage
from trio_ws.cli.goal import Goal

if TYPE_CHECKING:
    from collections.abc import Sequence


def after(goal: Goal, messages: Sequence[str | bytes]) -> Goal:
    for message in messages:
        assert not goal.is_reached
        goal.count_in(message)
    return goal


@pytest.mark.parametrize(
    ("goal", "messages", "is_reached"),
    [
        (Goal.of(None, None), ["a", "b"], False),
        (Goal.of(0, None), [], True),
        (Goal.of(2, None), ["a"], False),
        (Goal.of(2, None), ["a", b"b"], True),
        (Goal.of(None, "b+"), ["a"], False),
        (Goal.of(None, "b+"), ["a", "xbbx"], True),
        (Goal.of(None, "b"), [b"\xffb"], True),
        (Goal.of(3, "b"), ["a", "b"], True),
        (Goal.of(1, "b"), ["a"], True),
    ],
)
def test_a_goal_is_reached(goal: Goal, messages: list[str | bytes], is_reached: bool) -> None:
    assert after(goal, messages).is_reached is is_reached


@pytest.mark.parametrize(
    ("goal", "messages"),
    [
        (Goal.of(None, None), []),
        (Goal.of(0, None), []),
        (Goal.of(1, None), ["a"]),
        (Goal.of(5, "b"), ["b"]),
    ],
)
def test_nothing_is_missing(goal: Goal, messages: list[str | bytes]) -> None:
    after(goal, messages).check()


@pytest.mark.parametrize(
    ("goal", "messages", "complaint"),
    [
        (Goal.of(1, None), [], "0 messages came, where 1 were expected"),
        (Goal.of(3, None), ["a"], "1 message came, where 3 were expected"),
        (Goal.of(None, "b"), ["a", "a"], "no message matched 'b'; 2 messages came"),
        (Goal.of(1, "b"), ["a"], "no message matched 'b'; 1 message came"),
    ],
)
def test_what_is_missing_is_said(goal: Goal, messages: list[str | bytes], complaint: str) -> None:
    with pytest.raises(Unmet, match=complaint):
        after(goal, messages).check()


def test_whether_there_is_one() -> None:
    assert not Goal.of(None, None).is_set
    assert Goal.of(0, None).is_set
    assert Goal.of(None, "").is_set


def test_what_is_no_regular_expression_is_named() -> None:
    with pytest.raises(Usage, match=r"--expect '\(': not a regular expression: missing"):
        Goal.of(None, "(")
