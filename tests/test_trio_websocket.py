"""The engine over trio-websocket: what is its own, and `wrap` around somebody else's connection.

What it has in common with the other engine is in test_websocket, which runs over both.
"""

from __future__ import annotations

import logging
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
import trio
import trio.testing
import trio_websocket

import trio_ws
from tests.network import URL, Network, echo, install
from tests.pairs import KEY, Watching, raw_client, read_to_end
from tests.sweeps import CutStream, cancel_sweep, living_tasks
from trio_ws import (
    ClosedBy,
    CloseReason,
    ConnectionClosedError,
    ConnectionClosedOK,
    Heartbeat,
    HeartbeatTimeout,
    Limits,
    MessageTooBig,
    NotSupportedByEngine,
    ProtocolViolation,
    Timeouts,
    TrioWebSocket,
)
from trio_ws._trio_websocket import _Opening, _StreamBelow
from trio_ws.instrumentation import ConnectionOpened, PingReceived, PongReceived, Received
from trio_ws.protocol.frames import Opcode, encode_frame
from trio_ws.testing import open_pair

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from trio.testing import MockClock

    from tests.pairs import OpenPair, Streams
    from trio_ws._engines import Engine

ENGINE: Engine = "trio-websocket"


@pytest.fixture
def engine() -> Engine:
    return ENGINE


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> Network:
    return install(monkeypatch)


@asynccontextmanager
async def library_pair(
    **options: Any,
) -> AsyncIterator[tuple[trio_websocket.WebSocketConnection, trio_websocket.WebSocketConnection]]:
    """A client's and a server's connection of the library's own, over memory streams."""
    here, there = trio.testing.memory_stream_pair()
    async with trio.open_nursery() as nursery:
        requests: list[trio_websocket.WebSocketRequest] = []

        async def accept() -> None:
            request = await trio_websocket.wrap_server_stream(nursery, there, **options)
            requests.append(request)
            accepted.append(await request.accept(subprotocol="chat"))

        accepted: list[trio_websocket.WebSocketConnection] = []
        nursery.start_soon(accept)
        client = await trio_websocket.wrap_client_stream(
            nursery,
            here,  # type: ignore[arg-type]
            "testserver",
            "/path?query",
            subprotocols=["chat"],
        )
        await trio.testing.wait_all_tasks_blocked()
        yield client, accepted[0]
        await trio.aclose_forcefully(here)
        await trio.aclose_forcefully(there)


def wrapped(connection: trio_websocket.WebSocketConnection, **options: Any) -> Any:
    options.setdefault("heartbeat", None)
    options.setdefault("hooks", ())
    return trio_ws.wrap(connection, **options)


def code_of(connection: trio_websocket.WebSocketConnection) -> int | None:
    """With which code it is closed, as the library has it."""
    return None if connection.closed is None else connection.closed.code


# The connection that the library is made to have


async def test_it_is_asked_for_by_name() -> None:
    async with open_pair(engine=ENGINE, target="/a?b", subprotocols=["chat"]) as (client, server):
        assert isinstance(client, TrioWebSocket)
        assert isinstance(server, TrioWebSocket)
        assert repr(client) == f"<TrioWebSocket {client.id} /a?b: open>"
        await trio.testing.wait_all_tasks_blocked()
        for ws in (client, server):
            assert ws._library is not None
            assert ws._library.path == "/a?b"
            assert ws._library.subprotocol == ws.subprotocol == "chat"


async def test_what_came_behind_the_opening_handshake_is_received(network: Network) -> None:
    async def greet(ws: trio_ws.WebSocket) -> None:
        await ws.send("welcome")
        async for _ in ws:
            pass

    async with network.served(greet, engine=ENGINE):
        async with trio_ws.connect(URL, engine=ENGINE, heartbeat=None) as ws:
            assert await ws.receive() == "welcome"


async def test_bytes_behind_the_request_reach_the_library() -> None:
    here, there = trio.testing.memory_stream_pair()
    stream = _StreamBelow(None, b"leftover")  # type: ignore[arg-type]
    assert await stream.receive_some() == b"leftover"
    await stream.wait_send_all_might_not_block()
    await trio.aclose_forcefully(here)
    await trio.aclose_forcefully(there)


