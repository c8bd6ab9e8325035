"""Attacks inside an open connection."""

from __future__ import annotations

import zlib
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
import trio

from .scene import MIB, PATIENCE, REQUEST, Scene, masked, scene

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

DEFLATE = b"Sec-WebSocket-Extensions: permessage-deflate\r\n"


@pytest.fixture(params=[True, False], ids=["speedups", "pure"])
def staged(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[..., Any]:
    """`scene`, with the C part and without."""
    return partial(scene, tmp_path, speedups=request.param)


async def refused(place: Scene, data: bytes, *, extra: bytes = b"", growth: int = 3 * MIB) -> int:
    """Send *data* on an open connection: the close code, after the common assertions."""
    before = place.resident
    async with place.attacker() as attacker:
        await attacker.upgrade(extra)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(attacker.send, data)
            code = await attacker.close_code()
            nursery.cancel_scope.cancel()
    assert place.resident - before < growth
    await place.one_line()
    return code


async def test_a_flood_of_last_blocks_is_refused(staged: Callable[..., Any]) -> None:
    # Each inflates to nothing, and begins a new deflate stream (RFC 7692 section 7.2.3.5).
    async with staged(compression=True) as place:
        data = b"\xc2\xff" + (1 << 20).to_bytes(8, "big") + bytes(4) + b"\x03\x00" * (1 << 19)
        assert await refused(place, data, extra=DEFLATE) == 1007


@pytest.mark.parametrize(
    "flood",
    [
        pytest.param(b"\x00\x80\0\0\0\0" * 1_000_000, id="empty"),
        pytest.param(b"\x00\x81\0\0\0\0a" * 500_000, id="one byte"),
    ],
)
async def test_a_flood_of_fragments_takes_no_memory(
    staged: Callable[..., Any], flood: bytes
) -> None:
    async with staged(engine="built-in") as place:
        before, round_trips = place.resident, place.round_trips
        async with place.attacker() as attacker:
            await attacker.upgrade()
            await attacker.send(b"\x01\x81\0\0\0\0a" + flood + b"\x80\x80\0\0\0\0")
            await attacker.send(masked(0x88, b"\x03\xe8"))
            assert await attacker.close_code() == 1000
        assert place.resident - before < 8 * MIB
        # The neighbour was not kept waiting until it was over.
        assert place.round_trips - round_trips > 10
        await place.one_line()


async def test_fragments_beyond_the_limit_of_a_message_are_refused(
    staged: Callable[..., Any],
) -> None:
    async with staged(limits={"max_message_size": 1000}) as place:
        assert await refused(place, b"\x01\x81\0\0\0\0a" + b"\x00\x81\0\0\0\0a" * 500_000) == 1009


def deflated(size: int) -> bytes:
    """Zeros, as permessage-deflate carries them (RFC 7692 section 7.2.1)."""
    squeeze = zlib.compressobj(9, zlib.DEFLATED, -12)
    chunks = [squeeze.compress(bytes(MIB)) for _ in range(size // MIB)]
    chunks += [squeeze.compress(bytes(size % MIB)), squeeze.flush(zlib.Z_SYNC_FLUSH)]
    return b"".join(chunks)[:-4]


def split(data: bytes, size: int) -> bytes:
    """One compressed message in fragments of *size* bytes."""
    parts = [data[at : at + size] for at in range(0, len(data), size)]
    return (
        masked(0x42, parts[0])
        + b"".join(masked(0x00, part) for part in parts[1:])
        + masked(0x80, b"")
    )


@pytest.mark.parametrize("fragmented", [False, True], ids=["whole", "fragments"])
async def test_an_inflate_bomb_is_refused_before_it_is_inflated(
    staged: Callable[..., Any], fragmented: bool
) -> None:
    bomb = deflated(200 * MIB)
    data = split(bomb, 1000) if fragmented else masked(0xC2, bomb)
    async with staged(compression=True) as place:
        assert await refused(place, data, extra=DEFLATE) == 1009


@pytest.mark.parametrize("over", [0, 1, 2])
@pytest.mark.parametrize("fragmented", [False, True], ids=["whole", "fragments"])
async def test_the_bound_on_inflating_is_exact(
    staged: Callable[..., Any], over: int, fragmented: bool
) -> None:
    # 60 KB is under the floor of the ratio, so only the size counts.
    bomb = deflated(60_000 + over)
    data = split(bomb, 10) if fragmented else masked(0xC2, bomb)
    closing = masked(0x88, b"\x03\xe8")
    async with staged(compression=True, limits={"max_message_size": 60_000}) as place:
        code = await refused(place, data + closing, extra=DEFLATE)
    assert code == (1009 if over else 1000)


async def test_a_flood_of_pings_is_refused(
    staged: Callable[..., Any],
) -> None:
    async with staged() as place:
        assert await refused(place, masked(0x89, bytes(125)) * 20_000) == 1008


async def test_a_flood_of_pings_by_who_does_not_read_is_refused(
    staged: Callable[..., Any],
) -> None:
    async with staged(timeouts={"write_stall": 0.5}) as place:
        before = place.resident
        async with place.attacker() as attacker:
            await attacker.upgrade()
            # Until the victim is gone, which it is soon.
            with trio.fail_after(PATIENCE), suppress(trio.BrokenResourceError):
                while True:
                    await attacker.stream.send_all(masked(0x89, bytes(125)) * 1_000)
            await place.one_line()
        assert place.resident - before < 2 * MIB


@pytest.mark.parametrize("engine", ["built-in", "trio-websocket"])
@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"\x81\x01a", id="not masked"),
        pytest.param(b"\xc9\x80\0\0\0\0", id="compressed ping"),
        pytest.param(b"\xa1\x80\0\0\0\0", id="RSV2"),
        pytest.param(b"\x91\x80\0\0\0\0", id="RSV3"),
        pytest.param(b"\x83\x80\0\0\0\0", id="reserved opcode"),
        pytest.param(b"\x8b\x80\0\0\0\0", id="reserved control opcode"),
        pytest.param(b"\x09\x80\0\0\0\0", id="fragmented ping"),
        pytest.param(b"\x89\xfe\x00\x7e\0\0\0\0" + bytes(126), id="long ping"),
        pytest.param(b"\x80\x80\0\0\0\0", id="continuation of nothing"),
        pytest.param(b"\x82\xfe\x00\x05\0\0\0\0" + bytes(5), id="16-bit length not minimal"),
        pytest.param(b"\x82\xff" + bytes(7) + b"\x05\0\0\0\0", id="64-bit length not minimal"),
        pytest.param(b"\x82\xff\xff" + bytes(11), id="high bit of the length"),
    ],
)
async def test_a_broken_rule_is_refused(tmp_path: Path, engine: str, data: bytes) -> None:
    async with scene(tmp_path, engine=engine) as place:
        assert await refused(place, data) == 1002


