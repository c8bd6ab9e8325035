"""A hub behind a real server, over real sockets."""

from __future__ import annotations

from functools import partial

import pytest
import trio
import trio.lowlevel

import trio_ws
from trio_ws import Hub, HubLimits, Position


async def test_one_that_does_not_read_costs_the_others_nothing() -> None:
    """It is evicted in the end; all the others have everything, in one order."""
    limits = HubLimits(backlog_bytes=100_000, max_backlog_bytes=1_000_000)
    messages = [f"{number}:" + "x" * 10_000 for number in range(1_000)]
    evicted = trio.Event()
    joined = trio.Semaphore(0)

    def see(record: object) -> None:
        if isinstance(record, trio_ws.instrumentation.MemberEvicted):
            evicted.set()

    async with Hub(limits=limits, hooks=[see]) as hub, trio.open_nursery() as nursery:

        async def handler(ws: trio_ws.WebSocket) -> None:
            async with hub.join(ws, "room"):
                joined.release()
                await ws.wait_closed()

        async def read_all(url: str, seen: list[str | bytes]) -> None:
            async with trio_ws.connect(url) as ws:
                async for message in ws:
                    seen.append(message)
                    if message == messages[-1]:
                        return

        server = await nursery.start(partial(trio_ws.serve, handler, "127.0.0.1", 0))
        url = f"ws://127.0.0.1:{server.port}"
        lists: list[list[str | bytes]] = [[] for _ in range(5)]
        with trio.fail_after(60):
            async with trio_ws.connect(url) as stalled:
                # With a full inbox, its client stops reading.
                async with trio.open_nursery() as readers:
                    for seen in lists:
                        readers.start_soon(read_all, url, seen)
                    for _ in range(len(lists) + 1):
                        await joined.acquire()
                    for message in messages:
                        await hub.publish("room", message)
                        # As fast as those who read take it.
                        while hub.statistics().published - min(map(len, lists)) > 50:
                            await trio.lowlevel.checkpoint()
                assert lists == [messages] * 5
                await evicted.wait()
                assert hub.statistics().evicted == 1
                seen = []
                with pytest.raises(trio_ws.ConnectionClosedError) as failure:
                    while True:
                        seen.append(await stalled.receive())
                assert failure.value.reason.code == 1013
                assert seen == messages[: len(seen)]
        nursery.cancel_scope.cancel()


async def test_compressed_or_not_all_get_the_same_with_their_own_in_between() -> None:
    """Members with and without permessage-deflate, their own messages in between."""
    compression = trio_ws.Compression(threshold=100)
    texts = [f"message {number} " * (number % 40) for number in range(300)]
    async with Hub(history=trio_ws.History(messages=1000)) as hub:
        async with trio.open_nursery() as nursery:

            async def handler(ws: trio_ws.WebSocket) -> None:
                async with hub.join(ws, "room", since=Position.OLDEST):
                    async for message in ws:
                        await ws.send(f"own {message!s}")

            serve = partial(trio_ws.serve, handler, "127.0.0.1", 0, compression=compression)
            server = await nursery.start(serve)
            url = f"ws://127.0.0.1:{server.port}"
            ends: list[list[str | bytes]] = []

            async def client(offered: trio_ws.Compression | None) -> None:
                shared: list[str | bytes] = []
                async with trio_ws.connect(url, compression=offered) as ws:
                    own = 0
                    await ws.send(f"{own} " * 50)
                    while len(shared) < len(texts) or own < 50:
                        message = await ws.receive()
                        if str(message).startswith("own "):
                            assert message == "own " + f"{own} " * 50
                            own += 1
                            await ws.send(f"{own} " * 50)
                        else:
                            shared.append(message)
                ends.append(shared)

            with trio.fail_after(60):
                async with trio.open_nursery() as clients:
                    for offered in (None, compression, compression, trio_ws.Compression()):
                        clients.start_soon(client, offered)
                    for text in texts:
                        await hub.publish("room", text)
                        await trio.lowlevel.checkpoint()
            assert ends == [texts] * 4
            nursery.cancel_scope.cancel()
