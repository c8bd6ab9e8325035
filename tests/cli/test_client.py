"""``trio-ws client``, in process; with real pipes in tests/e2e."""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
import trio

import trio_ws
from trio_ws.cli import client
from trio_ws.cli.client import ClientOptions
from trio_ws.cli.failures import Usage
from trio_ws.cli.heartbeats import heartbeat_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trio_ws import WebSocket

OPTIONS = ClientOptions(
    url="",
    compress=True,
    max_size=1 << 20,
    connect_timeout=10,
    linger=0.1,
    on_connect=(),
    reconnect=False,
    max_attempts=None,
    max_delay=0.01,
    ping_interval=20,
    ping_timeout=20,
)


async def echo(ws: WebSocket) -> None:
    async for message in ws:
        await ws.send(message)


@contextmanager
def redirected(descriptor: int, target: int) -> Iterator[None]:
    saved = os.dup(descriptor)
    os.dup2(target, descriptor)
    try:
        yield
    finally:
        os.dup2(saved, descriptor)
        os.close(saved)


async def converse(given: bytes, handler: Any = echo, **changes: Any) -> bytes:
    """The client's output for an input, against a server of ours."""
    stdin, feed = os.pipe()
    output, stdout = os.pipe()
    os.write(feed, given)
    os.close(feed)
    with redirected(0, stdin), redirected(1, stdout):
        async with trio.open_nursery() as nursery:
            server = await nursery.start(partial(trio_ws.serve, handler, "127.0.0.1", 0))
            options = replace(OPTIONS, url=f"ws://127.0.0.1:{server.port}", **changes)
            try:
                await client._connect(options)
            finally:
                nursery.cancel_scope.cancel()
                for descriptor in (stdin, stdout):
                    os.close(descriptor)
    async with trio.lowlevel.FdStream(output) as pipe:
        return b"".join([bytes(piece) async for piece in pipe])


@pytest.mark.parametrize(
    ("given", "printed"),
    [
        (b"a\nb\n", b"a\nb\n"),
        (b"no newline", b"no newline\n"),
        (b"", b""),
        ("κόσμε\n\nend".encode(), "κόσμε\n\nend\n".encode()),
    ],
)
async def test_lines_become_messages_and_messages_lines(given: bytes, printed: bytes) -> None:
    assert await converse(given) == printed


async def test_binary_messages_are_printed_as_they_are() -> None:
    async def send_binary(ws: WebSocket) -> None:
        await ws.send(b"\x00\xff")

    assert await converse(b"", send_binary) == b"\x00\xff\n"


async def test_input_that_is_not_text_is_named() -> None:
    with pytest.raises(BaseExceptionGroup) as caught:
        await converse(b"fine\n\xff\n")
    assert caught.group_contains(Usage, match="line 2 of the input is not UTF-8")


async def test_a_server_that_closes_ends_the_input() -> None:
    async def close(ws: WebSocket) -> None:
        await ws.aclose(4000, "enough")

    with pytest.raises(BaseExceptionGroup) as caught:
        await converse(b"a\n" * 100_00, close)
    assert caught.group_contains(trio_ws.ConnectionClosedError)


async def test_first_messages_come_first() -> None:
    assert await converse(b"c\n", on_connect=("a", "b")) == b"a\nb\nc\n"


async def test_reconnecting_says_how_it_stands(capsys: pytest.CaptureFixture[str]) -> None:
    served = 0

    async def handler(ws: WebSocket) -> None:
        nonlocal served
        served += 1
        await ws.send(f"{served}: {await ws.receive()!r}")
        await ws.aclose(1013 if served == 1 else 1000, "later\x1b")

    printed = await converse(b"", handler, on_connect=("log in",), reconnect=True, linger=10)
    assert printed == b"1: 'log in'\n2: 'log in'\n"
    lines = capsys.readouterr().err.splitlines()
    assert [line.split()[1] for line in lines] == [
        "connected",
        "connection",
        "attempt",
        "connected",
        "connection",
    ]
    assert r"1013 (try again later) 'later\x1b', closed by the peer" in lines[1]


async def test_giving_up_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    async def handler(ws: WebSocket) -> None:
        await ws.aclose(4000)

    with pytest.raises(BaseExceptionGroup) as caught:
        await converse(b"", handler, reconnect=True, linger=10)
    assert caught.group_contains(trio_ws.GaveUp, depth=2)


@pytest.mark.parametrize(("interval", "timeout"), [(0, 1), (1, 0)])
def test_nought_is_no_heartbeat(interval: float, timeout: float) -> None:
    assert heartbeat_of(interval, timeout) is None


def test_a_terminal_gets_no_control_characters() -> None:
    assert client._escaped(b"a\x1b[2J\tb\xff\n") == b"a\\x1b[2J\tb\\xff\n"


async def test_output_to_a_terminal_is_escaped(monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[bytes] = []
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    monkeypatch.setattr(client, "_write_output", written.append)
    await client._print("a\x07")
    assert written == [b"a\\x07\n"]


def test_a_closed_standard_input_is_an_empty_one(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(descriptor: int, size: int) -> bytes:
        raise OSError(9, "Bad file descriptor")

    monkeypatch.setattr("os.read", fail)
    assert client._read_input() == b""


def test_run_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(trio_ws.InvalidURL):
        client.run(replace(OPTIONS, url="nonsense", compress=False))
