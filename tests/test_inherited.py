"""Listening sockets that were opened by somebody else."""

from __future__ import annotations

import os
import socket
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
import trio

import trio_ws
from trio_ws import inherited_listeners

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def listening() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as one:
        yield one


async def echo(ws: trio_ws.WebSocket) -> None:
    async for message in ws:
        await ws.send(message)


async def exchange(url: str, listeners: list[Any], **options: Any) -> None:
    """Serve on *listeners*, and talk once."""
    async with trio.open_nursery() as nursery:
        await nursery.start(partial(trio_ws.serve, echo, listeners=listeners))
        async with trio_ws.connect(url, **options) as ws:
            await ws.send("hello")
            assert await ws.receive() == "hello"
        nursery.cancel_scope.cancel()


async def test_given_descriptors_are_listened_on(listening: socket.socket, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as local:
        local.bind(str(tmp_path / "ws"))
        local.listen()
        # As they come: `serve` closes them.
        numbers = [os.dup(listening.fileno()), os.dup(local.fileno())]
        os.set_inheritable(numbers[0], True)
        listeners = inherited_listeners(numbers)
        assert [one.socket.family for one in listeners] == [  # type: ignore[attr-defined]
            socket.AF_INET,
            socket.AF_UNIX,
        ]
        # Programs that are started have it no more.
        assert not os.get_inheritable(numbers[0])
        await exchange(f"ws://127.0.0.1:{listening.getsockname()[1]}", listeners)


async def test_with_tls(
    listening: socket.socket, tls_contexts: tuple[ssl.SSLContext, ssl.SSLContext]
) -> None:
    ours, theirs = tls_contexts
    listeners = inherited_listeners([os.dup(listening.fileno())], ssl_context=theirs)
    url = f"wss://127.0.0.1:{listening.getsockname()[1]}"
    await exchange(url, listeners, ssl_context=ours, server_hostname="testserver")


async def test_what_is_no_listening_socket_is_said(listening: socket.socket) -> None:
    with socket.socket() as idle, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams:
        closed = os.dup(listening.fileno())
        os.close(closed)
        for number, problem in (
            (closed, "is no socket: Bad file descriptor"),
            (idle.fileno(), "is no stream socket that listens"),
            (datagrams.fileno(), "is no stream socket that listens"),
        ):
            # The first is good, and stays open as well.
            with pytest.raises(ValueError, match=f"descriptor {number} {problem}"):
                inherited_listeners([listening.fileno(), number])
        for one in (listening, idle, datagrams):
            os.fstat(one.fileno())
    number = listening.fileno()
    with pytest.raises(ValueError, match=f"descriptor {number} is given twice"):
        inherited_listeners([number, number])
    os.fstat(number)
    reading, writing = os.pipe()
    try:
        with pytest.raises(ValueError, match="is no socket"):
            inherited_listeners([reading])
    finally:
        os.close(reading)
        os.close(writing)


@pytest.mark.parametrize(
    "variables",
    [
        {},
        {"LISTEN_PID": "1", "LISTEN_FDS": "1"},
        {"LISTEN_FDS": "1"},
        {"LISTEN_PID": "self"},
        {"LISTEN_PID": "self", "LISTEN_FDS": "0"},
        {"LISTEN_PID": "self", "LISTEN_FDS": "many"},
    ],
)
async def test_without_sockets_of_systemd_that_is_said(
    variables: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("LISTEN_PID", "LISTEN_FDS"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value.replace("self", str(os.getpid())))
    with pytest.raises(ValueError, match="systemd has handed no sockets"):
        inherited_listeners()


async def test_the_sockets_of_systemd_are_taken_once(
    listening: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    number = os.dup(listening.fileno())
    monkeypatch.setattr("trio_ws._inherited._FIRST", number)
    monkeypatch.setenv("LISTEN_PID", str(os.getpid()))
    monkeypatch.setenv("LISTEN_FDS", "1")
    monkeypatch.setenv("LISTEN_FDNAMES", "web")
    listeners = inherited_listeners()
    assert not {name for name in os.environ if name.startswith("LISTEN_")}
    with pytest.raises(ValueError, match="systemd has handed no sockets"):
        inherited_listeners()
    await exchange(f"ws://127.0.0.1:{listening.getsockname()[1]}", listeners)
