"""A server that acknowledges every message, and reports who connects and disconnects."""

from __future__ import annotations

import asyncio
import sys

import websockets


async def converse(websocket: websockets.ServerConnection) -> None:
    print(f"{websocket.remote_address} connected")
    try:
        async for message in websocket:
            await websocket.send(f"Server received: {message}")
    finally:
        print(f"{websocket.remote_address} disconnected: {websocket.close_code}")


async def main(port: int) -> None:
    async with websockets.serve(converse, "127.0.0.1", port) as server:
        print(f"listening on ws://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        await server.serve_forever()


asyncio.run(main(int(sys.argv[1])))
