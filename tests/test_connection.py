"""What the built-in engine does beyond what every `WebSocket` promises: see test_websocket."""

from __future__ import annotations

import gc
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
import trio
import trio.testing

import trio_ws
from tests.pairs import KEY, OpenPair, Watching, raw_client
from trio_ws import (
    Compression,
    ConnectionClosedError,
    ConnectionClosedOK,
    Limits,
    MessageTooBig,
    ProtocolViolation,
    _connection,
    _lifetime,
)
from trio_ws._connection import Connection
from trio_ws.protocol.frames import Opcode, encode_frame
from trio_ws.protocol.prepared import Prepared, PreparedRun
from trio_ws.testing import open_pair

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from trio.testing import MockClock


@pytest.fixture
def engine() -> str:
    return "built-in"


async def test_compression_is_used_and_can_be_overruled(pair: OpenPair) -> None:
    async with pair(compression=Compression()) as (client, server):
        for compress, expected in ((None, True), (False, False), (True, True)):
            before = server.statistics().bytes_received
            await client.send("spam " * 1000, compress=compress)
            assert await server.receive() == "spam " * 1000
            assert (server.statistics().bytes_received - before < 1000) is expected
        assert client.extensions[0].name == server.extensions[0].name == "permessage-deflate"


# Receiving as a stream


async def test_a_message_can_be_received_as_a_stream(pair: OpenPair) -> None:
    large = "κ" * 2_000_000
    async with pair() as (client, server):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.send, large)
            async with server.receive_stream() as stream:
                pieces = [piece async for piece in stream]
            with pytest.raises(trio.EndOfChannel):
                await stream.receive()
        assert len(pieces) > 1
        assert "".join(map(str, pieces)) == large


async def test_short_messages_are_streams_of_one_piece(pair: OpenPair) -> None:
    async with pair() as (client, server):
        await client.send("a")
        await client.send(b"b")
        async with server.receive_stream() as stream:
            assert [piece async for piece in stream] == ["a"]
        async with server.receive_stream() as stream:
            assert [piece async for piece in stream] == [b"b"]


async def test_a_stream_left_early_costs_the_rest_of_its_message_only(pair: OpenPair) -> None:
    async with pair() as (client, server):

        async def send() -> None:
            await client.send(bytes(3_000_000))
            await client.send("next")
            await client.send("last")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(send)
            async with server.receive_stream() as stream:
                await stream.receive()
            async with server.receive_stream() as untouched:
                pass
            await untouched.aclose()
            assert [await server.receive(), await server.receive()] == ["next", "last"]


async def test_receive_joins_what_comes_in_parts_within_its_bound(pair: OpenPair) -> None:
    async with pair() as (client, server):
        server.receive_stream()

        async def send() -> None:
            await client.send(bytes(500_000))
            await client.send("κ" * 200_000)
            await client.send(bytes(2_000_000))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(_until_closed, send)
            assert await server.receive() == bytes(500_000)
            assert await server.receive() == "κ" * 200_000
            with pytest.raises(MessageTooBig):
                await server.receive()


async def test_a_receive_cancelled_between_parts_loses_none() -> None:
    async with open_pair() as (client, server):
        release = trio.Event()

        async def parts() -> AsyncIterator[bytes]:
            yield b"a"
            await release.wait()
            yield b"b"

        server.receive_stream()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.send, parts())
            with trio.CancelScope() as scope:
                nursery.start_soon(_cancel_when_blocked, scope)
                await server.receive()
            release.set()
            await trio.testing.wait_all_tasks_blocked()
            async with server.receive_stream() as stream:
                assert [piece async for piece in stream] == [b"a", b"b", b""]


async def test_streaming_can_begin_when_a_message_is_under_way() -> None:
    async with open_pair() as (client, server):
        release = trio.Event()

        async def parts() -> AsyncIterator[str]:
            yield "a"
            await release.wait()
            yield "b"

        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.send, parts())
            await trio.testing.wait_all_tasks_blocked()
            async with server.receive_stream() as stream:
                assert await stream.receive() == "a"
                release.set()
                assert [piece async for piece in stream] == ["b", ""]


async def test_a_stream_ends_with_its_connection() -> None:
    async def parts() -> AsyncIterator[str]:
        yield "a"
        raise ValueError

    async with open_pair() as (client, server), server.receive_stream() as stream:
        with pytest.raises(ValueError):
            await client.send(parts())
        assert await stream.receive() == "a"
        with pytest.raises(ConnectionClosedError):
            await stream.receive()


# Messages that go to many


async def test_a_prepared_message_goes_in_line_with_the_others(pair: OpenPair) -> None:
    async with pair() as (client, server):
        assert isinstance(server, Connection)
        assert server.takes_prepared
        await server.send("first")
        assert server.put_prepared(PreparedRun([Prepared.of("second"), Prepared.of(b"third")]))
        await server.wait_prepared()
        assert server.put_prepared(Prepared.of("fourth"))
        assert [await client.receive() for _ in range(4)] == ["first", "second", b"third", "fourth"]
        assert server.statistics().messages_sent == 4


async def test_a_client_masks_each_message_for_itself() -> None:
    async with open_pair() as (client, _):
        assert isinstance(client, Connection)
        assert not client.takes_prepared


