"""A wrapper hands on everything that a WebSocket has."""

from __future__ import annotations

import pytest
import trio

import trio_ws
from trio_ws.cli.wrapper import Wrapper
from trio_ws.testing import open_pair

PROPERTIES = (
    "close_reason",
    "latency",
    "last_received",
    "last_sent",
    "reading_since",
    "request",
    "response",
    "subprotocol",
    "extensions",
    "local_address",
    "remote_address",
    "id",
)


async def test_everything_is_handed_on() -> None:
    async with open_pair() as (client, server):
        ws = Wrapper(server)
        await ws.send("a")
        ws.send_nowait(b"b")
        assert [await client.receive(), await client.receive()] == ["a", b"b"]
        await client.send("c")
        assert await ws.receive() == "c"
        await client.send("d")
        async with ws.receive_stream() as pieces:
            assert await pieces.receive() == "d"
        assert await ws.ping() >= 0
        ping = ws.start_ping(b"x")
        assert await ping.wait() >= 0
        for name in PROPERTIES:
            assert getattr(ws, name) == getattr(server, name)
        assert ws.statistics().messages_sent == server.statistics().messages_sent
        await ws.aclose(4000, "bye")
        assert await ws.wait_closed() == ws.close_reason
        with pytest.raises(trio_ws.ConnectionClosedError):
            await client.receive()


async def test_aborting_as_well() -> None:
    async with open_pair() as (_, server):
        Wrapper(server).abort()
        with pytest.raises(trio.ClosedResourceError):
            await server.receive()
