"""Positions, histories, envelopes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_ws.backplane import Envelope, History, Position


@given(st.text(max_size=20), st.integers(0, 10**18 - 1))
def test_a_position_survives_its_text(epoch: str, offset: int) -> None:
    position = Position(epoch, offset)
    assert Position.parse(str(position)) == position


def test_the_oldest_has_a_text_as_well() -> None:
    assert Position.parse(str(Position.OLDEST)) == Position.OLDEST


@pytest.mark.parametrize("text", ["", "abc", "abc:", "abc:-1", "abc:1.5", "a:²", "a:" + "9" * 19])
def test_what_is_no_position_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a position"):
        Position.parse(text)


@given(st.text(max_size=30))
def test_nothing_else_is_raised_whatever_a_client_sends(text: str) -> None:
    try:
        position = Position.parse(text)
    except ValueError:
        return
    assert position.offset >= 0


@pytest.mark.parametrize(
    ("field", "value"), [("messages", 0), ("seconds", -1.0), ("size", None), ("seconds", "5")]
)
def test_a_history_keeps_something(field: str, value: object) -> None:
    with pytest.raises(ValueError, match=rf"History\.{field} must be a positive number, not"):
        History(**{field: value})  # type: ignore[arg-type]


def test_an_envelope_gives_its_message() -> None:
    text = Envelope(topic="t", payload="grüße".encode(), text=True, node="n")
    assert text.message == "grüße"
    assert Envelope(topic="t", payload=b"\xff", text=False, node="n").message == b"\xff"
