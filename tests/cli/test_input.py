"""What becomes a message: encodings, splitters, and where the input comes from."""

from __future__ import annotations

import base64
import errno
import json
import os
import threading
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from trio_ws.cli.failures import LocalFailure, Usage
from trio_ws.cli.input import _SPLITTERS, Encoding, messages_of, read_stdin
from trio_ws.cli.options.client import Split

from .helpers import client_options, fed, redirected

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


def reading(*pieces: bytes) -> Callable[[], bytes]:
    """A source that gives *pieces*, one at a time."""
    rest = [piece for piece in pieces if piece]
    return lambda: rest.pop(0) if rest else b""


async def messages(
    *pieces: bytes, split: Split = Split.LINE, encoding: Encoding | None = None
) -> list[str | bytes]:
    encoding = encoding or Encoding()
    source = messages_of(reading(*pieces), "the input", encoding, split)
    return [message async for message in source]


def split_up(split: Split, pieces: Sequence[bytes]) -> list[bytes]:
    splitter = _SPLITTERS[split]()
    fed = [piece for piece in pieces if piece]
    return [message for piece in [*fed, b""] for message in splitter.feed(piece)]


# Encodings


@pytest.mark.parametrize(
    ("encoding", "written", "message"),
    [
        (Encoding(), "κόσμε".encode(), "κόσμε"),
        (Encoding(binary=True), b"\x00\xff", b"\x00\xff"),
        (Encoding(hex=True), b"00 FF0a", b"\x00\xff\n"),
        (Encoding(hex=True), b"", b""),
        (Encoding(base64=True), b" AP8= ", b"\x00\xff"),
        (Encoding(base64=True, binary=True), b"AP8=", b"\x00\xff"),
    ],
)
def test_encodings(encoding: Encoding, written: bytes, message: str | bytes) -> None:
    assert encoding.decode(written, "it") == message


@pytest.mark.parametrize(
    ("encoding", "written", "complaint"),
    [
        (Encoding(), b"\xff", r"it is not UTF-8 text \(--binary sends any bytes\)"),
        (Encoding(hex=True), b"0", "it is not hexadecimal"),
        (Encoding(hex=True), b"xy", "it is not hexadecimal"),
        (Encoding(hex=True), b"\xff", "it is not hexadecimal"),
        (Encoding(base64=True), b"AP8", "it is not Base64"),
        (Encoding(base64=True), b"A*8=", "it is not Base64"),
        (Encoding(base64=True), b"\xff\xff\xff\xff", "it is not Base64"),
    ],
)
def test_what_is_not_written_so_is_named(
    encoding: Encoding, written: bytes, complaint: str
) -> None:
    with pytest.raises(Usage, match=complaint):
        encoding.decode(written, "it")


@given(st.binary())
def test_what_is_encoded_comes_back(data: bytes) -> None:
    assert Encoding(hex=True).decode(data.hex(" ").encode(), "it") == data
    assert Encoding(base64=True).decode(base64.b64encode(data), "it") == data


def test_the_options_say_which() -> None:
    assert Encoding.of(client_options(hex=True)) == Encoding(hex=True)
    with pytest.raises(Usage, match="exclude each other"):
        Encoding.of(client_options(hex=True, base64=True))


@pytest.mark.parametrize(
    ("encoding", "split"),
    [
        (Encoding(), Split.LINE),
        (Encoding(binary=True), Split.NONE),
        (Encoding(hex=True), Split.LINE),
        (Encoding(binary=True, base64=True), Split.LINE),
    ],
)
def test_binary_input_is_one_message_unless_it_is_written_as_text(
    encoding: Encoding, split: Split
) -> None:
    assert encoding.usual_split is split


# Where messages end


@pytest.mark.parametrize(
    ("split", "text", "expected"),
    [
        (Split.LINE, b"", []),
        (Split.LINE, b"a\nb\n", [b"a", b"b"]),
        (Split.LINE, b"a\n\nb", [b"a", b"", b"b"]),
        (Split.LINE, b"a\r\nb\r\n\r\n", [b"a", b"b", b""]),
        (Split.LINE, b"a\rb\r\r\n", [b"a\rb\r"]),
        (Split.NULL, b"a\nb\0\0c", [b"a\nb", b"", b"c"]),
        (Split.NULL, b"a\0", [b"a"]),
        (Split.NONE, b"a\nb\0", [b"a\nb\0"]),
        (Split.NONE, b"", []),
        (Split.JSON, b" \n", []),
        (
            Split.JSON,
            b'{"a": [1, "]}"]}\n[2]"x"3 true',
            [b'{"a": [1, "]}"]}', b"[2]", b'"x"', b"3", b"true"],
        ),
        (Split.JSON, b'"a\\"b" "\\\\" {}', [b'"a\\"b"', b'"\\\\"', b"{}"]),
        (Split.JSON, b"-1.5e3 null[]", [b"-1.5e3", b"null", b"[]"]),
        (Split.JSON, b"1" * 5000, [b"1" * 5000]),
    ],
)
def test_where_messages_end(split: Split, text: bytes, expected: list[bytes]) -> None:
    assert split_up(split, [text]) == expected
    assert split_up(split, [text[at : at + 1] for at in range(len(text))]) == expected


@given(st.lists(st.binary(max_size=12)), st.sampled_from([Split.LINE, Split.NULL, Split.NONE]))
def test_how_the_input_is_cut_up_does_not_matter(pieces: list[bytes], split: Split) -> None:
    assert split_up(split, pieces) == split_up(split, [b"".join(pieces)])


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)


