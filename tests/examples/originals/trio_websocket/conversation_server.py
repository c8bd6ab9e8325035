"""A server that acknowledges every message, and reports who connects and disconnects."""

from __future__ import annotations

import sys

import trio
import trio_websocket


async def converse(request: trio_websocket.WebSocketRequest) -> None:
    ws = await request.accept()
    assert not isinstance(ws.remote, str)
    address = (str(ws.remote.address), ws.remote.port)
    print(f"{address} connected")
    try:
        while True:
            message = await ws.get_message()
            assert isinstance(message, str)
            await ws.send_message(f"Server received: {message}")
    except trio_websocket.ConnectionClosed as closed:
        code = None if closed.reason is None else closed.reason.code
        print(f"{address} disconnected: {code}")


async def main(port: int) -> None:
    async with trio.open_nursery() as nursery:
        server = await nursery.start(
            trio_websocket.serve_websocket, converse, "127.0.0.1", port, None
        )
        print(f"listening on ws://127.0.0.1:{server.port}")


trio.run(main, int(sys.argv[1]))
