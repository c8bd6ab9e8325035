"""Who is told what happens to a reconnecting client."""

from __future__ import annotations

import gc

import pytest
import trio
import trio.testing

from trio_ws._events import Audience
from trio_ws.instrumentation import Connecting, Record


def event(attempt: int) -> Connecting:
    return Connecting(target="ws://testserver", attempt=attempt)


async def test_hooks_and_streams_are_told() -> None:
    told: list[Record] = []
    audience = Audience([told.append])
    streams = [audience.stream(), audience.stream()]
    audience.tell(event(1))
    assert told == [event(1)]
    assert [await stream.receive() for stream in streams] == [event(1)] * 2


async def test_a_stream_begins_when_it_is_asked_for_and_ends_with_the_client() -> None:
    audience = Audience([])
    audience.tell(event(1))
    stream = audience.stream()
    audience.tell(event(2))
    audience.end()
    assert [one async for one in stream] == [event(2)]
    assert [one async for one in audience.stream()] == []


async def test_the_oldest_make_room() -> None:
    audience = Audience([])
    stream = audience.stream()
    for attempt in range(130):
        audience.tell(event(attempt))
    audience.end()
    assert stream.dropped == 30
    assert [one async for one in stream] == [event(attempt) for attempt in range(30, 130)]


async def test_who_waits_is_woken() -> None:
    audience = Audience([])
    stream = audience.stream()
    got = []

    async def watch() -> None:
        async for one in stream:
            got.append(one)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch)
        await trio.testing.wait_all_tasks_blocked()
        audience.tell(event(1))
        await trio.testing.wait_all_tasks_blocked()
        assert got == [event(1)]
        audience.end()


async def test_a_stream_that_was_dropped_is_forgotten() -> None:
    audience = Audience([])
    for _ in range(10):
        audience.stream()
        await audience.stream().aclose()
    kept = audience.stream()
    gc.collect()
    assert list(audience._streams) == [kept]


async def test_a_closed_stream_takes_nothing_and_says_so() -> None:
    audience = Audience([])
    stream = audience.stream()
    audience.tell(event(1))

    async with trio.open_nursery() as nursery:

        async def expect_closed() -> None:
            await stream.receive()
            with pytest.raises(trio.ClosedResourceError):
                await stream.receive()

        nursery.start_soon(expect_closed)
        await trio.testing.wait_all_tasks_blocked()
        await stream.aclose()
    audience.tell(event(2))
    with pytest.raises(trio.ClosedResourceError):
        await stream.receive()
