"""The PROXY protocol's headers."""

from __future__ import annotations

import ipaddress
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_ws.protocol.proxy import (
    SIGNATURE,
    BadProxyHeader,
    ProxyHeader,
    parse_proxy_header,
)

V1 = b"PROXY TCP4 192.0.2.1 198.51.100.7 56324 443\r\n"


def v2(addresses: bytes = b"", *, command: int = 0x21, family: int = 0x11) -> bytes:
    return SIGNATURE + struct.pack("!BBH", command, family, len(addresses)) + addresses


def inet(source: str, port: int) -> bytes:
    packed = ipaddress.ip_address(source).packed
    return packed + bytes(len(packed)) + struct.pack("!HH", port, 443)


UNIX = b"/run/client.sock".ljust(108, b"\0") + bytes(108)
#: Whole headers, and what they say.
HEADERS = [
    (V1, ("192.0.2.1", 56324)),
    (b"PROXY TCP6 2001:db8::1 ::1 1 65535\r\n", ("2001:db8::1", 1)),
    (b"PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n", ("255.255.255.255", 65535)),
    (b"PROXY UNKNOWN\r\n", None),
    (b"PROXY UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535\r\n", None),
    (v2(inet("192.0.2.1", 56324)), ("192.0.2.1", 56324)),
    (v2(inet("2001:db8::1", 7), family=0x21), ("2001:db8::1", 7)),
    (v2(UNIX, family=0x31), "/run/client.sock"),
    # Additions behind the addresses are nobody's business.
    (v2(inet("192.0.2.1", 1) + b"\x04\0\x05nginx" + bytes(200)), ("192.0.2.1", 1)),
    # The proxy's own connections, and kinds that are not told.
    (v2(command=0x20, family=0), None),
    (v2(inet("192.0.2.1", 1), command=0x20), None),
    (v2(family=0x00), None),
    (v2(inet("192.0.2.1", 1), family=0x12), None),
]


@pytest.mark.parametrize(("header", "source"), HEADERS)
def test_a_header_says_who_the_client_is(header: bytes, source: object) -> None:
    assert parse_proxy_header(header) == ProxyHeader(source)  # type: ignore[arg-type]


@pytest.mark.parametrize("header", [header for header, _ in HEADERS])
def test_no_byte_behind_it_is_asked_for(header: bytes) -> None:
    data = b""
    while isinstance(missing := parse_proxy_header(data), int):
        assert missing > 0
        data = header[: len(data) + missing]
    assert data == header


@pytest.mark.parametrize("header", [header for header, _ in HEADERS])
def test_every_beginning_of_it_is_one(header: bytes) -> None:
    for size in range(len(header)):
        missing = parse_proxy_header(header[:size])
        assert isinstance(missing, int)
        assert 0 < missing <= len(header) - size


@pytest.mark.parametrize(
    "data",
    [
        b"G",
        b"GET / HTTP/1.1\r\n",
        b"PROXIES",
        b"\x16\x03\x01",
        b"\r\n\r\n\0\r\nQUIS",
        b"PROXY\n",
        b"PROXY TCP4 192.0.2.1 192.0.2.1 1 1\n",
        b"PROXY TCP4 192.0.2.1 192.0.2.1 1 1\nPROXY",
        b"PROXY TCP4 192.0.2.1  192.0.2.1 1 1\r\n",
        b"PROXY TCP4 192.0.2.1 192.0.2.1 1\r\n",
        b"PROXY TCP4 192.0.2.1 192.0.2.1 01 1\r\n",
        b"PROXY TCP4 192.0.2.1 192.0.2.1 1 65536\r\n",
        b"PROXY TCP4 192.0.2.256 192.0.2.1 1 1\r\n",
        b"PROXY TCP4 192.0.2.1 ::1 1 1\r\n",
        b"PROXY TCP6 192.0.2.1 192.0.2.1 1 1\r\n",
        b"PROXY TCP6 fe80::1%eth0 ::1 1 1\r\n",
        b"PROXY UDP4 192.0.2.1 192.0.2.1 1 1\r\n",
        b"PROXY " + b"x" * 101,
        v2(command=0x11),
        v2(command=0x22),
        v2(bytes(4097)),
        v2(bytes(11)),
        v2(bytes(35), family=0x21),
        v2(bytes(215), family=0x31),
    ],
)
def test_what_is_none_is_refused(data: bytes) -> None:
    with pytest.raises(BadProxyHeader):
        parse_proxy_header(data)


@given(st.binary(max_size=200) | st.binary(max_size=60).map(lambda rest: b"PROXY TCP4 " + rest))
def test_nothing_else_comes_out(data: bytes) -> None:
    try:
        result = parse_proxy_header(data)
    except BadProxyHeader:
        return
    assert isinstance(result, ProxyHeader) or result > 0


@given(st.binary(max_size=300), st.integers(0, 255), st.integers(0, 255))
def test_nothing_else_comes_out_of_version_2(body: bytes, command: int, family: int) -> None:
    try:
        result = parse_proxy_header(v2(body, command=command, family=family))
    except BadProxyHeader:
        return
    assert isinstance(result, ProxyHeader)


@given(st.ip_addresses(), st.integers(0, 65535))
def test_addresses_come_back_from_both_versions(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address, port: int
) -> None:
    line = f"PROXY TCP{address.version} {address} {address} {port} 1\r\n".encode()
    binary = v2(inet(str(address), port), family=0x11 if address.version == 4 else 0x21)
    for header in (line, binary):
        assert parse_proxy_header(header) == ProxyHeader((str(address), port))
