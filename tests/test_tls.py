"""TLS over sockets: the stream that the opening handshake sees, and what a connection uses."""

from __future__ import annotations

import socket
import ssl
import struct
import sys
from contextlib import suppress
from functools import cache
from typing import TYPE_CHECKING, get_args

import pytest
import trio
import trio.testing
import trustme
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from tests.pairs import KEY
from trio_ws import ClosedBy, CloseReason
from trio_ws._engines import Engine
from trio_ws._tls import (
    KERNEL_SOCKET,
    RECORD_SIZE,
    TLSListener,
    TLSStream,
    load_certificate,
    tls_over,
)
from trio_ws._transport import (
    StreamTransport,
    TLSTransport,
    Transport,
    make_transport,
    underlying_socket,
)
from trio_ws.protocol.frames import Opcode, encode_frame
from trio_ws.testing import open_pair

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from trio.testing import MockClock


@cache
def contexts() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """The client's and the server's."""
    authority = trustme.CA()
    client = ssl.create_default_context()
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.configure_trust(client)
    authority.issue_cert("testserver").configure_cert(server)
    return client, server


async def tcp_pair() -> tuple[trio.SocketStream, trio.SocketStream]:
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with listener:
        here = await trio.open_tcp_stream(*listener.socket.getsockname())
        return here, await listener.accept()


async def unshaken_pair() -> tuple[TLSStream, TLSStream]:
    here, there = await tcp_pair()
    client = TLSStream(here, contexts()[0], server_hostname="testserver")
    return client, TLSStream(there, contexts()[1], server_side=True)


async def tls_pair() -> tuple[TLSStream, TLSStream]:
    """The client's side and the server's, after the TLS handshake."""
    client, server = await unshaken_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.do_handshake)
        nursery.start_soon(server.do_handshake)
    return client, server


async def transport_pair() -> tuple[Transport, TLSStream]:
    client, server = await tls_pair()
    transport = make_transport(server)
    assert isinstance(transport, TLSTransport)
    return transport, client


async def until_all_has_come(peer: TLSStream) -> None:
    """Wait until the other side's system has what *peer* sent. Over loopback that is no time."""
    await trio.testing.wait_all_tasks_blocked(0.01)


# The stream


async def test_bytes_go_both_ways_at_the_same_time() -> None:
    client, server = await tls_pair()
    large = bytes(range(256)) * 40_000

    async def receive(stream: TLSStream) -> None:
        received = bytearray()
        while len(received) < len(large):
            received += await stream.receive_some()
        assert received == large

    async with trio.open_nursery() as nursery:
        for stream in (client, server):
            nursery.start_soon(stream.send_all, large)
            nursery.start_soon(receive, stream)
    await client.send_all(b"")
    await client.wait_send_all_might_not_block()
    with trio.move_on_after(0.01) as scope:
        while True:
            await client.send_all(large)
    assert scope.cancelled_caught
    await client.aclose()
    await server.aclose()


async def test_a_socket_gets_it_and_another_stream_gets_that_of_trio() -> None:
    client, _ = contexts()
    here, there = await tcp_pair()
    over_socket = tls_over(here, client, server_hostname="testserver")
    assert isinstance(over_socket, TLSStream)
    assert isinstance(over_socket.socket, KERNEL_SOCKET)
    memory, _ = trio.testing.memory_stream_pair()
    assert isinstance(tls_over(memory, client, server_hostname="testserver"), trio.SSLStream)
    await over_socket.aclose()
    assert here.socket.fileno() == -1
    with pytest.raises(trio.ClosedResourceError):
        await over_socket.do_handshake()
    await there.aclose()


async def test_a_certificate_that_is_not_trusted_is_told_to_both_sides() -> None:
    here, there = await tcp_pair()
    client = TLSStream(here, ssl.create_default_context(), server_hostname="testserver")
    server = TLSStream(there, contexts()[1], server_side=True)
    causes: list[object] = []

    async def fail(stream: TLSStream) -> None:
        with pytest.raises(trio.BrokenResourceError) as caught:
            await stream.do_handshake()
            await stream.receive_some()
        causes.append(caught.value.__cause__)
        await stream.aclose()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(fail, client)
        nursery.start_soon(fail, server)
    verification, alert = sorted(causes, key=lambda cause: type(cause).__name__)
    assert isinstance(verification, ssl.SSLCertVerificationError)
    assert "unknown ca" in str(alert)


async def test_a_peer_that_leaves_in_the_handshake_breaks_it() -> None:
    client, server = await unshaken_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(server.aclose)
        with pytest.raises(trio.BrokenResourceError):
            await client.do_handshake()
    await client.aclose()


