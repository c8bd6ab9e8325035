"""What differs between the engines: docs/explanation/engines.md, row by row, held to the facts."""

from __future__ import annotations

import math
import re
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing
import trio_websocket

import trio_ws
from tests.pairs import KEY, OpenPair, raw_client
from tests.test_trio_websocket import library_pair, raw_library_server, wrapped
from trio_ws import (
    Compression,
    ConnectionClosedError,
    Limits,
    MessageTooBig,
    NotSupportedByEngine,
    ProtocolViolation,
    Timeouts,
)
from trio_ws._engines import Engine, check_engine, maker_of
from trio_ws.protocol.frames import Opcode, encode_frame

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from trio.testing import MockClock

PAGE = Path(__file__).resolve().parent.parent / "docs" / "explanation" / "engines.md"
ROWS = [row for row in re.findall(r"^\| (.+?) \|", PAGE.read_text(), re.MULTILINE) if row != "what"]
ROWS = [row for row in ROWS if not set(row) <= {"-", " ", "|"}]


async def compression(open_pair: OpenPair, *, builtin: bool) -> None:
    if builtin:
        async with open_pair(compression=Compression()) as (client, _):
            assert client.extensions[0].name == "permessage-deflate"
    else:
        with pytest.raises(NotSupportedByEngine, match=r"^compression= is not supported by"):
            await _open(open_pair, compression=Compression())


async def streaming(open_pair: OpenPair, *, builtin: bool) -> None:
    large = bytes(2 * Limits().max_message_size)  # type: ignore[operator]
    async with open_pair() as (client, server):
        if not builtin:
            with pytest.raises(NotSupportedByEngine, match=r"^receive_stream\(\) is not supported"):
                server.receive_stream()
            return
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.send, large)
            async with server.receive_stream() as stream:
                assert sum([len(piece) async for piece in stream]) == len(large)


async def assembly(open_pair: OpenPair, *, builtin: bool) -> None:
    async with raw_client(open_pair) as (stream, server):
        await stream.send_all(encode_frame(Opcode.TEXT, b"hello", KEY)[:-1])
        if builtin:
            with pytest.raises(ProtocolViolation, match="1008"):
                await server.receive()
        else:
            with trio.move_on_after(1_000) as waited:
                await server.receive()
            assert waited.cancelled_caught
            await _open(open_pair, timeouts=Timeouts(assembly_timeout=math.inf))
            with pytest.raises(NotSupportedByEngine, match=r"^Timeouts\.assembly_timeout is not"):
                await _open(open_pair, timeouts=Timeouts(assembly_timeout=1))
        await stream.aclose()


async def message_size(open_pair: OpenPair, *, builtin: bool) -> None:
    async with open_pair(limits=Limits(max_message_size=10)) as (client, server):
        await client.send("κ" * 10)
        if builtin:
            with pytest.raises(MessageTooBig):
                await server.receive()
            return
        assert await server.receive() == "κ" * 10
    for length in (10, 11):
        async with raw_client(open_pair, limits=Limits(max_message_size=10)) as (stream, server):
            await stream.send_all(encode_frame(Opcode.BINARY, bytes(20), KEY)[: 6 + length])
            await trio.testing.wait_all_tasks_blocked()
            assert (server.close_reason is not None) is (length > 10)
            await stream.aclose()


async def inbox_bytes(open_pair: OpenPair, *, builtin: bool) -> None:
    async with raw_client(open_pair, limits=Limits(inbox_bytes=100)) as (stream, server):
        await stream.send_all(
            encode_frame(Opcode.TEXT, b"a" * 20, KEY)
            + encode_frame(Opcode.TEXT, b"b" * 90, KEY, fin=False)
        )
        await trio.testing.wait_all_tasks_blocked()
        assert (server.reading_since is None) is builtin
        await stream.aclose()


async def code_1014(open_pair: OpenPair, *, builtin: bool) -> None:
    async with raw_client(open_pair) as (stream, server):
        await stream.send_all(encode_frame(Opcode.CLOSE, (1014).to_bytes(2, "big"), KEY))
        with pytest.raises(ConnectionClosedError) as caught:
            await server.receive()
        assert caught.value.reason.code == (1014 if builtin else 1002)
        await stream.aclose()


async def broken_rule(open_pair: OpenPair, *, builtin: bool) -> None:
    async with raw_client(open_pair) as (stream, server):
        await stream.send_all(encode_frame(Opcode.CONTINUATION, b"x", KEY))
        with pytest.raises(ProtocolViolation) as caught:
            await server.receive()
        said = "continuation frame without a message" if builtin else "unexpected CONTINUATION"
        assert said in caught.value.reason.reason
        await stream.aclose()


async def _open(open_pair: OpenPair, **options: object) -> None:
    async with open_pair(**options):
        pass


