"""A server that welcomes whoever connects, and then greets every name it is sent."""

from __future__ import annotations

import asyncio
import sys

import websockets


async def welcome(websocket: websockets.ServerConnection) -> None:
    await websocket.send("Welcome to the WebSocket server!")
    async for name in websocket:
        await websocket.send(f"Hello, {name}!")


async def main(port: int) -> None:
    async with websockets.serve(welcome, "127.0.0.1", port) as server:
        print(f"listening on ws://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        await server.serve_forever()


asyncio.run(main(int(sys.argv[1])))
