"""``--broadcast`` and ``--echo``, over a network in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio.testing

import trio_ws
from tests.network import URL, install
from trio_ws.cli.handlers.broadcast import Broadcast
from trio_ws.cli.handlers.echo import Echo

if TYPE_CHECKING:
    import pytest


async def test_all_others_hear_it(monkeypatch: pytest.MonkeyPatch) -> None:
    network = install(monkeypatch)
    async with network.served(Broadcast()):
        async with (
            trio_ws.connect(URL) as one,
            trio_ws.connect(URL) as two,
            trio_ws.connect(URL) as three,
        ):
            await trio.testing.wait_all_tasks_blocked()
            await one.send("hello")
            assert await two.receive() == await three.receive() == "hello"
            await two.send(b"bytes")
            assert await one.receive() == await three.receive() == b"bytes"
            await three.aclose()
            await two.send("still here")
            assert await one.receive() == "still here"


async def test_a_client_that_is_cut_off_is_no_crash(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    network = install(monkeypatch)
    async with network.served(Broadcast()) as server:
        async with trio_ws.connect(URL) as ws:
            await trio.testing.wait_all_tasks_blocked()
            ws.abort()
        await trio.testing.wait_all_tasks_blocked()
        assert server.statistics().crashed == 0
        assert not server.connections


async def test_the_echo(monkeypatch: pytest.MonkeyPatch) -> None:
    network = install(monkeypatch)
    async with network.served(Echo()), trio_ws.connect(URL) as ws:
        await ws.send(b"hello")
        assert await ws.receive() == b"hello"