async def test_pieces_and_standing_still_are_refused(open_pair: OpenPair) -> None:
    async with open_pair() as (client, _):
        with pytest.raises(NotSupportedByEngine, match=r"receive_stream\(\) .*: use receive\(\)"):
            client.receive_stream()
        assert isinstance(client, TrioWebSocket)
        with pytest.raises(NotSupportedByEngine, match=r"stop_reading\(\)"):
            client.stop_reading()


async def test_the_opening_that_is_played_is_a_stream_like_any_other(open_pair: OpenPair) -> None:
    async with open_pair(subprotocols=["chat"]) as (client, _):
        assert isinstance(client, TrioWebSocket)
        opening = _Opening(client)
        await opening.wait_send_all_might_not_block()
        request = await opening.receive_some()
        assert request.startswith(b"GET / HTTP/1.1\r\n")
        assert b"Sec-WebSocket-Protocol: chat" in request
        await opening.aclose()


async def test_a_reader_of_the_library_that_fails_costs_one_connection(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_pair(engine=ENGINE) as (client, server):
        await client.send("first")
        assert await server.receive() == "first"

        def broken(self: object, data: bytes) -> None:
            raise KeyError("a bug")

        monkeypatch.setattr("trio_ws._trio_websocket._ProtocolBelow.receive_data", broken)
        with caplog.at_level(logging.WARNING, "trio_ws"):
            await client.send("second")
            with pytest.raises(ConnectionClosedError) as caught:
                await server.receive()
    assert caught.value.reason == CloseReason(1006, "", ClosedBy.NETWORK, clean=False)
    (message,) = (text for text in caplog.messages if server.id in text)
    assert message == f"{server.id}: trio-websocket failed: KeyError('a bug')"


async def test_too_many_control_frames_are_refused(open_pair: OpenPair) -> None:
    for opcode in (Opcode.PING, Opcode.PONG):
        limits = Limits(control_frame_burst=1, control_frame_rate=0.001)
        async with raw_client(open_pair, limits=limits) as (stream, server):
            await stream.send_all(encode_frame(opcode, b"", KEY) * 2)
            with pytest.raises(ProtocolViolation, match="too many control frames"):
                await server.receive()
            assert encode_frame(Opcode.CLOSE, b"\x03\xf0too many control frames") in bytes(
                await stream.receive_some()
            )
            await stream.aclose()


async def test_a_ping_after_our_close_frame_does_not_end_it_in_disorder(
    open_pair: OpenPair,
) -> None:
    """The library's own reader fails there, over an answer that may not be sent any more."""
    async with raw_client(open_pair) as (stream, server), trio.open_nursery() as nursery:
        nursery.start_soon(server.aclose)
        await trio.testing.wait_all_tasks_blocked()
        await stream.send_all(encode_frame(Opcode.PING, b"late", KEY))
        await trio.testing.wait_all_tasks_blocked()
        await stream.send_all(encode_frame(Opcode.CLOSE, b"\x03\xe8", KEY))
        assert await read_to_end(stream) == encode_frame(Opcode.CLOSE, b"\x03\xe8")
    assert server.close_reason == CloseReason(1000, "", ClosedBy.LOCAL, clean=True)


async def test_a_broken_rule_is_answered_with_a_close_frame(open_pair: OpenPair) -> None:
    """The library itself would just go."""
    async with raw_client(open_pair) as (stream, server):
        await stream.send_all(encode_frame(Opcode.TEXT, b"\xff", KEY))
        with pytest.raises(ProtocolViolation) as caught:
            await server.receive()
        assert caught.value.reason.code == 1007
        assert bytes(await stream.receive_some())[2:4] == (1007).to_bytes(2, "big")
        await stream.aclose()


async def test_ping_does_not_hang_after_an_abort(open_pair: OpenPair) -> None:
    """Those of the library do."""
    async with raw_client(open_pair) as (_, server), trio.open_nursery() as nursery:

        async def ping() -> None:
            with pytest.raises(trio.ClosedResourceError):
                await server.ping()

        nursery.start_soon(ping)
        await trio.testing.wait_all_tasks_blocked()
        server.abort()


async def test_who_does_not_read_does_not_look_dead_to_a_heartbeat(
    open_pair: OpenPair, autojump_clock: MockClock
) -> None:
    heartbeat = Heartbeat(interval=5, timeout=5)
    limits = Limits(inbox_messages=1)
    async with raw_client(open_pair, heartbeat=heartbeat, limits=limits) as (stream, server):
        await stream.send_all(encode_frame(Opcode.TEXT, b"unread", KEY) * 3)
        await trio.sleep(1_000)
        assert server.reading_since is None
        assert server.close_reason is None
        for _ in range(3):
            assert await server.receive() == "unread"
        await stream.aclose()


async def test_a_dead_peer_is_noticed(open_pair: OpenPair, autojump_clock: MockClock) -> None:
    heartbeat = Heartbeat(interval=5, timeout=5)
    async with raw_client(open_pair, heartbeat=heartbeat) as (stream, server):
        with pytest.raises(HeartbeatTimeout):
            await server.receive()
        await stream.aclose()


@pytest.mark.parametrize("lockstep", [False, True])
async def test_cancel_sweep_over_every_task(lockstep: bool) -> None:
    make = trio.testing.lockstep_stream_pair if lockstep else trio.testing.memory_stream_pair
    sent: list[str] = []
    received: list[str] = []

    async def scenario() -> None:
        sent.clear()
        received.clear()
        async with open_pair(engine=ENGINE, streams=make()) as (client, server):
            async with trio.open_nursery() as nursery:

                async def take() -> None:
                    async for message in server:
                        received.append(str(message))
                        await server.send(message)

                nursery.start_soon(take)
                for number in range(2):
                    await client.send(str(number))
                    sent.append(str(number))
                    assert await client.receive() == str(number)
                await client.ping()
                await client.aclose()

    async def check(cancelled: bool) -> None:
        assert received == sent[: len(received)] or received[:-1] == sent
        if not cancelled:
            assert received == sent == ["0", "1"]

    assert await cancel_sweep(scenario, check, every_task=True) > 30


@pytest.mark.parametrize("direction", ["send", "receive"])
async def test_cut_sweep_of_a_wrapped_connection(direction: str, autojump_clock: MockClock) -> None:
    for budget in range(120):
        before = living_tasks()
        here, there = trio.testing.memory_stream_pair()
        cut = CutStream(here)
        async with trio.open_nursery() as nursery:
            answers: list[str] = []

            async def serve(there: trio.abc.Stream = there) -> None:
                async with trio.open_nursery() as inner:
                    request = await trio_websocket.wrap_server_stream(inner, there)
                    connection = await request.accept()
                    try:
                        while True:
                            await connection.send_message(await connection.get_message())
                    except trio_websocket.ConnectionClosed:
                        inner.cancel_scope.cancel()

            nursery.start_soon(serve)
            async with trio.open_nursery() as inner:
                connection = await trio_websocket.wrap_client_stream(
                    inner,
                    cut,  # type: ignore[arg-type]
                    "testserver",
                    "/",
                )
                setattr(cut, f"_{direction}", budget)
                async with wrapped(connection) as ws:
                    try:
                        for message in ("a", "b" * 50, "c"):
                            await ws.send(message)
                            answers.append(str(await ws.receive()))
                    except ConnectionClosedError:
                        pass
                inner.cancel_scope.cancel()
            assert answers == ["a", "b" * 50, "c"][: len(answers)]
            assert ws.close_reason is not None
        assert living_tasks() == before


# Wrapping


async def test_wrapped_connections_talk_to_the_library_s_own() -> None:
    for side in (0, 1):
        async with library_pair() as pair:
            mine, other = pair[side], pair[1 - side]
            async with wrapped(mine) as ws:
                assert isinstance(ws, TrioWebSocket)
                assert ws.request.target == "/path?query"
                assert ws.subprotocol == "chat"
                assert ws.response.status == 101
                assert ws.extensions == ()
                await other.send_message("hello")
                assert await ws.receive() == "hello"
                await ws.send(b"bytes")
                assert await other.get_message() == b"bytes"
                await ws.send(["frag", "ments"])
                assert await other.get_message() == "fragments"
                assert await ws.ping() >= 0
                await other.ping()
                with trio.fail_after(5):
                    await mine.ping(b"the library's own")
            assert ws.close_reason == CloseReason(1000, "", ClosedBy.LOCAL, clean=True)
            assert code_of(other) == 1000
            await trio.testing.wait_all_tasks_blocked()
            assert code_of(mine) == 1000
            await mine.aclose()
            await other.aclose()


async def test_the_answer_s_headers_are_known_to_a_wrapped_client() -> None:
    async with library_pair() as (client, _):
        async with wrapped(client) as ws:
            assert "sec-websocket-accept" not in ws.request.headers
            assert ws.response.headers.raw == tuple(
                (name.decode(), value.decode()) for name, value in client.handshake_headers
            )


async def test_what_had_come_before_is_received() -> None:
    """Also what waits behind the queue of the library, in the order in which it came."""
    async with library_pair(message_queue_size=2) as (client, server):
        for number in range(6):
            await client.send_message(str(number))
            await trio.testing.wait_all_tasks_blocked()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.aclose, 4000, "done")
            await trio.testing.wait_all_tasks_blocked()
            async with wrapped(server) as ws:
                assert [await ws.receive() for _ in range(6)] == [*map(str, range(6))]
                with pytest.raises(ConnectionClosedError) as caught:
                    await ws.receive()
        assert caught.value.reason == CloseReason(4000, "done", ClosedBy.REMOTE, clean=True)


