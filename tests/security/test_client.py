"""Attacks by a server against our client."""

from __future__ import annotations

import tracemalloc
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
import trio

import trio_ws
from trio_ws.protocol.handshake import accept_key

from .scene import MIB

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from trio_ws._engines import Engine


@asynccontextmanager
async def hostile(answer: bytes) -> AsyncIterator[str]:
    """A server that answers each head with *answer*; ``KEY`` in it is the key of RFC 6455."""

    async def handle(stream: trio.SocketStream) -> None:
        head = b""
        try:
            while b"\r\n\r\n" not in head:
                head += await stream.receive_some()
            key = head.lower().partition(b"sec-websocket-key: ")[2]
            start = len(head) - len(key)
            value = head[start:].partition(b"\r\n")[0].decode()
            await stream.send_all(answer.replace(b"KEY", accept_key(value).encode()))
            async for _ in stream:
                pass
        except trio.BrokenResourceError:
            pass

    async with trio.open_nursery() as nursery:
        [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, handle, [listener])
        with trio.fail_after(20):
            yield f"ws://127.0.0.1:{listener.socket.getsockname()[1]}/"
        nursery.cancel_scope.cancel()


OPEN = (
    b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Accept: KEY\r\n\r\n"
)


@pytest.mark.parametrize(
    ("data", "code"),
    [
        pytest.param(b"\x81\x81\0\0\0\0a", 1002, id="masked"),
        pytest.param(b"\xc9\0", 1002, id="compressed ping"),
        pytest.param(b"\xa1\0", 1002, id="RSV2"),
        pytest.param(b"\x83\0", 1002, id="reserved opcode"),
        pytest.param(b"\x82\x7e\0\x05" + bytes(5), 1002, id="length not minimal"),
        pytest.param(b"\x01\x01a" + b"\0\x01a" * 100_000, 1009, id="fragments"),
    ],
)
async def test_a_server_that_breaks_a_rule_is_left(engine: Engine, data: bytes, code: int) -> None:
    limits = trio_ws.Limits(max_message_size=50_000)
    async with (
        hostile(OPEN + data) as url,
        trio_ws.connect(url, engine=engine, limits=limits) as ws,
    ):
        with pytest.raises(trio_ws.ConnectionClosedError) as caught:
            await ws.receive()
        assert caught.value.reason.code == code


async def test_a_huge_length_from_a_server_is_refused_at_once() -> None:
    frame = b"\x82\x7f\x7f" + b"\xff" * 7
    async with hostile(OPEN + frame) as url, trio_ws.connect(url) as ws:
        with pytest.raises(trio_ws.MessageTooBig) as caught:
            await ws.receive()
        assert caught.value.reason.code == 1009


async def test_a_flood_of_pings_from_a_server_is_refused() -> None:
    flood = (b"\x89\x7d" + bytes(125)) * 20_000
    async with hostile(OPEN + flood) as url, trio_ws.connect(url) as ws:
        with pytest.raises(trio_ws.ConnectionClosedError) as caught:
            await ws.receive()
        assert caught.value.reason.code == 1008


async def test_a_huge_body_of_a_rejection_is_not_kept() -> None:
    body = bytes(10 * MIB)
    answer = b"HTTP/1.1 403 No\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    async with hostile(answer) as url:
        tracemalloc.start()
        try:
            held = tracemalloc.get_traced_memory()[0]
            with pytest.raises(trio_ws.ConnectionRejected) as caught:
                async with trio_ws.connect(url):
                    raise AssertionError("connected")
            # The server is in this process, and holds what it sends.
            growth = tracemalloc.get_traced_memory()[0] - held
        finally:
            tracemalloc.stop()
    assert len(caught.value.body) <= 64 * 1024
    assert growth < 11 * MIB


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(b"HTTP/1.1 302 x\r\nLocation: /\r\nContent-Length: 0\r\n\r\n", id="loop"),
        pytest.param(b"HTTP/1.1 101 x\r\n" + b"X: y\r\n" * 2000 + b"\r\n", id="many headers"),
        pytest.param(b"HTTP/1.1 101 x\r\nX: " + b"y" * MIB + b"\r\n\r\n", id="1 MB line"),
    ],
)
async def test_a_hostile_answer_is_a_handshake_error(answer: bytes) -> None:
    async with hostile(answer) as url:
        with pytest.raises(trio_ws.HandshakeError) as caught:
            async with trio_ws.connect(url):
                raise AssertionError("connected")
    assert str(caught.value).isprintable()
