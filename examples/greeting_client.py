"""A client that asks for your name and prints the server's greeting.

::

    python examples/greeting_server.py                 # first, in another terminal
    python examples/greeting_client.py [URL]           # ws://127.0.0.1:8765 unless you say so
"""

import sys

import trio

import trio_ws


async def main(url: str, name: str) -> None:
    try:
        async with trio_ws.connect(url) as ws:
            await ws.send(name)
            print(await ws.receive())
    except (OSError, trio_ws.TrioWSError) as error:
        # Not reached, not let in, or cut off: the error says which.
        sys.exit(str(error))


if __name__ == "__main__":
    try:
        # Asked before Trio runs: input() would hold everything up until somebody answers.
        name = input("What's your name? ")
        trio.run(main, sys.argv[1] if len(sys.argv) > 1 else "ws://127.0.0.1:8765", name)
    except* (EOFError, KeyboardInterrupt):
        pass