async def test_all_that_came_in_one_read_before_is_received() -> None:
    """The library was in the midst of it, and goes on with the protocol object it had."""
    async with raw_library_server() as (stream, server):
        await stream.send_all(
            b"".join(encode_frame(Opcode.TEXT, b"%d" % number, KEY) for number in range(4))
            + encode_frame(Opcode.PING, b"x", KEY)
            + encode_frame(Opcode.CLOSE, b"\x03\xe8bye", KEY)
        )
        await trio.testing.wait_all_tasks_blocked()
        async with wrapped(server) as ws:
            assert [message async for message in ws] == ["0", "1", "2", "3"]
        assert ws.close_reason == CloseReason(1000, "bye", ClosedBy.REMOTE, clean=True)
        assert await read_to_end(stream) == encode_frame(Opcode.PONG, b"x") + encode_frame(
            Opcode.CLOSE, b"\x03\xe8bye"
        )


async def test_a_broken_rule_behind_what_had_come_before_is_one() -> None:
    async with raw_library_server() as (stream, server):
        await stream.send_all(
            encode_frame(Opcode.TEXT, b"a", KEY) * 3 + encode_frame(Opcode.TEXT, b"\xff", KEY)
        )
        await trio.testing.wait_all_tasks_blocked()
        async with wrapped(server) as ws:
            assert [await ws.receive() for _ in range(3)] == ["a"] * 3
            with pytest.raises(ProtocolViolation) as caught:
                await ws.receive()
            assert caught.value.reason.code == 1007
            await stream.aclose()


