"""The server that Autobahn's fuzzing client talks to. Prints its port."""

from __future__ import annotations

from functools import partial

import trio

import trio_ws

LIMITS = trio_ws.Limits(max_message_size=64 << 20, max_inflate_ratio=2000)


async def echo(ws: trio_ws.WebSocket) -> None:
    async for message in ws:
        await ws.send(message)


async def main() -> None:
    start = partial(
        trio_ws.serve,
        echo,
        "127.0.0.1",
        0,
        compression=trio_ws.Compression(threshold=0),
        limits=LIMITS,
        heartbeat=None,  # as in echo_client.py
    )
    async with trio.open_nursery() as nursery:
        server = await nursery.start(start)
        print(server.port, flush=True)


if __name__ == "__main__":
    trio.run(main)
