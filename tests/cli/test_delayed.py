"""Holding back: order, bounds, ends, and what cancelling does."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

import trio_ws
from trio_ws.cli.delayed import MAX_MESSAGES, Delayed
from trio_ws.testing import open_pair

from ..sweeps import cancel_sweep

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from trio.testing import MockClock


@asynccontextmanager
async def delayed(seconds: float = 1.0) -> AsyncGenerator[tuple[trio_ws.WebSocket, Delayed]]:
    """A client, and the server's side of it, from which it is far."""
    async with open_pair() as (client, server), trio.open_nursery() as nursery:
        far = Delayed(server, lambda: seconds)
        nursery.start_soon(far.run)
        yield client, far
        nursery.cancel_scope.cancel()


async def test_messages_arrive_later_and_in_order(autojump_clock: MockClock) -> None:
    async with delayed() as (client, far):
        beginning = trio.current_time()
        await far.send("a")
        far.send_nowait(bytearray(b"b"))
        await far.send(["c", "d"])
        assert [await client.receive() for _ in range(3)] == ["a", b"b", "cd"]
        assert trio.current_time() == beginning + 2


async def test_closing_comes_after_what_is_held_back(autojump_clock: MockClock) -> None:
    async with delayed() as (client, far):
        await far.send("a")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(far.aclose, 4000, "go")
            assert await client.receive() == "a"
            with pytest.raises(trio_ws.ConnectionClosedError):
                await client.receive()


async def test_closing_cancelled_closes_now(autojump_clock: MockClock) -> None:
    async with delayed() as (client, far):
        await far.send("a")
        with trio.move_on_after(0.5):
            await far.aclose(4000)
        with pytest.raises(trio_ws.ConnectionClosedError):
            await client.receive()


async def test_what_is_held_back_is_bounded(autojump_clock: MockClock) -> None:
    async with delayed() as (client, far):
        for _ in range(MAX_MESSAGES):
            far.send_nowait("x")
        with pytest.raises(trio.WouldBlock):
            far.send_nowait("y")
        beginning = trio.current_time()
        await far.send("y")
        assert trio.current_time() == beginning + 1
        assert await client.receive() == "x"


async def test_the_end_is_heard_of_by_who_waits_and_who_comes(autojump_clock: MockClock) -> None:
    async with delayed(1e6) as (client, far):
        for _ in range(MAX_MESSAGES):
            far.send_nowait("x")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_expect_end, far)
            nursery.start_soon(far.wait_sent)
            await trio.testing.wait_all_tasks_blocked()
            await client.aclose(4000)
        await _expect_end(far)
        with pytest.raises(trio_ws.ConnectionClosedError):
            far.send_nowait("z")


async def _expect_end(far: Delayed) -> None:
    with pytest.raises(trio_ws.ConnectionClosedError):
        await far.send("y")


async def test_it_may_end_while_something_is_sent(autojump_clock: MockClock) -> None:
    async with open_pair() as (_, server):
        far = Delayed(server, lambda: 0.0)
        server.abort()
        far.send_nowait("x")
        await far._send_due()
        assert far._ended


async def test_what_cannot_be_sent_is_refused_at_once(autojump_clock: MockClock) -> None:
    async with delayed() as (_, far):
        with pytest.raises(UnicodeEncodeError):
            await far.send("\ud800")
        with pytest.raises(TypeError):
            far.send_nowait(3)  # type: ignore[arg-type]


async def test_sending_is_atomic_wherever_it_is_cancelled(autojump_clock: MockClock) -> None:
    autojump_clock.autojump_threshold = 0.01
    returned: list[str] = []
    async with delayed(0) as (client, far):
        # The send task begins with the first message.
        await far.send("first")
        assert await client.receive() == "first"

        async def scenario() -> None:
            for number in range(3):
                await far.send(str(number))
                returned.append(str(number))

        async def check(cancelled: bool) -> None:
            await far.wait_sent()
            for message in returned:
                assert await client.receive() == message
            assert client.statistics().inbox_messages == 0
            returned.clear()

        assert await cancel_sweep(scenario, check) > 2
