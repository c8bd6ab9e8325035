"""Dialling: TCP, TLS, Unix sockets, and the proxies on the way."""

from __future__ import annotations

import os
import socket
import ssl
import struct
import sys
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
import trio
import trustme

from tests.sweeps import cancel_sweep
from trio_ws import InvalidURL, ProxyError
from trio_ws import _dial as dial
from trio_ws._dial import open_stream
from trio_ws._url import parse_url

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

AUTHORITY = trustme.CA()


def server_context(*names: str) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    AUTHORITY.issue_cert(*names).configure_cert(context)
    return context


def client_context() -> ssl.SSLContext:
    context = ssl.create_default_context()
    AUTHORITY.configure_trust(context)
    return context


async def greet(stream: trio.abc.Stream) -> None:
    await stream.send_all(b"hello")
    await stream.aclose()


@asynccontextmanager
async def serving(
    handler: Callable[[Any], Awaitable[object]] = greet, context: ssl.SSLContext | None = None
) -> AsyncIterator[int]:
    """A server on a free port of 127.0.0.1; yields the port."""

    async def handle(stream: trio.abc.Stream) -> None:
        try:
            await handler(stream)
        except* (trio.BrokenResourceError, ssl.SSLError, ConnectionError):
            pass
        finally:
            await trio.aclose_forcefully(stream)

    async with trio.open_nursery() as nursery:
        serve: Any = partial(trio.serve_tcp, handle, 0, host="127.0.0.1")
        if context is not None:
            serve = partial(
                trio.serve_ssl_over_tcp, handle, 0, context, host="127.0.0.1", https_compatible=True
            )
        (listener,) = await nursery.start(serve)
        listener = getattr(listener, "transport_listener", listener)
        yield listener.socket.getsockname()[1]
        nursery.cancel_scope.cancel()


async def greeting(url: str, **options: Any) -> bytes:
    stream = await open_stream(parse_url(url), **{"proxy": None, **options})
    async with stream:
        return bytes(await stream.receive_some())


async def refused_port() -> int:
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with listener:
        return int(listener.socket.getsockname()[1])


# Without a proxy


async def test_tcp() -> None:
    async with serving() as port:
        assert await greeting(f"ws://127.0.0.1:{port}") == b"hello"


async def test_a_refused_port_is_named() -> None:
    port = await refused_port()
    with pytest.raises(ConnectionRefusedError, match=f"cannot connect to 127.0.0.1:{port}"):
        await greeting(f"ws://127.0.0.1:{port}")


