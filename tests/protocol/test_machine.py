"""The state of one side of an open connection: RFC 6455, sections 5.4 to 5.6, 7 and 8."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_ws import Compression, Limits
from trio_ws.protocol.deflate import DeflateParameters, PerMessageDeflate
from trio_ws.protocol.frames import Opcode, encode_frame
from trio_ws.protocol.machine import (
    Close,
    Event,
    Failure,
    LocalProtocolError,
    Machine,
    Part,
    Ping,
    Pong,
    encode_close,
)

if TYPE_CHECKING:
    from collections.abc import Callable

SMALL = Limits(max_message_size=1000)
KEY = b"\x01\x02\x03\x04"


def deflate(*, client: bool, limits: Limits, takeover: bool = True) -> PerMessageDeflate:
    parameters = DeflateParameters(
        server_no_context_takeover=not takeover, client_no_context_takeover=not takeover
    )
    return PerMessageDeflate(
        parameters, client=client, compression=Compression(threshold=0), limits=limits
    )


def machine(
    *, client: bool = False, limits: Limits | None = None, compressed: bool = False
) -> Machine:
    limits = limits or Limits()
    codec = deflate(client=client, limits=limits) if compressed else None
    return Machine(client=client, limits=limits, deflate=codec)


def frame(
    opcode: Opcode, payload: bytes = b"", *, fin: bool = True, rsv1: bool = False, key: bytes = KEY
) -> bytes:
    """As a client sends it."""
    return encode_frame(opcode, payload, key, fin=fin, rsv1=rsv1)


def receive(data: bytes, *, streaming: bool = False, limits: Limits | None = None) -> list[Event]:
    """What a server makes of *data*."""
    server = machine(limits=limits)
    server.streaming = streaming
    return server.receive_data(data)


# Whatever one side says, the other hears


@pytest.mark.parametrize("client", [False, True])
@pytest.mark.parametrize("compressed", [False, True])
@given(
    messages=st.lists(st.text(max_size=300) | st.binary(max_size=300), max_size=6), data=st.data()
)
def test_what_one_side_sends_the_other_receives_whatever_way_it_is_cut(
    client: bool, compressed: bool, messages: list[str | bytes], data: st.DataObject
) -> None:
    sender, receiver = (
        machine(client=side, compressed=compressed) for side in (client, not client)
    )
    stream = b"".join(sender.send_message(message) for message in messages)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=6)))
    events: list[Event] = []
    for start, stop in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        events += receiver.receive_data(stream[start:stop])
    assert events == messages
    assert not receiver.mid_message


@given(
    parts=st.lists(st.text(max_size=50), min_size=1, max_size=5)
    | st.lists(st.binary(max_size=50), min_size=1, max_size=5),
    compressed=st.booleans(),
    step=st.integers(1, 40),
)
def test_fragments_are_joined(parts: list[str | bytes], compressed: bool, step: int) -> None:
    sender, receiver = (machine(client=side, compressed=compressed) for side in (True, False))
    stream = b""
    for number, part in enumerate(parts):
        stream += sender.send_part(part, final=number == len(parts) - 1)
        stream += sender.send_ping(b"between")
    events: list[Event] = []
    for start in range(0, len(stream), step):
        events += receiver.receive_data(stream[start : start + step])
    joined = parts[0]
    for part in parts[1:]:
        joined += part  # type: ignore[operator]  # all of one type
    assert [event for event in events if not isinstance(event, Ping)] == [joined]
    assert events.count(Ping(b"between")) == len(parts)


@given(st.binary(max_size=400), st.booleans(), st.booleans(), st.integers(1, 30))
def test_any_bytes_give_the_same_events_whatever_way_they_are_cut(
    data: bytes, client: bool, compressed: bool, step: int
) -> None:
    whole = machine(client=client, compressed=compressed).receive_data(data)
    receiver = machine(client=client, compressed=compressed)
    pieces: list[Event] = []
    for start in range(0, len(data), step):
        pieces += receiver.receive_data(data[start : start + step])
    # A rule can be seen to be broken earlier in a whole than in its pieces, never otherwise.
    assert pieces == whole


def test_control_frames_are_events() -> None:
    data = frame(Opcode.PING, b"a") + frame(Opcode.PONG, b"b") + frame(Opcode.PING)
    assert receive(data) == [Ping(b"a"), Pong(b"b"), Ping(b"")]


def test_control_frames_come_between_fragments() -> None:
    data = (
        frame(Opcode.TEXT, b"a", fin=False)
        + frame(Opcode.PING, b"p")
        + frame(Opcode.CONTINUATION, b"b")
    )
    assert receive(data) == [Ping(b"p"), "ab"]


# Broken rules


@pytest.mark.parametrize(
    ("data", "code", "reason"),
    [
        (
            frame(Opcode.CONTINUATION, b"a"),
            1002,
            "continuation frame without a message to continue",
        ),
        (
            frame(Opcode.TEXT, b"a", fin=False) + frame(Opcode.TEXT, b"b"),
            1002,
            "new message before the last one was finished",
        ),
        (
            frame(Opcode.TEXT, b"a", rsv1=True),
            1002,
            "compressed message without permessage-deflate",
        ),
        (
            frame(Opcode.TEXT, b"a", fin=False) + frame(Opcode.CONTINUATION, b"b", rsv1=True),
            1002,
            "reserved bit set on a continuation frame",
        ),
        (frame(Opcode.TEXT, b"\xff"), 1007, "text is not valid UTF-8"),
        (frame(Opcode.TEXT, b"\xce"), 1007, "text is not valid UTF-8"),
        (frame(Opcode.TEXT, b"\xed\xa0\x80"), 1007, "text is not valid UTF-8"),
        (frame(Opcode.BINARY, bytes(1001)), 1009, "message over 1000 bytes"),
        (
            frame(Opcode.BINARY, bytes(600), fin=False) + frame(Opcode.CONTINUATION, bytes(600)),
            1009,
            "message over 1000 bytes",
        ),
        (frame(Opcode.CLOSE, b"\x03"), 1002, "close frame with half a code"),
        (frame(Opcode.CLOSE, b"\x03\xe7"), 1002, "close code 999 must not be sent"),
        (frame(Opcode.CLOSE, b"\x03\xed"), 1002, "close code 1005 must not be sent"),
        (frame(Opcode.CLOSE, b"\x03\xe8\xff"), 1007, "close reason is not valid UTF-8"),
        (frame(Opcode.TEXT, b"a", key=b""), 1002, "unmasked frame from a client"),
    ],
)
def test_a_broken_rule_is_the_last_event(data: bytes, code: int, reason: str) -> None:
    server = machine(limits=SMALL)
    assert server.receive_data(frame(Opcode.TEXT, b"before") + data) == [
        "before",
        Failure(code, reason),
    ]
    assert server.failure == Failure(code, reason)
    assert server.receive_data(frame(Opcode.TEXT, b"after")) == []
    assert not server.mid_message


def test_a_size_is_refused_before_its_payload_is_there() -> None:
    header = bytes.fromhex("82ff7fffffffffffffff01020304")
    assert receive(header, limits=SMALL) == [Failure(1009, "message over 1000 bytes")]


def test_without_a_bound_any_size_is_received() -> None:
    unbounded = Limits(max_message_size=None)
    assert receive(frame(Opcode.BINARY, bytes(1 << 21)), limits=unbounded) == [bytes(1 << 21)]


@pytest.mark.parametrize("bad", ["f4908080", "eda080", "c080", "ff", "80"])
def test_a_bad_byte_is_found_in_the_middle_of_a_frame(bad: str) -> None:
    server = machine()
    data = frame(Opcode.TEXT, "κόσμε".encode() + bytes.fromhex(bad) + b"edited" * 10)
    header, payload = data[:6], data[6:]
    assert server.receive_data(header) == []
    for count, byte in enumerate(payload):
        events = server.receive_data(bytes([byte]))
        if events:
            assert events == [Failure(1007, "text is not valid UTF-8")]
            assert count < len("κόσμε".encode()) + len(bad) // 2
            return
    pytest.fail("the bad byte was not noticed")


def test_a_million_empty_fragments_are_held_in_no_memory() -> None:
    server = machine()
    server.receive_data(frame(Opcode.TEXT, b"a", fin=False))
    empties = frame(Opcode.CONTINUATION, fin=False) * 10_000
    for _ in range(100):
        assert server.receive_data(empties) == []
    assert server.held_bytes == 1
    assert server.receive_data(frame(Opcode.CONTINUATION, b"b")) == ["ab"]


def test_what_is_carried_over_is_less_than_a_header_and_a_control_frame() -> None:
    server = machine()
    stream = frame(Opcode.BINARY, bytes(70_000)) + frame(Opcode.PING, bytes(125))
    largest = 0
    for byte in stream:
        server.receive_data(bytes([byte]))
        largest = max(largest, len(server._carry))
    assert largest < 14 + 125


def test_a_bomb_is_refused_while_it_inflates() -> None:
    limits = Limits(max_message_size=100_000, max_inflate_ratio=10_000)
    client = machine(client=True, limits=Limits(max_message_size=None), compressed=True)
    server = machine(limits=limits, compressed=True)
    assert server.receive_data(client.send_message(bytes(10_000_000))) == [
        Failure(1009, "message over 100000 bytes")
    ]


@pytest.mark.parametrize("step", [1, 3, 10_000])
@pytest.mark.parametrize(
    ("text", "code"),
    [
        (b"\xff" + bytes(2000), 1007),
        (bytes(999) + b"\xff" + bytes(2000), 1007),
        (bytes(1000) + b"\xff" + bytes(2000), 1009),
        (bytes(999) + b"\xc3" + bytes(2000), 1009),
        (bytes(2000) + b"\xff", 1009),
    ],
)
def test_what_is_wrong_first_in_a_bomb_is_named_whatever_way_it_is_cut(
    text: bytes, code: int, step: int
) -> None:
    server = machine(limits=SMALL, compressed=True)
    payload = deflate(client=True, limits=SMALL).compress(text)
    data = frame(Opcode.TEXT, payload, rsv1=True)
    for start in range(0, len(data), step):
        server.receive_data(data[start : start + step])
    assert server.failure is not None
    assert server.failure.code == code


def test_compressed_data_that_is_none_is_refused() -> None:
    server = machine(compressed=True)
    assert server.receive_data(frame(Opcode.TEXT, b"\xff\xff\xff", rsv1=True)) == [
        Failure(1007, "compressed data is not valid")
    ]


# Streaming


def test_a_message_that_is_streamed_comes_in_parts_and_has_no_bound() -> None:
    server = machine(limits=SMALL)
    assert server.start_streaming() is None
    data = frame(Opcode.BINARY, b"x" * 5000)
    assert server.receive_data(data[:2008]) == [Part(b"x" * 2000, False)]
    assert server.receive_data(data[2008:]) == [Part(b"x" * 3000, True)]
    assert server.receive_data(frame(Opcode.TEXT, b"whole")) == ["whole"]


def test_a_long_message_that_comes_at_once_is_one_event_even_when_streamed() -> None:
    assert receive(frame(Opcode.BINARY, bytes(70_000)), streaming=True) == [bytes(70_000)]


def test_streaming_can_begin_in_the_middle_of_a_message() -> None:
    server = machine()
    data = frame(Opcode.TEXT, "aé€".encode())
    assert server.receive_data(data[:-1]) == []
    assert server.start_streaming() == Part("aé", False)
    assert server.receive_data(data[-1:]) == [Part("€", True)]


def test_streaming_that_begins_between_messages_hands_nothing_out() -> None:
    server = machine()
    server.receive_data(frame(Opcode.TEXT, b"abc")[:2])
    assert server.start_streaming() is None


@given(st.text(max_size=100), st.booleans(), st.integers(1, 9))
def test_text_is_only_cut_between_characters(text: str, compressed: bool, step: int) -> None:
    client, server = (machine(client=side, compressed=compressed) for side in (True, False))
    server.start_streaming()
    data = client.send_message(text)
    parts: list[str] = []
    for start in range(0, len(data), step):
        for event in server.receive_data(data[start : start + step]):
            piece = event.data if isinstance(event, Part) else event
            assert isinstance(piece, str)
            parts.append(piece)
    assert "".join(parts) == text


# Sending


def test_the_threshold_decides_what_is_compressed_unless_overruled() -> None:
    limits = Limits()
    codec = PerMessageDeflate(
        DeflateParameters(), client=False, compression=Compression(threshold=10), limits=limits
    )
    server = Machine(client=False, limits=limits, deflate=codec)
    rsv1 = 0x40
    assert not server.send_message("a" * 9)[0] & rsv1
    assert server.send_message("a" * 10)[0] & rsv1
    assert server.send_message("a", compress=True)[0] & rsv1
    assert not server.send_message("a" * 99, compress=False)[0] & rsv1
    assert not server.send_part("a" * 99, final=True, compress=False)[0] & rsv1
    assert not machine().send_message("a" * 999, compress=True)[0] & rsv1


def test_a_client_masks_each_frame_with_a_key_of_its_own() -> None:
    client = machine(client=True)
    keys = {client.send_message("a")[2:6] for _ in range(50)}
    assert len(keys) == 50


def test_between_fragments_only_control_frames_may_be_sent() -> None:
    server = machine()
    server.send_part("a", final=False)
    with pytest.raises(LocalProtocolError, match="final fragment has not been sent"):
        server.send_message("b")
    with pytest.raises(TypeError, match="all str or all bytes"):
        server.send_part(b"b", final=True)
    server.send_pong()
    server.send_part("b", final=True)
    server.send_message("c")


def test_nothing_can_be_sent_after_the_close_frame() -> None:
    server = machine()
    assert server.send_close(1001, "bye") == encode_frame(Opcode.CLOSE, b"\x03\xe9bye")
    assert server.close_sent == Close(1001, "bye")
    attempts: list[Callable[[], bytes]] = [
        lambda: server.send_message("a"),
        lambda: server.send_part("a", final=True),
        server.send_ping,
        server.send_pong,
        server.send_close,
    ]
    for send in attempts:
        with pytest.raises(LocalProtocolError, match="after the close frame"):
            send()


def test_a_control_frame_carries_at_most_125_bytes() -> None:
    assert len(machine().send_ping(bytes(125))) == 127
    with pytest.raises(ValueError, match="at most 125 bytes, not 126"):
        machine().send_ping(bytes(126))


def test_text_with_a_lone_surrogate_is_refused_and_nothing_is_lost() -> None:
    server = machine()
    with pytest.raises(UnicodeEncodeError):
        server.send_message("\ud800")
    assert server.send_message("a") == encode_frame(Opcode.TEXT, b"a")


@pytest.mark.parametrize("message", [bytes(70_000), "a" * 70_000, "\u00e4" * 70_000])
def test_a_message_goes_in_pieces_where_the_payload_need_not_be_copied(
    message: str | bytes,
) -> None:
    pieces = machine().send_pieces(message)
    assert pieces is not None
    assert b"".join(bytes(piece[:]) for piece in pieces) == machine().send_message(message)
    assert machine(compressed=True).send_pieces(message) is None


@pytest.mark.parametrize("message", [bytes(70_000), "a" * 70_000, "\u00e4" * 70_000])
def test_a_clients_pieces_are_masked_with_a_key_of_their_own(message: str | bytes) -> None:
    client = machine(client=True)
    for _ in range(2):
        pieces = client.send_pieces(message)
        assert pieces is not None
        header, payload = pieces
        assert machine().receive_data(header + payload[:]) == [message]


def test_pieces_are_refused_where_a_message_would_be() -> None:
    closed, amid = machine(), machine()
    closed.send_close()
    amid.send_part("a", final=False)
    for one in (closed, amid):
        with pytest.raises(LocalProtocolError):
            one.send_pieces(b"a")
    with pytest.raises(UnicodeEncodeError):
        machine().send_pieces("\ud800")


# Large messages, which get a payload of their own


@pytest.mark.parametrize("masked", [True, False])
@pytest.mark.parametrize("message", ["a" * 40_000, "\u00e4" * 40_000, bytes(range(256)) * 200])
@pytest.mark.parametrize("cut", [1, 9, 14, 15, 30_000, 39_999])
def test_a_large_message_in_two_pieces(message: str | bytes, masked: bool, cut: int) -> None:
    sender, receiver = machine(client=masked), machine(client=not masked)
    data = sender.send_message(message)
    assert receiver.receive_data(data[:cut]) == []
    assert receiver.receive_data(data[cut:]) == [message]
    assert receiver.messages_only
    assert receiver.held_bytes == 0


def test_a_large_message_that_turns_out_to_be_streamed() -> None:
    server = machine()
    text = "\u00e4" * 40_000
    data = frame(Opcode.TEXT, text.encode())
    header = len(data) - 80_000
    assert server.receive_data(data[: header + 40_001]) == []
    assert server.held_bytes == 40_001
    # Half a character stays.
    assert server.start_streaming() == Part("\u00e4" * 20_000, final=False)
    assert server.held_bytes == 1
    assert server.receive_data(data[header + 40_001 :]) == [Part("\u00e4" * 20_000, final=True)]


def test_a_large_text_fails_at_its_first_broken_byte() -> None:
    server = machine()
    data = frame(Opcode.TEXT, b"a" * 40_000 + b"\xff" + b"a" * 40_000)
    assert server.receive_data(data[:50_000]) == [Failure(1007, "text is not valid UTF-8")]


def test_a_header_makes_nobody_hold_more_than_the_bound() -> None:
    data = frame(Opcode.BINARY, bytes(70_000))[:20]
    unbounded = Limits(max_message_size=None)
    assert receive(data, limits=Limits(max_message_size=60_000)) == [
        Failure(1009, "message over 60000 bytes")
    ]
    server = machine(limits=unbounded)
    # A frame of 2**62 bytes, of which there will never be enough memory.
    assert (
        server.receive_data(bytes([0x82, 0xFF]) + (1 << 62).to_bytes(8, "big") + KEY + b"a") == []
    )
    assert server.held_bytes == 1


# Closing


@pytest.mark.parametrize("code", [1000, 1001, 1003, 1011, 1014, 3000, 4999])
def test_a_close_frame_is_the_last_event(code: int) -> None:
    client, server = machine(client=True), machine()
    data = client.send_message("before") + client.send_close(code, "because")
    assert server.receive_data(data + b"garbage") == ["before", Close(code, "because")]
    assert server.close_received == Close(code, "because")
    assert server.receive_data(b"more") == []
    assert not server.mid_message


def test_a_close_frame_may_come_between_fragments_and_may_be_empty() -> None:
    data = frame(Opcode.TEXT, b"a", fin=False) + frame(Opcode.CLOSE)
    assert receive(data) == [Close(1005, "")]


def test_after_its_close_frame_a_side_still_receives() -> None:
    server = machine()
    server.send_close()
    data = frame(Opcode.TEXT, b"late") + frame(Opcode.CLOSE, b"\x03\xe8")
    assert server.receive_data(data) == ["late", Close(1000, "")]


@pytest.mark.parametrize(
    ("code", "reason", "problem"),
    [
        (1005, "why", "cannot carry a reason"),
        (1006, "", "must not be sent"),
        (1015, "", "must not be sent"),
        (999, "", "must not be sent"),
        (2000, "", "must not be sent"),
        (5000, "", "must not be sent"),
        (1000, "é" * 62, "at most 123 bytes of UTF-8, not 124"),
    ],
)
def test_what_may_not_stand_in_a_close_frame(code: int, reason: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        encode_close(code, reason)


def test_what_may() -> None:
    assert encode_close(1005, "") == b""
    assert encode_close(1000, "é" * 61) == b"\x03\xe8" + "é".encode() * 61


def test_repr_tells_the_state() -> None:
    client = machine(client=True)
    assert repr(client) == "<Machine client, receiving: open, sending: open>"
    client.send_close(1000, "")
    client.receive_data(frame(Opcode.PING))
    assert "Failure(code=1002" in repr(client)
    assert "sending: Close(code=1000" in repr(client)


def test_fragments_are_counted_and_messages_that_come_whole_are_not() -> None:
    one = machine()
    one.receive_data(frame(Opcode.TEXT, b"whole") * 3)
    assert one.count_fragments() == 0
    one.receive_data(
        frame(Opcode.TEXT, b"a", fin=False) + frame(Opcode.CONTINUATION, fin=False) * 9
    )
    assert one.count_fragments() == 10
    assert one.count_fragments() == 0
