"""Transports: plain sockets, and everything else."""

from __future__ import annotations

import socket
import ssl
import sys
from functools import cache
from typing import TYPE_CHECKING, TypeAlias, cast

import pytest
import trio
import trio.testing
import trustme

from trio_ws._transport import (
    WRITE_SLICE,
    SocketTransport,
    StreamTransport,
    Transport,
    make_transport,
    underlying_socket,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

Pair: TypeAlias = tuple[Transport, trio.abc.HalfCloseableStream]


@cache
def tls_contexts() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """The client's and the server's."""
    authority = trustme.CA()
    client = ssl.create_default_context()
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.configure_trust(client)
    authority.issue_cert("testserver").configure_cert(server)
    return client, server


def socket_pair() -> Pair:
    here, there = socket.socketpair()
    ours = trio.SocketStream(trio.socket.from_stdlib_socket(here))
    return make_transport(ours), trio.SocketStream(trio.socket.from_stdlib_socket(there))


def stream_pair() -> Pair:
    here, there = trio.testing.memory_stream_pair()
    return make_transport(here), there


@pytest.fixture(params=[socket_pair, stream_pair])
def make_pair(request: pytest.FixtureRequest) -> Callable[[], Pair]:
    made: Callable[[], Pair] = request.param
    return made


async def test_plain_sockets_are_written_inline_and_others_are_not() -> None:
    transport, peer = socket_pair()
    assert isinstance(transport, SocketTransport)
    assert transport.writes_inline
    assert transport.write_now(b"hello") == 5
    assert await peer.receive_some() == b"hello"
    await transport.aclose()
    await peer.aclose()
    other, _ = stream_pair()
    assert isinstance(other, StreamTransport)
    assert not other.writes_inline
    assert other.write_now(b"hello") == 0
    assert other.local_address is other.remote_address is None


async def test_bytes_go_both_ways_and_end(make_pair: Callable[[], Pair]) -> None:
    transport, peer = make_pair()
    await peer.send_all(b"hello")
    assert await transport.receive() == b"hello"
    assert await transport.write_some(memoryview(b"hi")) == 2
    assert await peer.receive_some() == b"hi"
    await transport.send_eof()
    assert await peer.receive_some() == b""
    await peer.aclose()
    assert await transport.receive() == b""
    await transport.aclose()


async def test_abort_ends_every_call_under_way_and_to_come(make_pair: Callable[[], Pair]) -> None:
    transport, peer = make_pair()

    async def receive() -> None:
        with pytest.raises(trio.ClosedResourceError):
            await transport.receive()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(receive)
        await trio.testing.wait_all_tasks_blocked()
        transport.abort()
    calls: list[Callable[[], Awaitable[object]]] = [
        transport.receive,
        lambda: transport.write_some(memoryview(b"x")),
    ]
    for call in calls:
        with pytest.raises(trio.ClosedResourceError):
            await call()
    transport.abort()
    await transport.aclose()
    await peer.aclose()


async def tls_pair() -> Pair:
    """TLS over sockets, by `trio.SSLStream`: as somebody may give it."""
    here, there = socket.socketpair()
    streams = [trio.SocketStream(trio.socket.from_stdlib_socket(one)) for one in (here, there)]
    contexts = tls_contexts()
    ours = trio.SSLStream(streams[0], contexts[0], server_hostname="testserver")
    theirs = trio.SSLStream(streams[1], contexts[1], server_side=True, https_compatible=True)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ours.do_handshake)
        nursery.start_soon(theirs.do_handshake)
    return make_transport(ours), cast("trio.abc.HalfCloseableStream", theirs)


async def test_abort_wakes_a_reader_and_a_writer_of_tls() -> None:
    transport, peer = await tls_pair()
    closed: list[str] = []

    async def receive() -> None:
        with pytest.raises(trio.ClosedResourceError):
            await transport.receive()
        closed.append("reader")

    async def write() -> None:
        with pytest.raises(trio.ClosedResourceError):
            while True:
                await transport.write_some(memoryview(bytes(WRITE_SLICE)))
        closed.append("writer")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(receive)
        nursery.start_soon(write)
        await trio.testing.wait_all_tasks_blocked(0.01)
        transport.abort()
    assert sorted(closed) == ["reader", "writer"]
    with pytest.raises(trio.ClosedResourceError):
        await transport.receive()
    await transport.aclose()
    await peer.aclose()


async def test_what_the_peer_s_system_has_is_known_of_tcp_on_linux() -> None:
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    peer = socket.create_connection(listener.socket.getsockname())
    stream = await listener.accept()
    transports = [make_transport(stream), StreamTransport(stream)]
    before = transports[0].acknowledged()
    assert transports[0].write_now(b"hello") == 5
    assert peer.recv(5) == b"hello"
    for transport in transports:
        while transport.acknowledged() - before < 5 and sys.platform == "linux":
            await trio.testing.wait_all_tasks_blocked(0.001)
    await transports[0].aclose()
    peer.close()
    await listener.aclose()
    unix, other = socket_pair()
    memory, _ = stream_pair()
    for transport in (transports[0], unix, memory):
        assert transport.acknowledged() == 0
    await unix.aclose()
    await other.aclose()


