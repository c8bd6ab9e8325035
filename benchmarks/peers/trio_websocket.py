"""trio-websocket, as its documentation has it."""

from __future__ import annotations

from functools import partial

import trio
from trio_websocket import (
    ConnectionClosed,
    WebSocketConnection,
    WebSocketRequest,
    open_websocket_url,
    serve_websocket,
)

from .arguments import MAX_MESSAGE, Arguments, Count, announce, parsed


async def echo(ws: WebSocketConnection) -> None:
    while True:
        try:
            message = await ws.get_message()
            await ws.send_message(message)
        except ConnectionClosed:
            break


async def accept(request: WebSocketRequest) -> None:
    await echo(await request.accept())


async def receive(ws: WebSocketConnection) -> None:
    count = Count()
    while True:
        message = await ws.get_message()
        if message == "?":
            await ws.send_message(count.answer())
        else:
            count.messages += 1


async def send(ws: WebSocketConnection, message: str | bytes) -> None:
    while True:
        await ws.send_message(message)


async def serve(arguments: Arguments) -> None:
    async with trio.open_nursery() as nursery:
        server = await nursery.start(
            partial(
                serve_websocket,
                accept,
                "127.0.0.1",
                0,
                arguments.ssl_context,
                max_message_size=MAX_MESSAGE,
            )
        )
        announce(server.port)


async def connect(arguments: Arguments) -> None:
    async with open_websocket_url(arguments.uri, max_message_size=MAX_MESSAGE) as ws:
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
