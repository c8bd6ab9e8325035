"""Our client through other people's proxies."""

from __future__ import annotations

import ssl
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
import trio
import trustme

import trio_ws
from trio_ws import Backoff, GaveUp, ProxyError

from ..e2e.processes import free_port, run
from .forward_proxies import FORWARD_PROXIES, PASSWORD, ForwardProxy, forwarding
from .matrix import cell

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable
    from pathlib import Path

_PATIENCE = 25


def through_each(row: str) -> Callable[[Any], Any]:
    """Runs a test through each proxy, and marks its cell."""
    return pytest.mark.parametrize(
        "proxy",
        [
            pytest.param(proxy, marks=cell("in front of the client", row, name), id=proxy.scheme)
            for name, proxy in FORWARD_PROXIES.items()
        ],
    )


async def echo(ws: trio_ws.WebSocket) -> None:
    async for message in ws:
        await ws.send(message)


@asynccontextmanager
async def served(**options: Any) -> AsyncGenerator[int]:
    async with trio.open_nursery() as nursery:
        serve = partial(trio_ws.serve, echo, "127.0.0.1", 0, **options)
        server: trio_ws.Server = await nursery.start(serve)
        with trio.fail_after(_PATIENCE):
            yield server.port
        nursery.cancel_scope.cancel()


@through_each("ws")
async def test_plain_connections_go_through(proxy: ForwardProxy, tmp_path: Path) -> None:
    async with served() as port, forwarding(proxy, tmp_path) as proxy_port:
        url = f"ws://127.0.0.1:{port}"
        async with trio_ws.connect(url, proxy=proxy.url(proxy_port)) as ws:
            for message in ("grüße", bytes(1 << 20)):
                await ws.send(message)
                assert await ws.receive() == message


@through_each("wss")
async def test_tls_goes_through(proxy: ForwardProxy, tmp_path: Path) -> None:
    authority = trustme.CA()
    theirs = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    ours = ssl.create_default_context()
    authority.issue_cert("localhost").configure_cert(theirs)
    authority.configure_trust(ours)
    async with served(ssl_context=theirs) as port, forwarding(proxy, tmp_path) as proxy_port:
        options: dict[str, Any] = {"proxy": proxy.url(proxy_port), "ssl_context": ours}
        async with trio_ws.connect(f"wss://localhost:{port}", **options) as ws:
            await ws.send("hello")
            assert await ws.receive() == "hello"


@through_each("with credentials")
async def test_credentials_are_taken(proxy: ForwardProxy, tmp_path: Path) -> None:
    async with served() as port, forwarding(proxy, tmp_path, credentials=True) as proxy_port:
        url = proxy.url(proxy_port, password=PASSWORD)
        async with trio_ws.connect(f"ws://127.0.0.1:{port}", proxy=url) as ws:
            await ws.send("hello")
            assert await ws.receive() == "hello"


@pytest.mark.parametrize("password", ["wrong", None])
@through_each("wrong credentials, or none: not tried again")
async def test_refused_credentials_are_final(
    proxy: ForwardProxy, password: str | None, tmp_path: Path
) -> None:
    async with served() as port, forwarding(proxy, tmp_path, credentials=True) as proxy_port:
        url = proxy.url(proxy_port, password=password)
        with pytest.raises(GaveUp) as caught:
            async with trio_ws.keep_connected(f"ws://127.0.0.1:{port}", proxy=url) as ws:
                await ws.receive()
        assert isinstance(caught.value.__cause__, ProxyError)
        assert "wrong" not in str(caught.value)


@through_each("nobody listens behind it: tried again")
async def test_a_dead_target_is_tried_again(proxy: ForwardProxy, tmp_path: Path) -> None:
    twice = Backoff(initial=0.01, max_attempts=2)
    async with forwarding(proxy, tmp_path) as proxy_port:
        url = f"ws://127.0.0.1:{free_port()}"
        with trio.fail_after(_PATIENCE), pytest.raises(GaveUp) as caught:
            async with trio_ws.keep_connected(
                url, proxy=proxy.url(proxy_port), backoff=twice
            ) as ws:
                await ws.receive()
    assert isinstance(caught.value.__cause__, ProxyError)
    assert "2 attempts" in str(caught.value)


@through_each("trio-ws client --proxy")
async def test_the_command_goes_through(proxy: ForwardProxy, tmp_path: Path) -> None:
    async with served() as port, forwarding(proxy, tmp_path, credentials=True) as proxy_port:
        target = f"ws://127.0.0.1:{port}"
        url = proxy.url(proxy_port, password=PASSWORD)
        result = await run("client", "--proxy", url, target, given=b"one\ntwo\n")
        assert (result.code, result.out) == (0, b"one\ntwo\n")
        result = await run("client", "--proxy", proxy.url(proxy_port), target, given=b"one\n")
        assert (result.code != 0, result.out) == (True, b"")
        assert "refused" in result.err
