"""``trio-ws serve``'s plain HTTP, TLS, credentials and JSON lines, as a real process."""

from __future__ import annotations

import json
import os
import signal
import ssl
import subprocess
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import jsonschema
import pytest
import trio
import trustme

import trio_ws
from trio_ws.cli.jsonlines import Entry, decode

from ..cli.test_jsonlines import SCHEMA
from .processes import COMMAND, server_process

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


async def http(url: str, path: str, method: str = "GET", headers: str = "") -> tuple[int, bytes]:
    """The status and the body."""
    port = int(url.rpartition(":")[2].partition("/")[0])
    async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
        request = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n"
        await stream.send_all(request.encode())
        answer = b"".join([bytes(part) async for part in stream])
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), body


@asynccontextmanager
async def serving(
    *arguments: str, stdout: int = subprocess.PIPE
) -> AsyncIterator[tuple[trio.Process, list[str]]]:
    """A server's process, and what it has said on stderr until it served."""
    process = await trio.lowlevel.open_process(
        [*COMMAND, "serve", "--port", "0", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=subprocess.PIPE,
    )
    assert process.stderr is not None
    try:
        text = ""
        while "Ctrl-C" not in text or not text.endswith("\n"):
            part = await process.stderr.receive_some()
            assert part, text
            text += part.decode()
        yield process, text.splitlines()
    finally:
        if process.returncode is None:
            process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()
        for pipe in (process.stdout, process.stderr):
            if pipe is not None:
                await trio.aclose_forcefully(pipe)


def url_in(said: list[str]) -> str:
    return next(line.split()[2] for line in said if line.startswith("trio-ws: serving"))


async def test_everything_on_one_port(tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text("<p>static")
    arguments = ("--console", "--metrics", "--static", str(tmp_path), "--path", "/ws")
    async with server_process(*arguments) as (_, url):
        assert await http(url, "/healthz") == (200, b"ok\n")
        assert await http(url, "/page.html") == (200, b"<p>static")
        assert await http(url, "/page.html", "HEAD") == (200, b"")
        assert (await http(url, "/%2e%2e/etc/passwd"))[0] == 404
        assert (await http(url, "/page.html", "DELETE"))[0] == 405
        assert b"trio-ws console" in (await http(url, "/"))[1]
        async with trio_ws.connect(url, proxy=None) as ws:
            await ws.send("hello")
            assert await ws.receive() == "hello"
            metrics = (await http(url, "/metrics"))[1]
            assert b'trio_ws_connections_open{role="server"} 1.0' in metrics
        with pytest.raises(trio_ws.ConnectionRejected) as caught:
            async with trio_ws.connect(url.removesuffix("/ws"), proxy=None):
                pass
        assert caught.value.status == 404


async def test_credentials_from_a_file_and_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    users = tmp_path / "users"
    users.write_text("alice:wonder\nbob:builder\n")
    monkeypatch.setenv("TRIO_WS_SERVE_BEARER", "one\ntwo")
    async with server_process("--auth", f"@{users}", "--metrics", "--log-level", "debug") as (
        _,
        url,
    ):
        for headers in ("", "Authorization: Bearer three\r\n"):
            assert (await http(url, "/metrics", headers=headers))[0] == 401
        assert (await http(url, "/healthz"))[0] == 200
        assert (await http(url, "/metrics", headers="Authorization: Bearer two\r\n"))[0] == 200
        bob = {"Authorization": "Basic Ym9iOmJ1aWxkZXI="}
        async with trio_ws.connect(url, headers=bob, proxy=None) as ws:
            await ws.send("hello")
            assert await ws.receive() == "hello"


async def test_a_certificate_made_for_the_run() -> None:
    async with serving("--tls-self-signed", "--format", "jsonl") as (process, said):
        assert process.stderr is not None
        while not any("--cacert" in line for line in said):
            said += (await process.stderr.receive_some()).decode().splitlines()
        trust = next(line for line in said if "--cacert" in line)
        authority = trust.split("--cacert ")[1].split()[0]
        context = ssl.create_default_context(cafile=authority)
        for host in ("127.0.0.1", "localhost"):
            url = url_in(said).replace("127.0.0.1", host)
            async with trio_ws.connect(url, ssl_context=context, proxy=None) as ws:
                await ws.send("hello")
                assert await ws.receive() == "hello"
        process.send_signal(signal.SIGTERM)
        assert await process.wait() == 0
        assert not await trio.Path(authority).exists()


async def test_clients_need_the_certificate_asked_for(tmp_path: Path) -> None:
    authority = trustme.CA()
    pem = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(os.fspath(pem))
    server_pem = tmp_path / "server.pem"
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(
        os.fspath(server_pem)
    )
    arguments = ("--tls-cert", str(server_pem), "--client-ca", str(pem), "--log-level", "debug")
    async with server_process(*arguments) as (process, url):
        context = ssl.create_default_context(cafile=os.fspath(pem))
        with pytest.raises((OSError, trio.BrokenResourceError, trio_ws.HandshakeError)):
            async with trio_ws.connect(url, ssl_context=context, proxy=None):
                pass
        authority.issue_cert("client@example.com").configure_cert(context)
        async with trio_ws.connect(url, ssl_context=context, proxy=None) as ws:
            await ws.send("hello")
            assert await ws.receive() == "hello"
        process.send_signal(signal.SIGTERM)
        await process.wait()
        assert process.stderr is not None
        said = b"".join([bytes(part) async for part in process.stderr]).decode()
    refused = [line for line in said.splitlines() if "opening handshake failed" in line]
    assert len(refused) == 1
    assert " DEBUG " in refused[0]
    assert "peer did not return a certificate" in refused[0].lower()
    assert "Traceback" not in said


async def test_json_lines_hold_to_the_schema_and_are_all_there() -> None:
    async with serving("--format", "jsonl", "--ping-interval", "0") as (process, said):
        assert process.stdout is not None
        output: list[bytes] = []

        async def read() -> None:
            assert process.stdout is not None
            async for part in process.stdout:
                output.append(bytes(part))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)
            async with trio_ws.connect(url_in(said), proxy=None, heartbeat=None) as ws:
                await ws.ping(b"are you there?")
                for number in range(2_000):
                    await ws.send(f"{number}" if number % 2 else f"{number}".encode())
                    await ws.receive()
            process.send_signal(signal.SIGTERM)
            assert await process.wait() == 0
    lines = b"".join(output).splitlines()
    validator = jsonschema.Draft202012Validator(SCHEMA)
    for line in lines:
        validator.validate(json.loads(line))
    entries = list(decode(lines, "stdout"))
    assert [entries[0].type, entries[-1].type] == ["open", "close"]
    assert payloads(entries, "ping") == [("in", b"are you there?")]
    expected = [n.encode() if int(n) % 2 == 0 else n for n in map(str, range(2_000))]
    messages = payloads(entries, "message")
    assert [data for direction, data in messages if direction == "in"] == expected
    assert [data for direction, data in messages if direction == "out"] == expected


def payloads(entries: list[Entry], kind: str) -> list[tuple[object, object]]:
    return [(entry.dir, entry.data) for entry in entries if entry.type == kind]


async def test_a_reader_that_goes_away_ends_the_server_quietly() -> None:
    async with serving("--format", "jsonl") as (process, said):
        assert process.stdout is not None
        async with trio_ws.connect(url_in(said), proxy=None) as ws:
            await process.stdout.receive_some()
            await process.stdout.aclose()
            await ws.send("nobody records this")
            with pytest.raises(trio_ws.ConnectionClosedOK) as caught:
                while True:
                    await ws.receive()
            assert caught.value.reason.code == 1001
        assert await process.wait() == 0
        assert process.stderr is not None
        rest = b"".join([bytes(part) async for part in process.stderr]).decode()
        assert "Traceback" not in rest
        assert "Exception ignored" not in rest


async def test_a_reader_that_does_not_read_slows_down_and_does_not_keep_the_server() -> None:
    async with serving("--format", "jsonl") as (process, said):
        async with trio_ws.connect(url_in(said), proxy=None, heartbeat=None) as ws:
            message = "x" * 500_000
            with trio.move_on_after(2) as scope:
                while True:
                    await ws.send(message)
                    await ws.receive()
            assert scope.cancelled_caught
            process.send_signal(signal.SIGTERM)
            assert process.stderr is not None
            # Two of the same signal, unread, would be one.
            assert b"closing 1 connection" in await process.stderr.receive_some()
            process.send_signal(signal.SIGTERM)
            with trio.fail_after(20):
                assert await process.wait() == 143
            ws.abort()


async def test_a_unix_socket(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    async with server_process("--unix-socket", str(path)) as (process, url):
        assert url == f"ws+unix:{path}"
        async with trio_ws.connect(url) as ws:
            await ws.send("hello")
            assert await ws.receive() == "hello"
        process.send_signal(signal.SIGTERM)
        assert await process.wait() == 0
    assert not await trio.Path(path).exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--tls-cert", "/no/cert"), "--tls-cert: cannot read /no/cert: No such file or directory"),
        (("--client-ca", "x"), "--client-ca needs TLS: give --tls-cert or --tls-self-signed"),
        (("--auth", "hunter2"), "--auth: write USER:PASSWORD, or @FILE with one of these a line"),
        (("--static", "/no/dir"), "--static /no/dir: there is no such directory"),
        (("--allow-origin", "a/b"), "--allow-origin: not an origin: 'a/b'"),
        (("--path", "ws"), "--path ws: 'ws': a path begins with a slash"),
    ],
)
async def test_what_makes_no_sense_is_one_line_and_code_two(
    arguments: tuple[str, ...], said: str
) -> None:
    result = await trio.run_process(
        [*COMMAND, "serve", *arguments], check=False, capture_stderr=True, capture_stdout=True
    )
    text = result.stderr.decode()
    assert (result.returncode, result.stdout) == (2, b"")
    assert text.startswith(f"trio-ws: error: {said}")
    assert text.count("\n") == 1
    assert "hunter2" not in text
