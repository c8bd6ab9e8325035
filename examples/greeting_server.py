"""A server that is told a name and greets.

::

    python examples/greeting_server.py [PORT]          # 8765 unless you say so; 0 takes a free one
    python examples/greeting_client.py [URL]           # in another terminal
"""

import sys

import trio

import trio_ws


async def greet(ws: trio_ws.WebSocket) -> None:
    name = await ws.receive()
    print(f"greeting {name!r}")
    await ws.send(f"Hello {name!s}!")
    # A handler that returns has said all it had to: the connection is closed with 1000.


async def main(port: int) -> None:
    async with trio.open_nursery() as nursery:
        server = await nursery.start(trio_ws.serve, greet, "127.0.0.1", port)
        print(f"listening on ws://127.0.0.1:{server.port}")


if __name__ == "__main__":
    try:
        trio.run(main, int(sys.argv[1]) if len(sys.argv) > 1 else 8765)
    except* KeyboardInterrupt:
        pass
