"""From a `Target` to a byte stream: TCP, TLS, Unix sockets, and the proxies on the way.

Every step takes over the stream of the step before and closes it if it cannot go on. So at any
await exactly one function owns the open socket, and a failure or a cancellation leaves none.
"""

from __future__ import annotations

import base64
import enum
import functools
import math
import os
import socket
import ssl
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final, TypeAlias
from urllib.request import getproxies_environment, proxy_bypass

import h11
import idna
import trio

from ._errors import InvalidURL, ProxyError
from ._tls import tls_over
from ._url import host_port, parse_authority, redact
from .protocol.http import problem_in

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator, Sequence

    from ._tls import TLSStream
    from ._url import Target

#: What to dial: a host and a port, or the path of a Unix socket.
Address: TypeAlias = "tuple[str, int] | str | os.PathLike[str]"

#: What opens a stream to a host and a port.
Opener: TypeAlias = Callable[[str, int], Awaitable[trio.abc.Stream]]
#: The one in use: TCP, but in a block of `trio_ws.testing.Network`.
opener: Final[ContextVar[Opener]] = ContextVar("opener", default=trio.open_tcp_stream)

#: Replies that no time will change: a rule against it, a command or kind of address that it does
#: not know (RFC 1928, section 6); no such user in the eyes of identd (SOCKS 4).
_PERMANENT_REPLIES: Final = frozenset({2, 7, 8, 92, 93})
#: The ports that each kind of proxy listens on by custom.
_PROXY_PORTS: Final = {
    "http": 80,
    "https": 443,
    "socks4": 1080,
    "socks4a": 1080,
    "socks5": 1080,
    "socks5h": 1080,
}
#: Those that resolve the target's name themselves; curl's meaning of the letters.
_RESOLVING_PROXIES: Final = frozenset({"socks4a", "socks5h"})
_MAX_SOCKS_CREDENTIAL: Final = 255  # RFC 1929: a length is one byte.

_MAX_PROXY_HEAD: Final = 16 * 1024
_RECEIVE_SIZE: Final = 4096
_MAX_SHOWN_REASON: Final = 100


class Stage(enum.StrEnum):
    """How far a connection had come."""

    RESOLVE = "resolve"
    """Asking for the URL, or looking its host up."""
    CONNECT = "connect"
    PROXY = "proxy"
    TLS = "tls"
    HANDSHAKE = "handshake"
    """The opening handshake (RFC 6455, section 4)."""
    ON_CONNECT = "on_connect"
    OPEN = "open"


def nobody_cares(stage: Stage) -> None:
    """What is told of stages where nobody asks."""


async def open_stream(
    target: Target,
    *,
    ssl_context: ssl.SSLContext | None = None,
    server_hostname: str | None = None,
    proxy: str | None = "environment",
    proxy_ssl_context: ssl.SSLContext | None = None,
    address: Address | None = None,
    on_stage: Callable[[Stage], None] = nobody_cares,
) -> trio.abc.Stream:
    """Open the byte stream that the opening handshake can begin on.

    It has no timeout of its own: the caller's is over everything.

    Args:
      target: where to.
      ssl_context: for a secure target; by default `ssl.create_default_context`.
      server_hostname: the name to ask for (SNI, RFC 6066) and to check the certificate
        against, where it is not the target's host.
      proxy: a proxy's URL (``http``, ``https``, ``socks4``, ``socks4a``, ``socks5``,
        ``socks5h``; one without a scheme is ``http``), ``None`` for none, or ``"environment"``:
        ``HTTPS_PROXY`` for a secure target, ``HTTP_PROXY`` for another, else ``ALL_PROXY``,
        in either case, unless ``NO_PROXY`` names the host that is dialled. ``socks5h`` and
        ``socks4a`` leave the resolving of names to the proxy. A Unix socket is never reached
        through a proxy.
      proxy_ssl_context: for TLS to an ``https`` proxy; by default as for `ssl_context`.
      address: what to dial instead of the target's host and port, or socket: a host and a port,
        or the path of a Unix socket. The certificate is still to be the target's.
      on_stage: told what is begun: connecting, a proxy, TLS.

    Returns:
      A stream that the caller must close.

    Raises:
      OSError: the target or the proxy could not be reached; the message names host and port.
      ssl.SSLError: the TLS handshake failed, for instance over a certificate.
      ConnectionError: cut off within the TLS handshake.
      ProxyError: the proxy refused, or did not answer as a proxy does.
      InvalidURL: *proxy* is not the URL of a proxy, or *address* not a host and a port.

    Cancellation: at any point; no socket stays open.
    """
    secure, name = target.secure, server_hostname or target.host
    if address is not None:
        target = _readdressed(target, address)
    if proxy == "environment":
        proxy = _proxy_from_environment(target)
    through_proxy = proxy is not None and target.unix_path is None
    on_stage(Stage.PROXY if through_proxy else Stage.CONNECT)
    stream = await _open_transport(target, proxy, proxy_ssl_context)
    if not secure:
        return stream
    on_stage(Stage.TLS)
    return await _start_tls(
        stream,
        ssl_context,
        hostname=name,
        where=target.unix_path or host_port(target.host, target.port),
    )


