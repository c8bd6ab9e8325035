"""A server that acknowledges every message, and reports who connects and disconnects.

::

    python examples/conversation_server.py [PORT]      # 8765 unless you say so; 0 takes a free one
    python examples/conversation_client.py [URL]       # in another terminal, or in several
"""

import sys

import trio

import trio_ws


async def converse(ws: trio_ws.WebSocket) -> None:
    print(f"{ws.remote_address} connected")
    try:
        async for message in ws:
            await ws.send(f"Server received: {message!s}")
    finally:
        # However it ended: closed, cut off, or this server was stopped, for which there is no
        # reason yet.
        print(f"{ws.remote_address} disconnected: {ws.close_reason or 'the server stops'}")


async def main(port: int) -> None:
    async with trio.open_nursery() as nursery:
        server = await nursery.start(trio_ws.serve, converse, "127.0.0.1", port)
        print(f"listening on ws://127.0.0.1:{server.port}")


if __name__ == "__main__":
    try:
        trio.run(main, int(sys.argv[1]) if len(sys.argv) > 1 else 8765)
    except* KeyboardInterrupt:
        pass
