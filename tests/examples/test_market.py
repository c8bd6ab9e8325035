"""The market feed: prices of what is subscribed to, also after the server was restarted."""

from __future__ import annotations

import json
import signal

import pytest
import trio
import trio.testing

import trio_ws
import trio_ws.testing
from examples.market_server import TICK, Market

from .programs import asleep, finished, interrupted, port_of, served, started


async def test_prices_go_on_when_the_server_comes_back() -> None:
    async with served("market_server") as (first, url), started("market_client", url) as client:
        assert {(await client.line()).split()[0] for _ in range(4)} == {"ACME", "MACE"}
        assert await client.line("stderr") == f"{url}/: connected"
        await interrupted(first)
        assert "lost after" in await client.line("stderr")
        async with served("market_server", port=port_of(url)):
            while "connected again" not in await client.line("stderr"):
                pass
            # Four may have been on their way before.
            assert {(await client.line()).split()[0] for _ in range(8)} == {"ACME", "MACE"}
        await asleep(client)
        client.signal(signal.SIGINT)
        _, errors = await finished(client)
        assert "Traceback" not in errors


async def test_only_what_is_subscribed_to_is_sent(autojump_clock: trio.testing.MockClock) -> None:
    market = Market()
    async with trio_ws.testing.open_pair() as (client, server), trio.open_nursery() as nursery:
        nursery.start_soon(market.run)
        nursery.start_soon(market.serve_client, server)
        await client.send(json.dumps({"subscribe": ["MACE", "no such thing"]}))
        for tick in (1, 2, 3):
            price = json.loads(await client.receive())
            assert price == {"symbol": "MACE", "price": round(market.prices["MACE"], 2)}
            assert trio.current_time() == tick * TICK
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("message", ["", "[]", "{}", '{"subscribe": 3}', '{"subscribe": [[]]}'])
async def test_what_is_no_subscription_is_told_so(message: str) -> None:
    market = Market()
    async with trio.open_nursery() as nursery:
        server = await nursery.start(trio_ws.serve, market.serve_client, "127.0.0.1", 0)
        url = f"ws://127.0.0.1:{server.port}"
        async with trio_ws.connect(url, proxy=None) as ws:
            await ws.send(message)
            with pytest.raises(trio_ws.ConnectionClosedError) as caught:
                await ws.receive()
            assert caught.value.reason.code == 1008
        assert server.statistics().crashed == 0
        nursery.cancel_scope.cancel()
