"""Who is at the other end, also where a trusted proxy stands in between and says so."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Final, TypeAlias

import trio

from ._tls import TLSStream
from ._transport import underlying_socket
from .protocol.proxy import parse_proxy_header

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .protocol.http import Headers
    from .protocol.proxy import Address

_IPAddress: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
_Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network

#: What stands for connections through a Unix socket, and for all there are, among the networks.
_UNIX: Final = "unix"
_ALL: Final = "*"


def address_of(stream: trio.abc.Stream) -> object:
    """The peer's address as the socket module gives it; ``None`` where there is none."""
    owner = underlying_socket(stream)
    try:
        return None if owner is None else owner.getpeername()
    except OSError:
        return None


def name_of(address: object) -> str:
    """The host of *address*, for logs."""
    return str(address[0]) if isinstance(address, tuple) else "a local client"


def group_of(address: object) -> str:
    """What counts as one host: an IPv4 address, or an IPv6 network of the usual size, /64."""
    name = name_of(address)
    try:
        parsed = ipaddress.ip_address(name)
    except ValueError:
        return name
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.ipv4_mapped is not None:
            return str(parsed.ipv4_mapped)
        return str(ipaddress.ip_network((parsed, 64), strict=False))
    return name


class TrustedProxies:
    """Which peers are believed when they say whom they speak for.

    Args:
      networks: addresses and networks, ``"127.0.0.1"``, ``"10.0.0.0/8"``, ``"2001:db8::/32"``;
        ``"unix"`` for whoever connects to a Unix socket; ``"*"`` for everybody.

    Raises:
      ValueError: one is none of these, or a network with bits set behind its prefix.
      TypeError: it is one text, not several.
    """

    __slots__ = ("_all", "_networks", "_unix")

    def __init__(self, networks: Iterable[str] = ()) -> None:
        if isinstance(networks, str):
            raise TypeError(f"trusted_proxies takes several networks: [{networks!r}]")
        given = set(networks)
        self._all = _ALL in given
        self._unix = self._all or _UNIX in given
        self._networks: tuple[_Network, ...] = tuple(
            ipaddress.ip_network(one) for one in sorted(given - {_ALL, _UNIX})
        )

    def __bool__(self) -> bool:
        return self._unix or bool(self._networks)

    def trust(self, address: object) -> bool:
        """Whether *address*, as the socket module gives it, is one of theirs."""
        if not isinstance(address, tuple):
            # The address of a client's Unix socket is empty.
            return self._unix
        parsed = _parse(str(address[0]).partition("%")[0])
        return parsed is not None and self._trust_ip(parsed)

    def _trust_ip(self, address: _IPAddress) -> bool:
        return self._all or any(address in network for network in self._networks)

    def client_of(self, address: object, headers: Headers) -> object:
        """Who asks, where *address* is the peer's and *headers* those of its request.

        Each proxy appends the address that it was asked from to ``X-Forwarded-For``. What was
        there before the first that is trusted, anybody may have written. So it is read from its
        end, up to the first address that is not trusted: that is the client. What is no address
        ends it as well.
        """
        if not self.trust(address):
            return address
        items = [item for value in headers.get_all("x-forwarded-for") for item in value.split(",")]
        for item in reversed(items):
            parsed = _parse_forwarded(item.strip())
            if parsed is None:
                break
            address = parsed
            if not self.trust(address):
                break
        return address


async def receive_proxy_header(stream: trio.abc.Stream) -> Address | None:
    """The client's address, from the PROXY header that *stream* begins with, below any TLS.

    ``None``: the connection is the proxy's own. Nothing is read of what comes behind the header.

    Raises:
      BadProxyHeader: it begins with none.
      EOFError: it ended before.
      trio.BrokenResourceError, trio.ClosedResourceError: as ``receive_some``.
    """
    if isinstance(stream, TLSStream):
        assert isinstance(stream.socket, trio.socket.SocketType)
        stream = trio.SocketStream(stream.socket)
    while isinstance(stream, trio.SSLStream):
        stream = stream.transport_stream
    data = b""
    while isinstance(parsed := parse_proxy_header(data), int):
        piece = bytes(await stream.receive_some(parsed))
        if not piece:
            raise EOFError
        data += piece
    return parsed.source


def _parse(text: str) -> _IPAddress | None:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    if "%" in text:
        # A name of one of that machine's interfaces.
        return None
    # As a socket for both versions tells of IPv4.
    return getattr(address, "ipv4_mapped", None) or address


def _parse_forwarded(item: str) -> tuple[str, int] | None:
    """Address and port of ``192.0.2.1``, ``192.0.2.1:80``, ``2001:db8::1`` or ``[2001:db8::1]:80``.

    The port is 0 where none is said.
    """
    port = ""
    if item.startswith("["):
        item, _, port = item[1:].partition("]")
        port = port.removeprefix(":")
    elif item.count(":") == 1:
        item, _, port = item.partition(":")
    address = _parse(item)
    if address is None:
        return None
    # Nobody needs the port, so one that is none costs only itself.
    is_port = port.isascii() and port.isdigit() and len(port) <= 5 and int(port) < 1 << 16
    return str(address), int(port) if is_port else 0
