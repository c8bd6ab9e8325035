"""One task reads the sockets of all connections, and nothing is different for anybody."""

from __future__ import annotations

import socket
import time
from contextlib import AsyncExitStack, asynccontextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import pytest
import trio
import trio.testing

import trio_ws
from tests.pairs import KEY, socket_streams
from tests.sweeps import cancel_sweep, living_tasks
from trio_ws._connection import Connection
from trio_ws._poller import Poller, poller_of_this_run
from trio_ws.instrumentation import PingReceived
from trio_ws.protocol.frames import Opcode, encode_frame
from trio_ws.protocol.machine import Machine
from trio_ws.testing import open_pair

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable


class Reader:
    """Reads a byte, and tells."""

    def __init__(self, poller: Poller, read: Callable[[Reader], None]) -> None:
        self.here, self.there = socket.socketpair()
        self._read = read
        poller.add(self.here.fileno(), self)

    def read_ready(self) -> None:
        assert self.here.recv(1) == b"x"
        self._read(self)

    def read_no_more(self) -> None:
        self.close()

    def close(self) -> None:
        self.here.close()
        self.there.close()


async def test_everything_that_is_ready_is_read_in_one_step() -> None:
    poller = Poller()
    read: list[Reader] = []
    readers = [Reader(poller, read.append) for _ in range(5)]
    await trio.testing.wait_all_tasks_blocked()
    for reader in readers[:3]:
        reader.there.send(b"x")
    steps = 0

    class Count(trio.abc.Instrument):
        def before_task_step(self, task: trio.lowlevel.Task) -> None:
            nonlocal steps
            steps += task.name.endswith("Poller._read_sockets")

    count = Count()
    trio.lowlevel.add_instrument(count)
    while len(read) < 3:
        await trio.testing.wait_all_tasks_blocked()
    trio.lowlevel.remove_instrument(count)
    assert set(read) == set(readers[:3])
    assert steps == 1
    for reader in readers:
        poller.discard(reader.here.fileno(), reader)
        poller.discard(reader.here.fileno(), reader)
        reader.close()


