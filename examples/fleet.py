"""A fleet of clients, each supervised by itself: one that is lost disturbs none of the others.

::

    python examples/fleet.py [URL [SENSORS]]           # ws://127.0.0.1:8765 and 5 unless you say so

Start ``conversation_server.py`` first; then stop it and start it again, and see them come back.
"""

import logging
import random
import sys
from functools import partial

import trio

import trio_ws

INTERVAL = 1.0  # seconds between the readings of one sensor


async def report(
    readings: trio.MemorySendChannel[str],
    number: int,
    ws: trio_ws.WebSocket,
    context: trio_ws.ConnectionContext,
) -> None:
    """Send readings over one connection. When it is lost, this is called with the next."""
    while True:
        await ws.send(f"sensor {number}: {random.gauss(20, 2):.1f} °C")
        answer = await ws.receive()
        await readings.send(f"connection {context.number}: {answer!r}")
        await trio.sleep(random.uniform(0.5, 1.5) * INTERVAL)


async def sensor(readings: trio.MemorySendChannel[str], number: int, url: str) -> None:
    """Keep one sensor going for as long as there is any hope."""
    async with readings:
        try:
            await trio_ws.supervise(partial(report, readings, number), url)
        except trio_ws.TrioWSError as error:
            logging.error("sensor %d: %s", number, error)


async def main(url: str, sensors: int) -> None:
    send_readings, readings = trio.open_memory_channel[str](0)
    async with trio.open_nursery() as nursery:
        async with send_readings:
            for number in range(sensors):
                nursery.start_soon(sensor, send_readings.clone(), number, url)
        # Ends when every sensor has.
        async for reading in readings:
            print(reading)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    arguments = dict(enumerate(sys.argv))
    try:
        trio.run(main, arguments.get(1, "ws://127.0.0.1:8765"), int(arguments.get(2, "5")))
    except* KeyboardInterrupt:
        pass
