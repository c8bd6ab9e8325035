"""The outbox: writes that stall, and writes that only seem to."""

from __future__ import annotations

import math
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeAlias, cast

import pytest
import trio
import trio.testing

from trio_ws import _outbox
from trio_ws._outbox import Outbox, WriteStalled
from trio_ws.protocol.masking import MaskedPayload, mask

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from trio.testing import MockClock

    from trio_ws._transport import Transport


class Slow:
    """A transport that takes what it is given when told, several turns later, as TLS does."""

    writes_inline = False

    def __init__(self) -> None:
        self.taken = b""
        self.ready = trio.Event()
        self.slice = 1_000_000
        self.peer_has = 0

    def acknowledged(self) -> int:
        return self.peer_has

    async def write_some(self, data: memoryview) -> int:
        await self.ready.wait()
        for _ in range(10):
            await trio.lowlevel.checkpoint()
        self.taken += data[: self.slice]
        return min(len(data), self.slice)


@asynccontextmanager
async def slow_outbox(
    write_stall: float = 20,
) -> AsyncGenerator[tuple[Outbox, Slow, list[Exception]]]:
    """An outbox over `Slow`, and what it says has failed."""
    failures: list[Exception] = []
    slow = Slow()
    async with trio.open_nursery() as nursery:
        start: Any = nursery.start_soon
        outbox = Outbox(
            cast("Transport", slow),
            high_water=10,
            write_stall=write_stall,
            start_task=start,
            failed=failures.append,
        )
        yield outbox, slow, failures
        nursery.cancel_scope.cancel()


async def test_a_write_without_progress_is_given_up(autojump_clock: MockClock) -> None:
    async with slow_outbox() as (outbox, _, failures):
        outbox.put(b"hello")
        await trio.sleep(19.9)
        assert not failures
        await trio.sleep(0.2)
        assert [type(error) for error in failures] == [WriteStalled]
        assert outbox.broken
        assert outbox.is_blocked


async def test_progress_counts_however_slow(autojump_clock: MockClock) -> None:
    async with slow_outbox() as (outbox, slow, failures):
        slow.slice = 1
        outbox.put(b"hello")
        for _ in range(5):
            await trio.sleep(15)
            slow.ready.set()
            slow.ready = trio.Event()
        await trio.sleep(15)
        assert slow.taken == b"hello"
        # And nothing is watched while nothing is to be written.
        await trio.sleep(100)
        assert not failures
        outbox.put(b"again")
        await trio.sleep(21)
        assert len(failures) == 1


async def test_a_standstill_of_this_process_is_no_stall(mock_clock: MockClock) -> None:
    async with slow_outbox() as (outbox, slow, failures):
        outbox.put(b"hello")
        await trio.testing.wait_all_tasks_blocked()
        # The transport could take it all the while; this process did not run.
        slow.ready.set()
        mock_clock.jump(30)
        await trio.testing.wait_all_tasks_blocked()
        assert (slow.taken, failures) == (b"hello", [])


async def test_after_a_standstill_there_is_the_whole_time_again(mock_clock: MockClock) -> None:
    async with slow_outbox() as (outbox, _, failures):
        outbox.put(b"hello")
        await trio.testing.wait_all_tasks_blocked()
        for _ in range(3):
            mock_clock.jump(30)
            await trio.testing.wait_all_tasks_blocked()
            assert not failures
        for _ in range(4):
            assert not failures
            mock_clock.jump(5)
            await trio.testing.wait_all_tasks_blocked()
        assert len(failures) == 1


async def test_what_the_peer_acknowledges_of_one_write_is_progress(
    autojump_clock: MockClock,
) -> None:
    """TLS takes a slice as a whole, which on a slow link lasts."""
    async with slow_outbox() as (outbox, slow, failures):
        outbox.put(b"hello")
        for _ in range(10):
            await trio.sleep(19)
            slow.peer_has += 1
        await trio.sleep(1)
        assert not failures
        await trio.sleep(25)
        assert len(failures) == 1


@pytest.mark.parametrize("write_stall", [math.inf])
async def test_it_may_be_switched_off(autojump_clock: MockClock, write_stall: float) -> None:
    async with slow_outbox(write_stall) as (outbox, _, failures):
        outbox.put(b"hello")
        await trio.sleep(80_000)
        assert not failures


class Eager:
    """A transport that takes at once what it has room for, or fails."""

    writes_inline = True

    def __init__(self, room: int) -> None:
        self.room = room
        self.taken = b""

    def write_now(self, data: bytes | memoryview) -> int:
        if self.room < 0:
            raise trio.BrokenResourceError
        count = min(self.room, len(data))
        self.taken += data[:count]
        self.room -= count
        return count

    def write_pieces_now(self, *pieces: bytes) -> int:
        return self.write_now(b"".join(pieces))

    async def write_some(self, data: memoryview) -> int:
        await trio.lowlevel.checkpoint()
        self.room = 7
        return self.write_now(data)

    def acknowledged(self) -> int:
        return len(self.taken)


HEADER, PAYLOAD = b"head", b"0123456789" * 3
KEY = b"\x01\x02\x03\x04"

#: Puts one frame; each way of doing so, and the payload as it is then sent.
Put: TypeAlias = "Callable[[Outbox, bytes, bytes], None]"
WAYS: dict[str, tuple[Put, Callable[[bytes], bytes]]] = {
    "put": (lambda outbox, head, rest: outbox.put(head + rest), bytes),
    "pieces": (lambda outbox, head, rest: outbox.put_pieces(head, memoryview(rest)), bytes),
    "masked pieces": (
        lambda outbox, head, rest: outbox.put_pieces(head, MaskedPayload(rest, KEY)),
        lambda rest: mask(rest, KEY),
    ),
}


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest) -> tuple[Put, Callable[[bytes], bytes]]:
    return WAYS[request.param]


@pytest.mark.parametrize("room", [0, 3, 4, 5, 11, 12, 33, 34, 100])
async def test_what_was_not_taken_follows(
    room: int, way: tuple[Put, Callable[[bytes], bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_outbox, "_AT_ONCE", 8)
    put, sent = way
    eager = Eager(room)
    async with trio.open_nursery() as nursery:
        start: Any = nursery.start_soon
        outbox = Outbox(
            cast("Transport", eager),
            high_water=100,
            write_stall=20,
            start_task=start,
            failed=lambda _: None,
        )
        put(outbox, HEADER, PAYLOAD)
        # A control frame must not come between header and payload.
        outbox.put_control(b"ping")
        # Nor may what is queued behind overtake.
        put(outbox, b"next", b"payload")
        await outbox.wait_written()
        nursery.cancel_scope.cancel()
    assert eager.taken == HEADER + sent(PAYLOAD) + b"ping" + b"next" + sent(b"payload")
    assert outbox.bytes_sent == len(eager.taken)


async def test_a_write_that_fails_is_told_once(
    way: tuple[Put, Callable[[bytes], bytes]],
) -> None:
    put, _ = way
    failures: list[Exception] = []
    outbox = Outbox(
        cast("Transport", Eager(-1)),
        high_water=100,
        write_stall=20,
        start_task=lambda _: None,
        failed=failures.append,
    )
    for _ in range(2):
        put(outbox, HEADER, PAYLOAD)
    assert len(failures) == 1
    assert outbox.is_blocked
    assert outbox.size == 0
