"""``trio-ws serve --broadcast --backplane``: servers and workers whose clients hear each other."""

from __future__ import annotations

import os
import signal
from contextlib import AsyncExitStack, suppress
from typing import TYPE_CHECKING

import trio

from trio_ws import ConnectionClosed

from ..backplane.redis_server import redis_server
from ..cli.test_workers import connect
from .processes import running
from .test_workers import processes_of

if TYPE_CHECKING:
    import trio_ws

    from ..backplane.redis_server import RedisServer

_PATIENCE = 40


async def health_of(url: str) -> list[str]:
    stream = await trio.open_tcp_stream("127.0.0.1", int(url.rpartition(":")[2]))
    async with stream:
        await stream.send_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        data = b"".join([bytes(piece) async for piece in stream])
    return data.partition(b"\r\n\r\n")[2].decode().splitlines()


async def until_healthy(url: str, first: str) -> None:
    while True:
        if (await health_of(url))[0] == first:
            return
        await trio.sleep(0.02)


async def all_hear(speaker: trio_ws.WebSocket, others: list[trio_ws.WebSocket], text: str) -> None:
    """Say it until all have heard it: who is not connected with Redis yet hears nothing."""
    for other in others:
        heard = False
        while not heard:
            await speaker.send(text)
            with trio.move_on_after(0.5):
                while not heard:
                    heard = await other.receive() == text


async def test_the_clients_of_several_servers_and_workers_hear_each_other() -> None:
    async with redis_server() as redis:
        with trio.fail_after(_PATIENCE):
            await _talk(redis)


async def _talk(redis: RedisServer) -> None:
    async with AsyncExitStack() as stack:
        options = ["serve", "--port", "0", "--broadcast", "--backplane", redis.url]
        urls = []
        for more in (["--workers", "2"], []):
            server = await stack.enter_async_context(running(*options, *more))
            urls.append((await server.line()).split()[1])
        processes = await processes_of(urls[0])
        clients = [await stack.enter_async_context(connect(url)) for url in urls for _ in range(6)]
        await all_hear(clients[0], clients[1:], "hello")
        await all_hear(clients[-1], clients[:-1], "from the other server")
        # Without Redis each process's clients hear each other; and /healthz says so.
        await redis.kill()
        for url in urls:
            await until_healthy(url, "degraded")
        assert "the backplane is gone: each process is on its own" in await health_of(urls[1])
        await all_hear(clients[-1], clients[6:-1], "alone")
        await redis.start()
        for url in urls:
            await until_healthy(url, "ok")
        await processes_of(urls[0])
        await all_hear(clients[0], clients[1:], "together again")
        # A worker that dies takes its own clients along, and no others.
        os.kill(processes[0], signal.SIGKILL)
        await processes_of(urls[0])
        alive = []
        for one in clients:
            with suppress(ConnectionClosed):
                await one.ping()
                alive.append(one)
        await all_hear(alive[-1], alive[:-1], "and on")


async def test_a_redis_that_is_not_there_is_said_and_awaited() -> None:
    options = ["serve", "--port", "0", "--broadcast", "--backplane", "redis://127.0.0.1:1"]
    async with running(*options) as server:
        url = (await server.line()).split()[1]
        assert "the backplane is gone: " in await server.line("stderr")
        async with connect(url) as one, connect(url) as two:
            await all_hear(one, [two], "hello")
        server.signal(signal.SIGTERM)
        assert await server.process.wait() == 0
        assert "Traceback" not in await server.rest("stderr")