def _readdressed(target: Target, address: Address) -> Target:
    """*target* as what is to be dialled for it."""
    if not isinstance(address, tuple):
        return replace(target, unix_path=os.fspath(address))
    # Read as in a URL, which is what brings a host into the form that resolvers and proxies
    # take, and refuses what none would.
    shown = host_port(address[0].replace("%", "%25"), address[1])
    userinfo, host, port = parse_authority(shown, shown)
    if userinfo is not None or port is None:
        raise InvalidURL(redact(shown), "an address is a host and a port")
    return replace(target, host=host, port=port, unix_path=None)


async def _open_transport(
    target: Target, proxy: str | None, proxy_ssl_context: ssl.SSLContext | None
) -> trio.abc.Stream:
    if target.unix_path is not None:
        return await _open_unix(target.unix_path)
    if proxy is None:
        return await _open_tcp(target.host, target.port)
    parsed = _parse_proxy(proxy)
    if parsed.scheme in {"http", "https"}:
        return await _open_through_http(parsed, target, proxy_ssl_context)
    return await _open_through_socks(parsed, target)


async def _open_tcp(host: str, port: int, *, role: str = "") -> trio.abc.Stream:
    with _explaining(f"cannot connect to {role}{host_port(host, port)}"):
        return await opener.get()(host, port)


async def _open_unix(path: str) -> trio.SocketStream:
    with _explaining(f"cannot connect to {redact(path)}"):
        return await trio.open_unix_socket(path)


# TLS


async def _start_tls(
    stream: trio.abc.Stream, context: ssl.SSLContext | None, *, hostname: str, where: str
) -> TLSStream | trio.SSLStream[trio.abc.Stream]:
    async with _closed_on_failure(stream):
        tls_stream = tls_over(
            stream,
            context or _default_ssl_context(),
            server_hostname=_certificate_name(hostname),
        )
    async with _closed_on_failure(tls_stream):
        with _explaining_tls(where):
            await tls_stream.do_handshake()
        return tls_stream


@functools.cache
def _default_ssl_context() -> ssl.SSLContext:
    # Made once, when first needed: reading the system's certificates takes tens of milliseconds.
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    return context


def _certificate_name(host: str) -> str:
    """*host* as certificates name it: no root dot (RFC 6066, section 3), no IPv6 zone."""
    name = host.partition("%")[0].removesuffix(".")
    return name if name.isascii() else idna.encode(name, uts46=True).decode("ascii")


@contextmanager
def _explaining_tls(where: str) -> Generator[None]:
    """Turn Trio's word for a broken stream into what broke the TLS handshake."""
    try:
        yield
    except trio.BrokenResourceError as error:
        cause = error.__cause__
        if isinstance(cause, ssl.SSLError) and not isinstance(cause, ssl.SSLEOFError):
            cause.add_note(f"in the TLS handshake with {where}")
            raise cause from None
        raise ConnectionResetError(f"{where}: cut off in the TLS handshake") from error


# Proxies


