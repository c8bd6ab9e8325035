"""A client that asks for your name and prints the server's greeting."""

from __future__ import annotations

import sys

import trio
import trio_websocket


async def main(url: str) -> None:
    async with trio_websocket.open_websocket_url(url) as ws:
        name = await trio.to_thread.run_sync(input, "What's your name? ")
        await ws.send_message(name)
        print(await ws.get_message())


trio.run(main, sys.argv[1])
