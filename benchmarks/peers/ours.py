"""trio-ws, as its README has it."""

from __future__ import annotations

from functools import partial

import trio

import trio_ws

from .arguments import MAX_MESSAGE, MEMORY_LEVEL, WINDOW_BITS, Arguments, Count, announce, parsed

LIMITS = trio_ws.Limits(max_message_size=MAX_MESSAGE)
#: A threshold of 0, as its rivals compress everything.
COMPRESSION = trio_ws.Compression(
    window_bits=WINDOW_BITS, memory_level=MEMORY_LEVEL, threshold=0, peer_window_bits=None
)


async def echo(ws: trio_ws.WebSocket) -> None:
    async for message in ws:
        await ws.send(message)


async def receive(ws: trio_ws.WebSocket) -> None:
    count = Count()
    async for message in ws:
        if message == "?":
            await ws.send(count.answer())
        else:
            count.messages += 1


async def send(ws: trio_ws.WebSocket, message: str | bytes) -> None:
    while True:
        await ws.send(message)


async def serve(arguments: Arguments) -> None:
    async with trio.open_nursery() as nursery:
        server = await nursery.start(
            partial(
                trio_ws.serve,
                echo,
                "127.0.0.1",
                0,
                ssl_context=arguments.ssl_context,
                compression=COMPRESSION if arguments.compress else None,
                limits=LIMITS,
            )
        )
        announce(server.port)


async def connect(arguments: Arguments) -> None:
    async with trio_ws.connect(arguments.uri, proxy=None, limits=LIMITS) as ws:
        if arguments.mode == "echo":
            await echo(ws)
        elif arguments.mode == "receive":
            await receive(ws)
        else:
            await send(ws, arguments.message)


async def main(arguments: Arguments) -> None:
    if arguments.mode == "serve":
        await serve(arguments)
        return
    async with trio.open_nursery() as nursery:
        for _ in range(arguments.connections):
            nursery.start_soon(connect, arguments)


if __name__ == "__main__":
    trio.run(main, parsed())
