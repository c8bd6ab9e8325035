"""Staying connected, with real processes and real signals."""

from __future__ import annotations

import shutil
import signal
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
import trio

from ..requirements import require_tool
from .network_namespace import NAMESPACE, THERE, namespace
from .processes import Running, free_port, running

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

QUICK = ["--reconnect", "--retry-max", "0.2"]
WATCHFUL = ["--ping-interval", "1", "--ping-timeout", "1"]


@asynccontextmanager
async def serving(port: int, *arguments: str) -> AsyncGenerator[Running]:
    async with running("serve", "--port", str(port), *arguments) as server:
        await server.line()
        yield server


async def test_the_client_goes_on_when_the_server_is_killed_and_started_again() -> None:
    port = free_port()
    url = f"ws://127.0.0.1:{port}"
    async with running("client", url, *QUICK, "--on-connect", "log in") as person:
        assert "Connection refused" in await person.said()
        async with serving(port) as server:
            while (line := await person.said()).startswith("attempt"):
                pass
            assert line == f"connected to {url}/"
            await person.type("first")
            assert [await person.line() for _ in range(2)] == ["log in", "first"]
            server.signal(signal.SIGKILL)
            lost = await person.said()
            assert lost.startswith("connection lost after")
            assert "1006 (abnormal closure), the transport was cut; 2 messages sent" in lost
        await person.type("typed while there was no server")
        async with serving(port):
            while (line := await person.said()).startswith("attempt"):
                pass
            assert line.startswith("connected again after")
            assert await person.line() == "log in"
            assert await person.line() == "typed while there was no server"
            person.signal(signal.SIGINT)
            assert await person.process.wait() == 130


async def test_a_server_that_is_silent_but_alive_is_noticed() -> None:
    port = free_port()
    async with (
        serving(port, "--ping-interval", "0") as server,
        running("client", f"ws://127.0.0.1:{port}", *QUICK, *WATCHFUL) as person,
    ):
        assert (await person.said()).startswith("connected to")
        server.signal(signal.SIGSTOP)
        assert "no sign of life for" in await person.said()
        server.signal(signal.SIGCONT)
        while (line := await person.said()).startswith("attempt"):
            pass
        assert line.startswith("connected again")


async def test_a_client_that_is_silent_but_alive_is_noticed() -> None:
    port = free_port()
    async with (
        serving(port, *WATCHFUL, "--log-level", "info") as server,
        running("client", f"ws://127.0.0.1:{port}", "--ping-interval", "0") as person,
    ):
        await person.type("hello")
        assert await person.line() == "hello"
        person.signal(signal.SIGSTOP)
        assert "no sign of life for" in await server.line("stderr")
        person.signal(signal.SIGCONT)
        assert await person.process.wait() == 7


# A cable that is pulled


@pytest.mark.skipif(sys.platform != "linux", reason="network namespaces are Linux's")
async def test_a_pulled_cable_is_noticed_and_forgiven() -> None:
    require_tool("ip", available=shutil.which("ip") is not None, reason="iproute2 is not there")
    async with namespace() as cable:
        inside = ["ip", "netns", "exec", NAMESPACE]
        async with running("serve", "--host", THERE, "--port", "8765", prefix=inside) as server:
            await server.line()
            async with running("client", f"ws://{THERE}:8765", *QUICK, *WATCHFUL) as person:
                assert (await person.said()).startswith("connected to")
                await trio.run_process(["ip", "link", "set", cable, "down"])
                assert "no sign of life for" in await person.said()
                await trio.run_process(["ip", "link", "set", cable, "up"])
                while (line := await person.said()).startswith("attempt"):
                    pass
                assert line.startswith("connected again")
                await person.type("hello")
                assert await person.line() == "hello"
