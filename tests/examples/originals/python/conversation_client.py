"""A client that sends and receives in tasks of their own, until you type ``quit``."""

from __future__ import annotations

import asyncio
import sys

import websockets


async def send_lines(websocket: websockets.ClientConnection) -> None:
    while True:
        line = await asyncio.to_thread(sys.stdin.readline)
        if line in {"", "quit\n"}:
            return
        await websocket.send(line.rstrip("\n"))


async def print_messages(websocket: websockets.ClientConnection) -> None:
    async for message in websocket:
        print(message)


async def main(url: str) -> None:
    async with websockets.connect(url) as websocket:
        print("connected; type quit to end")
        tasks = [
            asyncio.create_task(send_lines(websocket)),
            asyncio.create_task(print_messages(websocket)),
        ]
        _, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in pending:
            task.cancel()


asyncio.run(main(sys.argv[1]))