async def test_a_full_socket_takes_what_it_can_and_is_waited_for() -> None:
    transport, peer = socket_pair()
    data = memoryview(bytes(10_000_000))
    taken = transport.write_now(data)
    assert 0 < taken < len(data)
    while True:
        more = transport.write_now(data)
        if not more:
            break
    with trio.move_on_after(0) as scope:
        await transport.write_some(data)
    assert scope.cancelled_caught
    async with trio.open_nursery() as nursery:

        async def read() -> None:
            while await peer.receive_some():
                pass

        nursery.start_soon(read)
        assert await transport.write_some(data) > 0
        transport.abort()
    await peer.aclose()


async def test_a_peer_that_is_gone_is_a_broken_resource() -> None:
    transport, peer = socket_pair()
    await peer.aclose()
    with pytest.raises(trio.BrokenResourceError, match="the transport failed"):
        transport.write_now(b"x")
    await transport.aclose()
    with pytest.raises(trio.ClosedResourceError):
        transport.write_now(b"x")


async def test_a_reset_is_a_broken_resource() -> None:
    import struct

    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    peer = socket.create_connection(listener.socket.getsockname())
    transport = make_transport(await listener.accept())
    assert transport.remote_address == peer.getsockname()
    assert transport.local_address == peer.getpeername()
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    peer.close()
    with pytest.raises(trio.BrokenResourceError, match="the transport failed"):
        await transport.receive()

    await transport.aclose()
    await listener.aclose()


async def test_a_peer_that_was_gone_before_has_no_address() -> None:
    import struct

    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    peer = socket.create_connection(listener.socket.getsockname())
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    peer.close()
    stream = await listener.accept()
    await trio.lowlevel.wait_readable(stream.socket)
    transport = make_transport(stream)
    assert transport.remote_address is None
    await transport.aclose()
    await listener.aclose()


async def test_spurious_wake_ups_are_borne(monkeypatch: pytest.MonkeyPatch) -> None:
    transport, peer = socket_pair()
    assert isinstance(transport, SocketTransport)
    real = transport._raw

    class Busy:
        """Says that it would block, once for each call."""

        def __init__(self) -> None:
            self.busy = {"recv", "send"}

        def fileno(self) -> int:
            return real.fileno()

        def recv_into(self, buffer: memoryview, size: int) -> int:
            if "recv" in self.busy:
                self.busy.discard("recv")
                raise BlockingIOError
            return real.recv_into(buffer, size)

        def send(self, data: bytes) -> int:
            if "send" in self.busy:
                self.busy.discard("send")
                raise InterruptedError
            return real.send(data)

        def detach(self) -> int:
            return real.detach()

    monkeypatch.setattr(transport, "_raw", Busy())
    await peer.send_all(b"hello")
    assert bytes(await transport.receive()) == b"hello"
    assert await transport.write_some(memoryview(b"hi")) == 2
    await transport.aclose()
    await peer.aclose()


async def test_streams_that_cannot_be_half_closed_are_left_open() -> None:
    here, there = trio.testing.memory_stream_one_way_pair()
    stapled = trio.StapledStream(here, there)

    class WholeStream(trio.abc.Stream):
        async def send_all(self, data: bytes | bytearray | memoryview) -> None:
            await stapled.send_all(data)

        async def wait_send_all_might_not_block(self) -> None: ...

        async def receive_some(self, max_bytes: int | None = None) -> bytes:
            return bytes(await stapled.receive_some(max_bytes))

        async def aclose(self) -> None:
            await stapled.aclose()

    transport = make_transport(WholeStream())
    await transport.send_eof()
    await transport.write_some(memoryview(b"still open"))
    assert await transport.receive() == b"still open"
    await transport.aclose()


async def test_the_socket_below_is_found() -> None:
    here, there = trio.testing.memory_stream_pair()
    assert underlying_socket(here) is None
    assert underlying_socket(there) is None


async def test_how_much_a_read_asks_for() -> None:
    kib, room = 1024, 1024 * 1024
    here, there = trio.testing.memory_stream_pair()
    transport = make_transport(here)
    assert transport.read_size == 64 * kib
    for size, messages, fragments, left, asked_for in (
        # A large message, of which more is to come.
        (64 * kib, 0, 1, room, 256 * kib),
        (256 * kib, 1, 1, room, 256 * kib),
        # The last of it: not a full read, and it says nothing.
        (30 * kib, 1, 0, room, 256 * kib),
        (256 * kib, 5000, 0, room, 64 * kib),
        # So little may be held that it would be exceeded at once.
        (64 * kib, 1, 1, 100_000, 64 * kib),
        # Fragments of a few bytes.
        (64 * kib, 0, 10_000, room, 16 * kib),
        (16 * kib, 1, 2_000, room, 16 * kib),
        (16 * kib, 1, 16, room, 64 * kib),
    ):
        transport.choose_read_size(size, messages, fragments, left)
        assert transport.read_size == asked_for
    await trio.aclose_forcefully(here)
    await trio.aclose_forcefully(there)
