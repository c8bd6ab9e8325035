"""Writing without holding anything up, and without losing anything."""

from __future__ import annotations

import errno
import os
import threading
from typing import TYPE_CHECKING, Any

import pytest
import trio
import trio.testing

from trio_ws.cli import writer as writer_module
from trio_ws.cli.failures import LocalFailure, innermost
from trio_ws.cli.writer import Writer, open_writer, write_stdout, write_to

if TYPE_CHECKING:
    from collections.abc import Iterator


class Sink:
    """Takes what is written, while its gate is open."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self.open = threading.Event()
        self.open.set()
        self.begun = threading.Event()

    def __call__(self, data: bytes) -> None:
        self.begun.set()
        self.open.wait()
        self.pieces.append(data)

    @property
    def taken(self) -> bytes:
        return b"".join(self.pieces)


async def begun(sink: Sink) -> None:
    await trio.to_thread.run_sync(sink.begun.wait)


async def test_what_is_put_is_written_in_order() -> None:
    sink = Sink()
    async with open_writer(sink) as writer:
        for number in range(100):
            writer.put(b"%d," % number)
            if number % 10 == 0:
                await trio.lowlevel.checkpoint()
    assert sink.taken == b"".join(b"%d," % number for number in range(100))


async def test_what_comes_during_a_write_goes_out_in_one() -> None:
    sink = Sink()
    sink.open.clear()
    async with open_writer(sink) as writer:
        writer.put(b"first")
        await begun(sink)
        writer.put(b"second")
        writer.put(b"third")
        sink.open.set()
    assert sink.pieces == [b"first", b"secondthird"]


async def test_there_is_room_when_little_waits() -> None:
    sink = Sink()
    sink.open.clear()
    async with open_writer(sink) as writer:
        writer.put(b"x")
        await begun(sink)
        writer.put(b"x" * (256 * 1024))
        await writer.room()
        writer.put(b"x")
        with trio.move_on_after(0) as scope:
            await writer.room()
        assert scope.cancelled_caught
        sink.open.set()
        await writer.room()
    assert len(sink.taken) == 256 * 1024 + 2


async def test_flushing_waits_for_the_write_under_way() -> None:
    sink = Sink()
    sink.open.clear()
    async with open_writer(sink) as writer:
        await writer.flush()
        writer.put(b"x")
        with trio.move_on_after(0) as scope:
            await writer.flush()
        assert scope.cancelled_caught
        sink.open.set()
        await writer.flush()
        assert sink.taken == b"x"


async def test_what_came_before_an_exception_is_written() -> None:
    sink = Sink()
    with pytest.raises(BaseExceptionGroup) as caught:
        async with open_writer(sink) as writer:
            writer.put(b"before")
            raise ValueError
    assert caught.group_contains(ValueError, depth=1)
    assert sink.taken == b"before"


async def test_what_came_before_a_cancellation_is_written() -> None:
    sink = Sink()
    with trio.CancelScope() as scope:
        async with open_writer(sink) as writer:
            writer.put(b"before")
            scope.cancel()
            await trio.sleep_forever()
    assert sink.taken == b"before"


async def test_a_cancellation_does_not_wait_for_whoever_does_not_read(
    autojump_clock: trio.testing.MockClock,
) -> None:
    sink = Sink()
    sink.open.clear()
    with trio.CancelScope() as scope:
        async with open_writer(sink) as writer:
            writer.put(b"x")
            await begun(sink)
            writer.put(b"y")
            scope.cancel()
            await trio.sleep_forever()
    assert scope.cancelled_caught
    sink.open.set()


async def test_neither_does_the_end_when_it_is_cancelled(
    autojump_clock: trio.testing.MockClock,
) -> None:
    sink = Sink()
    sink.open.clear()
    with trio.move_on_after(1) as scope:
        async with open_writer(sink) as writer:
            writer.put(b"x")
    assert scope.cancelled_caught
    sink.open.set()


async def test_a_failed_write_ends_the_block_at_once(
    autojump_clock: trio.testing.MockClock,
) -> None:
    def fail(data: bytes) -> None:
        raise BrokenPipeError

    start = trio.current_time()
    with pytest.raises(BaseExceptionGroup) as caught:
        async with open_writer(fail) as writer:
            writer.put(b"x")
            await trio.sleep_forever()
    assert isinstance(innermost(caught.value), BrokenPipeError)
    assert trio.current_time() == start


async def test_a_write_that_fails_at_the_end_is_told() -> None:
    def fail(data: bytes) -> None:
        raise LocalFailure("full")

    with pytest.raises(BaseExceptionGroup) as caught:
        async with open_writer(fail) as writer:
            writer.put(b"x")
    assert isinstance(innermost(caught.value), LocalFailure)


async def test_a_writer_that_is_not_run_any_more_has_nothing_to_wait_for() -> None:
    writer = Writer(lambda data: None)
    with trio.move_on_after(0):
        await writer.run()
    writer.put(b"x")
    await writer.flush()


# Descriptors


def test_all_of_it_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    real = os.write
    monkeypatch.setattr("os.write", lambda descriptor, data: real(descriptor, data[:2]))
    write_to(writing, "it")(b"12345")
    os.close(writing)
    assert os.read(reading, 10) == b"12345"
    os.close(reading)


def test_nobody_reads() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with pytest.raises(BrokenPipeError):
        write_to(writing, "it")(b"x")
    os.close(writing)


def test_a_full_disk_is_named() -> None:
    with open("/dev/full", "wb", buffering=0) as full:
        with pytest.raises(LocalFailure, match="cannot write to it: No space left on device"):
            write_to(full.fileno(), "it")(b"x")


async def test_all_of_it_is_written_also_to_a_pipe_that_does_not_block() -> None:
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    data = os.urandom(1 << 20)
    received = bytearray()

    async def read() -> None:
        while len(received) < len(data):
            received.extend(await trio.to_thread.run_sync(os.read, reading, 65536))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        await trio.to_thread.run_sync(write_to(writing, "it"), data)
    os.close(writing)
    os.close(reading)
    assert received == data


def test_a_full_pipe_that_does_not_block_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    answers: list[Any] = [BlockingIOError(errno.EAGAIN, "Try again"), 1]
    waited: list[Any] = []

    def write(descriptor: int, data: memoryview) -> int:
        answer = answers.pop(0)
        if isinstance(answer, int):
            return answer
        raise answer

    monkeypatch.setattr("os.write", write)
    monkeypatch.setattr("select.select", lambda *given: waited.append(given))
    write_to(7, "it")(b"x")
    assert waited == [([], [7], [])]


# Standard output


@pytest.fixture
def pipe(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    reading, writing = os.pipe()
    monkeypatch.setattr(writer_module, "_STDOUT", writing)
    yield reading
    os.close(writing)
    os.close(reading)


async def test_all_of_it_is_written_to_stdout(pipe: int) -> None:
    data = os.urandom(300_000)
    received = bytearray()

    async def read() -> None:
        while len(received) < len(data):
            received.extend(await trio.to_thread.run_sync(os.read, pipe, 65536))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        await write_stdout(data)
    assert received == data


async def test_a_reader_who_has_stopped_holds_nobody(pipe: int) -> None:
    with trio.move_on_after(0.01) as scope:
        await write_stdout(bytes(1 << 20))
    assert scope.cancelled_caught
    # Let the thread end.
    left = 1 << 20
    while left:
        left -= len(os.read(pipe, left))


async def test_nobody_reading_stdout_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    monkeypatch.setattr(writer_module, "_STDOUT", writing)
    with pytest.raises(BrokenPipeError):
        await write_stdout(b"x")
    os.close(writing)
