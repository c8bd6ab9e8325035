"""The server: supervision, refusals, limits, draining."""

from __future__ import annotations

import errno
import logging
import socket
import ssl
import struct
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any

import h11
import pytest
import trio
import trio.testing
import trustme

import trio_ws
from trio_ws import (
    ConnectionClosedError,
    ConnectionClosedOK,
    ConnectionRejected,
    Limits,
    Response,
    Server,
    Timeouts,
)
from trio_ws._tls import TLSStream
from trio_ws.instrumentation import ConnectionOpened
from trio_ws.protocol.frames import Opcode, encode_frame

from .network import URL, install

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from trio.testing import MockClock

    from trio_ws import Request, WebSocket

KEY = b"\x01\x02\x03\x04"
HANDSHAKE = (
    b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


async def echo(ws: WebSocket) -> None:
    async for message in ws:
        await ws.send(message)


async def wait_for_the_end(ws: WebSocket) -> None:
    async for _ in ws:
        pass


@asynccontextmanager
async def serving(handler: Any = echo, **options: Any) -> AsyncIterator[Server]:
    """A server on a free port, or on listeners given."""
    if "listeners" not in options and "unix_socket" not in options:
        options = {"host": "127.0.0.1", "port": 0, **options}
    async with trio.open_nursery() as nursery:
        yield await nursery.start(partial(trio_ws.serve, handler, **options))
        nursery.cancel_scope.cancel()


def url(server: Server, target: str = "/") -> str:
    return f"ws://127.0.0.1:{server.port}{target}"


class MemoryListener(trio.abc.Listener[trio.abc.Stream]):
    """Accepts streams in memory, or fails as told."""

    def __init__(self) -> None:
        self.send, self._receive = trio.open_memory_channel[trio.abc.Stream | OSError](100)

    async def accept(self) -> trio.abc.Stream:
        accepted = await self._receive.receive()
        if isinstance(accepted, OSError):
            raise accepted
        return accepted

    async def aclose(self) -> None:
        self._receive.close()
        await trio.lowlevel.checkpoint()

    def connect(self) -> trio.abc.Stream:
        here, there = trio.testing.memory_stream_pair()
        self.send.send_nowait(there)
        return here


async def read_to_end(stream: trio.abc.Stream) -> bytes:
    data = b""
    with suppress(trio.BrokenResourceError):
        while piece := await stream.receive_some():
            data += piece
    return data


async def exchange(server: Server, request: bytes) -> tuple[int, dict[bytes, bytes], bytes]:
    """Status, headers and body of the server's HTTP answer to raw bytes."""
    async with await trio.open_tcp_stream("127.0.0.1", server.port) as stream:
        await stream.send_all(request)
        await stream.send_eof()
        return parse(await read_to_end(stream))


def parse(answer: bytes) -> tuple[int, dict[bytes, bytes], bytes]:
    connection = h11.Connection(h11.CLIENT)
    connection.send(h11.Request(method="GET", target="/", headers=[("Host", "x")]))
    connection.receive_data(answer)
    connection.receive_data(b"")
    response = connection.next_event()
    assert isinstance(response, h11.Response)
    body = b""
    while isinstance(event := connection.next_event(), h11.Data):
        body += event.data
    return response.status_code, dict(response.headers), body


# Serving


async def test_serve_gives_a_server_that_tells_where_it_listens() -> None:
    async with serving() as server:
        assert server.addresses == (("127.0.0.1", server.port),)
        assert repr(server).endswith("open, 0 connections>")
        async with trio_ws.connect(url(server)) as ws:
            await ws.send("hello")
            assert await ws.receive() == "hello"
            assert [one.id for one in server.connections] == [server.connections[0].id]
            statistics = server.statistics()
            assert (statistics.connections, statistics.accepted, statistics.handshakes) == (1, 1, 0)


async def test_serving_on_a_unix_socket(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    async with serving(unix_socket=path) as server:
        with pytest.raises(ValueError, match="no TCP port"):
            assert server.port
        async with trio_ws.connect(f"ws+unix:{path}:/chat") as ws:
            assert ws.request.path == "/chat"
            await ws.send("hello")
            assert await ws.receive() == "hello"
    assert not path.exists()


def tls_contexts() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """The server's and the client's."""
    authority = trustme.CA()
    theirs, ours = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH), ssl.create_default_context()
    authority.issue_cert("127.0.0.1").configure_cert(theirs)
    authority.configure_trust(ours)
    return theirs, ours


async def test_serving_with_tls() -> None:
    theirs, ours = tls_contexts()
    async with serving(ssl_context=theirs) as server:
        async with trio_ws.connect(f"wss://127.0.0.1:{server.port}", ssl_context=ours) as ws:
            await ws.send("hello")
            assert await ws.receive() == "hello"
        with pytest.raises(ConnectionRejected) as caught:
            async with trio_ws.connect(
                f"wss://127.0.0.1:{server.port}", ssl_context=ours, origin="https://evil.example"
            ):
                pass
        assert caught.value.status == 403


async def test_what_came_in_one_record_with_the_request_is_not_forgotten() -> None:
    theirs, ours = tls_contexts()
    async with serving(ssl_context=theirs) as server:
        stream = TLSStream(
            await trio.open_tcp_stream("127.0.0.1", server.port), ours, server_hostname="127.0.0.1"
        )
        await stream.do_handshake()
        frame = encode_frame(Opcode.BINARY, bytes(12_000), KEY)
        # One call, one record: more than the server reads a request in.
        assert stream.tls.send(HANDSHAKE + frame) == len(HANDSHAKE + frame)
        received = b""
        with trio.fail_after(5):
            while not received.endswith(bytes(12_000)):
                received += await stream.receive_some()
        await stream.aclose()


async def test_what_cannot_be_listened_on_is_refused() -> None:
    with pytest.raises(ValueError, match="nothing to listen on"):
        await trio_ws.serve(echo)
    with pytest.raises(ValueError, match="a host needs a port"):
        await trio_ws.serve(echo, "127.0.0.1")
    async with serving() as server:
        with pytest.raises(OSError):
            await trio_ws.serve(echo, "127.0.0.1", server.port)


# Supervision


async def test_a_handler_that_crashes_closes_its_own_connection_only(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def crash(ws: WebSocket) -> None:
        async for message in ws:
            if message == "crash":
                raise RuntimeError("out of cheese")
            await ws.send(message)

    async with (
        serving(crash) as server,
        trio_ws.connect(url(server)) as sibling,
        trio_ws.connect(url(server)) as victim,
    ):
        await victim.send("crash")
        with pytest.raises(ConnectionClosedError) as caught:
            await victim.receive()
        assert caught.value.reason.code == 1011
        await sibling.send("alive")
        assert await sibling.receive() == "alive"
        assert server.statistics().crashed == 1
    (record,) = [one for one in caplog.records if one.levelno >= logging.ERROR]
    assert record.exc_info is not None
    assert "out of cheese" in str(record.exc_info[1])
    assert "handler crashed" in record.getMessage()
    assert "127.0.0.1" in record.getMessage()


async def test_a_handler_that_returns_closes_with_1000() -> None:
    async def greet(ws: WebSocket) -> None:
        await ws.send("hello")

    async with serving(greet) as server, trio_ws.connect(url(server)) as ws:
        assert [message async for message in ws] == ["hello"]
        assert ws.close_reason is not None
        assert ws.close_reason.code == 1000


@pytest.mark.parametrize("grouped", [False, True])
async def test_a_handler_need_not_catch_the_end_of_its_connection(
    grouped: bool, caplog: pytest.LogCaptureFixture
) -> None:
    ended = trio.Event()

    async def receive_for_ever(ws: WebSocket) -> None:
        try:
            if grouped:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(ws.receive)
            else:
                await ws.receive()
        finally:
            ended.set()

    async with serving(receive_for_ever) as server:
        async with trio_ws.connect(url(server)) as ws:
            await ws.aclose(4000)
        await ended.wait()
        assert server.statistics().crashed == 0
    assert not [one for one in caplog.records if one.levelno >= logging.WARNING]


async def test_a_write_that_fails_behind_a_full_inbox_is_no_crash(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    async def send_for_ever(ws: WebSocket) -> None:
        while True:
            await ws.send("tick")
            await trio.sleep(1)

    network = install(monkeypatch)
    async with network.served(send_for_ever, limits=Limits(inbox_messages=4)) as server:
        async with trio_ws.connect(URL, heartbeat=None) as ws:
            for _ in range(20):
                await ws.send("x")
            await trio.testing.wait_all_tasks_blocked()
            ws.abort()
        await trio.sleep(5)
        assert server.connections == ()
        assert server.statistics().crashed == 0


async def test_a_handler_may_close_by_itself() -> None:
    async def close(ws: WebSocket) -> None:
        await ws.aclose(4001, "enough")
        await ws.receive()

    async with serving(close) as server, trio_ws.connect(url(server)) as ws:
        with pytest.raises(ConnectionClosedError) as caught:
            await ws.receive()
        assert caught.value.reason.code == 4001
        assert server.statistics().crashed == 0


@pytest.mark.parametrize("is_async", [False, True])
async def test_on_error_is_told_before_the_connection_is_closed(is_async: bool) -> None:
    told: list[tuple[str, Exception]] = []

    async def crash(ws: WebSocket) -> None:
        raise KeyError("a bug")

    def on_error(ws: WebSocket, error: Exception) -> None:
        told.append((ws.id, error))
        ws.send_nowait("sorry")

    async def on_error_later(ws: WebSocket, error: Exception) -> None:
        await trio.lowlevel.checkpoint()
        on_error(ws, error)

    hook: Any = on_error_later if is_async else on_error
    async with serving(crash, on_error=hook, hooks=()) as server:
        async with trio_ws.connect(url(server)) as ws:
            assert await ws.receive() == "sorry"
            with pytest.raises(ConnectionClosedError):
                await ws.receive()
    assert isinstance(told[0][1], KeyError)


async def test_an_on_error_that_fails_disturbs_nobody(caplog: pytest.LogCaptureFixture) -> None:
    async def crash(ws: WebSocket) -> None:
        await ws.receive()
        raise KeyError("a bug")

    def broken(ws: WebSocket, error: Exception) -> None:
        raise RuntimeError("another bug")

    async def too_late(ws: WebSocket, error: Exception) -> None:
        await ws.wait_closed()
        await ws.send("sorry")

    for hook, messages in ((broken, ["on_error failed"]), (too_late, [])):
        caplog.clear()
        async with serving(crash, on_error=hook, hooks=()) as server:
            async with trio_ws.connect(url(server)) as ws:
                await ws.send("x")
                if hook is too_late:
                    ws.abort()
                else:
                    with pytest.raises(ConnectionClosedError):
                        await ws.receive()
            while server.statistics().connections:
                await trio.testing.wait_all_tasks_blocked(0.01)
        assert [one.getMessage().partition(": ")[2] for one in caplog.records] == messages


async def test_an_on_error_that_hangs_is_cancelled(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async def crash(ws: WebSocket) -> None:
        raise KeyError("a bug")

    async def hang(ws: WebSocket, error: Exception) -> None:
        await trio.sleep_forever()

    network = install(monkeypatch)
    async with network.served(crash, on_error=hang, hooks=()):
        async with trio_ws.connect(URL, heartbeat=None) as ws:
            with pytest.raises(ConnectionClosedError, match="1011"):
                await ws.receive()
    assert trio.current_time() == pytest.approx(10)
    assert [one.partition(": ")[2] for one in caplog.messages] == [
        "on_error was not done within 10 s"
    ]


async def test_a_connection_whose_handler_outlives_it_is_not_open(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    async def linger(ws: WebSocket) -> None:
        await ws.wait_closed()
        await trio.sleep(5)

    network = install(monkeypatch)
    async with network.served(linger) as server:
        async with trio_ws.connect(URL, heartbeat=None) as ws:
            await ws.ping()
            (only,) = server.connections
        assert server.connections == ()
        assert not server.close_connection(only.id)
        # It still takes a place, until its handler is done.
        assert server.statistics().connections == 1
        await trio.sleep(6)
        assert server.statistics().connections == 0


async def test_the_registry_may_be_iterated_over_while_it_changes(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    network = install(monkeypatch)

    async def come_and_go(pause: float) -> None:
        while True:
            async with trio_ws.connect(URL, heartbeat=None) as ws:
                with trio.move_on_after(pause):
                    await ws.wait_closed()

    async with network.served(wait_for_the_end) as server, trio.open_nursery() as nursery:
        for number in range(10):
            nursery.start_soon(come_and_go, 0.1 + number / 100)
        closed = seen = 0
        for _ in range(50):
            for connection in server.connections:
                await trio.sleep(0.01)
                assert connection.statistics().uptime >= 0
                closed += server.close_connection(connection.id)
                seen += 1
            await trio.sleep(0.01)
        nursery.cancel_scope.cancel()
    assert 0 < closed < seen


async def test_one_connection_is_closed_by_its_id() -> None:
    ended: list[str] = []

    async def handler(ws: WebSocket) -> None:
        try:
            await ws.receive()
        except ConnectionClosedError as error:
            ended.append(str(error.reason))

    async with serving(handler) as server:
        async with trio_ws.connect(url(server)) as ws, trio_ws.connect(url(server)) as other:
            await other.ping()
            first, second = server.connections
            assert server.statistics().uptime > 0
            assert second.statistics().uptime > 0
            with pytest.raises(ValueError, match="1006"):
                server.close_connection(first.id, 1006)
            # Iterating goes on while connections come and go.
            for connection in server.connections:
                if connection.id == first.id:
                    assert server.close_connection(first.id, 4000, "enough")
                    assert not server.close_connection(first.id)
            with pytest.raises(ConnectionClosedError, match="4000"):
                await ws.receive()
            await other.ping()
        assert not server.close_connection("nobody")
    (reason,) = ended
    assert reason.startswith("4000 (private use) 'enough', closed here")


async def test_a_hook_may_close_what_has_just_opened() -> None:
    """The close frame does not overtake the handshake's answer."""

    def refuse(record: object) -> None:
        if isinstance(record, ConnectionOpened):
            server.close_connection(record.id, 4003, "banned")

    async with serving(wait_for_the_end, hooks=[refuse]) as server:
        with pytest.raises(ConnectionClosedError, match="banned"):
            async with trio_ws.connect(url(server)) as ws:
                await ws.receive()


async def test_a_heartbeat_of_the_server_s_own() -> None:
    async def silent(ws: WebSocket) -> None:
        await ws.receive()

    heartbeat = trio_ws.Heartbeat(interval=0.05, timeout=0.05, rng=lambda: 0.5)
    async with serving(silent, heartbeat=heartbeat) as server:
        stream = await trio.open_tcp_stream("127.0.0.1", server.port)
        async with stream:
            await stream.send_all(HANDSHAKE)
            received = b""
            while data := await stream.receive_some():
                received += data
    # A ping, no pong, and the close frame that says why.
    assert b"no sign of life" in received


async def test_the_end_of_another_connection_is_a_crash() -> None:
    async def confused(ws: WebSocket) -> None:
        raise trio_ws.ConnectionClosedOK(trio_ws.CloseReason(1000))

    async with serving(confused) as server, trio_ws.connect(url(server)) as ws:
        with pytest.raises(ConnectionClosedError):
            await ws.receive()
        assert server.statistics().crashed == 1


async def test_what_is_no_exception_of_a_program_propagates() -> None:
    class Stop(BaseException):
        pass

    async def stop(ws: WebSocket) -> None:
        raise Stop

    with pytest.raises(BaseExceptionGroup) as caught:
        async with serving(stop) as server:
            with suppress(trio_ws.ConnectionClosed, OSError):
                async with trio_ws.connect(url(server)) as ws:
                    await ws.receive()
            await trio.sleep_forever()
    assert caught.group_contains(Stop)


async def test_a_handler_that_outlives_its_connection_is_cancelled(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    listener = MemoryListener()
    cancelled_at: list[float] = []

    async def only_waits(ws: WebSocket) -> None:
        try:
            await trio.sleep_forever()
        finally:
            cancelled_at.append(trio.current_time())

    async with serving(only_waits, listeners=[listener]):
        stream = listener.connect()
        await stream.send_all(HANDSHAKE)
        await stream.receive_some()
        began = trio.current_time()
        await stream.aclose()
        await trio.sleep(60)
    assert cancelled_at == [pytest.approx(began + 10)]
    assert [one for one in caplog.messages if "is cancelled" in one]


async def test_the_grace_begins_when_everything_is_read(autojump_clock: MockClock) -> None:
    listener = MemoryListener()
    received: list[object] = []

    async def slow(ws: WebSocket) -> None:
        async for message in ws:
            received.append(message)
            await trio.sleep(8)

    async with serving(slow, listeners=[listener]):
        stream = listener.connect()
        frames = b"".join(encode_frame(Opcode.TEXT, b"%d" % n, KEY) for n in range(5))
        await stream.send_all(HANDSHAKE + frames)
        await stream.aclose()
        await trio.sleep(100)
    assert received == ["0", "1", "2", "3", "4"]


# Refusals


async def test_plain_http_gets_helpful_advice() -> None:
    async with serving() as server:
        status, headers, body = await exchange(server, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (status, headers[b"sec-websocket-version"]) == (426, b"13")
        assert headers[b"upgrade"] == b"websocket"
        assert b"WebSocket" in body
        assert server.statistics().refused == 1


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (HANDSHAKE.replace(b"Version: 13", b"Version: 8"), 426),
        (HANDSHAKE.replace(b"GET", b"POST"), 405),
        (HANDSHAKE.replace(b"dGhlIHNhbXBsZSBub25jZQ==", b"short"), 400),
        (HANDSHAKE.replace(b"Host: localhost\r\n", b""), 400),
        (HANDSHAKE.replace(b"GET / ", b"GET /" + b"x" * 9000 + b" "), 431),
        (HANDSHAKE.replace(b"\r\n\r\n", b"\r\n" + b"X: y\r\n" * 100 + b"\r\n"), 431),
        (HANDSHAKE.replace(b"\r\n\r\n", b"\r\nX: " + b"y" * 40_000 + b"\r\n\r\n"), 431),
        (HANDSHAKE[:-2], 408),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 garbage\r\n\r\n", 400),
        (b"\r\n\r\n\r\n", 400),
    ],
)
async def test_bad_requests_get_their_status_and_one_line(
    request_bytes: bytes, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with serving() as server:
        assert (await exchange(server, request_bytes))[0] == status
        async with trio_ws.connect(url(server)) as ws:
            await ws.send("unharmed")
            assert await ws.receive() == "unharmed"
    (line,) = caplog.messages
    assert "refused" in line
    assert "\n" not in line


async def test_a_probe_that_says_nothing_is_not_worth_a_line(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    async with serving() as server:
        stream = await trio.open_tcp_stream("127.0.0.1", server.port)
        await stream.aclose()
        async with trio_ws.connect(url(server)):
            pass
    assert caplog.messages == []


async def test_a_slow_head_is_cut_off_at_ten_seconds(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    listener = MemoryListener()
    async with serving(listeners=[listener]):
        stream = listener.connect()
        began = trio.current_time()

        async def dribble() -> None:
            with suppress(trio.BrokenResourceError):
                for byte in HANDSHAKE:
                    await stream.send_all(bytes([byte]))
                    await trio.sleep(1)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(dribble)
            await read_to_end(stream)
            assert trio.current_time() - began == pytest.approx(10)
    assert len(caplog.messages) == 1


async def test_a_peer_that_vanishes_in_its_handshake_is_forgotten() -> None:
    listener = MemoryListener()
    async with serving(listeners=[listener]) as server:
        stream = listener.connect()
        await stream.send_all(HANDSHAKE[:20])
        await trio.testing.wait_all_tasks_blocked()
        assert server.statistics().handshakes == 1
        await stream.aclose()
        await trio.testing.wait_all_tasks_blocked()
        assert server.statistics().handshakes == 0
        assert server.addresses == ()


async def test_peers_that_reset_at_any_stage_harm_nobody(caplog: pytest.LogCaptureFixture) -> None:
    conversation = HANDSHAKE + encode_frame(Opcode.TEXT, b"hello" * 5, KEY)
    async with serving() as server, trio_ws.connect(url(server)) as sibling:
        for count in range(0, len(conversation) + 1, 5):
            peer = socket.create_connection(("127.0.0.1", server.port))
            peer.sendall(conversation[:count])
            # Lingering for no time makes closing a reset.
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            await trio.testing.wait_all_tasks_blocked(0.001)
            peer.close()
        await sibling.send("unharmed")
        assert await sibling.receive() == "unharmed"
        while len(server.connections) > 1 or server.statistics().handshakes:
            await trio.testing.wait_all_tasks_blocked()
        assert server.statistics().crashed == 0
    assert not [one for one in caplog.records if one.levelno >= logging.WARNING]


async def test_a_refused_peer_that_does_not_listen_is_left(autojump_clock: MockClock) -> None:
    listener = MemoryListener()
    async with serving(listeners=[listener]) as server:
        stream = listener.connect()
        await stream.send_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        await trio.sleep(2)
        assert server.statistics().handshakes == 0
        assert (await read_to_end(stream)).startswith(b"HTTP/1.1 426")


@pytest.mark.parametrize("encrypted", [False, True], ids=["plain", "TLS"])
async def test_an_answer_gets_past_what_nobody_read(encrypted: bool) -> None:
    """A reset for the request's body could take the answer away from the client, unread."""
    theirs, ours = tls_contexts()
    async with serving(ssl_context=theirs if encrypted else None) as server:
        stream: trio.SocketStream | TLSStream
        stream = plain = await trio.open_tcp_stream("127.0.0.1", server.port)
        if encrypted:
            stream = TLSStream(plain, ours, server_hostname="127.0.0.1")
            await stream.do_handshake()
        await stream.send_all(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 50000\r\n\r\n")
        for _ in range(5):
            await stream.send_all(bytes(10_000))
            await trio.testing.wait_all_tasks_blocked(0.001)
        status, _, _ = parse(await read_to_end(stream))
        assert status == 400
        await stream.aclose()


async def test_origins_are_checked() -> None:
    async with serving(origins=["https://*.example.com"]) as server:
        async with trio_ws.connect(url(server), origin="https://app.example.com"):
            pass
        async with trio_ws.connect(url(server)):
            pass
        with pytest.raises(ConnectionRejected) as caught:
            async with trio_ws.connect(url(server), origin="https://app.example.com.evil"):
                pass
        assert caught.value.status == 403


async def test_process_request_may_answer(caplog: pytest.LogCaptureFixture) -> None:
    async def hook(request: Request) -> Response | None:
        if request.path == "/health":
            return Response.text(200, "fine")
        if request.path == "/crash":
            raise RuntimeError("hook")
        return None

    async with serving(process_request=hook) as server:
        status, _, body = await exchange(server, b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (status, body) == (200, b"fine")
        status, _, body = await exchange(server, b"GET /crash HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (status, body) == (500, b"Internal server error\n")
        async with trio_ws.connect(url(server)):
            pass
    assert "process_request failed" in caplog.text


async def test_a_router_answers_404_before_a_connection_is_made() -> None:
    router = trio_ws.Router()

    @router.route("/rooms/{room}")
    async def room(ws: WebSocket, room: str) -> None:
        await ws.send(f"welcome to {room}")

    async with serving(router) as server:
        async with trio_ws.connect(url(server, "/rooms/caf%C3%A9")) as ws:
            assert await ws.receive() == "welcome to café"
        with pytest.raises(ConnectionRejected) as caught:
            async with trio_ws.connect(url(server, "/nowhere")):
                pass
        assert caught.value.status == 404


async def test_subprotocols_are_chosen_by_the_server() -> None:
    async with (
        serving(subprotocols=["b", "a"]) as server,
        trio_ws.connect(url(server), subprotocols=["a", "b"]) as ws,
    ):
        assert ws.subprotocol == "b"


async def test_subprotocols_may_be_chosen_by_a_callable() -> None:
    async with (
        serving(subprotocols=lambda request, offered: offered[-1]) as server,
        trio_ws.connect(url(server), subprotocols=["x", "y"]) as ws,
    ):
        assert ws.subprotocol == "y"


async def test_a_choice_that_was_not_offered_costs_one_handshake(
    caplog: pytest.LogCaptureFixture,
) -> None:
    choices = iter(["unoffered", None])
    async with serving(subprotocols=lambda request, offered: next(choices)) as server:
        with pytest.raises(ConnectionRejected) as caught:
            async with trio_ws.connect(url(server)):
                pass
        assert caught.value.status == 500
        async with trio_ws.connect(url(server)):
            pass
    assert "the opening handshake crashed" in caplog.text


async def test_a_bug_of_ours_costs_one_connection(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    from trio_ws._connection import Connection

    receive = Connection._receive_until_end

    async def fail(self: Connection, ending: Any) -> None:
        if self.request.path == "/bug":
            raise AssertionError("bug")
        await receive(self, ending)

    async with serving() as server:
        monkeypatch.setattr(Connection, "_receive_until_end", fail)
        stream = await trio.open_tcp_stream("127.0.0.1", server.port)
        half_a_frame = b"\x81"
        await stream.send_all(HANDSHAKE.replace(b"GET /", b"GET /bug") + half_a_frame)
        await read_to_end(stream)
        await stream.aclose()
        async with trio_ws.connect(url(server)) as ws:
            await ws.send("unharmed")
            assert await ws.receive() == "unharmed"
    assert "internal error" in caplog.text


async def test_a_header_that_cannot_be_sent_costs_handshakes_only(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with serving(headers={"X": "a\r\nb"}) as server:
        for _ in range(2):
            with pytest.raises(ConnectionRejected, match="HTTP 500"):
                async with trio_ws.connect(url(server)):
                    pass
    assert "the opening handshake crashed" in caplog.text


async def test_additional_headers_are_sent() -> None:
    async with (
        serving(headers={"X-Served-By": "me"}) as server,
        trio_ws.connect(url(server)) as ws,
    ):
        assert ws.response.headers["x-served-by"] == "me"


# Limits


async def test_connections_beyond_the_bound_get_503() -> None:
    async with serving(max_connections=1) as server:
        async with trio_ws.connect(url(server)):
            with pytest.raises(ConnectionRejected) as caught:
                async with trio_ws.connect(url(server)):
                    pass
            assert (caught.value.status, caught.value.retry_after) == (503, 5.0)
        while server.statistics().connections:
            await trio.testing.wait_all_tasks_blocked()
        async with trio_ws.connect(url(server)):
            pass


async def test_connections_of_one_host_beyond_the_bound_get_503() -> None:
    async with serving(max_connections_per_host=1) as server:
        async with trio_ws.connect(url(server)):
            with pytest.raises(ConnectionRejected, match="Too many connections from your address"):
                async with trio_ws.connect(url(server)):
                    pass
        while server.statistics().connections:
            await trio.testing.wait_all_tasks_blocked()
        assert not server._hosts


async def test_handshakes_beyond_the_bound_are_not_accepted_yet() -> None:
    listener = MemoryListener()
    async with serving(listeners=[listener], limits=Limits(max_handshakes=2)):
        first, second, third = (listener.connect() for _ in range(3))
        await third.send_all(HANDSHAKE)
        await trio.testing.wait_all_tasks_blocked()
        with trio.move_on_after(0) as scope:
            await third.receive_some()
        assert scope.cancelled_caught
        await first.aclose()
        assert (await third.receive_some()).startswith(b"HTTP/1.1 101")
        await second.aclose()


async def test_a_shortage_of_descriptors_is_survived(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    listener = MemoryListener()
    async with serving(listeners=[listener]):
        for _ in range(20):
            listener.send.send_nowait(OSError(errno.EMFILE, "Too many open files"))
        stream = listener.connect()
        began = trio.current_time()
        await stream.send_all(HANDSHAKE)
        assert (await stream.receive_some()).startswith(b"HTTP/1.1 101")
        assert trio.current_time() - began == pytest.approx(2)
    errors = [one.getMessage() for one in caplog.records if one.levelno >= logging.ERROR]
    assert len(errors) == 2
    assert "Too many open files" in errors[0]


async def test_other_failures_to_accept_are_the_callers() -> None:
    listener = MemoryListener()
    listener.send.send_nowait(OSError(errno.EINVAL, "Invalid argument"))
    with pytest.raises(BaseExceptionGroup) as caught:
        async with serving(listeners=[listener]):
            await trio.sleep_forever()
    assert caught.group_contains(OSError, match="Invalid argument")


# Stopping


async def test_draining_closes_what_is_open_and_serve_returns() -> None:
    finished: list[str] = []

    async def handler(ws: WebSocket) -> None:
        async for _ in ws:
            pass
        finished.append("cleaned up")

    async with trio.open_nursery() as nursery:
        server = await nursery.start(partial(trio_ws.serve, handler, "127.0.0.1", 0))
        async with trio_ws.connect(url(server)) as ws:
            async with trio.open_nursery() as drainer:
                drainer.start_soon(partial(server.drain, reason="restarting"))
                with pytest.raises(trio_ws.ConnectionClosedOK) as caught:
                    await ws.receive()
            assert (caught.value.reason.code, caught.value.reason.reason) == (1001, "restarting")
        assert finished == ["cleaned up"]
        assert server.statistics().crashed == 0
        await server.drain()
        assert "draining" in repr(server)
        with pytest.raises(OSError):
            await trio.open_tcp_stream("127.0.0.1", server.port)


async def test_draining_with_another_code_is_an_error_to_both() -> None:
    seen: list[int] = []

    async def handler(ws: WebSocket) -> None:
        try:
            await ws.receive()
        except ConnectionClosedError as error:
            seen.append(error.reason.code)

    async with (
        serving(handler) as server,
        trio_ws.connect(url(server)) as ws,
        trio.open_nursery() as drainer,
    ):
        drainer.start_soon(partial(server.drain, code=1012))
        with pytest.raises(ConnectionClosedError):
            await ws.receive()
    assert seen == [1012]


async def test_draining_cancels_what_does_not_end_in_time(autojump_clock: MockClock) -> None:
    listener = MemoryListener()
    timeouts = Timeouts(handler_grace=1000)

    async def stubborn(ws: WebSocket) -> None:
        await trio.sleep_forever()

    async with serving(stubborn, listeners=[listener], timeouts=timeouts) as server:
        stream = listener.connect()
        await stream.send_all(HANDSHAKE)
        await stream.receive_some()
        began = trio.current_time()
        await server.drain(7)
        assert trio.current_time() - began == pytest.approx(7)
        assert server.connections == ()


async def test_draining_can_be_spread(autojump_clock: MockClock) -> None:
    listener = MemoryListener()
    closed_at: list[float] = []

    async def handler(ws: WebSocket) -> None:
        await wait_for_the_end(ws)
        closed_at.append(trio.current_time())

    async with serving(handler, listeners=[listener]) as server:
        streams = [listener.connect() for _ in range(4)]
        for stream in streams:
            await stream.send_all(HANDSHAKE)
            await stream.receive_some()
        began = trio.current_time()
        await server.drain(30, spread=8)
    assert [at - began for at in closed_at] == pytest.approx([0, 2, 4, 6])


async def test_handshakes_under_way_get_503_while_draining(autojump_clock: MockClock) -> None:
    listener = MemoryListener()
    async with serving(listeners=[listener]) as server:
        stream = listener.connect()
        await stream.send_all(HANDSHAKE[:-2])
        await trio.testing.wait_all_tasks_blocked()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(server.drain)
            await trio.testing.wait_all_tasks_blocked()
            await stream.send_all(HANDSHAKE[-2:])
            status, headers, body = parse(await read_to_end(stream))
            await stream.aclose()
        # Without a time to wait: another may serve on this port by now.
        assert (status, headers.get(b"retry-after")) == (503, None)
        assert b"going away" in body


async def test_cancelling_serve_is_prompt_and_leaves_nothing() -> None:
    cancelled: list[bool] = []

    async def handler(ws: WebSocket) -> None:
        try:
            await ws.receive()
        except trio.Cancelled:
            cancelled.append(True)
            raise

    async with trio.open_nursery() as nursery:
        server = await nursery.start(partial(trio_ws.serve, handler, "127.0.0.1", 0))
        async with trio_ws.connect(url(server)) as ws:
            while not server.connections:
                await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
            with trio.CancelScope(shield=True), pytest.raises(ConnectionClosedOK):
                await ws.receive()
    assert cancelled == [True]


async def test_a_receive_task_cancelled_after_its_handler_leaves_nothing() -> None:
    # The message comes behind its handshake, so that there is a receive task from the start.
    opening = HANDSHAKE + encode_frame(Opcode.TEXT, b"first", KEY)
    kept: list[WebSocket] = []

    async def keep(ws: WebSocket) -> None:
        kept.append(ws)
        await echo(ws)

    streams: list[trio.SocketStream] = []
    async with serving(keep, heartbeat=None) as server:
        # Trio runs the tasks of one step in any order: with many, the receive task of some is
        # the one that is cancelled last.
        for _ in range(16):
            stream = await trio.open_tcp_stream("127.0.0.1", server.port)
            streams.append(stream)
            await stream.send_all(opening)
            received = b""
            while not received.endswith(b"first"):
                received += await stream.receive_some()
        await trio.testing.wait_all_tasks_blocked()
    for stream, ws in zip(streams, kept, strict=True):
        with trio.fail_after(5):
            # Going away (1001), then the end.
            assert (await read_to_end(stream)).startswith(b"\x88\x02\x03\xe9")
            assert (await ws.wait_closed()).code == 1001
        await stream.aclose()


async def test_connecting_and_closing_ten_thousand_times_leaves_no_growth() -> None:
    import gc
    import tracemalloc

    listener = MemoryListener()

    async def once() -> None:
        stream = listener.connect()
        await stream.send_all(HANDSHAKE + encode_frame(Opcode.CLOSE, b"\x03\xe8", KEY))
        await read_to_end(stream)
        await stream.aclose()

    async with serving(listeners=[listener]) as server:
        for _ in range(500):
            await once()
        gc.collect()
        tracemalloc.start(1)
        try:
            before = tracemalloc.get_traced_memory()[0]
            for _ in range(500):
                await once()
            gc.collect()
            first = tracemalloc.get_traced_memory()[0] - before
            tracemalloc.stop()
            for _ in range(9_000):
                await once()
            tracemalloc.start(1)
            for _ in range(500):
                await once()
            gc.collect()
            assert tracemalloc.get_traced_memory()[0] < first + 200_000
        finally:
            tracemalloc.stop()
        assert server.statistics().accepted >= 10_000
        await trio.testing.wait_all_tasks_blocked()
        assert server.connections == ()


def test_hooks_are_found() -> None:
    hook: Callable[[Request], None] = lambda request: None  # noqa: E731
    from trio_ws._server import _hooks

    router = trio_ws.Router()
    assert _hooks(hook, router) == (hook, router.process_request)
    assert _hooks(None, echo) == ()
