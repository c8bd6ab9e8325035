"""Between bytes and messages."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_ws.cli.handlers.coding import Bytes, Coding, Lines, Text, Undecodable

if TYPE_CHECKING:
    from trio_ws.cli.handlers.mode import Message


def decoded(coding: Coding, *pieces: bytes) -> list[Message]:
    """Every message that *pieces*, and then the end, bring."""
    return [message for piece in (*pieces, b"") for message in coding.decode(piece)]


@given(st.lists(st.text(st.characters(exclude_characters="\n\r", exclude_categories=["Cs"]))))
def test_lines_survive_any_cut(lines: list[str]) -> None:
    data = b"".join(Lines(1000).encode(line) for line in lines)
    pieces = [data[i : i + 3] for i in range(0, len(data), 3)]
    assert decoded(Lines(1000), *pieces) == lines


def test_the_last_line_needs_no_end_and_a_carriage_return_is_part_of_one() -> None:
    assert decoded(Lines(10), b"a\r\n\nb\rc", b"d") == ["a", "", "b\rcd"]


def test_binary_messages_are_lines_as_well() -> None:
    assert Lines(10).encode(b"x") == b"x\n"


def test_a_line_is_bounded_whole_or_not() -> None:
    assert decoded(Lines(3), b"ab", b"c\n") == ["abc"]
    for pieces in ([b"abcd\n"], [b"ab", b"cd"]):
        with pytest.raises(Undecodable, match="over 3 bytes"):
            decoded(Lines(3), *pieces)


def test_lines_are_utf8() -> None:
    lines = Lines(10).decode(b"fine\n\xff\n")
    assert next(lines) == "fine"
    with pytest.raises(Undecodable, match="--binary"):
        next(lines)


def test_bytes_are_as_they_come() -> None:
    assert decoded(Bytes(), b"a\n", b"\xff") == [b"a\n", b"\xff"]
    assert Bytes().encode("é") == "é".encode()


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_text_is_cut_between_characters(text: str) -> None:
    data = text.encode()
    messages = decoded(Text(), *(data[i : i + 1] for i in range(len(data))))
    assert messages == list(text)


def test_what_is_no_text_is_shown_as_such() -> None:
    assert decoded(Text(), b"a\xff", b"\xc3") == ["a�", "�"]
    assert Text().encode("x") == b"x"
