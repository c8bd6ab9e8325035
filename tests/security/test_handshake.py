"""Attacks before a connection is open."""

from __future__ import annotations

import socket
import ssl
import struct
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
import trio
import trustme

from trio_ws.protocol.extensions import parse_extensions, parse_tokens

from .scene import MIB, PATIENCE, REQUEST, Scene, scene

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


async def answer_to(place: Scene, data: bytes) -> int:
    """Send a head: the status of the answer, after the common assertions."""
    before = place.resident
    async with place.attacker() as attacker:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(attacker.send, data)
            status = await attacker.status()
            nursery.cancel_scope.cancel()
    assert place.resident - before < 2 * MIB
    await place.one_line()
    return status


async def drip(stream: trio.abc.SendStream, data: bytes) -> None:
    with suppress(trio.BrokenResourceError):
        for byte in data:
            await stream.send_all(bytes((byte,)))
            await trio.sleep(0.05)


async def test_a_slow_handshake_is_cut_however_steadily_it_comes(tmp_path: Path) -> None:
    async with scene(tmp_path, timeouts={"open_timeout": 1.0}) as place, place.attacker() as one:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(drip, one.stream, REQUEST * 100)
            assert await one.read_to_end() == b""
            nursery.cancel_scope.cancel()
        assert "no complete opening handshake in time" in await place.one_line()


@pytest.fixture
def certificate(tmp_path: Path) -> str:
    """A PEM file with a key and a certificate of 127.0.0.1, signed by nobody else."""
    authority = trustme.CA()
    path = tmp_path / "certificate.pem"
    chain = authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.bytes()
    path.write_bytes(chain + authority.cert_pem.bytes())
    return str(path)


async def test_a_slow_tls_handshake_is_cut_however_steadily_it_comes(
    tmp_path: Path, certificate: str
) -> None:
    hello = ssl.MemoryBIO()
    context = ssl.create_default_context()
    tls = context.wrap_bio(ssl.MemoryBIO(), hello, server_hostname="a")
    with pytest.raises(ssl.SSLWantReadError):
        tls.do_handshake()
    timeouts = {"open_timeout": 1.0}
    async with scene(tmp_path, tls=certificate, timeouts=timeouts) as place:
        async with place.attacker() as one, trio.open_nursery() as nursery:
            nursery.start_soon(drip, one.stream, hello.read())
            assert await one.read_to_end() == b""
            nursery.cancel_scope.cancel()
        assert "in time" in await place.one_line()


async def test_a_slow_request_inside_tls_is_cut_however_steadily_it_comes(
    tmp_path: Path, certificate: str
) -> None:
    timeouts = {"open_timeout": 1.0}
    async with scene(tmp_path, tls=certificate, timeouts=timeouts) as place:
        async with place.attacker() as one:
            tls = trio.SSLStream(
                one.stream,
                ssl.create_default_context(cafile=certificate),
                server_hostname="127.0.0.1",
                https_compatible=True,
            )
            await tls.do_handshake()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(drip, tls, REQUEST * 100)
                with trio.fail_after(20), suppress(trio.BrokenResourceError):
                    while await tls.receive_some():
                        pass
                nursery.cancel_scope.cancel()
        assert "no complete opening handshake in time" in await place.one_line()


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"X: y\r\n" * 2000 + b"\r\n", id="2,000 headers"),
        pytest.param(b"X: " + b"y" * 1_000_000 + b"\r\n\r\n", id="1 MB line"),
    ],
)
async def test_a_large_head_is_refused(tmp_path: Path, data: bytes) -> None:
    async with scene(tmp_path) as place:
        assert await answer_to(place, REQUEST + data) == 431


async def test_a_long_request_line_is_refused(tmp_path: Path) -> None:
    async with scene(tmp_path) as place:
        assert await answer_to(place, b"GET /" + b"a" * 1_000_000 + REQUEST[5:] + b"\r\n") == 431


