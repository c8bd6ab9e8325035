"""What goes through Redis."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_ws.backplane._redis_wire import NOWHERE, Message, decode, encode_head, encode_rest

NODE = "0123456789ab"
_IDS = st.frozensets(st.text(min_size=1, max_size=20), max_size=5)


@given(st.integers(0, 2**64 - 1), st.booleans(), st.booleans(), _IDS, st.binary(max_size=200))
def test_a_message_comes_back(
    sequence: int, text: bool, presence: bool, exclude: frozenset[str], payload: bytes
) -> None:
    head = encode_head(NODE, sequence, text=text, presence=presence)
    for place, epoch, offset in (
        (NOWHERE, "", 0),
        (bytes.fromhex("a1b2c3d4e5f6") + (7).to_bytes(8, "big"), "a1b2c3d4e5f6", 7),
    ):
        message = decode(head + place + encode_rest(payload, exclude))
        assert message == Message(NODE, sequence, text, presence, exclude, payload, epoch, offset)


@given(st.binary(max_size=100) | st.binary(max_size=60).map(lambda rest: b"\x01\x00" + rest))
def test_what_is_none_is_refused(data: bytes) -> None:
    try:
        message = decode(data)
    except ValueError:
        return
    assert isinstance(message, Message)


def test_other_versions_and_halves_are_refused() -> None:
    whole = encode_head(NODE, 1, text=True) + NOWHERE + encode_rest(b"", frozenset({"s1"}))
    for data in (b"", b"hello", b"\x02" + whole[1:], whole[:-1], whole[:20]):
        with pytest.raises(ValueError, match="no message of a hub"):
            decode(data)