async def test_a_peer_that_left_before_the_handshake_breaks_it() -> None:
    import struct

    here, there = await tcp_pair()
    linger = struct.pack("ii", 1, 0)
    there.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    there.socket.close()
    await trio.lowlevel.wait_readable(here.socket)
    client = TLSStream(here, contexts()[0], server_hostname="testserver")
    with pytest.raises(trio.BrokenResourceError):
        await client.do_handshake()
    await client.aclose()


async def test_what_ssl_will_not_begin_leaves_no_socket_open() -> None:
    here, there = await tcp_pair()
    client = TLSStream(here, contexts()[0])
    with pytest.raises(ValueError, match="server_hostname"):
        await client.do_handshake()
    assert here.socket.fileno() == client.socket.fileno() == -1
    await client.aclose()
    await there.aclose()


async def test_who_has_said_that_nothing_more_will_come_can_still_receive() -> None:
    client, server = await tls_pair()
    await client.send_all(b"hello")
    await server.send_eof()
    assert await client.receive_some() == b""
    assert await server.receive_some() == b"hello"
    await client.aclose()
    await server.send_eof()
    await server.aclose()
    await server.send_eof()


async def test_closing_wakes_who_waits_and_nobody_misses_a_farewell() -> None:
    client, server = await tls_pair()

    async def receive() -> None:
        with pytest.raises(trio.ClosedResourceError):
            await client.receive_some()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(receive)
        await trio.testing.wait_all_tasks_blocked()
        await client.aclose()
        await client.aclose()
    assert await server.receive_some() == b""
    await server.aclose()


async def test_a_listener_s_streams_are_the_server_s_side() -> None:
    (below,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with TLSListener(below, contexts()[1]) as listener:
        here = await trio.open_tcp_stream(*below.socket.getsockname())
        client = TLSStream(here, contexts()[0], server_hostname="testserver")
        server = await listener.accept()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.do_handshake)
            nursery.start_soon(server.do_handshake)
        await server.send_all(b"hello")
        assert await client.receive_some() == b"hello"
        await client.aclose()
        await server.aclose()
    assert below.socket.fileno() == -1


# The transport


async def test_bytes_go_both_ways_and_end() -> None:
    transport, peer = await transport_pair()
    assert transport.writes_inline
    assert transport.local_address == peer.tls.getpeername()
    assert transport.remote_address == peer.tls.getsockname()
    await peer.send_all(b"hello")
    assert await transport.receive() == b"hello"
    assert transport.read_now() is None
    assert transport.write_now(b"hi") == 2
    assert await transport.write_some(memoryview(b"ho")) == 2
    assert await peer.receive_some() == b"hi"
    assert await peer.receive_some() == b"ho"
    await transport.send_eof()
    await peer.aclose()
    assert await transport.receive() == b""
    await transport.aclose()


async def test_what_the_opening_handshake_left_decrypted_is_not_waited_for() -> None:
    client, server = await tls_pair()
    await client.send_all(b"head" + bytes(10_000))
    assert await server.receive_some(4) == b"head"
    transport = make_transport(server)
    assert transport.descriptor is None
    assert await transport.receive() == bytes(10_000)
    assert transport.descriptor == (server.socket.fileno() if sys.platform == "linux" else None)
    await transport.aclose()
    await client.aclose()


async def test_many_records_are_read_in_one_step_but_not_all() -> None:
    transport, peer = await transport_pair()
    for _ in range(100):
        peer.tls.send(b"x")
    await until_all_has_come(peer)
    assert len(transport.read_now() or b"") == 64
    assert len(transport.read_now() or b"") == 36
    await transport.aclose()
    await peer.aclose()


async def test_a_large_read_ends_before_a_record_that_might_not_fit() -> None:
    transport, peer = await transport_pair()
    await peer.send_all(b"x" + bytes(5 * RECORD_SIZE))
    await until_all_has_come(peer)
    sizes = []
    while data := transport.read_now():
        assert transport.descriptor is not None or sys.platform != "linux"
        sizes.append(len(data))
    assert sizes[0] == transport.read_size
    assert sum(sizes) == 1 + 5 * RECORD_SIZE
    await transport.aclose()
    await peer.aclose()


async def test_a_part_of_a_record_is_nothing_yet() -> None:
    transport, peer = await transport_pair()
    raw = socket.socket.send
    assert raw(peer.tls, b"\x17\x03\x03") == 3
    await until_all_has_come(peer)
    assert transport.read_now() is None
    await transport.aclose()
    await peer.aclose()