async def test_an_unknown_host_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(*args: object, **kwargs: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(trio.socket, "getaddrinfo", fail)
    with pytest.raises(socket.gaierror, match=r"nowhere\.invalid:80: Name or service not known"):
        await greeting("ws://nowhere.invalid")


async def test_a_unix_socket(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        stream = await open_stream(parse_url(f"ws+unix:{path}"), proxy="http://ignored")
        await stream.aclose()
    with pytest.raises(FileNotFoundError, match="cannot connect to"):
        await open_stream(parse_url(f"ws+unix:{tmp_path / 'none'}"))


async def test_tls() -> None:
    async with serving(context=server_context("127.0.0.1")) as port:
        url = f"wss://127.0.0.1:{port}"
        assert await greeting(url, ssl_context=client_context()) == b"hello"


async def test_another_name_can_be_asked_for() -> None:
    async with serving(context=server_context("server.example")) as port:
        url = f"wss://127.0.0.1:{port}"
        options = {"ssl_context": client_context(), "server_hostname": "server.example."}
        assert await greeting(url, **options) == b"hello"
        with pytest.raises(ssl.SSLCertVerificationError, match="IP address mismatch"):
            await greeting(url, ssl_context=client_context())


async def test_a_certificate_of_an_unknown_authority_is_refused() -> None:
    async with serving(context=server_context("127.0.0.1")) as port:
        with pytest.raises(
            ssl.SSLCertVerificationError, match="certificate verify failed"
        ) as caught:
            await greeting(f"wss://127.0.0.1:{port}")
        assert "in the TLS handshake with" in caught.value.__notes__[0]


async def test_a_server_that_speaks_no_tls() -> None:
    async with serving() as port:
        with pytest.raises((ssl.SSLError, ConnectionResetError)):
            await greeting(f"wss://127.0.0.1:{port}")


async def test_a_server_that_leaves_in_the_tls_handshake() -> None:
    async def leave(stream: trio.abc.Stream) -> None:
        await stream.receive_some()

    async with serving(leave) as port:
        with pytest.raises(ConnectionResetError, match="cut off in the TLS handshake"):
            await greeting(f"wss://127.0.0.1:{port}")


# HTTP proxies


class HttpProxy:
    """A proxy that knows CONNECT; `answer` overrides what it says."""

    def __init__(self, answer: bytes | None = None) -> None:
        self.answer = answer
        self.heads: list[bytes] = []

    async def __call__(self, stream: trio.abc.Stream) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            piece = await stream.receive_some()
            if not piece:
                return
            head += piece
        self.heads.append(head)
        if self.answer is not None:
            await stream.send_all(self.answer)
            return
        host, _, port = head.split()[1].decode().rpartition(":")
        onward = await trio.open_tcp_stream(host, int(port))
        await stream.send_all(b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\n\r\n")
        await relay(stream, onward)


async def relay(one: trio.abc.Stream, other: trio.abc.Stream) -> None:
    async def copy(source: trio.abc.Stream, sink: trio.abc.Stream) -> None:
        while data := await source.receive_some():
            await sink.send_all(data)
        nursery.cancel_scope.cancel()

    async with other, trio.open_nursery() as nursery:
        nursery.start_soon(copy, one, other)
        nursery.start_soon(copy, other, one)


async def wait_then_greet(stream: trio.abc.Stream) -> None:
    assert await stream.receive_some() == b"hi"
    await greet(stream)


async def test_a_tunnel_through_an_http_proxy() -> None:
    proxy = HttpProxy()
    async with serving(proxy) as proxy_port, serving(wait_then_greet) as port:
        stream = await open_stream(
            parse_url(f"ws://127.0.0.1:{port}"), proxy=f"http://u:p%40@127.0.0.1:{proxy_port}"
        )
        async with stream:
            await stream.send_all(b"hi")
            assert await stream.receive_some() == b"hello"
    assert proxy.heads[0].startswith(f"CONNECT 127.0.0.1:{port} HTTP/1.1\r\n".encode())
    assert b"Proxy-Authorization: Basic dTpwQA==\r\n" in proxy.heads[0]


async def test_tls_through_an_https_proxy() -> None:
    context = server_context("127.0.0.1")
    async with serving(HttpProxy(), context) as proxy_port, serving(greet, context) as port:
        answer = await greeting(
            f"wss://127.0.0.1:{port}",
            proxy=f"https://127.0.0.1:{proxy_port}",
            ssl_context=client_context(),
            proxy_ssl_context=client_context(),
        )
    assert answer == b"hello"


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (b"HTTP/1.1 407 Auth \x1b[2J\r\n\r\n", "refused target:80: HTTP 407 Auth"),
        (b"HTTP/1.1 502 Bad Gateway\r\n\r\n", "HTTP 502 Bad Gateway"),
        (b"garbage\r\n\r\n", "did not answer in HTTP"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"y" * 20_000, "did not answer in HTTP"),
        (b"HTTP/1.1 200 OK\r\n\r\nsurprise", "sent data behind its answer"),
        (b"", "closed the connection without an answer"),
    ],
)
async def test_proxies_that_refuse(answer: bytes, problem: str) -> None:
    async with serving(HttpProxy(answer)) as port:
        with pytest.raises(ProxyError, match=problem) as caught:
            await greeting("ws://target", proxy=f"127.0.0.1:{port}")
    assert str(caught.value).isprintable()


async def test_a_proxy_that_cannot_be_reached_is_named() -> None:
    port = await refused_port()
    for scheme in ("http", "https", "socks5"):
        with pytest.raises(OSError, match="proxy"):
            await greeting("ws://target", proxy=f"{scheme}://127.0.0.1:{port}")


async def test_a_proxy_that_cuts_the_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken(trio.abc.Stream):
        async def send_all(self, data: object) -> None:
            raise trio.BrokenResourceError

        async def wait_send_all_might_not_block(self) -> None: ...

        async def receive_some(self, max_bytes: int | None = None) -> bytes:
            return b""

        async def aclose(self) -> None:
            await trio.lowlevel.checkpoint()

    async def open_broken(*args: object, **kwargs: object) -> trio.abc.Stream:
        return Broken()

    monkeypatch.setattr(dial, "_open_tcp", open_broken)
    with pytest.raises(ProxyError, match="cut the connection off"):
        await greeting("ws://target", proxy="http://proxy")


@pytest.mark.parametrize(
    ("proxy", "problem"),
    [
        ("ftp://proxy", "the scheme must be one of"),
        ("http://proxy/path", "a proxy has no path"),
        ("http://", "not usable as a proxy: it has no host"),
        ("http://user:secret@proxy:x", "not usable as a proxy: the port"),
        ("socks5://user@proxy", "SOCKS takes a user name"),
        ("socks5://us%C3%A9r:p@proxy", "SOCKS takes a user name"),
    ],
)
async def test_bad_proxies_are_refused(proxy: str, problem: str) -> None:
    with pytest.raises(InvalidURL, match=problem) as caught:
        await greeting("ws://target", proxy=proxy)
    assert "secret" not in str(caught.value)


# Another address than the target's


@asynccontextmanager
async def serving_unix(path: Path, context: ssl.SSLContext | None = None) -> AsyncIterator[None]:
    """A server on a Unix socket that greets."""

    async def handle(stream: trio.abc.Stream) -> None:
        with suppress(trio.BrokenResourceError):
            await greet(stream)
        await trio.aclose_forcefully(stream)

    with trio.socket.socket(socket.AF_UNIX) as listening:
        await listening.bind(str(path))
        listening.listen()
        listener: trio.abc.Listener[trio.abc.Stream] = trio.SocketListener(listening)
        if context is not None:
            listener = trio.SSLListener(
                trio.SocketListener(listening), context, https_compatible=True
            )
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(trio.serve_listeners, handle, [listener]))
            yield
            nursery.cancel_scope.cancel()


