"""``trio-ws serve`` on sockets opened for it, behind proxies, and with new certificates."""

from __future__ import annotations

import shutil
import signal
import socket
import ssl
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
import trio
import trustme

import trio_ws

from ..requirements import require_tool
from .processes import COMMAND, Running, environment, free_port, launched, run, running
from .test_deploying import Renewals

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path


async def exchange(url: str, message: str = "hello", **options: Any) -> None:
    async with trio_ws.connect(url, proxy=None, **options) as ws:
        await ws.send(message)
        assert await ws.receive() == message


# Sockets


async def test_on_sockets_by_their_numbers(tmp_path: Path) -> None:
    path = str(tmp_path / "ws")
    with socket.create_server(("127.0.0.1", 0)) as tcp, socket.socket(socket.AF_UNIX) as local:
        local.bind(path)
        local.listen()
        numbers = [tcp.fileno(), local.fileno()]
        options = [item for number in numbers for item in ("--fd", str(number))]
        async with running("serve", *options, pass_fds=numbers) as server:
            url = f"ws://127.0.0.1:{tcp.getsockname()[1]}"
            assert await server.line() == f"serving {url} (Ctrl-C to stop)"
            await exchange(url)
            await exchange(f"ws+unix:{path}")
            server.signal(signal.SIGTERM)
            assert await server.process.wait() == 0
        # The socket has outlived its server: who comes now waits.
        async with await trio.open_unix_socket(path):
            pass


async def test_a_unix_socket_is_named(tmp_path: Path) -> None:
    abstract = f"trio-ws-{free_port()}"
    path = str(tmp_path / "ws")
    for address, name in ((path, f"ws+unix:{path}"), (f"\0{abstract}", f"ws at @{abstract}")):
        with socket.socket(socket.AF_UNIX) as local:
            local.bind(address)
            local.listen()
            number = local.fileno()
            async with running("serve", "--fd", str(number), pass_fds=[number]) as server:
                assert await server.line() == f"serving {name} (Ctrl-C to stop)"


async def test_systemd_hands_sockets_over() -> None:
    activate = shutil.which("systemd-socket-activate")
    require_tool("systemd", available=activate is not None, reason="no systemd-socket-activate")
    port = free_port()
    command = [str(activate), "--listen", f"127.0.0.1:{port}", *COMMAND, "serve", "--systemd"]
    async with launched(command, env=environment()) as server:
        # It listens at once, and starts the server when somebody comes.
        while "Listening on" not in await server.line("stderr"):
            pass
        await exchange(f"ws://127.0.0.1:{port}")
        assert await server.line() == f"serving ws://127.0.0.1:{port} (Ctrl-C to stop)"


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (["--fd", "99"], "--fd: descriptor 99 is no socket"),
        (["--systemd"], "--systemd: systemd has handed no sockets to this process"),
        (["--systemd", "--fd", "3"], "choose one of --fd, --systemd and --unix-socket"),
        (["--fd", "3", "--unix-socket", "x"], "choose one of --fd, --systemd and --unix-socket"),
        (["--proxy-protocol"], "--proxy-protocol needs --trusted-proxy"),
        (["--trusted-proxy", "10.0.0.1/8"], "--trusted-proxy: 10.0.0.1/8 has host bits set"),
    ],
)
async def test_what_makes_no_sense_is_said(options: list[str], problem: str) -> None:
    result = await run("serve", *options)
    assert result.code == 2
    assert problem in result.err
    assert "Traceback" not in result.err


# Proxies


async def test_who_asks_is_what_trusted_proxies_say() -> None:
    options = ["--port", "0", "--trusted-proxy", "127.0.0.1", "--exec", "echo $REMOTE_ADDR"]
    async with running("serve", *options) as server:
        url = (await server.line()).split()[1]
        headers = {"X-Forwarded-For": "203.0.113.9, 192.0.2.7"}
        async with trio_ws.connect(url, headers=headers, proxy=None) as ws:
            assert await ws.receive() == "192.0.2.7"


# Certificates


@asynccontextmanager
async def serving_tls(files: Renewals) -> AsyncGenerator[tuple[Running, str]]:
    options = ["--tls-cert", str(files.certificate), "--tls-key", str(files.key)]
    async with running("serve", "--host", "localhost", "--port", "0", *options) as server:
        yield server, (await server.line()).split()[1]


async def until(server: Running, words: str) -> None:
    while words not in await server.line("stderr"):
        pass


async def test_a_hangup_loads_the_certificate_again(tmp_path: Path) -> None:
    files = Renewals(tmp_path)
    before = files.renew()
    async with serving_tls(files) as (server, url):
        async with trio_ws.connect(url, ssl_context=before) as old:
            after = files.renew()
            server.signal(signal.SIGHUP)
            await until(server, f"the certificate was loaded again from {files.certificate}")
            await exchange(url, ssl_context=after)
            with pytest.raises(ssl.SSLCertVerificationError):
                await exchange(url, ssl_context=before)
            await old.send("still here")
            assert await old.receive() == "still here"
        for broken in ("half a renewal", None):
            if broken is None:
                files.certificate.unlink()
            else:
                files.certificate.write_text(broken)
            server.signal(signal.SIGHUP)
            await until(server, "the certificate stays as it was: ")
            await exchange(url, ssl_context=after)
        # Of another key.
        key = files.key.read_bytes()
        files.renew()
        files.key.write_bytes(key)
        server.signal(signal.SIGHUP)
        await until(server, "the certificate stays as it was: ")
        await exchange(url, ssl_context=after)


async def test_a_certificate_with_another_kind_of_key_takes_its_place(tmp_path: Path) -> None:
    # One context would have both, and its clients the choice.
    files = Renewals(tmp_path)
    files.renew()
    async with serving_tls(files) as (server, url):
        after = files.renew(trustme.KeyType.RSA)
        server.signal(signal.SIGHUP)
        await until(server, "the certificate was loaded again")
        await exchange(url, ssl_context=after)


async def test_without_a_certificate_a_hangup_ends_it() -> None:
    async with running("serve", "--port", "0") as server:
        await server.line()
        server.signal(signal.SIGHUP)
        assert await server.process.wait() == -signal.SIGHUP
    assert sys.platform != "win32"