async def test_a_prepared_message_does_not_go_where_send_would_wait() -> None:
    here, there = trio.testing.lockstep_stream_pair()
    async with open_pair(streams=(here, there)) as (client, server):
        assert isinstance(server, Connection)
        plug = "x" * 100_000
        await server.send(plug)
        assert not server.put_prepared(Prepared.of("too early"))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(server.wait_prepared)
            await trio.testing.wait_all_tasks_blocked()
            assert await client.receive() == plug
        assert server.put_prepared(Prepared.of("now"))
        assert await client.receive() == "now"


async def test_nor_between_the_fragments_of_another() -> None:
    async with open_pair() as (client, server):
        assert isinstance(server, Connection)
        went = []

        async def parts() -> AsyncIterator[str]:
            yield "a"
            went.append(server.put_prepared(Prepared.of("in between")))
            yield "b"

        await server.send(parts())
        assert went == [False]
        assert await client.receive() == "ab"


async def test_nor_after_the_end() -> None:
    async with open_pair() as (client, server):
        assert isinstance(server, Connection)
        await client.aclose()
        await server.wait_closed()
        with pytest.raises(ConnectionClosedOK):
            server.put_prepared(Prepared.of("too late"))
        with pytest.raises(ConnectionClosedOK):
            await server.wait_prepared()


async def test_who_asked_is_called_at_the_end_once() -> None:
    async with open_pair() as (client, server):
        assert isinstance(server, Connection)
        called: list[str] = []

        def first() -> None:
            called.append("first")
            # Forgetting one that is being called is no error.
            server.forget_at_end(first)

        def second() -> None:
            called.append(f"second, {server.close_reason is not None}")

        def forgotten() -> None:
            raise AssertionError("it was forgotten")

        for tell in (first, forgotten, second):
            server.call_at_end(tell)
        server.forget_at_end(forgotten)
        server.forget_at_end(forgotten)
        await client.aclose()
        await server.wait_closed()
        assert called == ["first", "second, True"]


async def _until_closed(function: Callable[[], Any]) -> None:
    with suppress(trio_ws.ConnectionClosed, trio.ClosedResourceError):
        await function()


async def _cancel_when_blocked(scope: trio.CancelScope) -> None:
    await trio.testing.wait_all_tasks_blocked()
    scope.cancel()


async def test_a_message_that_never_ends_is_not_waited_for(autojump_clock: MockClock) -> None:
    async with raw_client(open_pair) as (stream, server):
        await stream.send_all(encode_frame(Opcode.TEXT, b"hello", KEY)[:-1])
        began = trio.current_time()
        with pytest.raises(ProtocolViolation) as caught:
            await server.receive()
        assert caught.value.reason.code == 1008
        assert trio.current_time() - began == pytest.approx(60)
        await stream.aclose()


# Memory


async def test_a_million_messages_leave_no_growth() -> None:
    import tracemalloc

    async with open_pair(limits=Limits(inbox_messages=10_000)) as (client, server):

        async def round_of(count: int) -> None:
            batch = 2_000
            for _ in range(count // batch):
                for _ in range(batch):
                    client.send_nowait("x")
                for _ in range(batch):
                    await server.receive()

        await round_of(20_000)
        gc.collect()
        tracemalloc.start()
        try:
            before = tracemalloc.get_traced_memory()[0]
            await round_of(100_000)
            tracemalloc.stop()
            await round_of(880_000)
            gc.collect()
            tracemalloc.start()
            await round_of(20_000)
            gc.collect()
            assert tracemalloc.get_traced_memory()[0] - before < 100_000
        finally:
            tracemalloc.stop()


async def test_without_hooks_no_record_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []
    names = (
        "ConnectionOpened",
        "ConnectionEnded",
        "PingSent",
        "PongReceived",
        "PingReceived",
        "Received",
        "Sent",
    )
    for name in names:
        module = _lifetime if hasattr(_lifetime, name) else _connection
        record = getattr(module, name)

        def make(name: str = name, record: Any = record, **fields: Any) -> Any:
            made.append(name)
            return record(**fields)

        monkeypatch.setattr(module, name, make)

    async def converse(**options: Any) -> set[str]:
        made.clear()
        async with open_pair(**options) as (client, server):
            await client.send("hello")
            await server.receive()
            await client.send(["a", "fragment"])
            await client.ping()
        return set(made)

    assert await converse() == set()
    assert await converse(hooks=[print]) == set(names) - {"Received", "Sent"}
    assert await converse(hooks=[Watching()]) == set(names)


async def test_reading_can_be_stopped_for_good(autojump_clock: MockClock) -> None:
    async with open_pair() as (client, server):
        assert isinstance(server, Connection)
        await client.send("dropped")
        await trio.testing.wait_all_tasks_blocked()
        server.stop_reading()
        await client.send("unread")
        with trio.move_on_after(1_000) as waited:
            await server.receive()
        assert waited.cancelled_caught
        assert server.reading_since is None
        assert server.close_reason is None
        await server.send("still open")
        assert await client.receive() == "still open"
        await server.wait_written()
        beginning = trio.current_time()
        await server.aclose()
        assert trio.current_time() == beginning