@dataclass(frozen=True, slots=True)
class _Proxy:
    scheme: str
    host: str
    port: int
    userinfo: tuple[str, str] | None = field(default=None, repr=False)

    def __str__(self) -> str:
        return f"{self.scheme}://{host_port(self.host, self.port)}"


def _proxy_from_environment(target: Target) -> str | None:
    proxies = getproxies_environment()
    proxy = proxies.get("https" if target.secure else "http") or proxies.get("all")
    return None if proxy is None or _is_exempt(target) else proxy


def _is_exempt(target: Target) -> bool:
    """Whether ``NO_PROXY`` names the target's host."""
    # With the port, because NO_PROXY may name one; IPv6 is written with and without brackets.
    host = target.host.removesuffix(".")
    names = {host_port(host, target.port), f"{host}:{target.port}"}
    return any(proxy_bypass(name) for name in names)


def _parse_proxy(url: str) -> _Proxy:
    # Environment variables often hold host:port and no more; everybody takes that for http.
    scheme, separator, rest = url.partition("://")
    if not separator:
        scheme, rest = "http", url
    scheme = scheme.lower()
    if scheme not in _PROXY_PORTS:
        known = ", ".join(_PROXY_PORTS)
        raise InvalidURL(redact(url), f"as a proxy, the scheme must be one of {known}")
    authority, _, path = rest.partition("/")
    if path:
        raise InvalidURL(redact(url), "a proxy has no path")
    try:
        userinfo, host, port = parse_authority(url, authority)
    except InvalidURL as error:
        raise InvalidURL(error.url, f"not usable as a proxy: {error.problem}") from None
    if scheme.startswith("socks") and userinfo is not None:
        _check_socks_credentials(url, scheme, userinfo)
    return _Proxy(scheme, host, port or _PROXY_PORTS[scheme], userinfo)


def _check_socks_credentials(url: str, scheme: str, userinfo: tuple[str, str]) -> None:
    # Without a password python-socks would quietly leave out the user name too.
    needed = userinfo if scheme.startswith("socks5") else userinfo[:1]
    if not all(part.isascii() and 0 < len(part) <= _MAX_SOCKS_CREDENTIAL for part in needed):
        raise InvalidURL(
            redact(url),
            "SOCKS takes a user name and (SOCKS5) a password, each of 1 to 255 ASCII characters",
        )


async def _open_through_http(
    proxy: _Proxy, target: Target, ssl_context: ssl.SSLContext | None
) -> trio.abc.Stream:
    stream = await _open_tcp(proxy.host, proxy.port, role="the proxy ")
    if proxy.scheme == "https":
        stream = await _start_tls(
            stream, ssl_context, hostname=proxy.host, where=f"the proxy {proxy}"
        )
    async with _closed_on_failure(stream):
        await _ask_for_tunnel(stream, proxy, target)
        return stream


async def _ask_for_tunnel(stream: trio.abc.Stream, proxy: _Proxy, target: Target) -> None:
    """HTTP CONNECT (RFC 9110, section 9.3.6)."""
    connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=_MAX_PROXY_HEAD)
    try:
        request = connection.send(_connect_request(proxy, target)) or b""
        end = connection.send(h11.EndOfMessage()) or b""
        await stream.send_all(request + end)
        response = await _receive_response(stream, connection, proxy)
    except trio.BrokenResourceError as error:
        raise ProxyError(f"the proxy {proxy} cut the connection off") from error
    except h11.RemoteProtocolError as error:
        raise ProxyError(
            f"the proxy {proxy} did not answer in HTTP: {problem_in(error)}"
        ) from error
    if not 200 <= response.status_code <= 299:
        raise ProxyError(_refusal(proxy, target, response), status=response.status_code)
    # Nobody speaks before this side does, so such bytes come from the proxy, not through it.
    if connection.trailing_data[0]:
        raise ProxyError(f"the proxy {proxy} sent data behind its answer")


def _connect_request(proxy: _Proxy, target: Target) -> h11.Request:
    authority = host_port(target.host, target.port)
    headers = [("Host", authority)]
    if proxy.userinfo is not None:
        credentials = base64.b64encode(":".join(proxy.userinfo).encode()).decode("ascii")
        headers.append(("Proxy-Authorization", f"Basic {credentials}"))
    return h11.Request(method="CONNECT", target=authority, headers=headers)