# Of wrapped connections


async def headers_of_a_wrapped_server() -> None:
    async with library_pair() as (_, server), wrapped(server) as ws:
        assert not ws.request.headers


async def message_size_of_a_wrapped_one() -> None:
    async with library_pair(max_message_size=10) as (client, server):
        async with wrapped(server, limits=Limits(max_message_size=1)) as ws:
            await client.send_message("0123456789")
            assert await ws.receive() == "0123456789"


async def addresses_of_a_wrapped_one() -> None:
    async def handler(request: trio_websocket.WebSocketRequest) -> None:
        await request.accept()
        await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        serve = partial(trio_websocket.serve_websocket, handler, "127.0.0.1", 0, None)
        server = await nursery.start(serve)
        url = f"ws://127.0.0.1:{server.port}/"
        async with trio_websocket.open_websocket_url(url) as connection:
            assert isinstance(connection.remote, trio_websocket.Endpoint)
            async with wrapped(connection) as ws:
                assert isinstance(connection.local, str)
                assert isinstance(connection.remote, str)
                assert ws.remote_address == ("127.0.0.1", server.port)
                assert ws.local_address[0] == "127.0.0.1"
                ws.abort()
        nursery.cancel_scope.cancel()


async def two_receivers_of_a_wrapped_one() -> None:
    async with library_pair() as (client, server):
        taken: list[str | bytes] = []

        async def take() -> None:
            with suppress(trio_websocket.ConnectionClosed):
                while True:
                    taken.append(await server.get_message())

        async with trio.open_nursery() as nursery:
            nursery.start_soon(take)
            await trio.testing.wait_all_tasks_blocked()
            async with wrapped(server) as ws:
                for number in range(4):
                    await client.send_message(str(number))
                    await trio.testing.wait_all_tasks_blocked()
                assert taken
                assert ws.statistics().inbox_messages + len(taken) == 4


async def ping_of_the_library_s_own() -> None:
    async with raw_library_server() as (_, server), trio.open_nursery() as nursery:
        async with wrapped(server) as ws:
            nursery.start_soon(server.ping)
            await trio.testing.wait_all_tasks_blocked()
            ws.abort()
        await trio.testing.wait_all_tasks_blocked()
        # It still waits.
        assert len(nursery.child_tasks) == 1
        nursery.cancel_scope.cancel()


DIFFERENCES: dict[str, Callable[..., Awaitable[None]]] = {
    "`compression=`": compression,
    "`receive_stream()`": streaming,
    "`Timeouts.assembly_timeout`": assembly,
    "`Limits.max_message_size`": message_size,
    "`Limits.inbox_bytes`": inbox_bytes,
    "close code 1014": code_1014,
    "a broken rule": broken_rule,
}
OF_WRAPPED: dict[str, Callable[[], Awaitable[None]]] = {
    "`request.headers` of a server's": headers_of_a_wrapped_server,
    "`Limits.max_message_size` of a wrapped one": message_size_of_a_wrapped_one,
    "`connection.local`, `connection.remote`": addresses_of_a_wrapped_one,
    "`connection.get_message()`": two_receivers_of_a_wrapped_one,
    "`connection.ping()`": ping_of_the_library_s_own,
}


def test_every_row_is_tested() -> None:
    assert [*DIFFERENCES, *OF_WRAPPED] == ROWS


@pytest.mark.parametrize("row", DIFFERENCES)
async def test_what_differs(
    row: str, engine: Engine, open_pair: OpenPair, autojump_clock: MockClock
) -> None:
    await DIFFERENCES[row](open_pair, builtin=engine == "built-in")


@pytest.mark.parametrize("row", OF_WRAPPED)
async def test_what_differs_where_it_is_wrapped(row: str) -> None:
    await OF_WRAPPED[row]()


# Choosing


def test_each_engine_is_made_by_its_own() -> None:
    assert maker_of("built-in") is trio_ws._connection.make_connection
    assert maker_of("trio-websocket") is trio_ws._trio_websocket.make_trio_websocket


def test_an_engine_that_is_not_there() -> None:
    with pytest.raises(ValueError, match="is 'built-in' or 'trio-websocket', not 'wsproto'"):
        check_engine("wsproto", compression=None, timeouts=Timeouts())


def test_what_is_not_supported_says_so_by_name() -> None:
    check_engine("built-in", compression=Compression(), timeouts=Timeouts(assembly_timeout=1))
    with pytest.raises(NotSupportedByEngine) as caught:
        check_engine("trio-websocket", compression=Compression(), timeouts=Timeouts())
    assert str(caught.value) == (
        "compression= is not supported by the engine 'trio-websocket': leave it out, or use the "
        "built-in engine"
    )
    assert (caught.value.option, caught.value.engine) == ("compression=", "trio-websocket")
