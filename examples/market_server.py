"""A market feed: prices of what each client has subscribed to, four times a second.

::

    python examples/market_server.py [PORT]            # 8765 unless you say so; 0 takes a free one
    python examples/market_client.py [URL]             # in another terminal

A client subscribes with ``{"subscribe": ["ACME"]}``. One that reads slowly misses prices, but
what it gets is never old: each is taken from the market when there is room to send it.
"""

import json
import random
import sys

import trio

import trio_ws

TICK = 0.25  # seconds


class Market:
    def __init__(self) -> None:
        self.prices = {"ACME": 100.0, "EMCA": 50.0, "MACE": 10.0}
        self._moved = trio.Event()

    async def run(self) -> None:
        while True:
            await trio.sleep(TICK)
            for symbol in self.prices:
                self.prices[symbol] *= random.uniform(0.99, 1.01)
            self._moved.set()
            self._moved = trio.Event()

    async def next_move(self) -> None:
        await self._moved.wait()

    async def serve_client(self, ws: trio_ws.WebSocket) -> None:
        wanted: set[str] = set()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._send_prices, ws, wanted)
            async for message in ws:
                try:
                    wanted |= self.prices.keys() & set(json.loads(message)["subscribe"])
                except (ValueError, TypeError, KeyError):
                    await ws.aclose(1008, 'expected {"subscribe": [...]}')
            nursery.cancel_scope.cancel()

    async def _send_prices(self, ws: trio_ws.WebSocket, wanted: set[str]) -> None:
        while True:
            await self.next_move()
            for symbol in sorted(wanted):
                price = round(self.prices[symbol], 2)
                await ws.send(json.dumps({"symbol": symbol, "price": price}))


async def main(port: int) -> None:
    market = Market()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(market.run)
        server = await nursery.start(trio_ws.serve, market.serve_client, "127.0.0.1", port)
        print(f"listening on ws://127.0.0.1:{server.port}")


if __name__ == "__main__":
    try:
        trio.run(main, int(sys.argv[1]) if len(sys.argv) > 1 else 8765)
    except* KeyboardInterrupt:
        pass
