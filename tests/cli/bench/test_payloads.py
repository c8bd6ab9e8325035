"""Messages that can be told apart when they come back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_ws.cli.bench.payloads import NUMBER_SIZE, Payloads


@given(
    st.integers(min_value=0, max_value=2**63),
    st.integers(min_value=NUMBER_SIZE, max_value=100),
    st.booleans(),
)
def test_the_number_comes_back(number: int, size: int, binary: bool) -> None:
    payloads = Payloads(size, binary=binary, seed=0)
    message = payloads.make(number)
    assert isinstance(message, bytes) is binary
    assert len(message) == size
    assert payloads.number_of(message) == number


@pytest.mark.parametrize(
    "message",
    ["", "0" * 20, "x" * 20, "0" * 15, b"0" * 20, "0" * 16 + "abc"],
)
@pytest.mark.parametrize("binary", [True, False])
def test_what_it_did_not_make_has_no_number(message: str | bytes, binary: bool) -> None:
    assert Payloads(20, binary=binary, seed=0).number_of(message) == -1


def test_a_number_that_is_none() -> None:
    payloads = Payloads(16, binary=False, seed=0)
    assert payloads.number_of("not hexadecimal!") == -1


def test_shares_do_not_take_each_others_messages_for_their_own() -> None:
    here, there = (Payloads(64, binary=True, seed=seed) for seed in (0, 1))
    assert here.number_of(there.make(5)) == -1
