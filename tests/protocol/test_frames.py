"""The frame codec: RFC 6455, section 5.2, and the examples of section 5.7."""

from __future__ import annotations

import importlib.util
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.protocol.twins import c_part
from trio_ws.protocol.frames import (
    FrameHeader,
    Opcode,
    Violation,
    encode_frame,
    encode_message_pure,
    parse_header,
    take_whole_messages_pure,
    utf8_of_pure,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from trio_ws.protocol.masking import Buffer

KEY = bytes.fromhex("37fa213d")

# RFC 6455, section 5.7: opcode, payload, key, FIN, bytes on the wire.
RFC_EXAMPLES = [
    (Opcode.TEXT, b"Hello", b"", True, "810548656c6c6f"),
    (Opcode.TEXT, b"Hello", KEY, True, "818537fa213d7f9f4d5158"),
    (Opcode.TEXT, b"Hel", b"", False, "010348656c"),
    (Opcode.CONTINUATION, b"lo", b"", True, "80026c6f"),
    (Opcode.PING, b"Hello", b"", True, "890548656c6c6f"),
    (Opcode.PONG, b"Hello", KEY, True, "8a8537fa213d7f9f4d5158"),
    (Opcode.BINARY, bytes(256), b"", True, "827e0100" + "00" * 256),
    (Opcode.BINARY, bytes(65536), b"", True, "827f0000000000010000" + "00" * 65536),
]


@pytest.mark.parametrize(("opcode", "payload", "key", "fin", "wire"), RFC_EXAMPLES)
def test_encodes_the_examples_of_the_rfc(
    opcode: Opcode, payload: bytes, key: bytes, fin: bool, wire: str
) -> None:
    assert encode_frame(opcode, payload, key, fin=fin) == bytes.fromhex(wire)


@pytest.mark.parametrize(("opcode", "payload", "key", "fin", "wire"), RFC_EXAMPLES)
def test_parses_the_examples_of_the_rfc(
    opcode: Opcode, payload: bytes, key: bytes, fin: bool, wire: str
) -> None:
    data = bytes.fromhex(wire)
    header = parse_header(data, 0, masked=bool(key))
    assert header == FrameHeader(opcode, fin, False, len(payload), key, len(data) - len(payload))


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("length", [0, 1, 125, 126, 127, 65535, 65536])
def test_each_length_has_its_shortest_form(length: int, masked: bool) -> None:
    frame = encode_frame(Opcode.BINARY, bytes(length), KEY if masked else b"")
    header = parse_header(frame, 0, masked=masked)
    assert header is not None
    assert header.length == length
    extended = 0 if length < 126 else 2 if length < 65536 else 8
    assert header.payload_start == 2 + extended + (4 if masked else 0)


@pytest.mark.parametrize(
    ("wire", "masked", "code", "reason"),
    [
        ("83", False, 1002, "unknown opcode 0x3"),
        ("8f", False, 1002, "unknown opcode 0xf"),
        ("a1", False, 1002, "reserved bit set"),
        ("91", False, 1002, "reserved bit set"),
        ("c9", False, 1002, "reserved bit set on a control frame"),
        ("09", False, 1002, "fragmented control frame"),
        ("8105", True, 1002, "unmasked frame from a client"),
        ("8185", False, 1002, "masked frame from a server"),
        ("887e", False, 1002, "control frame longer than 125 bytes"),
        ("89ff", True, 1002, "control frame longer than 125 bytes"),
        ("827e007d", False, 1002, "frame length not in its shortest form"),
        ("827f000000000000ffff", False, 1002, "frame length not in its shortest form"),
        ("82ff8000000000000000", True, 1002, "frame length over 63 bits"),
    ],
)
def test_a_broken_rule_is_found_as_soon_as_its_bytes_are_there(
    wire: str, masked: bool, code: int, reason: str
) -> None:
    data = bytes.fromhex(wire)
    for cut in range(len(data)):
        assert parse_header(data[:cut], 0, masked=masked) is None
    with pytest.raises(Violation) as caught:
        parse_header(data, 0, masked=masked)
    assert (caught.value.code, caught.value.reason) == (code, reason)


@given(
    st.sampled_from(list(Opcode)),
    st.booleans(),
    st.binary(min_size=4, max_size=4),
    st.integers(0, 70_000),
)
def test_parsing_any_prefix_of_a_header_waits_for_more(
    opcode: Opcode, masked: bool, key: bytes, length: int
) -> None:
    if opcode >= Opcode.CLOSE:
        length %= 126
    frame = encode_frame(opcode, bytes(length), key if masked else b"")
    header = parse_header(frame, 0, masked=masked)
    assert header is not None
    assert header.key == (key if masked else b"")
    for cut in range(header.payload_start):
        assert parse_header(frame[:cut], 0, masked=masked) is None


# The hot loop


@pytest.fixture(params=["pure", "C"])
def hot(request: pytest.FixtureRequest) -> HotLoops:
    """The two loops that have a twin in C, in Python and in C."""
    if request.param == "pure":
        return HotLoops(take_whole_messages_pure, encode_message_pure)
    return HotLoops(c_part().take_whole_messages, c_part().encode_message)


@dataclass(frozen=True)
class HotLoops:
    take_whole_messages: Callable[..., int]
    encode_message: Callable[..., bytes]

    def take(
        self, data: Buffer, *, masked: bool = False, max_size: int = 1 << 20, position: int = 0
    ) -> tuple[list[str | bytes], int]:
        messages: list[str | bytes] = []
        return messages, self.take_whole_messages(data, position, masked, max_size, messages)


def encode(message: str | bytes, key: bytes = b"") -> bytes:
    if isinstance(message, str):
        return encode_frame(Opcode.TEXT, message.encode(), key)
    return encode_frame(Opcode.BINARY, message, key)


messages_strategy = st.lists(st.text(max_size=200) | st.binary(max_size=200), max_size=8)


hot_loops_of_both_kinds = settings(
    # The fixture holds functions and nothing else.
    suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@hot_loops_of_both_kinds
@given(messages_strategy, st.booleans(), st.data())
def test_whole_messages_come_out_of_any_prefix(
    hot: HotLoops, messages: list[str | bytes], masked: bool, data: st.DataObject
) -> None:
    frames = [encode(message, KEY if masked else b"") for message in messages]
    stream = b"".join(frames)
    cut = data.draw(st.integers(0, len(stream)))
    whole = end = 0
    while whole < len(frames) and end + len(frames[whole]) <= cut:
        end += len(frames[whole])
        whole += 1
    assert hot.take(stream[:cut], masked=masked) == (messages[:whole], end)
    assert hot.take(memoryview(stream)[:cut], masked=masked) == (messages[:whole], end)


@pytest.mark.parametrize("length", [125, 126, 127, 65535, 65536, 70_000])
@pytest.mark.parametrize("masked", [False, True])
def test_lengths_that_the_hot_loop_knows(hot: HotLoops, length: int, masked: bool) -> None:
    frame = encode(bytes(length), KEY if masked else b"")
    assert hot.take(frame, masked=masked) == ([bytes(length)], len(frame))


@pytest.mark.parametrize(
    "left",
    [
        pytest.param(encode_frame(Opcode.TEXT, b"a", fin=False), id="fragment"),
        pytest.param(encode_frame(Opcode.CONTINUATION, b"a"), id="continuation"),
        pytest.param(encode_frame(Opcode.PING, b""), id="control frame"),
        pytest.param(encode_frame(Opcode.TEXT, b"a", rsv1=True), id="compressed"),
        pytest.param(encode_frame(Opcode.TEXT, b"a", KEY), id="wrongly masked"),
        pytest.param(encode_frame(Opcode.TEXT, b"\xff"), id="not UTF-8"),
        pytest.param(encode(bytes(1001)), id="over the bound"),
        pytest.param(bytes.fromhex("827e007d") + bytes(125), id="not the shortest form"),
        pytest.param(bytes.fromhex("827e00"), id="half a length"),
        pytest.param(bytes.fromhex("827f000000000000007d"), id="not the shorter form"),
        pytest.param(bytes.fromhex("827f8000000000000001"), id="over 63 bits"),
        pytest.param(bytes.fromhex("827fffffffffffffffff"), id="negative, as C might see it"),
    ],
)
def test_anything_else_is_left_without_a_verdict(hot: HotLoops, left: bytes) -> None:
    stream = encode("before") + left + encode("after")
    assert hot.take(stream, max_size=1000) == (["before"], len(encode("before")))


def test_the_hot_loop_begins_where_it_is_told(hot: HotLoops) -> None:
    stream = encode("one") + encode("two")
    assert hot.take(stream, position=len(encode("one"))) == (["two"], len(stream))
    assert hot.take(stream, position=len(stream)) == ([], len(stream))


@pytest.mark.parametrize("key", [b"", KEY])
@pytest.mark.parametrize("length", [0, 125, 126, 65535, 65536])
def test_a_message_is_one_frame(hot: HotLoops, length: int, key: bytes) -> None:
    for message in (bytes(length), "a" * length, "\u00e4" * (length // 2)):
        frame = hot.encode_message(message, key)
        assert frame == encode(message, key)
        assert hot.take(frame, masked=bool(key)) == ([message], len(frame))


def test_a_lone_surrogate_is_no_text(hot: HotLoops) -> None:
    with pytest.raises(UnicodeEncodeError):
        hot.encode_message("\ud800", b"")


@pytest.mark.parametrize("text", ["", "ascii", "\u00e4", "\U0001f600" * 1000])
def test_the_utf8_of_a_text(text: str) -> None:
    in_c = c_part().utf8_of(text)
    assert in_c == utf8_of_pure(text) == text.encode()
    assert in_c.readonly
    # It outlives the name.
    del text
    assert bytes(in_c).decode().encode() == in_c


def test_a_text_does_not_keep_its_utf8() -> None:
    text = "\u00e4" * 100_000
    size = sys.getsizeof(text)
    assert len(c_part().encode_message(text, KEY)) == 2 + 8 + 4 + 200_000
    assert sys.getsizeof(text) == size


def test_a_view_of_what_is_no_text() -> None:
    with pytest.raises(UnicodeEncodeError):
        c_part().utf8_of("\ud800")
    with pytest.raises(TypeError):
        c_part().utf8_of(b"bytes")
    with pytest.raises(TypeError, match="cannot create"):
        type(c_part().utf8_of("a").obj)()


def test_the_c_part_refuses_wrong_arguments() -> None:
    take, encode_in_c = c_part().take_whole_messages, c_part().encode_message
    wrong: tuple[tuple[object, ...], ...] = (
        (b"",),
        (b"", "0", False, 1, []),
        (b"", 0, False, "1", []),
        ("text", 0, False, 1, []),
        (b"", 0, False, 1, ()),
        (b"", "0", False, "1", []),
        (b"", 0, False, 1 << 64, []),
    )
    for arguments in wrong:
        with pytest.raises((TypeError, OverflowError)):
            take(*arguments)
    with pytest.raises(ValueError, match="position must not be negative"):
        take(b"", -1, False, 1, [])
    wrong = ((), ("a",), (bytearray(1), b""), ("a", "text"))
    for arguments in wrong:
        with pytest.raises(TypeError):
            encode_in_c(*arguments)
    with pytest.raises(ValueError, match="a masking key has 4 bytes"):
        encode_in_c("a", b"abc")


def test_the_pure_twins_can_be_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trio_ws.protocol.masking.SPEEDUPS", False)
    spec = importlib.util.find_spec("trio_ws.protocol.frames")
    assert spec is not None
    assert spec.loader is not None
    chosen = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(chosen)
    assert chosen.take_whole_messages is chosen.take_whole_messages_pure
    assert chosen.encode_message is chosen.encode_message_pure
    assert chosen.utf8_of is chosen.utf8_of_pure