@asynccontextmanager
async def raw_library_server(
    streams: Streams | None = None,
) -> AsyncIterator[tuple[trio.abc.Stream, trio_websocket.WebSocketConnection]]:
    """A server's connection of the library's own, and the bare stream that its client holds."""
    here, there = streams or trio.testing.memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(
            here.send_all,
            b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n",
        )
        request = await trio_websocket.wrap_server_stream(nursery, there)
        accepted: list[trio_websocket.WebSocketConnection] = []

        async def accept() -> None:
            accepted.append(await request.accept())

        nursery.start_soon(accept)
        assert bytes(await here.receive_some()).startswith(b"HTTP/1.1 101")
        await trio.testing.wait_all_tasks_blocked()
        yield here, accepted[0]
        await trio.aclose_forcefully(here)
        await trio.aclose_forcefully(there)


async def test_a_wrapped_connection_is_refused_what_is_too_big_by_its_own_bound() -> None:
    async with library_pair(max_message_size=10) as (client, server):
        async with wrapped(server) as ws:
            await client.send_message("x" * 11)
            with pytest.raises(MessageTooBig):
                await ws.receive()
        await client.aclose()


async def test_closing_a_wrapped_connection_itself_closes_what_is_around_it() -> None:
    async with library_pair() as (client, server):
        async with wrapped(server) as ws:
            await server.aclose(4001, "done")
            with pytest.raises(trio.ClosedResourceError):
                await ws.receive()
            assert ws.close_reason == CloseReason(4001, "done", ClosedBy.LOCAL, clean=True)
        with pytest.raises(trio_websocket.ConnectionClosed):
            await client.get_message()
        assert code_of(client) == 4001


