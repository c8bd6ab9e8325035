"""Every message is accounted for."""

from __future__ import annotations

import pytest

from soak.account import Account, Run, message, number_of


def run(first: int, last: int, *, whole: bool = False) -> Run:
    made = Run(whole=whole, ended="in words")
    for number in range(first, last + 1):
        made.add(number)
    return made


def settled(sent: int, *connections: Run) -> Account:
    account = Account()
    account.settle("one", sent, connections)
    return account


def test_messages_are_told_apart() -> None:
    assert number_of(message(17, 300)) == 17
    assert number_of(message(17, 300).encode()) == 17
    assert message(17, 300) == message(17, 300) != message(18, 300)
    assert len(message(1, 0)) < 20
    assert 250 < len(message(1, 300)) < 350


def test_what_was_cut_is_lost_and_the_rest_arrived() -> None:
    account = settled(10, run(0, 3), Run(), run(6, 8), run(9, 9, whole=True))
    assert (account.sent, account.arrived, account.lost) == (10, 8, 2)
    assert account.wrong == []
    assert str(account) == "10 messages: 8 arrived, 2 lost with a connection that was cut"


def test_the_end_may_be_cut_too() -> None:
    assert settled(10, run(0, 6)).lost == 3
    assert settled(10).lost == 10
    assert settled(10, run(0, 6)).wrong == []


@pytest.mark.parametrize(
    ("connections", "wrong"),
    [
        ([run(0, 5), run(5, 9)], "one: 5 again, after 5"),
        ([run(0, 10)], "one: 10 arrived, and was never sent"),
        ([run(0, 5, whole=True), run(7, 9)], "one: 1 before 7 missing, but: in words"),
        ([run(0, 5, whole=True)], "one: 4 before 10 missing, but: in words"),
    ],
)
def test_what_must_not_be_is_named(connections: list[Run], wrong: str) -> None:
    assert settled(10, *connections).wrong == [wrong]


@pytest.mark.parametrize("numbers", [[0, 2], [1, 1], [1, 0]])
def test_a_gap_within_a_connection_is_named(numbers: list[int]) -> None:
    broken = Run()
    for number in [*numbers, 9]:
        broken.add(number)
    assert broken.wrong == (numbers[1], numbers[0])
    assert f"one: {numbers[1]} after {numbers[0]} on a connection" in settled(10, broken).wrong
