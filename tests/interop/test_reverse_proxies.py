"""Our servers behind nginx and HAProxy."""

from __future__ import annotations

from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
import trio

import trio_ws
from trio_ws import (
    Backoff,
    ClosedBy,
    CloseReason,
    ConnectionClosed,
    Heartbeat,
    classification,
)

from ..e2e.processes import free_port
from .matrix import cell
from .reverse_proxies import PROXIES, Proxy, command_haproxy

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable
    from pathlib import Path

MIB = 1 << 20
#: Seconds that a test may take on a busy machine.
_PATIENCE = 40
#: No attempt waits for long.
_SOON = Backoff(initial=0.05, maximum=0.5)


def with_each(row: str) -> Callable[[Any], Any]:
    """Runs a test behind each proxy, and marks its cell."""
    return pytest.mark.parametrize(
        "name", [pytest.param(name, marks=cell("in front of us", row, name)) for name in PROXIES]
    )


async def echo(ws: trio_ws.WebSocket) -> None:
    async for message in ws:
        if message == "who am I":
            headers = ws.request.headers
            forwarded = [headers["x-forwarded-for"], headers["x-forwarded-proto"]]
            await ws.send(" ".join([ws.request.path, *forwarded, headers["host"]]))
        elif message == "close me":
            await ws.aclose(4321, "as you wish")
        else:
            await ws.send(message)


@asynccontextmanager
async def served(port: int = 0, **options: Any) -> AsyncGenerator[trio_ws.Server]:
    """A server of ours, which answers health checks too."""
    options = {"process_request": trio_ws.health(), "heartbeat": None, **options}
    async with trio.open_nursery() as nursery:
        serve = partial(trio_ws.serve, echo, "127.0.0.1", port, **options)
        yield await nursery.start(serve)
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def behind(
    name: str, folder: Path, *, idle: str = "60s", **options: Any
) -> AsyncGenerator[Proxy]:
    """Two servers of ours behind a proxy, which may know the first only."""
    async with (
        served(**options) as one,
        served(**options) as two,
        PROXIES[name](folder, (one.port, two.port), idle) as proxy,
    ):
        with trio.fail_after(_PATIENCE):
            yield proxy


@asynccontextmanager
async def connected(
    proxy: Proxy, target: str = "/", *, tls: bool = False, **options: Any
) -> AsyncGenerator[trio_ws.WebSocket]:
    options = {"proxy": None, "heartbeat": None, **options}
    if tls:
        url, options["ssl_context"] = f"wss://{proxy.tls_address}{target}", proxy.ssl_context
    else:
        url = f"ws://{proxy.address}{target}"
    async with trio_ws.connect(url, **options) as ws:
        yield ws


async def _converse(ws: trio_ws.WebSocket) -> None:
    for message in ("grüße", b"\0\1\2", "x" * MIB, bytes(MIB)):
        await ws.send(message)
        assert await ws.receive() == message
    await ws.send(["in", "frag", "ments"])
    assert await ws.receive() == "infragments"
    assert await ws.ping() >= 0
    await ws.send("close me")
    with pytest.raises(ConnectionClosed) as closed:
        await ws.receive()
    assert closed.value.reason == CloseReason(4321, "as you wish", ClosedBy.REMOTE)


@with_each("ws")
async def test_plain_connections_pass(name: str, tmp_path: Path) -> None:
    async with behind(name, tmp_path) as proxy, connected(proxy) as ws:
        await _converse(ws)


@with_each("wss, ended by the proxy")
async def test_tls_ends_at_the_proxy(name: str, tmp_path: Path) -> None:
    async with behind(name, tmp_path) as proxy, connected(proxy, tls=True) as ws:
        await _converse(ws)


@with_each("permessage-deflate")
async def test_compression_passes(name: str, tmp_path: Path) -> None:
    compression = trio_ws.Compression()
    async with (
        behind(name, tmp_path, compression=compression) as proxy,
        connected(proxy, compression=compression) as ws,
    ):
        assert [one.name for one in ws.extensions] == ["permessage-deflate"]
        await ws.send("again " * 10_000)
        assert await ws.receive() == "again " * 10_000


@with_each("a path under a prefix; who the client is")
async def test_our_server_is_told_who_asks_and_for_what(name: str, tmp_path: Path) -> None:
    claimed = {"X-Forwarded-For": "203.0.113.9"}
    async with behind(name, tmp_path) as proxy:
        async with connected(proxy, "/live/rooms/4", headers=claimed) as ws:
            await ws.send("who am I")
            assert await ws.receive() == f"/rooms/4 127.0.0.1 http {proxy.address}"
        async with connected(proxy, "/rooms/4", tls=True) as ws:
            await ws.send("who am I")
            assert await ws.receive() == f"/rooms/4 127.0.0.1 https {proxy.tls_address}"