async def test_messages_sent_by_the_wrapped_connection_itself_keep_their_place() -> None:
    async with library_pair() as (client, server):
        async with wrapped(server) as ws:
            await ws.send("1")
            await server.send_message("2")
            await ws.send("3")
            assert [await client.get_message() for _ in range(3)] == ["1", "2", "3"]
        with pytest.raises(trio_websocket.ConnectionClosed):
            await server.send_message("late")


async def test_a_message_of_the_library_s_own_on_a_dead_transport_fails() -> None:
    async with raw_library_server() as (stream, server), trio.open_nursery() as nursery:
        async with wrapped(server) as ws:
            await trio.aclose_forcefully(stream)
            with pytest.raises(trio_websocket.ConnectionClosed):
                await server.send_message("into the void")
            with pytest.raises(ConnectionClosedError, match="1006"):
                await ws.receive()
        nursery.cancel_scope.cancel()


async def test_a_message_of_the_library_s_own_that_waits_fails_with_an_abort() -> None:
    here, there = trio.testing.lockstep_stream_pair()
    async with raw_library_server(streams=(here, there)) as (_, server):
        async with wrapped(server) as ws, trio.open_nursery() as nursery:

            async def send() -> None:
                with pytest.raises(trio_websocket.ConnectionClosed):
                    await server.send_message("nobody reads it")

            nursery.start_soon(send)
            await trio.testing.wait_all_tasks_blocked()
            ws.abort()


async def test_what_comes_after_our_close_is_thrown_away() -> None:
    async with raw_library_server() as (stream, server):
        async with wrapped(server) as ws, trio.open_nursery() as nursery:
            nursery.start_soon(ws.aclose)
            await trio.testing.wait_all_tasks_blocked()
            await stream.send_all(encode_frame(Opcode.TEXT, b"late", KEY))
            await stream.send_all(encode_frame(Opcode.CLOSE, b"\x03\xe8", KEY))
        assert ws.close_reason == CloseReason(1000, "", ClosedBy.LOCAL, clean=True)
        with pytest.raises(trio.ClosedResourceError):
            await ws.receive()


async def test_nothing_of_the_library_s_follows_our_close_frame() -> None:
    async with raw_library_server() as (stream, server):
        async with wrapped(server) as ws, trio.open_nursery() as nursery:
            nursery.start_soon(ws.aclose)
            await trio.testing.wait_all_tasks_blocked()
            with pytest.raises(trio_websocket.ConnectionClosed):
                await server.send_message("late")
            await stream.send_all(encode_frame(Opcode.CLOSE, b"\x03\xe8", KEY))
            assert await read_to_end(stream) == encode_frame(Opcode.CLOSE, b"\x03\xe8")


async def test_abort_of_a_wrapped_connection_ends_the_library_s_too() -> None:
    async with library_pair() as (client, server):
        async with wrapped(server) as ws:
            ws.abort()
            with pytest.raises(trio_websocket.ConnectionClosed):
                await client.get_message()
        await trio.testing.wait_all_tasks_blocked()
        assert code_of(server) == code_of(client) == 1006