@pytest.mark.parametrize(
    "origin",
    [
        "null",
        "https://127.0.0.1.evil",
        "https://127.0.0.1@evil.com",
        "https://evil.com#127.0.0.1",
        "http://127.0.0.1:81",
        "http://127.0.0.1\r\nOrigin: http://evil.com",
    ],
)
async def test_another_site_is_refused(tmp_path: Path, origin: str) -> None:
    async with scene(tmp_path) as place:
        head = REQUEST + f"Origin: {origin}\r\n\r\n".encode()
        assert await answer_to(place, head) == 403


@pytest.mark.parametrize("resets", [False, True], ids=["stays", "resets"])
async def test_who_is_refused_has_one_line_whatever_comes_then(
    tmp_path: Path, resets: bool
) -> None:
    async with scene(tmp_path, timeouts={"open_timeout": 0.5}) as place:
        async with place.attacker() as attacker:
            await attacker.send(REQUEST + b"Origin: null\r\n\r\n")
            with trio.fail_after(PATIENCE):
                assert (await attacker.stream.receive_some()).startswith(b"HTTP/1.1 403 ")
            if resets:
                linger = struct.pack("ii", 1, 0)
                attacker.stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            else:
                # Up to the deadline, which is before the end of the wait for who was answered.
                await attacker.read_to_end()
                with trio.fail_after(PATIENCE), suppress(trio.BrokenResourceError):
                    while True:
                        await attacker.stream.send_all(b"x")
                        await place.served()
        await place.served()
        assert "answered with 403" in await place.one_line()


PATTERNS = ["https://good.com", "https://*.good.com", "http://127.0.0.1:8765"]


@pytest.mark.parametrize(
    "origin",
    [
        "null",
        "https://good.com.evil",
        "https://good.com@evil.com",
        "https://evil.com#.good.com",
        "https://evilgood.com",
        "https://good.com:8443",
        "http://good.com",
        "https://a.good.com.",
        "https://good.com\r\nOrigin: https://good.com",
    ],
)
async def test_an_origin_that_only_looks_allowed_is_refused(tmp_path: Path, origin: str) -> None:
    async with scene(tmp_path, serve={"origins": PATTERNS}) as place:
        head = REQUEST + f"Origin: {origin}\r\n\r\n".encode()
        assert await answer_to(place, head) == 403


@pytest.mark.parametrize(
    ("origins", "host", "origin"),
    [
        (PATTERNS, "127.0.0.1", "https://good.com"),
        (PATTERNS, "127.0.0.1", "HTTPS://GOOD.com:443"),
        (PATTERNS, "127.0.0.1", "https://a.good.com"),
        ("same", "LocalHost", "HTTP://localhost"),
        ("same", "localhost:80", "http://LOCALHOST"),
    ],
)
async def test_case_and_the_usual_port_make_no_other_origin(
    tmp_path: Path, origins: object, host: str, origin: str
) -> None:
    head = REQUEST.replace(b"Host: 127.0.0.1", f"Host: {host}\r\nOrigin: {origin}".encode())
    async with scene(tmp_path, serve={"origins": origins}) as place:
        async with place.attacker() as attacker:
            await attacker.send(head + b"\r\n")
            with trio.fail_after(20):
                assert (await attacker.stream.receive_some()).startswith(b"HTTP/1.1 101 ")


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(REQUEST + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", id="chunked"),
        pytest.param(REQUEST + b"Content-Length: 0\r\nContent-Length: 5\r\n\r\n", id="two lengths"),
        pytest.param(REQUEST + b"X: a\n\r\n", id="bare LF"),
        pytest.param(REQUEST + b"X: a\r\n b\r\n\r\n", id="folded"),
    ],
)
async def test_smuggling_is_refused(tmp_path: Path, data: bytes) -> None:
    async with scene(tmp_path) as place:
        assert await answer_to(place, data) == 400


async def test_descriptors_used_up_are_waited_for(tmp_path: Path) -> None:
    async with scene(tmp_path, descriptors=64) as place:
        idle = [await trio.open_tcp_stream("127.0.0.1", place.port) for _ in range(200)]
        await place.served()
        for stream in idle:
            await stream.aclose()
        with trio.fail_after(20):
            while "accepting connections again" not in place.log.read_text():
                await place.served()
        async with place.attacker() as attacker:
            await attacker.upgrade()
        log = place.log.read_text()
        assert log.count("cannot accept") < 5


