"""Who is at the other end, and which proxies are believed."""

from __future__ import annotations

from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
import trio
import trio.lowlevel
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

import trio_ws
from trio_ws import ConnectionRejected, Headers, Timeouts
from trio_ws._peers import (
    TrustedProxies,
    address_of,
    group_of,
    name_of,
    receive_proxy_header,
)
from trio_ws._tls import tls_over
from trio_ws.protocol.proxy import BadProxyHeader

from .protocol.test_proxy import V1, inet, v2

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncGenerator

    from trio.testing import MockClock

    from trio_ws import Server, WebSocket
    from trio_ws._engines import Engine

HANDSHAKE = (
    b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
#: The loopback interface, and two of a provider's proxies.
TRUSTED = TrustedProxies(["127.0.0.1", "10.0.0.0/8", "2001:db8::/32"])
LOOPBACK = ("127.0.0.1", 40_000)


# Addresses


@pytest.mark.parametrize(
    ("address", "name", "group"),
    [
        (("192.0.2.1", 1), "192.0.2.1", "192.0.2.1"),
        (("2001:db8:1:2:3:4:5:6", 1, 0, 0), "2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        (("::ffff:192.0.2.1", 1, 0, 0), "::ffff:192.0.2.1", "192.0.2.1"),
        ("", "a local client", "a local client"),
        (None, "a local client", "a local client"),
    ],
)
def test_what_counts_as_one_host(address: object, name: str, group: str) -> None:
    assert name_of(address) == name
    assert group_of(address) == group


async def test_streams_without_a_socket_have_no_address() -> None:
    here, there = trio.testing.memory_stream_pair()
    assert address_of(here) is None
    await trio.aclose_forcefully(there)


async def test_a_peer_that_is_gone_has_no_address() -> None:
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with listener:
        client = await trio.open_tcp_stream(*listener.socket.getsockname())
        server = await listener.accept()
        assert address_of(server) == client.socket.getsockname()
        await server.aclose()
        assert address_of(server) is None
        await client.aclose()


# Whom to believe


@pytest.mark.parametrize(
    ("networks", "address", "trusted"),
    [
        (["127.0.0.1"], LOOPBACK, True),
        (["127.0.0.1"], ("127.0.0.2", 1), False),
        (["127.0.0.0/8"], ("127.0.0.2", 1), True),
        (["127.0.0.1"], ("::ffff:127.0.0.1", 1, 0, 0), True),
        (["::1"], ("::1", 1, 0, 0), True),
        (["fe80::/10"], ("fe80::1%eth0", 1, 0, 2), True),
        (["127.0.0.1"], ("a name", 1), False),
        (["127.0.0.1"], "", False),
        (["127.0.0.1"], None, False),
        (["unix"], "", True),
        (["unix"], LOOPBACK, False),
        (["*"], LOOPBACK, True),
        (["*"], "", True),
        ([], LOOPBACK, False),
    ],
)
def test_whom_to_believe(networks: list[str], address: object, trusted: bool) -> None:
    proxies = TrustedProxies(networks)
    assert proxies.trust(address) is trusted
    assert bool(proxies) is bool(networks)


def test_what_is_no_network_is_refused() -> None:
    for wrong in ("localhost", "10.0.0.1/8", "10.0.0.0/33", "unix:"):
        with pytest.raises(ValueError):
            TrustedProxies([wrong])
    with pytest.raises(TypeError, match=r"several networks: \['127\.0\.0\.1'\]"):
        TrustedProxies("127.0.0.1")


@pytest.mark.parametrize(
    ("values", "client"),
    [
        ([], LOOPBACK),
        (["192.0.2.7"], ("192.0.2.7", 0)),
        (["192.0.2.7:81"], ("192.0.2.7", 81)),
        (["2001:db9::1"], ("2001:db9::1", 0)),
        (["[2001:db9::1]:81"], ("2001:db9::1", 81)),
        (["[2001:db9::1]"], ("2001:db9::1", 0)),
        (["::ffff:192.0.2.7"], ("192.0.2.7", 0)),
        # What the client wrote itself stands before what the first proxy saw.
        (["203.0.113.9, 192.0.2.7"], ("192.0.2.7", 0)),
        (["203.0.113.9", "192.0.2.7"], ("192.0.2.7", 0)),
        # Proxies behind proxies.
        (["203.0.113.9, 192.0.2.7, 10.1.1.1"], ("192.0.2.7", 0)),
        (["203.0.113.9,192.0.2.7", "10.1.1.1 ,\t2001:db8::5"], ("192.0.2.7", 0)),
        # All of them are: the first was the client.
        (["10.1.1.2, 10.1.1.1"], ("10.1.1.2", 0)),
        # What is none is as far as it goes.
        (["unknown"], LOOPBACK),
        ([""], LOOPBACK),
        (["192.0.2.7, , 10.1.1.1"], ("10.1.1.1", 0)),
        (["192.0.2.7, _hidden, 10.1.1.1"], ("10.1.1.1", 0)),
        (["fe80::1%eth0"], LOOPBACK),
        (["192.0.2.7:http"], ("192.0.2.7", 0)),
        (["192.0.2.7:99999"], ("192.0.2.7", 0)),
    ],
)
def test_a_trusted_peer_says_for_whom_it_asks(values: list[str], client: object) -> None:
    headers = Headers([("X-Forwarded-For", value) for value in values])
    assert TRUSTED.client_of(LOOPBACK, headers) == client


def test_nobody_else_is_believed() -> None:
    headers = Headers({"X-Forwarded-For": "192.0.2.7"})
    for address in (("198.51.100.1", 1), "", None):
        assert TRUSTED.client_of(address, headers) == address


@given(
    st.lists(st.text(max_size=40).map(lambda text: text.encode("latin-1", "ignore")), max_size=5)
)
def test_no_header_does_any_harm(values: list[bytes]) -> None:
    class Lines(Headers):
        def get_all(self, name: str) -> tuple[str, ...]:
            return tuple(value.decode("latin-1") for value in values)

    client = TRUSTED.client_of(LOOPBACK, Lines())
    assert isinstance(client, tuple)
    assert len(client) == 2


# The PROXY header


@pytest.mark.parametrize("header", [V1, v2(inet("192.0.2.1", 56324))])
@pytest.mark.parametrize("size", [1, 7, 1000])
async def test_a_header_is_read_to_its_last_byte(header: bytes, size: int) -> None:
    here, there = trio.testing.memory_stream_pair()
    data = header + b"and more"

    async def send() -> None:
        for start in range(0, len(data), size):
            await here.send_all(data[start : start + size])
            await trio.testing.wait_all_tasks_blocked()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(send)
        assert await receive_proxy_header(there) == ("192.0.2.1", 56324)
    assert await there.receive_some(100) == b"and more"


async def test_a_header_that_ends_early_or_is_none() -> None:
    here, there = trio.testing.memory_stream_pair()
    await here.send_all(V1[:20])
    await here.send_eof()
    with pytest.raises(EOFError):
        await receive_proxy_header(there)
    here, there = trio.testing.memory_stream_pair()
    await here.send_all(HANDSHAKE)
    with pytest.raises(BadProxyHeader):
        await receive_proxy_header(there)


# A server behind proxies


@asynccontextmanager
async def serving(**options: Any) -> AsyncGenerator[tuple[Server, list[object]]]:
    """A server, and the addresses of those who were let in."""
    addresses: list[object] = []

    async def note(ws: WebSocket) -> None:
        addresses.append(ws.remote_address)
        async for message in ws:
            await ws.send(message)

    options = {"host": "127.0.0.1", "port": 0, "heartbeat": None, **options}
    async with trio.open_nursery() as nursery:
        yield await nursery.start(partial(trio_ws.serve, note, **options)), addresses
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def connected(
    server: Server, before: bytes = b"", **options: Any
) -> AsyncGenerator[WebSocket]:
    """A client's connection whose bytes come behind *before*."""
    stream = await trio.open_tcp_stream("127.0.0.1", server.port)
    await stream.send_all(before)
    async with trio_ws.connect("ws://localhost/", stream=stream, **options) as ws:
        yield ws


async def test_an_address_from_a_header_is_the_clients(engine: Engine) -> None:
    async with serving(trusted_proxies=["127.0.0.1"], engine=engine) as (server, addresses):
        async with connected(server, headers={"X-Forwarded-For": "203.0.113.9, 192.0.2.7"}) as ws:
            await ws.send("hello")
            assert await ws.receive() == "hello"
            assert server.connections[0].remote_address == ("192.0.2.7", 0)
    assert addresses == [("192.0.2.7", 0)]


async def test_without_trust_headers_are_ignored() -> None:
    for options in ({}, {"trusted_proxies": ["10.0.0.0/8"]}):
        async with serving(**options) as (server, addresses):
            async with connected(server, headers={"X-Forwarded-For": "192.0.2.7"}):
                pass
        assert [name_of(address) for address in addresses] == ["127.0.0.1"]


@pytest.mark.parametrize(
    ("header", "address"),
    [
        (V1, ("192.0.2.1", 56324)),
        (v2(inet("192.0.2.1", 56324)), ("192.0.2.1", 56324)),
        # A health check.
        (v2(command=0x20, family=0), None),
    ],
)
async def test_an_address_from_the_proxy_protocol_is_the_clients(
    header: bytes, address: object, engine: Engine
) -> None:
    options = {"trusted_proxies": ["127.0.0.1"], "proxy_protocol": True, "engine": engine}
    async with serving(**options) as (server, addresses):
        async with connected(server, header) as ws:
            await ws.send("hello")
            assert await ws.receive() == "hello"
            ours = ws.local_address
    assert addresses == [address or ours]


@pytest.mark.parametrize(
    ("header", "address"),
    [
        (b"PROXY UNKNOWN\r\n", None),
        (v2(family=0), None),
        (v2(command=0x20, family=0), None),
        # The client of a Unix socket of the proxy's, which has no name.
        (v2(bytes(216), family=0x31), ""),
    ],
)
async def test_whom_the_proxy_does_not_know_is_not_believed(header: bytes, address: object) -> None:
    # A proxy that passes bytes on has not seen what its client claims.
    options: dict[str, Any] = {"trusted_proxies": ["127.0.0.1"], "proxy_protocol": True}
    async with serving(**options) as (server, addresses):
        async with connected(server, header, headers={"X-Forwarded-For": "192.0.2.7"}) as ws:
            await ws.send("hello")
            assert await ws.receive() == "hello"
            ours = ws.local_address
    assert addresses == [ours if address is None else address]


async def test_it_comes_before_tls(tls_contexts: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    ours, theirs = tls_contexts
    options = {"trusted_proxies": ["127.0.0.1"], "proxy_protocol": True, "ssl_context": theirs}
    async with serving(**options) as (server, addresses):
        stream = await trio.open_tcp_stream("127.0.0.1", server.port)
        await stream.send_all(V1)
        tls = tls_over(stream, ours, server_hostname="testserver")
        await tls.do_handshake()
        async with trio_ws.connect("ws://localhost/", stream=tls) as ws:
            await ws.send("hello")
            assert await ws.receive() == "hello"
    assert addresses == [("192.0.2.1", 56324)]


async def test_it_comes_before_tls_of_trios_own(
    tls_contexts: tuple[ssl.SSLContext, ssl.SSLContext],
) -> None:
    ours, theirs = tls_contexts
    listeners = await trio.open_ssl_over_tcp_listeners(0, theirs, host="127.0.0.1")
    options = {"trusted_proxies": ["127.0.0.1"], "proxy_protocol": True, "listeners": listeners}
    async with serving(host=None, port=None, **options) as (server, addresses):
        stream = await trio.open_tcp_stream("127.0.0.1", server.port)
        await stream.send_all(V1)
        tls = tls_over(stream, ours, server_hostname="testserver")
        await tls.do_handshake()
        async with trio_ws.connect("ws://localhost/", stream=tls):
            pass
    assert addresses == [("192.0.2.1", 56324)]


async def test_it_is_demanded_of_those_who_are_trusted(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "trio_ws.server")
    options = {"trusted_proxies": ["127.0.0.1"], "proxy_protocol": True}
    async with serving(**options) as (server, addresses):
        stream = await trio.open_tcp_stream("127.0.0.1", server.port)
        await stream.send_all(HANDSHAKE)
        with trio.fail_after(5), suppress(trio.BrokenResourceError):
            # Without an answer: nobody knows what the other side speaks.
            assert await stream.receive_some() == b""
        assert server.statistics().refused == 1
        await stream.aclose()
    assert addresses == []
    assert caplog.messages == ["127.0.0.1: refused: no PROXY header"]


async def test_from_others_it_is_no_request() -> None:
    options = {"trusted_proxies": ["10.0.0.0/8"], "proxy_protocol": True}
    async with serving(**options) as (server, addresses):
        with pytest.raises((ConnectionRejected, trio_ws.HandshakeError)):
            async with connected(server, V1):
                pass
        async with connected(server) as ws:
            assert ws.close_reason is None
    assert len(addresses) == 1


async def test_a_slow_header_is_cut_with_the_handshake(autojump_clock: MockClock) -> None:
    options = {"trusted_proxies": ["127.0.0.1"], "proxy_protocol": True}
    async with serving(**options, timeouts=Timeouts(open_timeout=3)) as (server, _):
        stream = await trio.open_tcp_stream("127.0.0.1", server.port)
        began = trio.current_time()
        with pytest.raises(trio.BrokenResourceError):
            for byte in V1[:-2]:
                await stream.send_all(bytes([byte]))
                await trio.sleep(1)
        assert trio.current_time() - began == pytest.approx(4, abs=2)
        await stream.aclose()


async def test_connections_are_counted_by_client() -> None:
    options = {"trusted_proxies": ["127.0.0.1"], "max_connections_per_host": 1}
    async with serving(**options) as (server, _):
        async with connected(server, headers={"X-Forwarded-For": "192.0.2.1"}):
            async with connected(server, headers={"X-Forwarded-For": "192.0.2.2"}):
                with pytest.raises(ConnectionRejected) as caught:
                    async with connected(server, headers={"X-Forwarded-For": "192.0.2.1"}):
                        pass
                assert caught.value.status == 503


async def test_the_protocol_needs_somebody_to_trust() -> None:
    async def handler(ws: WebSocket) -> None:
        raise AssertionError("nobody is to come")

    with pytest.raises(ValueError, match="proxy_protocol needs trusted_proxies"):
        await trio_ws.serve(handler, "127.0.0.1", 0, proxy_protocol=True)
