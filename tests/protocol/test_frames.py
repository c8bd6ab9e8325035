"""The frame codec: RFC 6455, section 5.2, and the examples of section 5.7."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_ws.protocol.frames import (
    FrameHeader,
    Opcode,
    Violation,
    encode_frame,
    parse_header,
    take_whole_messages,
)

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


def take(
    data: bytes, *, masked: bool = False, max_size: int = 1 << 20, position: int = 0
) -> object:
    messages: list[str | bytes] = []
    stop = take_whole_messages(
        data, position, masked=masked, max_size=max_size, append=messages.append
    )
    return messages, stop


def encode(message: str | bytes, key: bytes = b"") -> bytes:
    if isinstance(message, str):
        return encode_frame(Opcode.TEXT, message.encode(), key)
    return encode_frame(Opcode.BINARY, message, key)


messages_strategy = st.lists(st.text(max_size=200) | st.binary(max_size=200), max_size=8)


@given(messages_strategy, st.booleans(), st.data())
def test_whole_messages_come_out_of_any_prefix(
    messages: list[str | bytes], masked: bool, data: st.DataObject
) -> None:
    frames = [encode(message, KEY if masked else b"") for message in messages]
    stream = b"".join(frames)
    cut = data.draw(st.integers(0, len(stream)))
    whole = end = 0
    while whole < len(frames) and end + len(frames[whole]) <= cut:
        end += len(frames[whole])
        whole += 1
    assert take(stream[:cut], masked=masked) == (messages[:whole], end)


@pytest.mark.parametrize("length", [125, 126, 127, 65535])
@pytest.mark.parametrize("masked", [False, True])
def test_lengths_that_the_hot_loop_knows(length: int, masked: bool) -> None:
    frame = encode(bytes(length), KEY if masked else b"")
    assert take(frame, masked=masked) == ([bytes(length)], len(frame))


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
        pytest.param(encode(bytes(65536)), id="eight-byte length"),
        pytest.param(bytes.fromhex("827e007d") + bytes(125), id="not the shortest form"),
        pytest.param(bytes.fromhex("827e00"), id="half a length"),
    ],
)
def test_anything_else_is_left_without_a_verdict(left: bytes) -> None:
    stream = encode("before") + left + encode("after")
    max_size = 65536 if len(left) > 65536 else 1000
    taken = take(stream, max_size=max_size)
    assert taken == (["before"], len(encode("before")))


def test_the_hot_loop_begins_where_it_is_told() -> None:
    stream = encode("one") + encode("two")
    assert take(stream, position=len(encode("one"))) == (["two"], len(stream))
