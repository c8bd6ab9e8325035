"""A server that is told a name and greets."""

from __future__ import annotations

import asyncio
import sys

import websockets


async def greet(websocket: websockets.ServerConnection) -> None:
    name = await websocket.recv()
    print(f"greeting {name!r}")
    await websocket.send(f"Hello {name}!")


async def main(port: int) -> None:
    async with websockets.serve(greet, "127.0.0.1", port) as server:
        print(f"listening on ws://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        await server.serve_forever()


asyncio.run(main(int(sys.argv[1])))
