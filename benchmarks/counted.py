"""The programs whose instructions `benchmarks.instructions` counts.

    python -m benchmarks.counted round-trip raw-round-trip

The peer is in the same process and as plain as can be: a task with a socket, which writes bytes
that were made beforehand and counts those that come back. Its instructions are counted with the
others', the same few for each message. What the kernel does is not counted.

Time passes with each look at a clock. Under valgrind everything takes fifty times as long, and
turns that are bounded in time would end after a message or two, and not always after as many.

Trio leaves it to chance which of two tasks runs first; over a few bursts that makes up to 0.5 %.
"""

# ruff: noqa: E402  # the clock is set before those are imported who keep a reference to it

from __future__ import annotations

import argparse
import gc
import itertools
import os
import socket
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

#: Seconds from one look at a clock to the next.
TICK: Final = 1e-6

if __name__ == "__main__":
    time.perf_counter = time.monotonic = itertools.count(1.0, TICK).__next__

import trio

import trio_ws
from trio_ws.protocol.handshake import ClientHandshake, ServerHandshake

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable
    from contextlib import AbstractAsyncContextManager

    #: Sends so many messages there and back, as often as it is called.
    Exchange = Callable[[int], Awaitable[None]]

SMALL: Final = 64
BURST: Final = 500
LARGE: Final = 16 * 1024
#: Room for a whole burst of small frames, of which the kernel counts each as 768 bytes.
BUFFER: Final = 1024 * 1024
#: With a masking key, as a client's frames have one.
ASKED: Final = bytes([0x82, 0x80 | SMALL]) + b"key!" + b"x" * SMALL
ANSWER_SIZE: Final = 2 + SMALL
#: What a client sends for a large message (header, key, message), and what it gets.
LARGE_ASKED_SIZE: Final = 4 + 4 + LARGE
LARGE_ANSWER: Final = b"\x82\x7e" + LARGE.to_bytes(2, "big") + b"x" * LARGE


def mark() -> None:
    """Where callgrind cuts: nothing else here calls ``getppid``."""
    os.getppid()


class Peer:
    """The other end: a socket, read and written without anything in between."""

    def __init__(self, end: socket.socket) -> None:
        end.setblocking(False)
        self._end = end

    def write(self, data: bytes) -> None:
        if self._end.send(data) != len(data):
            raise RuntimeError("the socket's buffer is too small for this program")

    async def read(self, size: int) -> None:
        """Wait for *size* bytes, and forget them."""
        while size > 0:
            size -= len(await self.receive())
        if size < 0:
            raise RuntimeError("more came back than was asked for")

    async def receive(self) -> bytes:
        await trio.lowlevel.wait_readable(self._end)
        return self._end.recv(BUFFER)


@asynccontextmanager
async def joined() -> AsyncGenerator[tuple[trio.SocketStream, Peer]]:
    here, there = socket.socketpair()
    for end in (here, there):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER)
    async with trio.SocketStream(trio.socket.from_stdlib_socket(here)) as stream:
        with there:
            yield stream, Peer(there)


