"""A client that is welcomed, says its name, and is greeted."""

from __future__ import annotations

import asyncio
import sys

import websockets


async def main(url: str) -> None:
    async with websockets.connect(url) as websocket:
        print(await websocket.recv())
        await websocket.send("asyncio")
        print(await websocket.recv())


asyncio.run(main(sys.argv[1]))