async def test_what_leaves_the_block_leaves_it_as_itself_and_closes() -> None:
    async with library_pair() as (client, server):
        with pytest.raises(KeyError, match="mine"):
            async with wrapped(server):
                raise KeyError("mine")
        assert code_of(client) == 1011
        with pytest.raises(ValueError, match="is wrapped already"):
            async with wrapped(server):
                pass
        with pytest.raises(ValueError, match="is closed: CloseReason"):
            async with wrapped(client):
                pass


async def test_only_the_library_s_connections_can_be_wrapped() -> None:
    with pytest.raises(TypeError, match=r"takes a trio_websocket\.WebSocketConnection, not 1"):
        async with wrapped(1):  # type: ignore[arg-type]
            pass
    async with library_pair() as (client, _):
        with pytest.raises(TypeError, match="heartbeat="):
            async with wrapped(client, heartbeat=20):
                pass
        with pytest.raises(NotSupportedByEngine, match=r"Timeouts\.assembly_timeout"):
            async with wrapped(client, timeouts=Timeouts(assembly_timeout=5)):
                pass


async def test_a_wrapped_connection_has_heartbeats_and_hooks(autojump_clock: MockClock) -> None:
    hook = Watching()
    async with library_pair() as (client, server):
        heartbeat = Heartbeat(interval=5, timeout=5)
        async with wrapped(server, heartbeat=heartbeat, hooks=[hook]) as ws:
            await trio.sleep(20)
            assert ws.latency == 0
            await client.send_message("hello")
            assert await ws.receive() == "hello"
            await client.ping(b"mine")
    kinds = {type(record) for record in hook.records}
    assert kinds >= {ConnectionOpened, PongReceived, PingReceived, Received}
    received = [one for one in hook.records if isinstance(one, Received)]
    assert sum(one.messages for one in received) == 1
    assert sum(one.bytes for one in received) == ws.statistics().bytes_received


async def test_a_dead_peer_of_a_wrapped_connection_is_noticed(autojump_clock: MockClock) -> None:
    async with raw_library_server() as (_, server):
        heartbeat = Heartbeat(interval=5, timeout=5)
        async with wrapped(server, heartbeat=heartbeat) as ws:
            with pytest.raises(HeartbeatTimeout):
                await ws.receive()
        await trio.testing.wait_all_tasks_blocked()
        assert code_of(server) == 1006


async def test_an_application_on_the_library_can_be_wrapped_from_within() -> None:
    """Over sockets, in the handler of ``serve_websocket`` and the block of ``open_websocket``."""

    async def handler(request: trio_websocket.WebSocketRequest) -> None:
        async with wrapped(await request.accept()) as ws:
            assert ws.remote_address[0] == "127.0.0.1"
            await echo(ws)

    async with trio.open_nursery() as nursery:
        serve = partial(trio_websocket.serve_websocket, handler, "127.0.0.1", 0, None)
        server = await nursery.start(serve)
        url = f"ws://127.0.0.1:{server.port}/"
        async with trio_websocket.open_websocket_url(url) as connection:
            async with wrapped(connection) as ws:
                await ws.send("hello")
                assert await ws.receive() == "hello"
        async with trio_ws.connect(url) as other:
            await other.send("again")
            assert await other.receive() == "again"
        nursery.cancel_scope.cancel()


# Serving and connecting


async def test_a_handler_that_raises_does_not_take_the_server_down(
    network: Network, caplog: pytest.LogCaptureFixture
) -> None:
    async def crash(ws: trio_ws.WebSocket) -> None:
        assert await ws.receive() == "go"
        raise KeyError("a bug")

    connect = partial(trio_ws.connect, URL, engine=ENGINE, heartbeat=None)
    async with network.served(crash, engine=ENGINE) as server:
        for _ in range(2):
            async with connect() as ws:
                await ws.send("go")
                with pytest.raises(ConnectionClosedError, match="1011"):
                    await ws.receive()
        assert server.statistics().crashed == 2


