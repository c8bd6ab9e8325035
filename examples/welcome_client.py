"""A client that is welcomed, says its name, and is greeted.

::

    python examples/welcome_server.py                  # first, or the one in javascript/
    python examples/welcome_client.py [URL]            # ws://127.0.0.1:8765 unless you say so
"""

import sys

import trio

import trio_ws


async def main(url: str) -> None:
    try:
        async with trio_ws.connect(url) as ws:
            print(await ws.receive())
            await ws.send("Trio")
            print(await ws.receive())
    except (OSError, trio_ws.TrioWSError) as error:
        sys.exit(str(error))


if __name__ == "__main__":
    trio.run(main, sys.argv[1] if len(sys.argv) > 1 else "ws://127.0.0.1:8765")