@with_each("our close code and reason reach the server")
async def test_a_close_of_ours_passes(name: str, tmp_path: Path) -> None:
    ends: list[CloseReason] = []

    async def note(ws: trio_ws.WebSocket) -> None:
        ends.append(await ws.wait_closed())

    async with trio.open_nursery() as nursery:
        serve = partial(trio_ws.serve, note, "127.0.0.1", 0, heartbeat=None)
        server: trio_ws.Server = await nursery.start(serve)
        with trio.fail_after(_PATIENCE):
            async with PROXIES[name](tmp_path, (server.port, server.port), "60s") as proxy:
                async with connected(proxy) as ws:
                    await ws.aclose(4000, "näxt")
                assert ws.close_reason == CloseReason(4000, "näxt", ClosedBy.LOCAL)
        nursery.cancel_scope.cancel()
    assert ends == [CloseReason(4000, "näxt", ClosedBy.REMOTE)]


@with_each("idle for 2 s: cut without a heartbeat")
async def test_an_idle_connection_is_cut(name: str, tmp_path: Path) -> None:
    async with behind(name, tmp_path, idle="2s") as proxy, connected(proxy) as ws:
        with pytest.raises(ConnectionClosed) as closed:
            await ws.receive()
        assert closed.value.reason.code == 1006


@with_each("idle for 2 s: kept by the server's heartbeat")
async def test_a_heartbeat_keeps_it(name: str, tmp_path: Path) -> None:
    heartbeat = Heartbeat(interval=0.5, timeout=10)
    async with behind(name, tmp_path, idle="2s", heartbeat=heartbeat) as proxy:
        async with connected(proxy) as ws:
            with trio.move_on_after(4.5) as waited:
                await ws.receive()
            # Nothing came and nothing ended.
            assert waited.cancelled_caught
            await ws.send("still here")
            assert await ws.receive() == "still here"


@with_each("the server restarts: clients come back")
async def test_clients_come_back_when_the_server_has_restarted(name: str, tmp_path: Path) -> None:
    port = free_port()
    async with (
        PROXIES[name](tmp_path, (port, port), "60s") as proxy,
        trio.open_nursery() as nursery,
    ):
        serve = partial(
            trio_ws.serve, echo, "127.0.0.1", port, process_request=trio_ws.health(), heartbeat=None
        )
        tell, refused = trio.open_memory_channel[int](100)

        def note(failure: classification.Failure) -> classification.Verdict:
            if failure.status is not None:
                tell.send_nowait(failure.status)
            return classification.default(failure)

        options: dict[str, Any] = {"proxy": None, "heartbeat": None, "backoff": _SOON}
        first: trio_ws.Server = await nursery.start(serve)
        with trio.fail_after(_PATIENCE):
            url = f"ws://{proxy.address}/"
            async with trio_ws.keep_connected(url, should_retry=note, **options) as ws:
                await ws.send("before")
                assert await ws.receive() == "before"
                await first.drain()
                # Nobody is there meanwhile: the proxy answers for us, with 502 or 503.
                assert await refused.receive() in {502, 503}
                await nursery.start(serve)
                await ws.send("after")
                assert await ws.receive() == "after"
        nursery.cancel_scope.cancel()


@cell("in front of us", "one of two servers drains: 100 clients go to the other", "HAProxy")
async def test_a_hundred_clients_move_to_the_other_server(tmp_path: Path) -> None:
    clients = 100
    replies: list[str | bytes] = []
    drained = trio.Event()
    async with (
        served() as one,
        served() as two,
        PROXIES["HAProxy"](tmp_path, (one.port, two.port), "60s") as proxy,
    ):
        opened = trio.Semaphore(0)

        async def talk(number: int) -> None:
            url = f"ws://{proxy.address}/{number}"
            options: dict[str, Any] = {"proxy": None, "heartbeat": None, "backoff": _SOON}
            async with trio_ws.keep_connected(url, **options) as ws:
                await ws.send(f"{number} before")
                replies.append(await ws.receive())
                opened.release()
                await drained.wait()
                await ws.send(f"{number} after")
                replies.append(await ws.receive())

        with trio.fail_after(_PATIENCE):
            async with trio.open_nursery() as nursery:
                for number in range(clients):
                    nursery.start_soon(talk, number)
                for _ in range(clients):
                    await opened.acquire()
                # leastconn: half of them each.
                assert {len(one.connections), len(two.connections)} == {clients // 2}
                assert await command_haproxy(proxy, "set server trio_ws/one state drain") == ""
                await one.drain()
                drained.set()
        assert two.statistics().accepted == clients
    expected = [f"{number} {when}" for number in range(clients) for when in ("before", "after")]
    assert sorted(map(str, replies)) == sorted(expected)
