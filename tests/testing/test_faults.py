"""Wires that fail as networks do."""

from __future__ import annotations

import math
from random import Random
from typing import TYPE_CHECKING, Any

import pytest
import trio
import trio.testing

from trio_ws.testing import NO_FAULTS, Faults, Wire, check_websocket, open_pair

if TYPE_CHECKING:
    from collections.abc import Callable

    from trio.testing import MockClock

    from trio_ws.testing import WireStream


async def streams(**faults: Any) -> tuple[WireStream, WireStream]:
    wire = Wire(up=Faults(**faults), down=Faults(**faults))
    return wire.client, wire.server


async def clogged() -> tuple[WireStream, WireStream]:
    here, there = await streams(buffer=100)
    await here.send_all(bytes(100))
    await there.send_all(bytes(100))
    return here, there


async def test_they_are_streams_as_trio_wants_them() -> None:
    await trio.testing.check_half_closeable_stream(streams, clogged)


async def test_in_pieces_and_with_detours_they_still_are() -> None:
    async def make() -> tuple[WireStream, WireStream]:
        return await streams(segment=3000, extra_turns=3)

    await trio.testing.check_half_closeable_stream(make, None)


async def test_websockets_over_them_keep_their_promises() -> None:
    def pair(**options: Any) -> Any:
        faults = Faults(segment=5, extra_turns=2, buffer=64)
        wire = Wire(up=faults, down=faults)
        return open_pair(streams=(wire.client, wire.server), **options)

    await check_websocket(pair)


async def test_latency(autojump_clock: MockClock) -> None:
    wire = Wire(up=Faults(latency=0.25))
    await wire.client.send_all(b"there")
    assert trio.current_time() == 0
    assert await wire.server.receive_some() == b"there"
    assert trio.current_time() == 0.25
    await wire.server.send_all(b"back")
    assert await wire.client.receive_some() == b"back"
    assert trio.current_time() == 0.25, "the other way is as good as ever"


async def test_jitter_is_by_the_seed_and_keeps_the_order(autojump_clock: MockClock) -> None:
    async def arrivals(seed: int) -> list[tuple[float, bytes]]:
        start = trio.current_time()
        wire = Wire(up=Faults(latency=1, jitter=1), random=Random(seed))
        for number in range(20):
            await wire.client.send_all(bytes([number]))
        await wire.client.send_eof()
        arrived = []
        while data := await wire.server.receive_some(1):
            arrived.append((trio.current_time() - start, data))
        return arrived

    first, again, other = await arrivals(1), await arrivals(1), await arrivals(2)
    assert [when for when, _ in first] == pytest.approx([when for when, _ in again])
    assert [when for when, _ in first] != pytest.approx([when for when, _ in other])
    assert [data for _, data in first] == [bytes([number]) for number in range(20)]
    assert all(1 <= when <= 2 + 1e-9 for when, _ in first)


async def test_bandwidth_and_buffer(autojump_clock: MockClock) -> None:
    wire = Wire(up=Faults(bandwidth=1000, buffer=500))

    async def receive() -> None:
        received = 0
        while received < 5000:
            received += len(await wire.server.receive_some())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(receive)
        await wire.client.send_all(bytes(5000))
        assert 4.4 <= trio.current_time() <= 4.6, "all but what the buffer takes has arrived"
    assert trio.current_time() == pytest.approx(5)


async def test_pieces() -> None:
    wire = Wire(up=Faults(segment=4))
    await wire.client.send_all(bytes(range(200)))
    await wire.client.send_eof()
    pieces = []
    while piece := await wire.server.receive_some():
        pieces.append(piece)
    assert b"".join(pieces) == bytes(range(200))
    assert {len(piece) for piece in pieces} == {1, 2, 3, 4}


async def test_what_was_sent_in_pieces_may_arrive_at_once_and_the_other_way_round() -> None:
    wire = Wire()
    await wire.client.send_all(b"abc")
    await wire.client.send_all(b"defg")
    assert wire.up.sent == 7
    assert await wire.server.receive_some(5) == b"abcde"
    assert wire.up.received == 5
    assert repr(wire.up) == "<Direction: 7 bytes sent, 5 received>"
    assert repr(wire) == "<Wire: 7 bytes up, 0 down>"
    assert await wire.server.receive_some() == b"fg"
    with pytest.raises(ValueError, match="max_bytes must be at least 1"):
        await wire.server.receive_some(0)


async def test_extra_turns_let_others_overtake() -> None:
    def order(seed: int) -> Callable[[], Any]:
        async def run() -> list[int]:
            done: list[int] = []
            wires = [
                Wire(up=Faults(extra_turns=4), random=Random(seed + number)) for number in range(4)
            ]

            async def one(number: int, wire: Wire) -> None:
                await wire.client.send_all(b"x")
                done.append(number)

            async with trio.open_nursery() as nursery:
                for number, wire in enumerate(wires):
                    nursery.start_soon(one, number, wire)
            return done

        return run

    assert len({tuple(await order(seed)()) for seed in range(0, 400, 10)}) > 5


