"""A client that is welcomed, says its name, and is greeted."""

from __future__ import annotations

import sys

import trio
import trio_websocket


async def main(url: str) -> None:
    async with trio_websocket.open_websocket_url(url) as ws:
        print(await ws.get_message())
        await ws.send_message("trio-websocket")
        print(await ws.get_message())


trio.run(main, sys.argv[1])
