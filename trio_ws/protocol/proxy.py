"""The PROXY protocol, versions 1 and 2: who the client is, as a proxy says ahead of everything.

The specification is HAProxy's, https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt. The
packages that parse it read from a stream of their own or are not kept up, and it is a page of code.
"""

from __future__ import annotations

import ipaddress
import re
import struct
from dataclasses import dataclass
from typing import Final, TypeAlias

#: What a v2 header begins with; no HTTP request and no TLS record does.
SIGNATURE: Final = b"\r\n\r\n\0\r\nQUIT\n"
#: Section 2.1: the longest line of version 1.
_LONGEST_LINE: Final = 107
_SHORTEST_LINE: Final = len(b"PROXY UNKNOWN\r\n")
_V1: Final = re.compile(
    rb"PROXY TCP([46]) ([0-9A-Fa-f:.]+) ([0-9A-Fa-f:.]+) (0|[1-9]\d{0,4}) (0|[1-9]\d{0,4})\r\n"
)
#: The signature, a byte of version and command, one of family and transport, and the length.
_V2_SIZE: Final = len(SIGNATURE) + 4
#: Bytes of addresses and additions (TLVs) of a v2 header that are read. They take 216 at most, and
#: the additions of the proxies that there are some dozens.
_LONGEST_V2: Final = 4096
_LOCAL, _PROXY = 0x20, 0x21
#: Family and transport, and the sizes of their addresses; others than streams are not for us.
_INET_STREAM, _INET6_STREAM, _UNIX_STREAM = 0x11, 0x21, 0x31
_SIZES: Final = {_INET_STREAM: 12, _INET6_STREAM: 36, _UNIX_STREAM: 216}

#: An address as the socket module gives it, as far as a header says it: of IPv6, two of four items.
Address: TypeAlias = tuple[str, int] | str


class BadProxyHeader(Exception):
    """What came first is no header of the PROXY protocol, or one that says nothing."""


@dataclass(frozen=True, slots=True)
class ProxyHeader:
    """What a proxy says of a connection.

    Attributes:
      source: the client's address; ``None`` where the connection is the proxy's own, such as a
        health check, or its kind is none that can be said.
    """

    source: Address | None


def parse_proxy_header(data: bytes) -> ProxyHeader | int:
    """Parse the header that *data* is, or begins.

    Returns:
      The header, or how many bytes are missing at least. Whoever reads no more than that at a time
      has read the header to its last byte, and nothing of what comes behind it.

    Raises:
      BadProxyHeader: it is none. Every check that can be made of an incomplete one is made.
    """
    if data[:1] == b"\r":
        return _parse_v2(data)
    return _parse_v1(data)


def _parse_v1(data: bytes) -> ProxyHeader | int:
    if not b"PROXY ".startswith(data[:6]):
        raise BadProxyHeader("no PROXY header")
    if not data.endswith(b"\n"):
        if b"\n" in data or len(data) >= _LONGEST_LINE:
            raise BadProxyHeader("the PROXY line does not end")
        return max(_SHORTEST_LINE - len(data), 1 if data.endswith(b"\r") else 2)
    if re.fullmatch(rb"PROXY UNKNOWN( [^\r\n]*)?\r\n", data):
        return ProxyHeader(None)
    match = _V1.fullmatch(data)
    if match is None:
        raise BadProxyHeader("the PROXY line cannot be read")
    version = ipaddress.IPv4Address if match[1] == b"4" else ipaddress.IPv6Address
    try:
        source, _ = (version(item.decode("ascii")) for item in match.group(2, 3))
    except ValueError:
        raise BadProxyHeader("the PROXY line has an address that is none") from None
    ports = [int(item) for item in match.group(4, 5)]
    if max(ports) > 65535:
        raise BadProxyHeader("the PROXY line has a port that is none")
    return ProxyHeader((str(source), ports[0]))


def _parse_v2(data: bytes) -> ProxyHeader | int:
    if not SIGNATURE.startswith(data[: len(SIGNATURE)]):
        raise BadProxyHeader("no PROXY header")
    if len(data) < _V2_SIZE:
        return _V2_SIZE - len(data)
    command, family = data[len(SIGNATURE)], data[len(SIGNATURE) + 1]
    length = int.from_bytes(data[_V2_SIZE - 2 : _V2_SIZE], "big")
    if command not in {_LOCAL, _PROXY}:
        raise BadProxyHeader(f"a PROXY header of version and command 0x{command:02x}")
    if length > _LONGEST_V2:
        raise BadProxyHeader(f"a PROXY header of {length} bytes")
    if len(data) < _V2_SIZE + length:
        return _V2_SIZE + length - len(data)
    if command == _LOCAL or family not in _SIZES:
        return ProxyHeader(None)
    addresses = data[_V2_SIZE:]
    if length < _SIZES[family]:
        raise BadProxyHeader("a PROXY header with half an address")
    return ProxyHeader(_v2_source(family, addresses))


def _v2_source(family: int, addresses: bytes) -> Address:
    if family == _UNIX_STREAM:
        path, _, _ = addresses[:108].partition(b"\0")
        return path.decode("utf-8", "surrogateescape")
    if family == _INET_STREAM:
        (port,) = struct.unpack_from("!H", addresses, 8)
        return str(ipaddress.IPv4Address(addresses[:4])), port
    (port,) = struct.unpack_from("!H", addresses, 32)
    return str(ipaddress.IPv6Address(addresses[:16])), port
