"""A server that is told a name and greets."""

from __future__ import annotations

import sys

import trio
import trio_websocket


async def greet(request: trio_websocket.WebSocketRequest) -> None:
    async with await request.accept() as ws:
        name = await ws.get_message()
        assert isinstance(name, str)
        print(f"greeting {name!r}")
        await ws.send_message(f"Hello {name}!")


async def main(port: int) -> None:
    async with trio.open_nursery() as nursery:
        server = await nursery.start(trio_websocket.serve_websocket, greet, "127.0.0.1", port, None)
        print(f"listening on ws://127.0.0.1:{server.port}")


trio.run(main, int(sys.argv[1]))
