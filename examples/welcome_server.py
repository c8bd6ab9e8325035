"""A server that welcomes whoever connects, and then greets every name it is sent.

::

    python examples/welcome_server.py [PORT]           # 8765 unless you say so; 0 takes a free one
    python examples/welcome_client.py [URL]            # in another terminal
    node examples/javascript/welcome_client.js [URL]   # or in JavaScript
"""

import sys

import trio

import trio_ws


async def welcome(ws: trio_ws.WebSocket) -> None:
    await ws.send("Welcome to the WebSocket server!")
    async for name in ws:
        await ws.send(f"Hello, {name!s}!")


async def main(port: int) -> None:
    async with trio.open_nursery() as nursery:
        server = await nursery.start(trio_ws.serve, welcome, "127.0.0.1", port)
        print(f"listening on ws://127.0.0.1:{server.port}")


if __name__ == "__main__":
    try:
        trio.run(main, int(sys.argv[1]) if len(sys.argv) > 1 else 8765)
    except* KeyboardInterrupt:
        pass
