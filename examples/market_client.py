"""A client of a market feed that outlives the server: it connects and subscribes again.

::

    python examples/market_server.py                   # first, in another terminal
    python examples/market_client.py [URL]             # ws://127.0.0.1:8765 unless you say so

Stop the server with Ctrl-C and start it again: the prices go on.
"""

import json
import logging
import sys

import trio

import trio_ws


class Subscriptions:
    """What is subscribed to: told to the server now, and to every connection to come."""

    def __init__(self) -> None:
        self._symbols: set[str] = set()

    async def add(self, ws: trio_ws.WebSocket, symbol: str) -> None:
        self._symbols.add(symbol)
        await ws.send(json.dumps({"subscribe": [symbol]}))

    async def renew(self, ws: trio_ws.WebSocket) -> None:
        """Called with each new connection before anything else is sent on it."""
        await ws.send(json.dumps({"subscribe": sorted(self._symbols)}))


async def main(url: str) -> None:
    subscriptions = Subscriptions()
    try:
        async with trio_ws.keep_connected(url, on_connect=subscriptions.renew) as ws:
            await subscriptions.add(ws, "ACME")
            await subscriptions.add(ws, "MACE")
            async for message in ws:  # goes on across reconnects
                tick = json.loads(message)
                print(f"{tick['symbol']} {tick['price']:.2f}")
    except (trio_ws.GaveUp, trio_ws.InvalidURL) as error:
        sys.exit(str(error))


if __name__ == "__main__":
    # The library's log tells of every connection, loss, wait and attempt.
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        trio.run(main, sys.argv[1] if len(sys.argv) > 1 else "ws://127.0.0.1:8765")
    except* KeyboardInterrupt:
        pass
