"""What nginx and HAProxy say of the client, and what our server makes of it."""

from __future__ import annotations

from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
import trio

import trio_ws

from .matrix import cell
from .reverse_proxies import PROXIES, adding

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path

    from .reverse_proxies import Proxy

_PATIENCE = 40
_ROW = "the client's address by "


@asynccontextmanager
async def behind(
    name: str, folder: Path, additions: dict[str, str], **options: Any
) -> AsyncGenerator[Proxy]:
    """A server of ours that tells clients their addresses, behind a proxy."""

    async def tell(ws: trio_ws.WebSocket) -> None:
        await ws.send(repr(ws.remote_address))

    async with trio.open_nursery() as nursery:
        serve = partial(
            trio_ws.serve, tell, "127.0.0.1", 0, process_request=trio_ws.health(), **options
        )
        server: trio_ws.Server = await nursery.start(serve)
        with adding(additions):
            async with PROXIES[name](folder, (server.port, server.port), "60s") as proxy:
                with trio.fail_after(_PATIENCE):
                    yield proxy
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(one, marks=cell("in front of us", f"{_ROW}X-Forwarded-For", one))
        for one in PROXIES
    ],
)
async def test_the_header_is_believed(name: str, tmp_path: Path) -> None:
    async with behind(name, tmp_path, {}, trusted_proxies=["127.0.0.1"]) as proxy:
        # Both proxies replace what a client claims.
        claimed = {"X-Forwarded-For": "203.0.113.9"}
        async with trio_ws.connect(f"ws://{proxy.address}/", headers=claimed, proxy=None) as ws:
            assert await ws.receive() == "('127.0.0.1', 0)"


@pytest.mark.parametrize(
    "version",
    [
        pytest.param(
            option, marks=cell("in front of us", f"{_ROW}the PROXY protocol, {option}", "HAProxy")
        )
        for option in ("send-proxy", "send-proxy-v2")
    ],
)
@pytest.mark.parametrize("tls", [False, True])
async def test_the_proxy_protocol_is_believed(version: str, tls: bool, tmp_path: Path) -> None:
    additions = {"default-server check": f"default-server {version} check"}
    options: dict[str, Any] = {"trusted_proxies": ["127.0.0.1"], "proxy_protocol": True}
    async with behind("HAProxy", tmp_path, additions, **options) as proxy:
        scheme, address = ("wss", proxy.tls_address) if tls else ("ws", proxy.address)
        context = proxy.ssl_context if tls else None
        async with trio_ws.connect(f"{scheme}://{address}/", ssl_context=context, proxy=None) as ws:
            # HAProxy sets the header too, to the same address: the port is the header's, 0.
            assert await ws.receive() == "('127.0.0.1', 0)"
