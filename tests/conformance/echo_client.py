"""The client that Autobahn's fuzzing server talks to: ``echo_client.py URL AGENT``."""

from __future__ import annotations

import sys
from functools import partial

import trio

import trio_ws

LIMITS = trio_ws.Limits(max_message_size=64 << 20, max_inflate_ratio=2000)

# Without a heartbeat: Autobahn answers a ping in the middle of the frame that it sends in pieces
# (6.4.3, 6.4.4), and then sees its own pong as a broken character.
connect = partial(
    trio_ws.connect,
    compression=trio_ws.Compression(threshold=0),
    limits=LIMITS,
    heartbeat=None,
    proxy=None,
)


async def main(url: str, agent: str) -> None:
    async with connect(f"{url}/getCaseCount") as ws:
        count = int(await ws.receive())
    for case in range(1, count + 1):
        await run_case(f"{url}/runCase?case={case}&agent={agent}")
    async with connect(f"{url}/updateReports?agent={agent}") as ws:
        async for _ in ws:
            pass


async def run_case(url: str) -> None:
    """Echo until the case ends; how it ended is Autobahn's to judge."""
    try:
        async with connect(url) as ws:
            async for message in ws:
                await ws.send(message)
    except (trio_ws.ConnectionClosed, trio.BrokenResourceError):
        pass


if __name__ == "__main__":
    trio.run(main, sys.argv[1], sys.argv[2])