async def test_another_address_can_be_dialled() -> None:
    async with serving() as port:
        address = ("127.0.0.1", port)
        assert await greeting("ws://nowhere.invalid:1", address=address) == b"hello"
        assert await greeting("ws+unix:/no/such/socket", address=address) == b"hello"


async def test_a_unix_socket_can_be_dialled_instead(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    async with serving_unix(path):
        for address in (path, str(path)):
            for url in ("ws://nowhere.invalid", "ws+unix:/no/such/socket"):
                # A Unix socket is never reached through a proxy.
                options = {"address": address, "proxy": "http://nowhere.invalid"}
                assert await greeting(url, **options) == b"hello"


async def test_the_certificate_is_the_targets_whatever_is_dialled(tmp_path: Path) -> None:
    context = server_context("server.example")
    trusted = client_context()
    path = tmp_path / "socket"
    async with serving(context=context) as port, serving_unix(path, context):
        addresses: list[Any] = [("127.0.0.1", port), path]
        for address in addresses:
            options = {"address": address, "ssl_context": trusted}
            assert await greeting("wss://server.example", **options) == b"hello"
            with pytest.raises(ssl.SSLCertVerificationError, match="mismatch"):
                await greeting("wss://127.0.0.1", **options)
            options["server_hostname"] = "server.example"
            assert await greeting("wss://127.0.0.1", **options) == b"hello"


async def test_the_address_is_named_where_it_cannot_be_reached(tmp_path: Path) -> None:
    port = await refused_port()
    with pytest.raises(ConnectionRefusedError, match=f"cannot connect to 127.0.0.1:{port}"):
        await greeting("ws://server.example", address=("127.0.0.1", port))
    with pytest.raises(FileNotFoundError, match=f"cannot connect to {tmp_path}/none"):
        await greeting("ws://server.example", address=tmp_path / "none")
    async with serving() as port:
        with pytest.raises(ssl.SSLError) as caught:
            await greeting("wss://server.example", address=("127.0.0.1", port))
    assert caught.value.__notes__ == [f"in the TLS handshake with 127.0.0.1:{port}"]


async def test_a_proxy_is_asked_for_the_address() -> None:
    context = server_context("server.example")
    proxy = HttpProxy()
    async with serving(proxy) as proxy_port, serving(greet, context) as port:
        stages: list[dial.Stage] = []
        answer = await greeting(
            "wss://server.example",
            address=("127.0.0.1", port),
            proxy=f"http://127.0.0.1:{proxy_port}",
            ssl_context=client_context(),
            on_stage=stages.append,
        )
    assert answer == b"hello"
    assert proxy.heads[0].startswith(f"CONNECT 127.0.0.1:{port} HTTP/1.1\r\n".encode())
    assert stages == [dial.Stage.PROXY, dial.Stage.TLS]


@pytest.mark.parametrize(
    ("url", "address", "exempt"),
    [
        ("ws://server.example", ("127.0.0.1", 80), True),
        ("ws://127.0.0.1", ("server.example", 80), False),
        ("ws://server.example", "/no/such/socket", True),
    ],
)
async def test_no_proxy_is_about_the_address(
    url: str, address: dial.Address, exempt: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    only_in_environment(monkeypatch, {"all_proxy": "http://proxy", "no_proxy": "127.0.0.1"})

    async def fail(*args: object, **kwargs: object) -> trio.abc.Stream:
        raise OSError("enough")

    monkeypatch.setattr(dial, "_open_transport", fail)
    stages: list[dial.Stage] = []
    with pytest.raises(OSError, match="enough"):
        await open_stream(parse_url(url), address=address, on_stage=stages.append)
    assert stages == [dial.Stage.CONNECT if exempt else dial.Stage.PROXY]


@pytest.mark.parametrize(
    ("address", "dialled"),
    [
        (("Host.Example", 8765), ("host.example", 8765)),
        (("b\u00fccher.example", 80), ("xn--bcher-kva.example", 80)),
        (("::1", 80), ("::1", 80)),
        (("fe80::1%eth0", 80), ("fe80::1%eth0", 80)),
        (("fe80::1%eb0", 80), ("fe80::1%eb0", 80)),
    ],
)
def test_an_address_is_read_as_urls_are(address: tuple[str, int], dialled: tuple[str, int]) -> None:
    target = parse_url("wss+unix:/socket:/chat?x")
    readdressed = dial._readdressed(target, address)
    assert (readdressed.host, readdressed.port) == dialled
    assert readdressed.unix_path is None
    assert (readdressed.secure, readdressed.resource) == (True, "/chat?x")


@pytest.mark.parametrize(
    "address",
    [
        ("", 80),
        ("host", 0),
        ("host", 65536),
        ("host", -1),
        ("[::1]", 80),
        ("user@host", 80),
        ("host\r\nX: y", 80),
        ("host/path", 80),
    ],
)
async def test_an_address_that_is_none_is_refused(address: tuple[str, int]) -> None:
    with pytest.raises(InvalidURL) as caught:
        await greeting("ws://server.example", address=address)
    assert str(caught.value).isprintable()


# The environment


def only_in_environment(monkeypatch: pytest.MonkeyPatch, environment: dict[str, str]) -> None:
    """No other proxies than those of *environment*."""
    for name in list(os.environ):
        if name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize(
    ("url", "environment", "proxy"),
    [
        ("ws://host", {}, None),
        ("ws://host", {"http_proxy": "http://a"}, "http://a"),
        ("wss://host", {"http_proxy": "http://a"}, None),
        ("wss://host", {"HTTPS_PROXY": "http://b"}, "http://b"),
        ("ws://host", {"all_proxy": "socks5://c"}, "socks5://c"),
        ("ws://host", {"http_proxy": "http://a", "no_proxy": "other,host"}, None),
        ("ws://sub.host", {"http_proxy": "http://a", "NO_PROXY": ".host"}, None),
        ("ws://host:81", {"http_proxy": "http://a", "no_proxy": "host:81"}, None),
        ("ws://host:82", {"http_proxy": "http://a", "no_proxy": "host:81"}, "http://a"),
        ("ws://host", {"http_proxy": "http://a", "no_proxy": "*"}, None),
    ],
)
def test_proxies_of_the_environment(
    url: str, environment: dict[str, str], proxy: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    only_in_environment(monkeypatch, environment)
    assert dial._proxy_from_environment(parse_url(url)) == proxy


async def test_the_environment_is_asked_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dial, "_proxy_from_environment", lambda target: None)
    async with serving() as port:
        stream = await open_stream(parse_url(f"ws://127.0.0.1:{port}"))
        await stream.aclose()


# SOCKS


class SocksProxy:
    """A SOCKS5 server (RFC 1928, RFC 1929), or one that refuses."""

    def __init__(
        self, *, user: bytes | None = None, reply: int = 0, takes: int | None = None
    ) -> None:
        self.user = user
        self.takes = takes
        self.reply = reply
        self.asked: list[tuple[int, bytes]] = []

    async def __call__(self, stream: trio.abc.Stream) -> None:
        methods = await self._exactly(stream, (await self._exactly(stream, 2))[1])
        method = 2 if self.user is not None else 0
        assert method in methods
        await stream.send_all(bytes([5, method if self.takes is None else self.takes]))
        if self.takes is not None:
            return
        if self.user is not None:
            user = await self._exactly(stream, (await self._exactly(stream, 2))[1])
            await self._exactly(stream, (await self._exactly(stream, 1))[0])
            await stream.send_all(bytes([1, user != self.user]))
        kind = (await self._exactly(stream, 4))[3]
        size = 4 if kind == 1 else (await self._exactly(stream, 1))[0]
        host = await self._exactly(stream, size)
        port = struct.unpack("!H", await self._exactly(stream, 2))[0]
        self.asked.append((kind, host))
        await stream.send_all(bytes([5, self.reply, 0, 1, 0, 0, 0, 0, 0, 0]))
        if not self.reply:
            await relay(stream, await trio.open_tcp_stream("127.0.0.1", port))

    @staticmethod
    async def _exactly(stream: trio.abc.Stream, count: int) -> bytes:
        data = b""
        while len(data) < count:
            piece = await stream.receive_some(count - len(data))
            if not piece:
                raise trio.BrokenResourceError
            data += piece
        return data


@pytest.mark.parametrize(
    ("scheme", "asked"), [("socks5", (1, b"\x7f\0\0\1")), ("socks5h", (3, b"localhost"))]
)
async def test_through_a_socks_proxy(scheme: str, asked: tuple[int, bytes]) -> None:
    proxy = SocksProxy(user=b"me")
    async with serving(proxy) as proxy_port, serving() as port:
        host = "localhost" if scheme == "socks5h" else "127.0.0.1"
        url = f"{scheme}://me:secret@127.0.0.1:{proxy_port}"
        assert await greeting(f"ws://{host}:{port}", proxy=url) == b"hello"
    assert proxy.asked == [asked]


@pytest.mark.parametrize(
    ("proxy", "permanent"),
    [
        # Connection refused; a rule against it; a kind of address that it does not know.
        (SocksProxy(reply=5), False),
        (SocksProxy(reply=2), True),
        (SocksProxy(reply=8), True),
        # Another user; no user at all.
        (SocksProxy(user=b"other"), True),
        (SocksProxy(takes=0xFF), True),
        # The target's network is down: nobody's credentials.
        (SocksProxy(reply=3), False),
    ],
)
async def test_a_socks_proxy_that_refuses_is_named(proxy: SocksProxy, permanent: bool) -> None:
    async with serving(proxy) as port:
        with pytest.raises(ProxyError, match=r"refused 127\.0\.0\.1:1") as caught:
            await greeting("ws://127.0.0.1:1", proxy=f"socks5://me:x@127.0.0.1:{port}")
    assert caught.value.permanent is permanent


async def test_a_socks4_proxy_that_leaves() -> None:
    async def leave(stream: trio.abc.Stream) -> None:
        await stream.receive_some()

    async with serving(leave) as port:
        with pytest.raises(ProxyError):
            await greeting("ws://127.0.0.1:1", proxy=f"socks4://me@127.0.0.1:{port}")


async def test_a_socks_proxy_that_cuts_the_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    from python_socks.async_.trio.v2 import Proxy

    async def fail(*args: object, **kwargs: object) -> None:
        raise trio.BrokenResourceError

    monkeypatch.setattr(Proxy, "connect", fail)
    with pytest.raises(ProxyError, match="cut the connection off"):
        await greeting("ws://target", proxy="socks5://proxy")


async def test_without_the_package_its_name_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "python_socks", None)
    with pytest.raises(ProxyError, match=r"pip install 'trio-ws\[socks\]'") as caught:
        await greeting("ws://target", proxy="socks5://proxy")
    assert caught.value.permanent


# Cancellation


def open_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="descriptors cannot be counted")
@pytest.mark.parametrize("way", ["tcp", "tls", "http", "https", "socks5"])
async def test_cancel_sweep_over_dialling(way: str) -> None:
    context = server_context("127.0.0.1")
    trusted = client_context()
    secure = way == "tls"
    proxies: dict[str, Callable[[Any], Awaitable[object]]] = {
        "http": HttpProxy(),
        "https": HttpProxy(),
        "socks5": SocksProxy(),
    }
    async with (
        serving(greet, context if secure else None) as port,
        serving(proxies.get(way, greet), context if way == "https" else None) as proxy_port,
    ):
        target = parse_url(f"{'wss' if secure else 'ws'}://127.0.0.1:{port}")
        proxy = f"{way}://127.0.0.1:{proxy_port}" if way in proxies else None

        async def scenario() -> None:
            stream = await open_stream(
                target, ssl_context=trusted, proxy=proxy, proxy_ssl_context=trusted
            )
            await trio.aclose_forcefully(stream)

        async def check(cancelled: bool) -> None:
            await trio.testing.wait_all_tasks_blocked(0.002)
            assert open_descriptors() == before

        before = open_descriptors()
        assert await cancel_sweep(scenario, check) > 1