async def _receive_response(
    stream: trio.abc.Stream, connection: h11.Connection, proxy: _Proxy
) -> h11.Response:
    """The final answer's head; interim ones (RFC 9110, section 15.2) are skipped."""
    while True:
        event = connection.next_event()
        if isinstance(event, h11.Response):
            return event
        if event is h11.NEED_DATA:
            data = await stream.receive_some(_RECEIVE_SIZE)
            if not data:
                raise ProxyError(f"the proxy {proxy} closed the connection without an answer")
            connection.receive_data(bytes(data))


def _refusal(proxy: _Proxy, target: Target, response: h11.Response) -> str:
    # Escaped: the reason is the proxy's own text and may hold anything.
    reason = ascii(response.reason.decode("latin-1")[:_MAX_SHOWN_REASON])[1:-1]
    where = host_port(target.host, target.port)
    return f"the proxy {proxy} refused {where}: HTTP {response.status_code} {reason}".rstrip()


async def _open_through_socks(proxy: _Proxy, target: Target) -> trio.abc.Stream:
    try:
        import python_socks
        from python_socks.async_.trio.v2 import Proxy
    except ImportError:
        raise ProxyError(
            f"{proxy}: SOCKS proxies need python-socks: pip install 'trio-ws[socks]'",
            permanent=True,
        ) from None
    user, password = proxy.userinfo or (None, None)
    kind = python_socks.ProxyType.SOCKS5
    if proxy.scheme.startswith("socks4"):
        kind = python_socks.ProxyType.SOCKS4
    client = Proxy(
        kind, proxy.host, proxy.port, user, password, rdns=proxy.scheme in _RESOLVING_PROXIES
    )
    where = host_port(target.host, target.port)
    try:
        with _explaining(f"cannot reach {where} through the proxy {proxy}"):
            # Infinite, because python-socks takes None for a minute.
            stream = await client.connect(target.host, target.port, timeout=math.inf)
            return stream.trio_stream
    except python_socks.ProxyError as error:
        permanent = error.error_code in _PERMANENT_REPLIES or (
            # It has no code for this, and no exception of its own.
            error.error_code is None and "authentication" in str(error)
        )
        problem = f"the proxy {proxy} refused {where}: {error}"
        raise ProxyError(problem, permanent=permanent) from error
    except ValueError as error:
        # python-socks lets out what fails to decode in the answer.
        raise ProxyError(f"the proxy {proxy} did not answer in SOCKS: {error}") from error
    except trio.BrokenResourceError as error:
        raise ProxyError(f"the proxy {proxy} cut the connection off") from error


# Failures


@asynccontextmanager
async def _closed_on_failure(stream: trio.abc.Stream) -> AsyncGenerator[None]:
    try:
        yield
    except BaseException:
        await trio.aclose_forcefully(stream)
        raise


@contextmanager
def _explaining(what: str) -> Generator[None]:
    """Let an `OSError` out as one of the same kind whose message begins with *what*.

    Trio's own for TCP says only that all attempts failed; why, and the ``errno`` that makes it
    a `ConnectionRefusedError`, are in the group behind it.
    """
    try:
        yield
    except OSError as error:
        attempts = _attempts(error)
        reasons = ", ".join(dict.fromkeys(map(_reason, attempts)))
        first = attempts[0]
        kind = socket.gaierror if isinstance(first, socket.gaierror) else OSError
        arguments = () if first.errno is None else (first.errno,)
        raise kind(*arguments, f"{what}: {reasons}") from error


def _attempts(error: OSError) -> Sequence[OSError]:
    """The failure of each address that was tried."""
    match error.__cause__ if error.errno is None else None:
        case ExceptionGroup(exceptions=attempts):
            return [attempt for attempt in attempts if isinstance(attempt, OSError)]
        case OSError() as cause:  # python-socks wraps Trio's
            return _attempts(cause)
        case _:
            return [error]


def _reason(error: OSError) -> str:
    if error.errno is None or isinstance(error, socket.gaierror):
        return error.strerror or str(error)
    return os.strerror(error.errno)