async def test_a_farewell_behind_data_is_seen_though_the_socket_stays_open() -> None:
    transport, peer = await transport_pair()
    await peer.send_all(b"last words")
    with pytest.raises(ssl.SSLWantReadError):
        peer.tls._sslobj.shutdown()  # type: ignore[attr-defined]  # close_notify, and no more
    await until_all_has_come(peer)
    with trio.fail_after(5):
        assert await transport.receive() == b"last words"
        assert await transport.receive() == b""
    await transport.aclose()
    await peer.aclose()


async def test_nonsense_behind_data_is_seen_though_the_socket_stays_open() -> None:
    transport, peer = await transport_pair()
    await peer.send_all(b"last words")
    socket.socket.send(peer.tls, b"\x17\x03\x03\x00\x20" + bytes(32))
    await until_all_has_come(peer)
    with trio.fail_after(5):
        assert await transport.receive() == b"last words"
        # OpenSSL has told what it was; from then on it says only that this is the end.
        with suppress(trio.BrokenResourceError):
            assert await transport.receive() == b""
    await transport.aclose()
    await peer.aclose()


async def test_nonsense_is_a_broken_resource() -> None:
    transport, peer = await transport_pair()
    socket.socket.send(peer.tls, b"\x17\x03\x03\x00\x20" + bytes(32))
    with pytest.raises(trio.BrokenResourceError, match="the transport failed"):
        await transport.receive()
    await transport.aclose()
    await peer.aclose()


async def test_a_full_socket_takes_what_it_can_and_goes_on_where_it_stopped() -> None:
    transport, peer = await transport_pair()
    data = bytes(range(256)) * 80_000
    rest = memoryview(data)
    taken = transport.write_now(rest)
    assert 0 < taken < len(data)
    rest = rest[taken:]
    assert transport.write_now(rest) == 0
    received = bytearray()

    async def read() -> None:
        while len(received) < len(data):
            received.extend(await peer.receive_some())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        while rest:
            rest = rest[await transport.write_some(rest) :]
    assert received == data
    await transport.aclose()
    await peer.aclose()


async def test_a_write_is_waited_for_until_it_is_cancelled() -> None:
    transport, peer = await transport_pair()
    data = memoryview(bytes(20_000_000))
    data = data[transport.write_now(data) :]
    with trio.move_on_after(0.01) as scope:
        while True:
            data = data[await transport.write_some(data) :]
    assert scope.cancelled_caught
    await transport.aclose()
    await peer.aclose()


async def test_abort_ends_every_call_under_way_and_to_come() -> None:
    transport, peer = await transport_pair()

    async def closed(call: Callable[[], Awaitable[object]]) -> None:
        with pytest.raises(trio.ClosedResourceError):
            while True:
                await call()

    async def write() -> None:
        await transport.write_some(memoryview(bytes(100_000)))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(closed, transport.receive)
        nursery.start_soon(closed, write)
        await trio.testing.wait_all_tasks_blocked(0.01)
        transport.abort()
    await closed(transport.receive)
    await closed(write)
    for call in (transport.read_now, lambda: transport.write_now(b"x")):
        with pytest.raises(trio.ClosedResourceError):
            call()
    transport.abort()
    await transport.aclose()
    await peer.aclose()


async def test_a_peer_that_is_gone_is_a_broken_resource() -> None:
    transport, peer = await transport_pair()
    await peer.aclose()
    with pytest.raises(trio.BrokenResourceError, match="the transport failed"):
        while transport.write_now(b"x"):
            await trio.testing.wait_all_tasks_blocked(0.001)
    await transport.aclose()


async def test_what_the_peer_s_system_has_is_known_on_linux() -> None:
    transport, peer = await transport_pair()
    before = transport.acknowledged()
    assert transport.write_now(b"hello") == 5
    assert await peer.receive_some() == b"hello"
    while transport.acknowledged() - before < 5 and sys.platform == "linux":
        await trio.testing.wait_all_tasks_blocked(0.001)
    await transport.aclose()
    assert transport.acknowledged() == 0
    await peer.aclose()


async def test_tls_within_tls_is_left_to_trio() -> None:
    client, server = await tls_pair()
    inner = [
        trio.SSLStream(client, contexts()[0], server_hostname="testserver", https_compatible=True),
        trio.SSLStream(server, contexts()[1], server_side=True, https_compatible=True),
    ]
    async with trio.open_nursery() as nursery:
        for stream in inner:
            nursery.start_soon(stream.do_handshake)
    transport: Transport = make_transport(inner[1])
    assert isinstance(transport, StreamTransport)
    assert underlying_socket(inner[1]) is server.tls
    await inner[0].send_all(b"hello")
    assert await transport.receive() == b"hello"

    async def receive() -> None:
        with pytest.raises(trio.ClosedResourceError):
            await transport.receive()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(receive)
        await trio.testing.wait_all_tasks_blocked()
        transport.abort()
    await transport.aclose()
    await inner[0].aclose()