@given(
    values=st.lists(JSON, max_size=5),
    indent=st.sampled_from([None, 0, 1, 4]),
    plain=st.booleans(),
    space=st.sampled_from([" ", "\n", "\r\n", "\t \n"]),
    data=st.data(),
)
def test_json_values_in_any_layout_and_any_pieces(
    values: list[Any], indent: int | None, plain: bool, space: str, data: st.DataObject
) -> None:
    written = [json.dumps(value, indent=indent, ensure_ascii=plain) for value in values]
    text = space.join(["", *written, ""]).encode(errors="replace")
    cuts = data.draw(st.lists(st.integers(0, len(text)), max_size=6).map(sorted))
    pieces = [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    expected = [one.encode(errors="replace") for one in written]
    assert split_up(Split.JSON, pieces) == expected


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (b"{} hello ", "value 2 of the input is not JSON: Expecting value"),
        (b"1,2", "value 2 of the input is not JSON"),
        (b"}", "value 1 of the input is not JSON"),
        (b'{"a": ]', "value 1 of the input is not JSON"),
        (b'{"a": [1', "value 1 of the input is not JSON"),
        (b'"open', "value 1 of the input is not JSON"),
        (b'"open\\', "value 1 of the input is not JSON"),
        (b'"\xff"', "value 1 of the input is not JSON: it is not UTF-8 text"),
        (b"[" * 100_000 + b"]" * 100_000, "value 1 of the input is not JSON: it is nested too"),
    ],
)
async def test_what_is_not_json_is_named(text: bytes, complaint: str) -> None:
    with pytest.raises(Usage, match=complaint):
        await messages(text, split=Split.JSON)


async def test_values_before_a_wrong_one_are_sent() -> None:
    source = messages_of(reading(b"{}[]}"), "x", Encoding(), Split.JSON)
    assert [await anext(source), await anext(source)] == ["{}", "[]"]
    with pytest.raises(Usage, match="value 3 of x"):
        await anext(source)


# Messages


async def test_lines_are_messages() -> None:
    assert await messages(b"on", b"e\ntwo\nthr", b"ee") == ["one", "two", "three"]


async def test_a_character_that_is_cut_anywhere_is_whole() -> None:
    text = "é€😀\n".encode()
    for split in (Split.LINE, Split.NULL, Split.NONE):
        ended = "é€😀" if split is Split.LINE else "é€😀\n"
        for at in range(len(text)):
            assert await messages(text[:at], text[at:], split=split) == [ended]


async def test_the_line_that_is_wrong_is_named() -> None:
    source = messages_of(reading(b"fine\n\xff\n"), "the input", Encoding(), Split.LINE)
    assert await anext(source) == "fine"
    with pytest.raises(Usage, match="line 2 of the input is not UTF-8"):
        await anext(source)


async def test_what_cannot_be_read_is_named() -> None:
    def fail() -> bytes:
        raise IsADirectoryError(errno.EISDIR, "Is a directory")

    with pytest.raises(LocalFailure, match="cannot read x: Is a directory"):
        await anext(messages_of(fail, "x", Encoding(), Split.LINE))


async def test_a_read_that_goes_on_does_not_hold_up_a_cancellation() -> None:
    never = threading.Event()

    def read() -> bytes:
        never.wait()
        return b""

    with trio.move_on_after(0) as scope:
        await anext(messages_of(read, "x", Encoding(), Split.LINE))
    never.set()
    assert scope.cancelled_caught


# Standard input


def test_standard_input_is_read_as_it_comes() -> None:
    with fed(b"some"):
        assert [read_stdin(), read_stdin()] == [b"some", b""]


def test_a_pipe_that_does_not_block_is_waited_for() -> None:
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    got: list[bytes] = []
    with redirected(0, reading):
        reader = threading.Thread(target=lambda: got.append(read_stdin()))
        reader.start()
        os.write(writing, b"late")
        reader.join()
    os.close(reading)
    os.close(writing)
    assert got == [b"late"]


def test_nothing_to_read_yet_is_not_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    answers: list[Any] = [BlockingIOError(errno.EAGAIN, "Try again"), b"late"]
    waited: list[Any] = []

    def read(descriptor: int, size: int) -> bytes:
        answer = answers.pop(0)
        if isinstance(answer, bytes):
            return answer
        raise answer

    monkeypatch.setattr("os.read", read)
    monkeypatch.setattr("select.select", lambda *given: waited.append(given))
    assert read_stdin() == b"late"
    assert waited == [([0], [], [])]


@pytest.mark.parametrize("number", [errno.EBADF, errno.EIO])
def test_a_standard_input_that_is_gone_is_at_its_end(
    number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(descriptor: int, size: int) -> bytes:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("os.read", fail)
    assert read_stdin() == b""


def test_a_directory_is_no_input(tmp_path: Any) -> None:
    directory = os.open(tmp_path, os.O_RDONLY)
    with redirected(0, directory), pytest.raises(IsADirectoryError):
        read_stdin()
    os.close(directory)


@pytest.mark.parametrize("split", list(Split))
async def test_a_message_that_does_not_end_is_bounded(
    split: Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trio_ws.cli.input.MAX_MESSAGE", 1000)
    endless = messages_of(lambda: b"[" * 100, "the input", Encoding(), split)
    async with aclosing(endless):
        with pytest.raises(Usage, match=rf"1 of the input is over 1000 bytes .*--split {split}"):
            async for _ in endless:
                pass
