"""Output that may have to wait, and must not keep anybody waiting."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
import trio

from trio_ws.cli import lines

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def pipe(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    reading, writing = os.pipe()
    monkeypatch.setattr(lines, "_STDOUT", writing)
    yield reading
    os.close(writing)
    os.close(reading)


async def test_all_of_it_is_written(pipe: int) -> None:
    data = os.urandom(300_000)
    received = bytearray()

    async def read() -> None:
        while len(received) < len(data):
            received.extend(await trio.to_thread.run_sync(os.read, pipe, 65536))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        await lines.put(data)
    assert received == data


async def test_a_reader_who_has_stopped_holds_nobody(pipe: int) -> None:
    with trio.move_on_after(0.01) as scope:
        await lines.put(bytes(1 << 20))
    assert scope.cancelled_caught
    # Let the thread end.
    left = 1 << 20
    while left:
        left -= len(os.read(pipe, left))


async def test_nobody_reading_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    monkeypatch.setattr(lines, "_STDOUT", writing)
    with pytest.raises(BrokenPipeError):
        await lines.put(b"x")
    os.close(writing)