async def test_what_comes_last_is_waited_for_until_the_peer_closes() -> None:
    transport, peer = await transport_pair()
    lingered = trio.Event()

    async def linger() -> None:
        await transport.linger()
        lingered.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(linger)
        await peer.send_all(b"more")
        await until_all_has_come(peer)
        assert not lingered.is_set()
        # It is told that nothing more will come.
        assert await peer.receive_some() == b""
        await peer.aclose()
    await transport.aclose()


async def test_a_peer_that_does_not_close_is_waited_for_a_second(autojump_clock: MockClock) -> None:
    transport, peer = await transport_pair()
    before = trio.current_time()
    await transport.linger()
    assert trio.current_time() - before == pytest.approx(1)
    await transport.aclose()
    await peer.aclose()


async def test_a_peer_that_resets_is_not_waited_for() -> None:
    transport, peer = await transport_pair()
    peer.tls.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    await peer.aclose()
    await transport.linger()
    await transport.aclose()


async def test_abort_ends_the_waiting() -> None:
    transport, peer = await transport_pair()
    async with trio.open_nursery() as nursery:

        async def linger() -> None:
            with pytest.raises(trio.ClosedResourceError):
                await transport.linger()

        nursery.start_soon(linger)
        await trio.testing.wait_all_tasks_blocked()
        transport.abort()
    await peer.aclose()


# What becomes of a connection


@pytest.mark.parametrize("engine", get_args(Engine))
async def test_a_farewell_behind_the_peer_s_close_frame_meets_no_reset(engine: Engine) -> None:
    """A reset would reach a peer that has read everything as an error, which some report."""
    client, stream = await tls_pair()
    idle, _ = trio.testing.memory_stream_pair()
    async with open_pair(streams=(idle, stream), engine=engine) as (other, server):
        other.abort()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(server.aclose, 4000, "done")
            close = (4000).to_bytes(2, "big") + b"done"
            assert await client.receive_some() == encode_frame(Opcode.CLOSE, close)
            await client.send_all(encode_frame(Opcode.CLOSE, close, KEY))
            await until_all_has_come(client)
            with suppress(OSError):
                client.tls.unwrap()  # says close_notify, and waits for that of the other side
            await until_all_has_come(client)
            assert socket.socket.recv(client.tls, 100) == b""
            assert client.tls.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0
            await client.aclose()
        assert server.close_reason == CloseReason(4000, "done", ClosedBy.LOCAL)


# Certificates that are loaded while they change


async def served(server: ssl.SSLContext, client: ssl.SSLContext) -> bool:
    """Whether *client* takes what *server* shows."""
    here, there = await tcp_pair()
    ours = TLSStream(here, client, server_hostname="testserver")
    theirs = TLSStream(there, server, server_side=True)
    refused = False

    async def shake(one: TLSStream) -> None:
        nonlocal refused
        try:
            await one.do_handshake()
        except trio.BrokenResourceError:
            refused = True
            await one.aclose()

    async with ours, theirs, trio.open_nursery() as nursery:
        nursery.start_soon(shake, ours)
        nursery.start_soon(shake, theirs)
    return not refused


async def test_a_certificate_that_changes_while_it_is_loaded_does_no_harm(tmp_path: Path) -> None:
    client, server = contexts.__wrapped__()
    authority = trustme.CA()
    authority.configure_trust(client)
    certificate, key = tmp_path / "fullchain.pem", tmp_path / "privkey.pem"
    first, second = authority.issue_cert("testserver"), authority.issue_cert("testserver")
    certificate.write_bytes(first.cert_chain_pems[0].bytes())
    private = load_pem_private_key(first.private_key_pem.bytes(), None)
    secret = BestAvailableEncryption(b"secret")
    key.write_bytes(private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, secret))

    def password() -> str:
        # It is asked for in the middle; and a renewal writes one file after the other.
        certificate.write_bytes(second.cert_chain_pems[0].bytes())
        return "secret"

    load_certificate(server, certificate, key, password=password)
    assert await served(server, client)
    # What is half a renewal before, changes nothing.
    with pytest.raises(ssl.SSLError, match="MISMATCH"):
        load_certificate(server, certificate, key, password="secret")
    with pytest.raises(FileNotFoundError, match="gone"):
        load_certificate(server, tmp_path / "gone.pem")
    assert await served(server, client)


async def test_a_certificate_and_its_key_may_be_one_file(tmp_path: Path) -> None:
    client, server = contexts.__wrapped__()
    authority = trustme.CA()
    authority.configure_trust(client)
    both = tmp_path / "both.pem"
    authority.issue_cert("testserver").private_key_and_cert_chain_pem.write_to_path(both)
    load_certificate(server, both)
    assert await served(server, client)
