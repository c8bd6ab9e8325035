"""Servers in a thread of the test's own process, for the load generator to talk to."""

from __future__ import annotations

import contextlib
import socket
import threading
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

import trio

import trio_ws
from benchmarks import wire
from benchmarks.load import opening
from benchmarks.load.orders import LoadError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@contextmanager
def serving(handle: Callable[[socket.socket], None]) -> Iterator[int]:
    """The port of a server that gives *handle* one connection after the other."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=_accept, args=(listener, handle))
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


def _accept(listener: socket.socket, handle: Callable[[socket.socket], None]) -> None:
    with contextlib.suppress(OSError):
        while True:
            stream, _ = listener.accept()
            with stream, contextlib.suppress(OSError):
                handle(stream)


def echo_bytes(stream: socket.socket) -> None:
    while data := stream.recv(4096):
        stream.sendall(data)


def answered(stream: socket.socket) -> socket.socket:
    """*stream* after its opening handshake."""
    stream.sendall(wire.response(opening.read_head(stream)))
    return stream


def frames(stream: socket.socket) -> Iterator[bytes]:
    """Those that come until the peer closes."""
    with contextlib.suppress(LoadError):
        while (frame := opening.received_frame_or_ping(stream))[0] & 0xF != wire.CLOSE:
            yield frame


@contextmanager
def ours(compression: trio_ws.Compression | None = None) -> Iterator[int]:
    """The port of trio-ws's echo server."""
    ready, stop = threading.Event(), trio.Event()
    ports: list[int] = []
    tokens: list[trio.lowlevel.TrioToken] = []

    async def echo(ws: trio_ws.WebSocket) -> None:
        async for message in ws:
            await ws.send(message)

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            serve = partial(trio_ws.serve, echo, "127.0.0.1", 0, compression=compression)
            server = await nursery.start(serve)
            ports.append(server.port)
            tokens.append(trio.lowlevel.current_trio_token())
            ready.set()
            await stop.wait()
            nursery.cancel_scope.cancel()

    thread = threading.Thread(target=trio.run, args=(main,))
    thread.start()
    assert ready.wait(20)
    try:
        yield ports[0]
    finally:
        tokens[0].run_sync_soon(stop.set)
        thread.join()
