"""The receiver reads the socket itself, and nothing is different for anybody."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
import trio
import trio.testing

import trio_ws
from tests.sweeps import cancel_sweep
from tests.test_connection import KEY, socket_streams
from trio_ws._connection import Connection
from trio_ws.protocol.frames import Opcode, encode_frame
from trio_ws.testing import open_pair

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@asynccontextmanager
async def conversation(**options: Any) -> AsyncIterator[tuple[Connection, Connection]]:
    """A connection over sockets whose server has just been given a message that it waited for."""
    async with open_pair(streams=await socket_streams(), **options) as (client, server):
        assert isinstance(client, Connection)
        assert isinstance(server, Connection)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(server.receive)
            await trio.testing.wait_all_tasks_blocked()
            await client.send("first")
        yield client, server


async def until_it_reads(server: Connection) -> None:
    while not server._inbox.receiver_reads:
        await trio.testing.wait_all_tasks_blocked()


async def test_a_receiver_that_keeps_up_reads_by_itself() -> None:
    async with conversation() as (client, server), trio.open_nursery() as nursery:

        async def receive_two() -> None:
            assert await server.receive() == "second"
            assert await server.receive() == b"third"

        nursery.start_soon(receive_two)
        await until_it_reads(server)
        assert server.statistics().tasks_waiting_receive == 1
        await client.send("second")
        await client.send(b"third")


async def test_one_receiver_at_a_time() -> None:
    async with conversation() as (client, server), trio.open_nursery() as nursery:
        nursery.start_soon(server.receive)
        await until_it_reads(server)
        with pytest.raises(trio.BusyResourceError):
            await server.receive()
        await client.send("second")


async def test_a_receiver_that_is_cancelled_loses_nothing() -> None:
    async with conversation() as (client, server):
        for number in range(3):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(server.receive)
                await trio.testing.wait_all_tasks_blocked()
                nursery.cancel_scope.cancel()
            await client.send(str(number))
            assert await server.receive() == str(number)


async def test_a_receiver_that_is_busy_does_not_keep_pings_waiting() -> None:
    async with conversation() as (client, _):
        # The server is not in receive() now.
        assert await client.ping() > 0


async def test_a_ping_of_its_own_has_the_connection_read_at_once() -> None:
    async with conversation() as (_, server):
        assert server._inbox.may_be_read_directly
        async with trio.open_nursery() as nursery:
            nursery.start_soon(server.ping)
            await trio.testing.wait_all_tasks_blocked()
            assert not server._inbox.may_be_read_directly


async def test_a_ping_of_its_own_while_it_reads() -> None:
    async with conversation() as (client, server), trio.open_nursery() as nursery:
        nursery.start_soon(server.receive)
        await until_it_reads(server)
        assert await server.ping() > 0
        await client.send("second")


async def test_while_a_ping_is_in_flight_the_receive_task_reads() -> None:
    async with open_pair(streams=await socket_streams()) as (client, server):
        assert isinstance(server, Connection)
        server.start_ping(b"unanswered")
        client.answers_pings = False  # type: ignore[attr-defined]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(server.receive)
            await trio.testing.wait_all_tasks_blocked()
            await client.send("first")
        assert not server._inbox.may_be_read_directly


async def test_a_close_here_ends_a_receiver_that_reads() -> None:
    async with conversation() as (client, server), trio.open_nursery() as nursery:

        async def receive() -> None:
            with pytest.raises(trio.ClosedResourceError):
                await server.receive()

        nursery.start_soon(receive)
        await until_it_reads(server)
        await server.aclose(4000)
        assert server.close_reason is not None
        assert server.close_reason.clean
        assert (await client.wait_closed()).code == 4000


async def test_a_close_there_ends_a_receiver_that_reads() -> None:
    async with conversation() as (client, server), trio.open_nursery() as nursery:

        async def receive() -> None:
            with pytest.raises(trio_ws.ConnectionClosedOK):
                await server.receive()

        nursery.start_soon(receive)
        await until_it_reads(server)
        await client.aclose()
        assert (await server.wait_closed()).clean


async def test_a_close_there_is_noticed_while_the_receiver_is_busy() -> None:
    async with conversation() as (client, server):
        await client.aclose()
        assert (await server.wait_closed()).clean


@pytest.mark.parametrize("abort_here", [True, False])
async def test_a_cut_ends_a_receiver_that_reads(abort_here: bool) -> None:
    async with conversation() as (client, server), trio.open_nursery() as nursery:
        error = trio.ClosedResourceError if abort_here else trio_ws.ConnectionClosedError

        async def receive() -> None:
            with pytest.raises(error):
                await server.receive()

        nursery.start_soon(receive)
        await until_it_reads(server)
        (server if abort_here else client).abort()
        await server.wait_closed()


@asynccontextmanager
async def raw_conversation(**options: Any) -> AsyncIterator[tuple[trio.abc.Stream, Connection]]:
    """The same, with a peer that can break rules."""
    here, there = await socket_streams()
    idle, _ = trio.testing.memory_stream_pair()
    async with open_pair(streams=(idle, there), **options) as (other, server):
        other.abort()
        assert isinstance(server, Connection)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(server.receive)
            await trio.testing.wait_all_tasks_blocked()
            await here.send_all(encode_frame(Opcode.TEXT, b"first", KEY))
        yield here, server
        await here.aclose()


async def test_what_came_before_a_broken_rule_is_handed_out_first() -> None:
    async with raw_conversation() as (peer, server), trio.open_nursery() as nursery:

        async def receive() -> None:
            assert await server.receive() == "second"
            with pytest.raises(trio_ws.ProtocolViolation):
                await server.receive()

        nursery.start_soon(receive)
        await until_it_reads(server)
        await peer.send_all(encode_frame(Opcode.TEXT, b"second", KEY) + b"\xff\xff")


async def test_half_a_message_is_left_to_the_receive_task_and_its_clock() -> None:
    timeouts = trio_ws.Timeouts(assembly_timeout=0.01)
    async with (
        raw_conversation(timeouts=timeouts) as (peer, server),
        trio.open_nursery() as nursery,
    ):

        async def receive() -> None:
            with pytest.raises(trio_ws.ProtocolViolation, match="no progress"):
                await server.receive()

        nursery.start_soon(receive)
        await until_it_reads(server)
        await peer.send_all(encode_frame(Opcode.TEXT, b"second", KEY)[:-1])


async def test_reading_can_be_stopped_while_the_receiver_reads() -> None:
    async with conversation() as (client, server), trio.open_nursery() as nursery:

        async def receive() -> None:
            with pytest.raises(trio.ClosedResourceError):
                await server.receive()

        nursery.start_soon(receive)
        await until_it_reads(server)
        server.stop_reading()
        await client.send("dropped")
        await trio.testing.wait_all_tasks_blocked()
        assert server.statistics().tasks_waiting_receive == 1
        await server.aclose()


async def test_a_close_while_a_write_waits_and_the_receiver_reads() -> None:
    """The receiver's waiting is interrupted; the write on the same socket is not."""
    async with conversation() as (client, server), trio.open_nursery() as nursery:

        async def receive() -> None:
            with pytest.raises(trio.ClosedResourceError):
                await server.receive()

        nursery.start_soon(receive)
        await until_it_reads(server)
        client.stop_reading()
        sent = 0
        while not server._outbox.is_blocked:
            await server.send(bytes(60_000))
            sent += 1
        nursery.start_soon(server.aclose)
        await trio.testing.wait_all_tasks_blocked()
        assert not server._outbox.broken
        nursery.start_soon(client.aclose)


async def test_cancel_sweep_over_round_trips() -> None:
    received: list[str | bytes] = []
    answers = 0

    async def echo(server: trio_ws.WebSocket) -> None:
        async for message in server:
            received.append(message)
            await server.send(message)

    async def scenario() -> None:
        nonlocal answers
        received.clear()
        answers = 0
        with trio.CancelScope(shield=True):
            here, there = await socket_streams()
        async with here, there, open_pair(streams=(here, there)) as (client, server):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(echo, server)
                for number in range(3):
                    await client.send(str(number))
                    assert await client.receive() == str(number)
                    answers += 1
                await client.aclose()

    async def check(cancelled: bool) -> None:
        assert received == [str(number) for number in range(len(received))]
        assert len(received) >= answers
        assert cancelled or answers == 3

    assert await cancel_sweep(scenario, check, every_task=True) > 20