async def test_who_takes_all_of_a_step_each_time_starves_nobody(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Every read takes longer than a step may.
    monkeypatch.setattr("trio_ws._poller._STEP_SECONDS", -1.0)
    poller = Poller()
    read: list[Reader] = []
    readers = [Reader(poller, read.append) for _ in range(4)]
    for reader in readers:
        # It reads a byte at a time, so all of them stay ready.
        reader.there.send(b"x" * 100)
    while len(read) < 40:
        await trio.lowlevel.checkpoint()
    # Each has its turn before any has another.
    for start in range(0, 40, 4):
        assert set(read[start : start + 4]) == set(readers)
    for reader in readers:
        poller.discard(reader.here.fileno(), reader)
        reader.close()


async def test_what_another_one_ended_is_not_read() -> None:
    poller = Poller()
    read: list[Reader] = []

    def end_the_other(reader: Reader) -> None:
        read.append(reader)
        for other in readers:
            if other is not reader:
                poller.discard(other.here.fileno(), other)

    readers = [Reader(poller, end_the_other) for _ in range(2)]
    for reader in readers:
        reader.there.send(b"x")
    while not read:
        await trio.testing.wait_all_tasks_blocked()
    await trio.testing.wait_all_tasks_blocked()
    assert len(read) == 1
    for reader in readers:
        poller.discard(reader.here.fileno(), reader)
        reader.close()


async def test_a_socket_that_was_closed_can_still_be_discarded() -> None:
    poller = Poller()
    reader = Reader(poller, lambda _: None)
    descriptor = reader.here.fileno()
    reader.close()
    poller.discard(descriptor, reader)


async def test_there_is_one_for_each_run_and_it_is_no_task_of_anybodys() -> None:
    tasks = living_tasks()
    poller = poller_of_this_run()
    assert poller_of_this_run() is poller
    reader = Reader(poller, lambda _: None)
    assert living_tasks() == tasks
    poller.discard(reader.here.fileno(), reader)
    reader.close()


@asynccontextmanager
async def conversation(**options: Any) -> AsyncIterator[tuple[Connection, Connection]]:
    async with open_pair(streams=await socket_streams(), **options) as (client, server):
        assert isinstance(client, Connection)
        assert isinstance(server, Connection)
        yield client, server


async def receive_fails(server: Connection, error: type[Exception]) -> None:
    with pytest.raises(error):
        await server.receive()


async def until_it_waits(server: Connection) -> None:
    while not (server._inbox.receiver_waits and server._polled >= 0):
        await trio.testing.wait_all_tasks_blocked()


async def test_a_spurious_event_is_borne(monkeypatch: pytest.MonkeyPatch) -> None:
    async with conversation() as (client, server):
        read_now = server._transport.read_now
        said_nothing: list[bool] = []

        def nothing_at_first() -> bytes | memoryview | None:
            if not said_nothing:
                said_nothing.append(True)
                return None
            return read_now()

        monkeypatch.setattr(type(server._transport), "read_now", lambda _: nothing_at_first())
        await client.send("a")
        assert await server.receive() == "a"


async def test_an_error_while_reading_is_the_connections_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(ZeroDivisionError):
        async with conversation() as (client, server):
            monkeypatch.setattr(Machine, "receive_data", lambda *_: 1 // 0)
            await client.send("a")
            await server.wait_closed()


async def test_a_close_here_ends_a_receiver_that_waits() -> None:
    async with conversation() as (client, server), trio.open_nursery() as nursery:
        nursery.start_soon(receive_fails, server, trio.ClosedResourceError)
        await until_it_waits(server)
        await server.aclose(4000)
        assert server.close_reason is not None
        assert server.close_reason.clean
        assert (await client.wait_closed()).code == 4000


async def test_a_close_there_ends_a_receiver_that_waits() -> None:
    async with conversation() as (client, server), trio.open_nursery() as nursery:
        nursery.start_soon(receive_fails, server, trio_ws.ConnectionClosedOK)
        await until_it_waits(server)
        await client.aclose()
        assert (await server.wait_closed()).clean


async def test_a_close_there_is_noticed_while_the_receiver_is_busy() -> None:
    async with conversation() as (client, server):
        await client.aclose()
        assert (await server.wait_closed()).clean


@pytest.mark.parametrize("abort_here", [True, False])
async def test_a_cut_ends_a_receiver_that_waits(abort_here: bool) -> None:
    async with conversation() as (client, server), trio.open_nursery() as nursery:
        error = trio.ClosedResourceError if abort_here else trio_ws.ConnectionClosedError
        nursery.start_soon(receive_fails, server, error)
        await until_it_waits(server)
        (server if abort_here else client).abort()
        await server.wait_closed()


async def test_the_number_of_a_closed_socket_may_be_anothers_by_now() -> None:
    poller = Poller()
    read: list[Reader] = []
    stale = Reader(poller, read.append)
    number = stale.here.fileno()
    stale.close()
    fresh = Reader(poller, read.append)
    assert fresh.here.fileno() == number
    poller.discard(number, stale)
    fresh.there.send(b"x")
    while not read:
        await trio.testing.wait_all_tasks_blocked()
    assert read == [fresh]
    poller.discard(number, fresh)
    fresh.close()


async def test_without_a_descriptor_left_connections_read_by_themselves(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def none_left() -> object:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr("select.epoll", none_left)
    async with conversation() as (client, server):
        await client.send("a")
        assert await server.receive() == "a"
        assert server._polled < 0


async def test_what_cannot_be_registered_is_not_polled() -> None:
    poller = Poller()
    reader = Reader(poller, lambda _: None)
    descriptor = reader.here.fileno()
    # Registered already.
    assert not poller.add(descriptor, reader)
    poller.discard(descriptor, reader)
    reader.close()


def test_a_connection_may_outlive_the_poller() -> None:
    """In a task of the system's that takes its time when the run ends."""
    ended: list[trio_ws.CloseReason] = []

    async def late() -> None:
        async with open_pair(streams=await socket_streams()) as (client, server):
            await client.send("a")
            assert await server.receive() == "a"
            try:
                await trio.sleep_forever()
            finally:
                with trio.CancelScope(shield=True):
                    await trio.lowlevel.checkpoint()
                    await server.aclose()
                    ended.append(await client.wait_closed())

    async def main() -> None:
        trio.lowlevel.spawn_system_task(late)
        await trio.testing.wait_all_tasks_blocked(0.05)

    trio.run(main)
    assert ended


class Context:
    """A hook that tells in which context it was called, and may fail in its own way."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.seen: list[str] = []
        self._error = error

    def __call__(self, event: object) -> None:
        if isinstance(event, PingReceived):
            self.seen.append(who.get())
            if self._error is not None:
                raise self._error


who: ContextVar[str] = ContextVar("who", default="nobody")


async def test_hooks_are_called_in_the_connections_context() -> None:
    hook = Context()
    who.set("me")
    async with conversation(hooks=(hook,)) as (client, _):
        await client.ping()
    assert hook.seen == ["me"]


async def test_an_exit_in_a_hook_is_the_connections_owners_and_not_the_end_of_everything() -> None:
    with pytest.raises(SystemExit):
        async with conversation(hooks=(Context(SystemExit(3)),)) as (client, server):
            client.start_ping()
            await server.wait_closed()


class Aborts:
    """A hook that aborts the connection, and then fails."""

    def __init__(self) -> None:
        self.connection: Connection | None = None

    def __call__(self, event: object) -> None:
        if isinstance(event, PingReceived) and self.connection is not None:
            self.connection.abort()
            raise SystemExit(3)


async def test_an_error_after_the_end_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    hook = Aborts()
    async with conversation(hooks=(hook,)) as (client, server):
        hook.connection = server
        client.start_ping()
        await server.wait_closed()
    assert "after its end" in caplog.text


async def test_many_sends_to_many_connections_leave_others_their_turn() -> None:
    async with AsyncExitStack() as stack:
        pairs = [await stack.enter_async_context(conversation()) for _ in range(20)]
        for client, server in pairs:
            await client.send("a")
            await server.receive()
        task = trio.lowlevel.current_task()
        for _, server in pairs:
            server._turn_ends = 0.0
        before = task._schedule_points
        for _, server in pairs:
            await server.send("b")
        assert task._schedule_points - before == 20


async def test_time_in_which_nothing_was_read_is_not_held_against_the_peer() -> None:
    soon = trio_ws.Timeouts(assembly_timeout=0.05)
    limits = trio_ws.Limits(inbox_messages=1)
    large = bytes(400_000)
    async with conversation(timeouts=soon, limits=limits) as (client, server):
        async with trio.open_nursery() as nursery:
            for message in ("a", "b", large):
                nursery.start_soon(client.send, message)
                await trio.testing.wait_all_tasks_blocked()
            while server.reading_since is not None:
                await trio.testing.wait_all_tasks_blocked()
            # Longer than a message may make no progress; the handler is slow.
            await trio.sleep(0.1)
            received = [await server.receive() for _ in range(3)]
    assert received == ["a", "b", large]


async def test_what_came_while_this_process_stood_still_counts() -> None:
    soon = trio_ws.Timeouts(assembly_timeout=0.05)
    async with raw_conversation(timeouts=soon) as (peer, server):
        frame = encode_frame(Opcode.TEXT, b"second", KEY)
        await peer.send_all(frame[:-1])
        while not server._against_time:
            await trio.testing.wait_all_tasks_blocked()
        await peer.send_all(frame[-1:])
        time.sleep(0.06)  # noqa: ASYNC251  # that is the point
        assert await server.receive() == "second"


@asynccontextmanager
async def raw_conversation(**options: Any) -> AsyncIterator[tuple[trio.abc.Stream, Connection]]:
    """The same, with a peer that can break rules."""
    here, there = await socket_streams()
    idle, _ = trio.testing.memory_stream_pair()
    async with open_pair(streams=(idle, there), **options) as (other, server):
        other.abort()
        assert isinstance(server, Connection)
        yield here, server
        await here.aclose()


async def test_what_came_before_a_broken_rule_is_handed_out_first() -> None:
    async with raw_conversation() as (peer, server), trio.open_nursery() as nursery:

        async def receive() -> None:
            assert await server.receive() == "second"
            with pytest.raises(trio_ws.ProtocolViolation):
                await server.receive()

        nursery.start_soon(receive)
        await until_it_waits(server)
        await peer.send_all(encode_frame(Opcode.TEXT, b"second", KEY) + b"\xff\xff")


async def test_half_a_message_has_the_receive_task_look_at_the_clock() -> None:
    timeouts = trio_ws.Timeouts(assembly_timeout=0.01)
    async with (
        raw_conversation(timeouts=timeouts) as (peer, server),
        trio.open_nursery() as nursery,
    ):

        async def receive() -> None:
            with pytest.raises(trio_ws.ProtocolViolation, match="no progress"):
                await server.receive()

        nursery.start_soon(receive)
        await until_it_waits(server)
        await peer.send_all(encode_frame(Opcode.TEXT, b"second", KEY)[:-1])


async def test_reading_can_be_stopped_while_the_receiver_waits() -> None:
    async with conversation() as (client, server), trio.open_nursery() as nursery:
        nursery.start_soon(receive_fails, server, trio.ClosedResourceError)
        await until_it_waits(server)
        server.stop_reading()
        await client.send("dropped")
        await trio.testing.wait_all_tasks_blocked()
        assert server.statistics().tasks_waiting_receive == 1
        await server.aclose()


async def test_a_close_while_a_write_waits_and_a_receiver() -> None:
    async with conversation() as (client, server), trio.open_nursery() as nursery:
        nursery.start_soon(receive_fails, server, trio.ClosedResourceError)
        await until_it_waits(server)
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


async def test_an_idle_connection_has_no_task() -> None:
    before = living_tasks()
    async with conversation() as (client, server):
        await client.send("a")
        assert await server.receive() == "a"
        assert await client.ping() > 0
        assert living_tasks() == before


@pytest.mark.parametrize("message", ["small", bytes(1_000_000)])
async def test_who_is_cancelled_may_have_a_last_word(message: str | bytes) -> None:
    """Whether its connection has needed the receive task, or not."""
    heard: list[str | bytes] = []

    async def talk(server: Connection) -> None:
        heard.append(await server.receive())
        try:
            await server.receive()
        finally:
            with trio.CancelScope(shield=True):
                await server.send("last")

    here, there = await socket_streams()
    idle, _ = trio.testing.memory_stream_pair()
    async with open_pair(streams=(here, idle)) as (client, other), trio.open_nursery() as nursery:
        other.abort()

        async def hold() -> None:
            idle, _ = trio.testing.memory_stream_pair()
            async with open_pair(streams=(idle, there)) as (unused, server):
                unused.abort()
                assert isinstance(server, Connection)
                await talk(server)

        nursery.start_soon(hold)
        await client.send(message)
        while not heard:
            await trio.testing.wait_all_tasks_blocked()
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
        with trio.CancelScope(shield=True):
            assert await client.receive() == "last"
            with pytest.raises(trio_ws.ConnectionClosedOK, match="1001"):
                await client.receive()
    assert heard == [message]
