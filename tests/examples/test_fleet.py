"""A fleet of clients comes back when its server does, and one that gives up does so alone."""

from __future__ import annotations

import re
import signal
from typing import TYPE_CHECKING

import trio

import trio_ws
from examples.fleet import sensor

from .programs import asleep, finished, interrupted, port_of, served, started

if TYPE_CHECKING:
    import pytest

    from ..e2e.processes import Running

READING = re.compile(r"connection (\d+): 'Server received: sensor (\d+): -?[0-9.]+ °C'")


async def all_report(fleet: Running, size: int, connection: str) -> None:
    """Wait until each of the sensors has reported over its n-th connection."""
    missing = {str(number) for number in range(size)}
    while missing:
        match = READING.fullmatch(await fleet.line())
        assert match is not None
        if match[1] == connection:
            missing.discard(match[2])


async def test_the_fleet_comes_back() -> None:
    async with served("conversation_server") as (first, url), started("fleet", url, "3") as fleet:
        await all_report(fleet, 3, "1")
        await interrupted(first)
        async with served("conversation_server", port=port_of(url)):
            await all_report(fleet, 3, "2")
        await asleep(fleet)
        fleet.signal(signal.SIGINT)
        _, errors = await finished(fleet)
        assert "Traceback" not in errors


async def test_a_fleet_that_is_refused_ends() -> None:
    async with served("chat_server") as (_, url):
        # There is nothing at that path, and that is not worth another attempt.
        address = url.replace("http", "ws") + "/nowhere"
        async with started("fleet", address, "2") as fleet:
            out, errors = await finished(fleet)
    assert out == ""
    assert {f"sensor {number}" for number in (0, 1)} <= {
        line.partition(":")[0] for line in errors.splitlines() if "404" in line
    }


async def test_one_that_gives_up_does_so_alone(caplog: pytest.LogCaptureFixture) -> None:
    """The others' channel stays open."""

    async def acknowledge(ws: trio_ws.WebSocket) -> None:
        async for message in ws:
            await ws.send(message)

    send_readings, readings = trio.open_memory_channel[str](0)
    async with trio.open_nursery() as nursery:
        server: trio_ws.Server = await nursery.start(trio_ws.serve, acknowledge, "127.0.0.1", 0)
        nursery.start_soon(sensor, send_readings.clone(), 1, f"ws://127.0.0.1:{server.port}")
        await sensor(send_readings, 0, "no address")
        assert "'sensor 1: " in await readings.receive()
        nursery.cancel_scope.cancel()
    (error,) = [record for record in caplog.records if record.levelname == "ERROR"]
    assert error.getMessage().startswith("sensor 0: no address: ")
