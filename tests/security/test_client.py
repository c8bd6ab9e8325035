"""Attacks by a server against our client."""

from __future__ import annotations

import ssl
import tracemalloc
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
import trio
import trustme

import trio_ws
from tests.e2e.processes import COMMAND
from tests.terminal import Terminal
from trio_ws.protocol.handshake import accept_key

from .scene import MIB
from .test_frames import deflated

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from trio_ws._engines import Engine


@asynccontextmanager
async def hostile(
    answer: bytes, *, drip: float = 0, reads: bool = True, context: ssl.SSLContext | None = None
) -> AsyncIterator[str]:
    """A server that answers each head with *answer*; ``KEY`` in it is the key of RFC 6455.

    It takes *drip* seconds for each byte, and does not read any further unless it *reads*. Behind
    a close frame, it closes.
    """

    async def handle(stream: trio.abc.Stream) -> None:
        head = b""
        try:
            while b"\r\n\r\n" not in head:
                head += await stream.receive_some()
            key = head.lower().partition(b"sec-websocket-key: ")[2]
            start = len(head) - len(key)
            value = head[start:].partition(b"\r\n")[0].decode()
            data = answer.replace(b"KEY", accept_key(value).encode())
            size = 1 if drip else len(data)
            for start in range(0, len(data), size):
                await stream.send_all(data[start : start + size])
                await trio.sleep(drip)
            if not reads:
                await trio.sleep_forever()
            if b"\x88" not in answer:
                async for _ in stream:
                    pass
        except trio.BrokenResourceError:
            pass

    async with trio.open_nursery() as nursery:
        [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
        serve: Callable[..., Awaitable[object]] = trio.serve_listeners
        listeners = [trio.SSLListener(listener, context) if context else listener]
        nursery.start_soon(serve, handle, listeners)
        with trio.fail_after(20):
            scheme = "wss" if context else "ws"
            yield f"{scheme}://127.0.0.1:{listener.socket.getsockname()[1]}/"
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


async def test_a_redirect_to_what_is_less_secure_is_not_followed() -> None:
    authority = trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    async with hostile(OPEN) as elsewhere:
        answer = f"HTTP/1.1 302 x\r\nLocation: {elsewhere}\r\nContent-Length: 0\r\n\r\n"
        async with hostile(answer.encode(), context=context) as url:
            with pytest.raises(trio_ws.RedirectRefused, match="from wss to ws"):
                async with trio_ws.connect(url, ssl_context=trusting):
                    raise AssertionError("connected")


async def test_bytes_behind_the_answer_are_frames() -> None:
    async with hostile(OPEN + b"\x81\x05hello\x88\x02\x03\xe8") as url:
        async with trio_ws.connect(url) as ws:
            assert [message async for message in ws] == ["hello"]


async def test_an_answer_without_end_is_given_up() -> None:
    timeouts = trio_ws.Timeouts(open_timeout=0.5)
    async with hostile(OPEN * 100, drip=0.02) as url:
        with pytest.raises(trio_ws.HandshakeTimeout):
            async with trio_ws.connect(url, timeouts=timeouts):
                raise AssertionError("connected")


async def test_interim_answers_without_end_are_given_up() -> None:
    timeouts = trio_ws.Timeouts(open_timeout=0.5)
    async with hostile(b"HTTP/1.1 103 Early Hints\r\nX: y\r\n\r\n" * 100_000) as url:
        with pytest.raises(trio_ws.HandshakeError):
            async with trio_ws.connect(url, timeouts=timeouts):
                raise AssertionError("connected")


@pytest.mark.parametrize("fragmented", [False, True], ids=["whole", "fragments"])
async def test_an_inflate_bomb_from_a_server_is_refused(fragmented: bool) -> None:
    bomb = deflated(200 * MIB)
    parts = [bomb[at : at + 1000] for at in range(0, len(bomb) - 200, 1000)]
    frames = b"\x42\0" + b"".join(b"\0\x7e" + len(one).to_bytes(2, "big") + one for one in parts)
    if not fragmented:
        frames = b"\xc2\x7f" + len(bomb).to_bytes(8, "big") + bomb
    answer = OPEN.replace(b"KEY", b"KEY\r\nSec-WebSocket-Extensions: permessage-deflate")
    async with (
        hostile(answer + frames) as url,
        trio_ws.connect(url, compression=trio_ws.Compression(peer_window_bits=None)) as ws,
    ):
        tracemalloc.start()
        try:
            held = tracemalloc.get_traced_memory()[0]
            with pytest.raises(trio_ws.MessageTooBig) as caught:
                await ws.receive()
            growth = tracemalloc.get_traced_memory()[1] - held
        finally:
            tracemalloc.stop()
    assert caught.value.reason.code == 1009
    assert growth < 4 * MIB


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"\x82\x7e\x01\0abc", id="inside a frame"),
        pytest.param(b"\x02\x03abc", id="between fragments"),
    ],
)
async def test_a_message_of_a_server_that_never_ends_is_cut(data: bytes) -> None:
    timeouts = trio_ws.Timeouts(assembly_timeout=0.3)
    async with hostile(OPEN + data) as url, trio_ws.connect(url, timeouts=timeouts) as ws:
        with pytest.raises(trio_ws.ConnectionClosedError) as caught:
            await ws.receive()
        assert caught.value.reason.code == 1008