@pytest.mark.parametrize(
    ("data", "status"),
    [
        pytest.param(b"GET /\x1b[2J HTTP/1.1\r\nHost: a\r\n\r\n", 400, id="path"),
        pytest.param(REQUEST + b"Origin: \xc2\x9b2J\r\n\r\n", 403, id="origin"),
    ],
)
async def test_what_the_log_says_of_a_head_is_printable(
    tmp_path: Path, data: bytes, status: int
) -> None:
    async with scene(tmp_path) as place:
        assert await answer_to(place, data) == status


@pytest.mark.parametrize(
    ("name", "status"),
    [("Sec-WebSocket-Extensions", b"101"), ("Sec-WebSocket-Protocol", b"400")],
)
@pytest.mark.parametrize(
    "value",
    [b"b" + b" " * 30_000 + b"x", b'a; b="' + b'\\"' * 15_000, b"a," * 15_000 + b";"],
    ids=["spaces", "quotes", "commas"],
)
async def test_parsers_do_not_dwell_on_a_header(
    tmp_path: Path, name: str, status: bytes, value: bytes
) -> None:
    async with scene(tmp_path) as place, place.attacker() as attacker:
        await attacker.send(REQUEST + f"{name}: ".encode() + value + b"\r\n\r\n")
        # Work that grows with the square of the length would take minutes.
        with trio.fail_after(5):
            answer = await attacker.stream.receive_some()
        assert answer.startswith(b"HTTP/1.1 " + status)


async def test_forwarded_addresses_are_not_believed(tmp_path: Path) -> None:
    async with scene(tmp_path) as place:
        head = REQUEST + b"X-Forwarded-For: 192.0.2.1\r\nX: a\r\n b\r\n\r\n"
        assert await answer_to(place, head) == 400
        [line] = place.lines
        assert "127.0.0.1" in line
        assert "192.0.2.1" not in line


async def test_a_proxy_line_that_nobody_asked_for_is_refused(tmp_path: Path) -> None:
    async with scene(tmp_path) as place:
        line = b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n"
        assert await answer_to(place, line + REQUEST + b"\r\n") == 400


ELSEWHERE = {"trusted_proxies": ["192.0.2.0/24"]}


async def test_only_trusted_proxies_are_believed(tmp_path: Path) -> None:
    async with scene(tmp_path, serve=ELSEWHERE) as place:
        head = REQUEST + b"X-Forwarded-For: 192.0.2.1\r\nX: a\r\n b\r\n\r\n"
        assert await answer_to(place, head) == 400
        [line] = place.lines
        assert "127.0.0.1" in line
        assert "192.0.2.1" not in line


@pytest.mark.parametrize(
    "header",
    [
        b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n",
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c" + bytes(12),
    ],
    ids=["version 1", "version 2"],
)
async def test_a_proxy_header_from_who_is_not_trusted_is_refused(
    tmp_path: Path, header: bytes
) -> None:
    async with scene(tmp_path, serve={**ELSEWHERE, "proxy_protocol": True}) as place:
        assert await answer_to(place, header + REQUEST + b"\r\n") == 400


def seconds(parse: Callable[[str], object], value: str) -> float:
    """Of processor time, at best."""
    times = []
    for _ in range(5):
        start = time.process_time()
        with suppress(ValueError):
            parse(value)
        times.append(time.process_time() - start)
    return min(times)


@pytest.mark.parametrize("parse", [parse_extensions, parse_tokens])
@pytest.mark.parametrize("shape", ["b{}x", 'a; b="{}"', "a;b{}"])
@pytest.mark.parametrize("filling", [" ", '\\"', "a,", ";a"], ids=repr)
def test_the_work_of_a_parser_grows_as_its_input_does(
    parse: Callable[[str], object], shape: str, filling: str
) -> None:
    small, large = (seconds(parse, shape.format(filling * count)) for count in (1_000, 32_000))
    # 32 times the input. With its square it would be 1,024 times the work.
    assert large < 0.01 or large < 250 * small
