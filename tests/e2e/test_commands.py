"""``trio-ws serve`` and ``trio-ws client`` as real processes with real pipes and signals."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
import trio
import trustme

import trio_ws

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

COMMAND = [sys.executable, "-m", "trio_ws.cli"]


@asynccontextmanager
async def served(*arguments: str) -> AsyncIterator[tuple[trio.Process, str]]:
    """A server's process, and its URL."""
    command = [*COMMAND, "serve", "--port", "0", *arguments]
    process = await trio.lowlevel.open_process(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        line = b""
        while not line.endswith(b"\n"):
            line += await process.stdout.receive_some()
        yield process, line.decode().split()[1]
    finally:
        if process.returncode is None:
            process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()
        for pipe in (process.stdout, process.stderr):
            assert pipe is not None
            await trio.aclose_forcefully(pipe)


async def client(*arguments: str, given: bytes = b"", **options: Any) -> tuple[int, bytes, str]:
    """The client's exit code, its output, and what it said."""
    result = await trio.run_process(
        [*COMMAND, "client", *arguments],
        stdin=given,
        check=False,
        capture_stdout=True,
        capture_stderr=True,
        **options,
    )
    stderr = result.stderr.decode()
    assert "Traceback" not in stderr
    return result.returncode, result.stdout, stderr


async def test_lines_go_and_come_back() -> None:
    async with served() as (_, url):
        assert await client(url, "--linger", "0.3", given=b"a\nb\n") == (0, b"a\nb\n", "")
        assert await client(url, "--linger", "0.3", given=b"no newline") == (0, b"no newline\n", "")


async def test_five_thousand_lines_come_back_complete_and_in_order() -> None:
    lines = b"".join(b"line %d\n" % number for number in range(5_000))
    async with served("--compress") as (_, url):
        for _ in range(3):
            code, output, _ = await client(url, "--linger", "1", "--compress", given=lines)
            assert code == 0
            assert output == lines


async def test_without_a_standard_input() -> None:
    async with served() as (_, url):
        command = " ".join(["exec", *COMMAND, "client", url, "--linger 0.1", "0<&-"])
        result = await trio.run_process(["sh", "-c", command], capture_stderr=True, check=False)
        assert (result.returncode, result.stderr) == (0, b"")


async def test_a_closed_output_ends_quietly() -> None:
    async with served() as (_, url):
        script = f"yes | {' '.join(COMMAND)} client {url} | head -n 1"
        result = await trio.run_process(
            ["bash", "-o", "pipefail", "-c", f"{script}; exit ${{PIPESTATUS[1]}}"],
            check=False,
            capture_stdout=True,
            capture_stderr=True,
        )
        assert (result.returncode, result.stdout) == (0, b"y\n")
        assert result.stderr == b""


async def test_exit_codes(tmp_path: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        code, _, said = await client(f"ws://127.0.0.1:{port}")
    assert code == 3
    assert said == f"trio-ws: error: cannot connect to 127.0.0.1:{port}: Connection refused\n"
    code, _, said = await client("nonsense")
    assert (code, said.count("\n")) == (2, 1)
    assert "ws://" in said
    async with served("--path", "/ws") as (_, url):
        assert url.endswith("/ws")
        code, _, said = await client(url + "/nowhere")
        assert code == 5
        assert "HTTP 404" in said
        assert (await client(url, "--linger", "0.1", given=b"x\n"))[:2] == (0, b"x\n")
        code, _, said = await client(url, given=b"fine\n\xff\n")
        assert (code, said) == (2, "trio-ws: error: line 2 of the input is not UTF-8 text\n")
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        port = silent.getsockname()[1]
        code, _, said = await client(f"ws://127.0.0.1:{port}", "--connect-timeout", "0.2")
        assert code == 6
    certificate = tmp_path / "cert.pem"
    trustme.CA().issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(
        str(certificate)
    )
    async with served("--tls-cert", str(certificate)) as (_, url):
        assert url.startswith("wss://")
        code, _, said = await client(url)
        assert code == 4
        assert "certificate verify failed" in said
        assert said.count("\n") == 1


async def test_a_close_that_is_not_in_good_order_is_exit_code_seven() -> None:
    async def close(ws: trio_ws.WebSocket) -> None:
        await ws.aclose(4000, "go \x1b[2J away")

    async with trio.open_nursery() as nursery:
        server = await nursery.start(partial(trio_ws.serve, close, "127.0.0.1", 0))
        code, _, said = await client(f"ws://127.0.0.1:{server.port}")
        nursery.cancel_scope.cancel()
    assert code == 7
    assert said.startswith(
        "trio-ws: error: connection closed: 4000 (private use) 'go \\x1b[2J away'"
    )


async def test_interrupting_the_client() -> None:
    async with served() as (_, url):
        reading, writing = os.pipe()
        process = await trio.lowlevel.open_process(
            [*COMMAND, "client", url],
            stdin=reading,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert process.stdout is not None
        assert process.stderr is not None
        os.write(writing, b"connected\n")
        assert await process.stdout.receive_some() == b"connected\n"
        process.send_signal(signal.SIGINT)
        assert await process.wait() == 130
        assert await process.stderr.receive_some() == b""
        for pipe in (process.stdout, process.stderr):
            await trio.aclose_forcefully(pipe)
        os.close(reading)
        os.close(writing)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_drains_the_server(number: signal.Signals) -> None:
    async with served() as (process, url):
        async with trio_ws.connect(url, proxy=None) as ws:
            await ws.send("hello")
            assert await ws.receive() == "hello"
            process.send_signal(number)
            with pytest.raises(trio_ws.ConnectionClosedOK) as caught:
                await ws.receive()
            assert caught.value.reason.code == 1001
        assert await process.wait() == 0


async def test_a_second_signal_ends_the_server_at_once() -> None:
    async with served() as (process, url):
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
    async with served() as (_, url):
        port = url.rpartition(":")[2]
        result = await trio.run_process(
            [*COMMAND, "serve", "--port", port], check=False, capture_stderr=True
        )
        said = result.stderr.decode()
        assert result.returncode == 3
        assert "in use" in said
        assert said.count("\n") == 1
