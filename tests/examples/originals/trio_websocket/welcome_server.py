"""A server that welcomes whoever connects, and then greets every name it is sent."""

from __future__ import annotations

import sys

import trio
import trio_websocket


async def welcome(request: trio_websocket.WebSocketRequest) -> None:
    ws = await request.accept()
    try:
        await ws.send_message("Welcome to the WebSocket server!")
        while True:
            name = await ws.get_message()
            assert isinstance(name, str)
            await ws.send_message(f"Hello, {name}!")
    except trio_websocket.ConnectionClosed:
        pass


async def main(port: int) -> None:
    async with trio.open_nursery() as nursery:
        server = await nursery.start(
            trio_websocket.serve_websocket, welcome, "127.0.0.1", port, None
        )
        print(f"listening on ws://127.0.0.1:{server.port}")


trio.run(main, int(sys.argv[1]))