async def test_a_server_that_never_reads_is_left(engine: Engine) -> None:
    timeouts = trio_ws.Timeouts(write_stall=0.5, close_timeout=0.5)
    async with hostile(OPEN, reads=False) as url:
        async with trio_ws.connect(url, engine=engine, timeouts=timeouts) as ws:
            with pytest.raises(trio_ws.ConnectionClosedError):
                while True:
                    await ws.send(bytes(64 * 1024))


async def test_a_server_that_cuts_every_connection_is_not_hammered() -> None:
    attempts = []

    def note(failure: trio_ws.Failure) -> trio_ws.Verdict:
        attempts.append(failure)
        return trio_ws.Verdict.RETRY

    # Going away, it says each time.
    backoff = trio_ws.Backoff(initial=0.2, jitter="none")
    async with hostile(OPEN + b"\x88\x02\x03\xe9") as url:
        with trio.move_on_after(2):
            async with trio_ws.keep_connected(url, backoff=backoff, should_retry=note) as ws:
                await ws.receive()
    # 0.2, 0.4, 0.8 and 1.6 s apart.
    assert 2 <= len(attempts) <= 5


HOSTILE = "\r\nERROR forged\x1b[2J\x9b31m\u202e"


async def test_what_is_said_of_a_server_is_printable() -> None:
    reason = HOSTILE.encode()
    frame = bytes((0x88, len(reason) + 2)) + b"\x03\xf3" + reason
    async with hostile(OPEN + frame) as url, trio_ws.connect(url) as ws:
        with pytest.raises(trio_ws.ConnectionClosedError) as caught:
            await ws.receive()
    assert str(caught.value).isprintable()
    assert str(caught.value.reason).isprintable()


async def test_a_command_says_nothing_that_a_terminal_would_do() -> None:
    text, reason = HOSTILE.encode(), HOSTILE.encode()
    frames = bytes((0x81, len(text))) + text + bytes((0x88, len(reason) + 2)) + b"\x03\xf3" + reason
    async with hostile(OPEN + frames) as url:
        async with Terminal.spawn([*COMMAND, "client", url]) as terminal:
            assert await terminal.exit_code() != 0
            shown = terminal.text
    # The screen was not cleared, nothing is on a line of its own, and nothing turned around.
    assert r"\x1b[2J" in shown or "forged" in shown
    assert not any(line.startswith("ERROR forged") for line in shown.splitlines())
    assert "\u202e" not in shown
    assert "\x9b" not in shown
