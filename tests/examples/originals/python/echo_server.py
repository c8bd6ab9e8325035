"""An echo server that prints what it gets."""

from __future__ import annotations

import asyncio
import sys

import websockets


async def echo(websocket: websockets.ServerConnection) -> None:
    async for message in websocket:
        print(f"received {message!r}")
        await websocket.send(message)


async def main(port: int) -> None:
    async with websockets.serve(echo, "127.0.0.1", port) as server:
        print(f"listening on ws://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        await server.serve_forever()


asyncio.run(main(int(sys.argv[1])))
