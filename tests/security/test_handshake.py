"""Attacks before a connection is open."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio

from .scene import MIB, REQUEST, Attacker, Scene, scene

if TYPE_CHECKING:
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


async def drip(attacker: Attacker) -> None:
    for byte in REQUEST * 100:
        await attacker.send(bytes((byte,)))
        await trio.sleep(0.05)


async def test_a_slow_handshake_is_cut_however_steadily_it_comes(tmp_path: Path) -> None:
    async with scene(tmp_path, timeouts={"open_timeout": 1.0}) as place, place.attacker() as one:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(drip, one)
            assert await one.read_to_end() == b""
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
