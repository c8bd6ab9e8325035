"""A client that asks for your name and prints the server's greeting."""

from __future__ import annotations

import asyncio
import sys

import websockets


async def main(url: str) -> None:
    async with websockets.connect(url) as websocket:
        name = await asyncio.to_thread(input, "What's your name? ")
        await websocket.send(name)
        print(await websocket.recv())


asyncio.run(main(sys.argv[1]))
