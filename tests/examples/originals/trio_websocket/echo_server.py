"""An echo server that prints what it gets."""

from __future__ import annotations

import sys

import trio
import trio_websocket


async def echo(request: trio_websocket.WebSocketRequest) -> None:
    ws = await request.accept()
    try:
        while True:
            message = await ws.get_message()
            print(f"received {message!r}")
            await ws.send_message(message)
    except trio_websocket.ConnectionClosed:
        pass


async def main(port: int) -> None:
    async with trio.open_nursery() as nursery:
        server = await nursery.start(trio_websocket.serve_websocket, echo, "127.0.0.1", port, None)
        print(f"listening on ws://127.0.0.1:{server.port}")


trio.run(main, int(sys.argv[1]))