class OneConnection(trio.abc.Listener[trio.SocketStream]):
    """Accepts the one stream that is given."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self._streams = [stream]

    async def accept(self) -> trio.SocketStream:
        if not self._streams:
            await trio.sleep_forever()
        return self._streams.pop()

    async def aclose(self) -> None:
        self._streams.clear()


async def echo(ws: trio_ws.WebSocket) -> None:
    async for message in ws:
        await ws.send(message)


@asynccontextmanager
async def served() -> AsyncGenerator[Peer]:
    """An open connection to the echo server."""
    async with joined() as (stream, peer), trio.open_nursery() as nursery:
        serve = partial(
            trio_ws.serve, echo, listeners=[OneConnection(stream)], heartbeat=None, hooks=()
        )
        await nursery.start(serve)
        handshake = ClientHandshake(host="localhost", target="/")
        peer.write(handshake.request_bytes())
        handshake.receive_data(await peer.receive())
        yield peer
        nursery.cancel_scope.cancel()


async def echo_raw(stream: trio.SocketStream, size: int) -> None:
    """The same in raw Trio, of messages that are *size* bytes: nothing is framed or checked."""
    buffer = bytearray()
    async for data in stream:
        buffer += data
        while len(buffer) >= size:
            message = bytes(buffer[:size])
            del buffer[:size]
            await stream.send_all(message)


@asynccontextmanager
async def served_raw() -> AsyncGenerator[Peer]:
    async with joined() as (stream, peer), trio.open_nursery() as nursery:
        nursery.start_soon(echo_raw, stream, SMALL)
        yield peer
        nursery.cancel_scope.cancel()


async def answer_handshake(peer: Peer) -> None:
    handshake = ServerHandshake()
    handshake.receive_data(await peer.receive())
    peer.write(handshake.accept()[0])


async def answer(peer: Peer, asked_size: int, data: bytes) -> None:
    while True:
        await peer.read(asked_size)
        peer.write(data)


@asynccontextmanager
async def round_trip() -> AsyncGenerator[Exchange]:
    """Server role: a small message there and back, one at a time."""
    async with served() as peer:
        yield partial(one_by_one, peer, ASKED, ANSWER_SIZE)


@asynccontextmanager
async def round_trip_raw() -> AsyncGenerator[Exchange]:
    async with served_raw() as peer:
        yield partial(one_by_one, peer, b"x" * SMALL, SMALL)


async def one_by_one(peer: Peer, asked: bytes, answer_size: int, messages: int) -> None:
    for _ in range(messages):
        peer.write(asked)
        await peer.read(answer_size)


@asynccontextmanager
async def pipelined() -> AsyncGenerator[Exchange]:
    """Server role: small messages in bursts, each written at once."""
    async with served() as peer:
        yield partial(in_bursts, peer, ASKED, ANSWER_SIZE)


@asynccontextmanager
async def pipelined_raw() -> AsyncGenerator[Exchange]:
    async with served_raw() as peer:
        yield partial(in_bursts, peer, b"x" * SMALL, SMALL)


async def in_bursts(peer: Peer, asked: bytes, answer_size: int, messages: int) -> None:
    for _ in range(messages // BURST):
        peer.write(asked * BURST)
        await peer.read(answer_size * BURST)


@asynccontextmanager
async def bulk() -> AsyncGenerator[Exchange]:
    """Client role: a large message there, masked, and another back, one at a time."""
    message = b"x" * LARGE
    async with joined() as (stream, peer), trio.open_nursery() as nursery:
        nursery.start_soon(answer_handshake, peer)
        async with trio_ws.connect("ws://localhost", stream=stream, heartbeat=None, hooks=()) as ws:
            nursery.start_soon(answer, peer, LARGE_ASKED_SIZE, LARGE_ANSWER)

            async def ask(messages: int) -> None:
                for _ in range(messages):
                    await ws.send(message)
                    await ws.receive()

            yield ask
            nursery.cancel_scope.cancel()


@asynccontextmanager
async def bulk_raw() -> AsyncGenerator[Exchange]:
    message = b"x" * LARGE
    async with joined() as (stream, peer), trio.open_nursery() as nursery:
        nursery.start_soon(answer, peer, LARGE, message)

        async def ask(messages: int) -> None:
            for _ in range(messages):
                await stream.send_all(message)
                left = LARGE
                while left:
                    left -= len(await stream.receive_some())

        yield ask
        nursery.cancel_scope.cancel()


@dataclass(frozen=True)
class Program:
    """One thing to count.

    Attributes:
      connected: connects the two ends.
      warm_up: how many messages go before those that count, until each takes what the one before
        took. The interpreter specialises code, and thinks better of it thousands of runs later:
        of pipelined messages, the first 3,500 take 4.5 % more each than all that follow.
      messages: how many count.
    """

    connected: Callable[[], AbstractAsyncContextManager[Exchange]]
    warm_up: int
    messages: int


#: What goes before the name of a case's counterpart in raw Trio.
RAW: Final = "raw-"
PROGRAMS: Final = {
    "round-trip": Program(round_trip, 200, 500),
    "pipelined": Program(pipelined, 10 * BURST, 6 * BURST),
    "bulk": Program(bulk, 100, 300),
    f"{RAW}round-trip": Program(round_trip_raw, 200, 300),
    f"{RAW}pipelined": Program(pipelined_raw, BURST, BURST),
    f"{RAW}bulk": Program(bulk_raw, 100, 300),
}
CASES: Final = tuple(name for name in PROGRAMS if not name.startswith(RAW))


async def run(programs: list[str]) -> None:
    # When garbage is collected depends on what was allocated before, the imports included.
    gc.collect()
    gc.disable()
    for name in programs:
        program = PROGRAMS[name]
        async with program.connected() as exchange:
            await exchange(program.warm_up)
            mark()
            await exchange(program.messages)
            mark()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("programs", nargs="+", choices=list(PROGRAMS))
    trio.run(run, parser.parse_args().programs)


if __name__ == "__main__":
    main()