async def test_reset_after_a_byte() -> None:
    wire = Wire(up=Faults(reset_after=5))
    await wire.client.send_all(b"12345")
    await wire.server.send_all(b"is under way")
    with pytest.raises(trio.BrokenResourceError, match="cut"):
        await wire.client.send_all(b"6")
        await wire.client.send_all(b"7")
    with pytest.raises(trio.BrokenResourceError, match="cut"):
        await wire.client.receive_some()
    # This end has not learned of it yet.
    await wire.server.send_all(b"lost")
    assert await wire.server.receive_some() == b"12345"
    for _ in range(2):
        with pytest.raises(trio.BrokenResourceError):
            await wire.server.receive_some()
    with pytest.raises(trio.BrokenResourceError):
        await wire.server.send_all(b"x")


async def test_a_reset_in_the_midst_of_a_write() -> None:
    wire = Wire(down=Faults(reset_after=0))
    async with trio.open_nursery() as nursery:

        async def receive() -> None:
            with pytest.raises(trio.BrokenResourceError):
                await wire.client.receive_some()

        nursery.start_soon(receive)
        await trio.testing.wait_all_tasks_blocked()
        await wire.server.send_all(b"is lost")
        with pytest.raises(trio.BrokenResourceError):
            await wire.server.send_all(b"is refused")


async def test_an_end_after_a_byte() -> None:
    wire = Wire(up=Faults(end_after=3))
    await wire.client.send_all(b"12345")
    await wire.client.send_all(bytes(1 << 20))
    assert await wire.server.receive_some() == b"123"
    assert await wire.server.receive_some() == b""
    assert await wire.server.receive_some() == b""
    await wire.server.send_all(b"goes on")
    assert await wire.client.receive_some() == b"goes on"


async def test_a_stall_after_a_byte(autojump_clock: MockClock) -> None:
    wire = Wire(up=Faults(stall_after=3, buffer=10))
    await wire.client.send_all(b"12345")
    assert await wire.server.receive_some() == b"123"
    with trio.move_on_after(3600) as scope:
        await wire.server.receive_some()
    assert scope.cancelled_caught
    with trio.move_on_after(3600) as scope:
        await wire.client.send_all(bytes(10))
    assert scope.cancelled_caught, "the buffer is full"
    wire.up.resume()
    assert await wire.server.receive_some() == b"45" + bytes(8)


async def test_several_faults_at_their_bytes(autojump_clock: MockClock) -> None:
    wire = Wire(up=Faults(stall_after=2, reset_after=4, end_after=9))
    await wire.client.send_all(b"123456789abcdef")
    assert await wire.server.receive_some() == b"12"
    with trio.move_on_after(1) as scope:
        await wire.server.receive_some()
    assert scope.cancelled_caught
    wire.up.resume()
    assert await wire.server.receive_some() == b"34"
    with pytest.raises(trio.BrokenResourceError):
        await wire.server.receive_some()


async def test_stalls_on_demand(autojump_clock: MockClock) -> None:
    wire = Wire()
    await wire.client.send_all(b"x")
    wire.up.stall()
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def receive() -> None:
            assert await wire.server.receive_some() == b"x"
            assert trio.current_time() == 60

        await trio.sleep(60)
        wire.up.resume()


async def test_ends_on_demand_wake_who_waits_for_room() -> None:
    wire = Wire(up=Faults(buffer=3))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(wire.client.send_all, b"123456")
        await trio.testing.wait_all_tasks_blocked()
        wire.up.end()
    assert await wire.server.receive_some() == b"123"
    assert await wire.server.receive_some() == b""


async def test_a_cut_on_demand() -> None:
    wire = Wire()
    await wire.client.send_all(b"lost")
    wire.up.stall()
    wire.cut()
    for stream in (wire.client, wire.server):
        with pytest.raises(trio.BrokenResourceError):
            await stream.receive_some()
        with pytest.raises(trio.BrokenResourceError):
            await stream.send_all(b"x")
        with pytest.raises(trio.BrokenResourceError):
            await stream.wait_send_all_might_not_block()
    assert not wire.closed
    await wire.client.aclose()
    assert not wire.closed
    await wire.server.aclose()
    assert wire.closed


async def test_faults_may_change_in_the_middle(autojump_clock: MockClock) -> None:
    wire = Wire()
    await wire.client.send_all(b"a")
    wire.up.faults = Faults(latency=2)
    await wire.client.send_all(b"b")
    wire.up.faults = NO_FAULTS
    await wire.client.send_all(b"c")
    assert await wire.server.receive_some() == b"a"
    assert trio.current_time() == 0
    assert await wire.server.receive_some() == b"bc", "c does not overtake b"
    assert trio.current_time() == 2


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("latency", -1),
        ("latency", math.nan),
        ("jitter", math.inf),
        ("extra_turns", -1),
        ("reset_after", -1),
        ("end_after", -1),
        ("stall_after", -1),
        ("bandwidth", 0),
        ("bandwidth", math.nan),
        ("segment", 0),
        ("buffer", 0),
    ],
)
def test_what_is_no_fault_is_refused(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"^{name} must be"):
        Faults(**{name: value})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "value"),
    [("segment", 2.5), ("buffer", math.inf), ("buffer", None), ("bandwidth", None), ("jitter", "")],
)
def test_what_is_no_number_is_refused(name: str, value: object) -> None:
    with pytest.raises(TypeError, match=f"^{name} must be a"):
        Faults(**{name: value})  # type: ignore[arg-type]