async def test_a_length_is_refused_before_a_byte_is_allocated(
    staged: Callable[..., Any],
) -> None:
    async with staged() as place:
        assert await refused(place, b"\x82\xff\x7f" + b"\xff" * 7 + bytes(4), growth=MIB) == 1009


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"\x82\xfe\x01\x00\0\0\0\0abc", id="inside a frame"),
        pytest.param(b"\x02\x83\0\0\0\0abc", id="between fragments"),
    ],
)
async def test_a_message_that_never_ends_is_cut(staged: Callable[..., Any], data: bytes) -> None:
    async with staged(timeouts={"assembly_timeout": 0.5}) as place:
        assert await refused(place, data) == 1008


#: Asks for messages without end.
POUR = REQUEST.replace(b"GET / ", b"GET /pour ") + b"\r\n"


@pytest.mark.parametrize("engine", ["built-in", "trio-websocket"])
async def test_a_peer_that_never_reads_is_aborted(tmp_path: Path, engine: str) -> None:
    async with scene(tmp_path, engine=engine, timeouts={"write_stall": 0.5}) as place:
        before = place.resident
        async with place.attacker() as attacker:
            await attacker.send(POUR)
            await place.one_line()
        assert place.resident - before < 2 * MIB


@pytest.mark.parametrize("engine", ["built-in", "trio-websocket"])
async def test_a_peer_that_reads_slowly_is_borne_and_takes_no_memory(
    tmp_path: Path, engine: str
) -> None:
    async with scene(tmp_path, engine=engine, timeouts={"write_stall": 2.0}) as place:
        before = place.resident
        async with place.attacker() as attacker:
            await attacker.send(POUR)
            # 0.4 s each: four times as long as nobody might take a byte.
            for _ in range(20):
                await trio.sleep(0.4)
                assert await attacker.stream.receive_some(256 * 1024)
        assert place.resident - before < 2 * MIB
        assert "aborted" not in await place.one_line()


async def test_what_the_log_says_of_a_close_reason_is_printable(
    staged: Callable[..., Any],
) -> None:
    hostile = b"\x03\xf3\r\nERROR forged\x1b[2J\xc2\x9b31m\xe2\x80\xae"
    async with staged() as place:
        assert await refused(place, masked(0x88, hostile)) == 1011


async def test_what_the_log_says_of_a_message_is_nothing(staged: Callable[..., Any]) -> None:
    hostile = "\r\nERROR forged\x1b[2J\x9b31m\u202e".encode()
    async with staged(limits={"max_message_size": 10}) as place:
        assert await refused(place, masked(0x81, hostile)) == 1009
        assert "forged" not in place.lines[0]
