"""permessage-deflate: RFC 7692."""

from __future__ import annotations

import random
import tracemalloc
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_ws import Compression, Limits
from trio_ws.protocol.deflate import (
    DeflateParameters,
    InflatedTooBig,
    InflateError,
    NegotiationError,
    PerMessageDeflate,
    check_response,
    choose,
    offer,
)
from trio_ws.protocol.extensions import Extension, format_extensions, parse_extensions

WIDE = Compression(window_bits=15, peer_window_bits=None)
HELLO = bytes.fromhex("f248cdc9c90700")


def codec(
    parameters: DeflateParameters | None = None, *, client: bool = False, **limits: int | None
) -> PerMessageDeflate:
    return PerMessageDeflate(
        parameters or DeflateParameters(),
        client=client,
        compression=Compression(),
        limits=Limits(**limits),  # type: ignore[arg-type]
    )


def deflated(data: bytes) -> bytes:
    compressor = zlib.compressobj(wbits=-15)
    return (compressor.compress(data) + compressor.flush(zlib.Z_SYNC_FLUSH))[:-4]


def plausible(size: int) -> bytes:
    """Data that compresses about as well as text."""
    return random.Random(size).randbytes(size // 2).hex().encode()[:size]


# The codec


def test_the_examples_of_the_rfc() -> None:
    """Section 7.2.3: one block, a shared window, no compression, the last block, two blocks."""
    receiver = codec()
    for wire in (
        "f248cdc9c90700",
        "f200110000",
        "000500faff48656c6c6f00",
        "f348cdc9c9070000",
        "f248050000 00ffffcac9c90700",
    ):
        assert receiver.inflate(bytes.fromhex(wire), final=True) == b"Hello"


def test_hello_is_sent_as_the_rfc_sends_it() -> None:
    sender = codec(DeflateParameters(server_max_window_bits=15))
    assert sender.compress(b"Hello") == HELLO
    assert sender.compress(b"Hello") == bytes.fromhex("f200110000")


@pytest.mark.parametrize("client", [False, True])
def test_without_takeover_each_message_stands_alone(client: bool) -> None:
    parameters = DeflateParameters(
        server_no_context_takeover=not client, client_no_context_takeover=client
    )
    sender = codec(parameters, client=client)
    receiver = codec(parameters, client=not client)
    for _ in range(3):
        assert sender.compress(b"Hello") == HELLO
        assert receiver.inflate(HELLO, final=True) == b"Hello"
    assert receiver._decompressor is None
    # The other direction keeps its window.
    assert receiver.compress(b"Hello") != receiver.compress(b"Hello")


def test_an_empty_message_is_one_byte() -> None:
    sender, receiver = codec(), codec(client=True)
    for _ in range(3):
        wire = sender.compress(b"")
        assert wire == b"\x00"
        assert receiver.inflate(wire, final=True) == b""


@pytest.mark.parametrize("bits", range(9, 16))
@pytest.mark.parametrize("takeover", [False, True])
def test_windows_of_every_size(bits: int, takeover: bool) -> None:
    parameters = DeflateParameters(
        server_no_context_takeover=not takeover, server_max_window_bits=bits
    )
    sender, receiver = codec(parameters), codec(parameters, client=True)
    for size in (10, 5_000, 100_000):
        data = plausible(size)
        assert receiver.inflate(sender.compress(data), final=True) == data


def test_a_window_of_eight_bits_is_read() -> None:
    receiver = codec(DeflateParameters(client_max_window_bits=8))
    assert receiver.inflate(HELLO, final=True) == b"Hello"


@given(
    messages=st.lists(st.lists(st.binary(max_size=300), min_size=1, max_size=4), max_size=4),
    step=st.integers(1, 50),
    takeover=st.booleans(),
)
def test_fragments_and_pieces_of_any_size(
    messages: list[list[bytes]], step: int, takeover: bool
) -> None:
    parameters = DeflateParameters(server_no_context_takeover=not takeover)
    sender, receiver = codec(parameters), codec(parameters, client=True)
    for fragments in messages:
        wire = b""
        for number, fragment in enumerate(fragments):
            wire += sender.compress(fragment, final=number == len(fragments) - 1)
        pieces = [wire[start : start + step] for start in range(0, len(wire), step)]
        inflated = b""
        for number, piece in enumerate(pieces):
            inflated += receiver.inflate(piece, final=number == len(pieces) - 1)
        assert inflated == b"".join(fragments)


@pytest.mark.parametrize("bad", [b"\xff\xff\xff", b"\x07", b"\x00\x05\x00\x00\x00"])
def test_what_is_no_deflate_is_refused(bad: bytes) -> None:
    with pytest.raises(InflateError):
        codec().inflate(bad, final=True)


# Bombs


def test_exactly_the_bound_passes_and_one_byte_more_does_not() -> None:
    for size in (1000, 1001):
        receiver = codec(max_message_size=1000)
        if size > 1000:
            with pytest.raises(InflatedTooBig, match="message over 1000 bytes"):
                receiver.inflate(deflated(bytes(size)), final=True)
        else:
            assert receiver.inflate(deflated(bytes(size)), final=True) == bytes(size)


def test_the_bound_is_over_all_fragments_of_a_message_and_not_over_two_messages() -> None:
    receiver = codec(max_message_size=1000)
    wire = deflated(bytes(1000))
    for _ in range(3):
        assert receiver.inflate(wire[:3], final=False) + receiver.inflate(
            wire[3:], final=True
        ) == bytes(1000)
    wire = deflated(bytes(1500))
    with pytest.raises(InflatedTooBig):
        for number in range(len(wire)):
            receiver.inflate(wire[number : number + 1], final=False)


def test_a_bomb_costs_no_more_than_a_message_may() -> None:
    bomb = deflated(bytes(64 << 20))
    assert len(bomb) < 66_000
    receiver = codec(max_inflate_ratio=10_000)
    tracemalloc.start()
    try:
        with pytest.raises(InflatedTooBig):
            receiver.inflate(bomb, final=True)
        assert tracemalloc.get_traced_memory()[1] < 2_500_000
    finally:
        tracemalloc.stop()


def test_the_ratio_is_bounded_above_its_floor() -> None:
    floor = 64 * 1024
    assert len(codec().inflate(deflated(bytes(floor)), final=True)) == floor
    with pytest.raises(InflatedTooBig, match="more than 100 times"):
        codec().inflate(deflated(bytes(1_000_000)), final=True)
    for limited in (False, True):
        with pytest.raises(InflatedTooBig, match="more than 100 times"):
            codec(max_message_size=None).inflate(
                deflated(bytes(5_000_000)), final=True, limited=limited
            )


def test_a_streamed_message_may_be_of_any_size() -> None:
    data = plausible(3_000_000)
    receiver = codec()
    assert receiver.inflate(deflated(data), final=True, limited=False) == data


def test_data_behind_a_last_block_is_read() -> None:
    compressor = zlib.compressobj(wbits=-15)
    ended = compressor.compress(b"one") + compressor.flush(zlib.Z_FINISH)
    receiver = codec()
    assert receiver.inflate(ended + deflated(b"two"), final=True) == b"onetwo"
    assert receiver.inflate(HELLO, final=True) == b"Hello"


# Negotiation: section 7.1


def chosen(offers: str, compression: Compression = WIDE) -> str | None:
    found = choose(parse_extensions(offers), compression)
    return None if found is None else format_extensions([found[1]])


NAME = "permessage-deflate"


@pytest.mark.parametrize(
    ("offers", "answer"),
    [
        ("", None),
        ("x-other", None),
        (NAME, NAME),
        (f"x-other, {NAME}", NAME),
        (f"{NAME}; server_no_context_takeover", f"{NAME}; server_no_context_takeover"),
        (f"{NAME}; client_no_context_takeover", f"{NAME}; client_no_context_takeover"),
        (f"{NAME}; server_max_window_bits=10", f"{NAME}; server_max_window_bits=10"),
        (f'{NAME}; server_max_window_bits="10"', f"{NAME}; server_max_window_bits=10"),
        (f"{NAME}; client_max_window_bits", NAME),
        (f"{NAME}; client_max_window_bits=11", f"{NAME}; client_max_window_bits=11"),
        (f"{NAME}; client_max_window_bits=8", f"{NAME}; client_max_window_bits=8"),
        (f"{NAME}; server_max_window_bits=8", None),
        (f"{NAME}; server_max_window_bits=8, {NAME}", NAME),
        (f"{NAME}; server_max_window_bits", None),
        (f"{NAME}; server_max_window_bits=7", None),
        (f"{NAME}; server_max_window_bits=16", None),
        (f"{NAME}; server_max_window_bits=010", None),
        (f"{NAME}; server_max_window_bits=x", None),
        (f"{NAME}; client_max_window_bits=0", None),
        (f"{NAME}; server_no_context_takeover=1", None),
        (f"{NAME}; client_no_context_takeover=x", None),
        (f"{NAME}; unknown", None),
        (f"{NAME}; client_no_context_takeover; client_no_context_takeover", None),
        (
            f"{NAME}; unknown, {NAME}; server_max_window_bits=9, {NAME}",
            f"{NAME}; server_max_window_bits=9",
        ),
    ],
)
def test_what_a_server_answers(offers: str, answer: str | None) -> None:
    assert chosen(offers) == answer


def test_a_server_asks_for_its_own_bounds_where_the_client_can_keep_them() -> None:
    narrow = Compression(
        window_bits=10, peer_window_bits=11, context_takeover=False, peer_context_takeover=False
    )
    takeover = "server_no_context_takeover; client_no_context_takeover"
    assert chosen(NAME, narrow) == f"{NAME}; {takeover}; server_max_window_bits=10"
    assert chosen(f"{NAME}; client_max_window_bits", narrow) == (
        f"{NAME}; {takeover}; server_max_window_bits=10; client_max_window_bits=11"
    )


def test_what_a_client_offers() -> None:
    assert format_extensions(offer(WIDE)) == f"{NAME}; client_max_window_bits"
    narrow = Compression(
        window_bits=10, peer_window_bits=11, context_takeover=False, peer_context_takeover=False
    )
    assert format_extensions(offer(narrow)) == (
        f"{NAME}; server_no_context_takeover; client_no_context_takeover; "
        "server_max_window_bits=11; client_max_window_bits=10"
    )


@pytest.mark.parametrize(
    ("answer", "parameters"),
    [
        (NAME, DeflateParameters()),
        (f"{NAME}; server_no_context_takeover", DeflateParameters(server_no_context_takeover=True)),
        (f"{NAME}; client_no_context_takeover", DeflateParameters(client_no_context_takeover=True)),
        (f"{NAME}; server_max_window_bits=9", DeflateParameters(server_max_window_bits=9)),
        (f"{NAME}; client_max_window_bits=9", DeflateParameters(client_max_window_bits=9)),
    ],
)
def test_what_a_client_accepts(answer: str, parameters: DeflateParameters) -> None:
    assert check_response(parse_extensions(answer)[0], WIDE) == parameters


def test_a_client_keeps_its_own_bounds_unasked() -> None:
    narrow = Compression(window_bits=10, peer_window_bits=None, context_takeover=False)
    agreed = check_response(Extension(NAME), narrow)
    assert agreed.client_max_window_bits == 10
    assert agreed.client_no_context_takeover


@pytest.mark.parametrize(
    ("answer", "compression"),
    [
        ("x-other", WIDE),
        (f"{NAME}; unknown", WIDE),
        (f"{NAME}; client_max_window_bits", WIDE),
        (f"{NAME}; client_max_window_bits=8", WIDE),
        (f"{NAME}; server_max_window_bits=16", WIDE),
        (f"{NAME}; client_no_context_takeover; client_no_context_takeover", WIDE),
        (NAME, Compression(peer_window_bits=10)),
        (f"{NAME}; server_max_window_bits=11", Compression(peer_window_bits=10)),
        (NAME, Compression(peer_window_bits=None, peer_context_takeover=False)),
    ],
)
def test_what_a_client_refuses(answer: str, compression: Compression) -> None:
    with pytest.raises(NegotiationError):
        check_response(parse_extensions(answer)[0], compression)


settings = st.builds(
    Compression,
    window_bits=st.integers(9, 15),
    peer_window_bits=st.none() | st.integers(9, 15),
    context_takeover=st.booleans(),
    peer_context_takeover=st.booleans(),
)


@given(settings, settings)
def test_our_client_and_our_server_always_agree(ours: Compression, theirs: Compression) -> None:
    found = choose(offer(ours), theirs)
    assert found is not None
    agreed = check_response(found[1], ours)
    assert agreed.server_max_window_bits == found[0].server_max_window_bits
    assert agreed.client_max_window_bits <= found[0].client_max_window_bits
    sender = PerMessageDeflate(agreed, client=True, compression=ours, limits=Limits())
    receiver = PerMessageDeflate(found[0], client=False, compression=theirs, limits=Limits())
    for _ in range(2):
        assert receiver.inflate(sender.compress(b"spam" * 999), final=True) == b"spam" * 999
        assert sender.inflate(receiver.compress(b"eggs" * 999), final=True) == b"eggs" * 999


LAST_BLOCK = b"\x03\x00"


@pytest.mark.parametrize("step", [1, 7, 10_000])
def test_last_blocks_are_bounded_in_each_message(step: int) -> None:
    receiver = codec()
    for _ in range(2):
        # And the beginning of a block that the end of a message ends (section 7.2.3.4).
        assert receiver.inflate(LAST_BLOCK * 1000 + b"\x00", final=True) == b""
    assert receiver.count_last_blocks() == 2000
    assert receiver.count_last_blocks() == 0
    flood = LAST_BLOCK * 1001
    with pytest.raises(InflateError, match="more than 1000 last blocks"):
        for start in range(0, len(flood), step):
            receiver.inflate(flood[start : start + step], final=False)


def test_data_behind_a_last_block_is_read_whatever_its_size() -> None:
    squeeze = zlib.compressobj(9, zlib.DEFLATED, -15)
    noise = random.Random(1).randbytes(5000)
    first = squeeze.compress(noise) + squeeze.flush(zlib.Z_FINISH)
    assert codec().inflate(first + LAST_BLOCK + deflated(noise), final=True) == noise * 2
