"""An echo server that prints what it gets.

::

    python examples/echo_server.py [PORT]              # 8765 unless you say so; 0 takes a free one
    python examples/conversation_client.py [URL]       # in another terminal
"""

import sys

import trio

import trio_ws


async def echo(ws: trio_ws.WebSocket) -> None:
    async for message in ws:
        # repr: what a stranger sends must not reach the terminal as it is.
        print(f"received {message!r}")
        await ws.send(message)


async def main(port: int) -> None:
    async with trio.open_nursery() as nursery:
        server = await nursery.start(trio_ws.serve, echo, "127.0.0.1", port)
        print(f"listening on ws://127.0.0.1:{server.port}")


if __name__ == "__main__":
    try:
        trio.run(main, int(sys.argv[1]) if len(sys.argv) > 1 else 8765)
    except* KeyboardInterrupt:
        pass
