"""``trio-ws serve`` as a real process with real signals."""

from __future__ import annotations

import signal

import pytest
import trio

import trio_ws

from .processes import COMMAND, server_process


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_drains_the_server(number: signal.Signals) -> None:
    async with server_process() as (process, url):
        async with trio_ws.connect(url, proxy=None) as ws:
            await ws.send("hello")
            assert await ws.receive() == "hello"
            process.send_signal(number)
            with pytest.raises(trio_ws.ConnectionClosedOK) as caught:
                await ws.receive()
            assert caught.value.reason.code == 1001
        assert await process.wait() == 0


async def test_a_second_signal_ends_the_server_at_once() -> None:
    async with server_process() as (process, url):
        host, _, port = url.removeprefix("ws://").partition(":")
        async with await trio.open_tcp_stream(host, int(port)) as half_open:
            await half_open.send_all(b"GET / HTTP/1.1\r\n")
            async with trio_ws.connect(url, proxy=None) as ws:
                process.send_signal(signal.SIGTERM)
                with pytest.raises(trio_ws.ConnectionClosedOK):
                    await ws.receive()
            assert process.returncode is None
            process.send_signal(signal.SIGTERM)
            assert await process.wait() == 143


async def test_a_port_in_use_is_one_line() -> None:
    async with server_process() as (_, url):
        port = url.rpartition(":")[2]
        result = await trio.run_process(
            [*COMMAND, "serve", "--port", port], check=False, capture_stderr=True
        )
        said = result.stderr.decode()
        assert result.returncode == 3
        assert said.startswith(f"trio-ws: error: cannot listen on 127.0.0.1:{port}: ")
        assert "in use" in said
        assert said.count("\n") == 1