async def test_all_of_http_is_there(network: Network) -> None:
    """The opening handshake is this package's own, whatever the engine."""

    def process_request(request: trio_ws.Request) -> trio_ws.Response | None:
        if request.path == "/feed":
            return trio_ws.Response(307, trio_ws.Headers({"Location": "/there"}))
        if request.headers.get("authorization") != "Bearer me":
            return trio_ws.Response.text(401, "who are you?\n")
        return None

    served = network.served(
        echo,
        engine=ENGINE,
        process_request=process_request,
        subprotocols=["chat"],
        headers={"X-Mine": "yes"},
    )
    connect = partial(trio_ws.connect, URL, engine=ENGINE, heartbeat=None, subprotocols=["chat"])
    async with served:
        async with connect(headers={"Authorization": "Bearer me"}) as ws:
            assert ws.request.path == "/there"
            assert ws.subprotocol == "chat"
            assert ws.response.headers["x-mine"] == "yes"
            await ws.send("hello")
            assert await ws.receive() == "hello"
        with pytest.raises(trio_ws.ConnectionRejected, match="401") as caught:
            async with connect():
                pass
        assert caught.value.body == b"who are you?\n"


async def test_a_server_drains(network: Network) -> None:
    async with network.served(echo, engine=ENGINE) as server:
        async with trio_ws.connect(URL, engine=ENGINE, heartbeat=None) as ws:
            await ws.send("hello")
            assert await ws.receive() == "hello"
            await server.drain()
            with pytest.raises(ConnectionClosedOK) as caught:
                await ws.receive()
            assert caught.value.reason.code == 1001


async def test_it_connects_again(network: Network, autojump_clock: MockClock) -> None:
    async with network.served(echo, engine=ENGINE):
        keep = trio_ws.keep_connected(URL, engine=ENGINE, heartbeat=None, hooks=())
        async with keep as ws:
            for number in range(3):
                await ws.send(str(number))
                assert await ws.receive() == str(number)
                await network.cut()
                await trio.testing.wait_all_tasks_blocked()


async def test_supervised_handlers_run_on_it(network: Network, autojump_clock: MockClock) -> None:
    seen: list[type[trio_ws.WebSocket]] = []

    async def handler(ws: trio_ws.WebSocket) -> None:
        seen.append(type(ws))
        if len(seen) == 1:
            await network.cut()
            await ws.receive()

    async with network.served(echo, engine=ENGINE):
        await trio_ws.supervise(handler, URL, engine=ENGINE, heartbeat=None, hooks=())
    assert seen == [TrioWebSocket, TrioWebSocket]


@pytest.mark.parametrize(
    "ask",
    [
        lambda **options: trio_ws.connect(URL, **options),
        lambda **options: trio_ws.Client(URL, **options),
        lambda **options: trio_ws.keep_connected(URL, **options),
        lambda **options: _Awaited(trio_ws.supervise(echo, URL, **options)),
        lambda **options: _Awaited(trio_ws.serve(echo, "127.0.0.1", 0, **options)),
        lambda **options: open_pair(**options),
    ],
    ids=["connect", "Client", "keep_connected", "supervise", "serve", "open_pair"],
)
async def test_what_it_cannot_do_is_refused_by_name(ask: Any) -> None:
    for option, expected in (
        ({"compression": trio_ws.Compression()}, "compression="),
        ({"timeouts": Timeouts(assembly_timeout=5)}, "Timeouts.assembly_timeout"),
    ):
        with pytest.raises(NotSupportedByEngine) as caught:
            async with ask(engine=ENGINE, **option):
                pass
        assert (caught.value.option, caught.value.engine) == (expected, ENGINE)
    with pytest.raises(ValueError, match="engine= is 'built-in' or 'trio-websocket', not 'ws'"):
        async with ask(engine="ws"):
            pass


class _Awaited:
    """Something that is awaited, in the shape of what is entered."""

    def __init__(self, awaitable: Any) -> None:
        self._awaitable = awaitable

    async def __aenter__(self) -> None:
        await self._awaitable

    async def __aexit__(self, *_: object) -> None:
        raise AssertionError("it was not refused")


async def test_what_is_switched_off_is_not_asked_for() -> None:
    timeouts = Timeouts(assembly_timeout=float("inf"))
    async with open_pair(engine=ENGINE, timeouts=timeouts) as (client, server):
        await client.send("fine")
        assert await server.receive() == "fine"
