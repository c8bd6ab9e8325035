"""What a `WebSocket` promises: every engine, over memory streams, plain sockets and TLS alike."""

from __future__ import annotations

from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

import pytest
import trio
import trio.testing

import trio_ws
from tests.pairs import (
    KEY,
    DelayedStream,
    OpenPair,
    Watching,
    raw_client,
    read_to_end,
    socket_streams,
)
from tests.sweeps import CutStream, cancel_sweep
from trio_ws import (
    CloseReason,
    ConnectionClosedError,
    ConnectionClosedOK,
    Limits,
    MessageTooBig,
    ProtocolViolation,
    Timeouts,
)
from trio_ws._close import ClosedBy
from trio_ws._connection import Connection
from trio_ws.instrumentation import (
    ConnectionEnded,
    ConnectionOpened,
    PingReceived,
    PingSent,
    PongReceived,
    Received,
    Sent,
)
from trio_ws.protocol.frames import Opcode, encode_frame

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from trio.testing import MockClock


# Messages


async def test_messages_go_both_ways_in_order(pair: OpenPair) -> None:
    async with pair() as (client, server):
        for message in ("a", b"b", "", b"", "κόσμε", bytes(range(256))):
            await client.send(message)
            await server.send(message)
        for message in ("a", b"b", "", b"", "κόσμε", bytes(range(256))):
            assert await server.receive() == message
            assert await client.receive() == message


async def test_a_large_message_arrives_whole(pair: OpenPair) -> None:
    async with pair(limits=Limits(max_message_size=None)) as (client, server):
        large = bytes(range(256)) * 12_000

        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.send, large)
            nursery.start_soon(server.send, large.hex())
            assert await server.receive() == large
            assert await client.receive() == large.hex()


async def test_many_small_messages_arrive_in_order(pair: OpenPair) -> None:
    async with pair() as (client, server):

        async def send() -> None:
            for number in range(5_000):
                await client.send(str(number))
            await client.aclose()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(send)
            assert [int(message) async for message in server] == list(range(5_000))


async def test_an_echo_of_a_flood_is_complete(pair: OpenPair) -> None:
    async with pair() as (client, server):

        async def echo() -> None:
            async for message in server:
                await server.send(message)

        async def send() -> None:
            for number in range(3_000):
                await client.send(str(number))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(echo)
            nursery.start_soon(send)
            for number in range(3_000):
                assert await client.receive() == str(number)
            await client.aclose()


@pytest.mark.parametrize("message", [bytearray(b"abc"), memoryview(b"abc")])
async def test_bytes_like_goes_as_binary(pair: OpenPair, message: bytearray | memoryview) -> None:
    async with pair() as (client, server):
        await client.send(message)
        client.send_nowait(message)
        assert [await server.receive(), await server.receive()] == [b"abc", b"abc"]


async def test_any_number_of_tasks_may_send(pair: OpenPair) -> None:
    async with pair() as (client, server):

        async def send(name: int) -> None:
            for number in range(100):
                await client.send(f"{name} {number}")

        async with trio.open_nursery() as nursery:
            for name in range(10):
                nursery.start_soon(send, name)
            received = [str(await server.receive()).split() for _ in range(1000)]
        for name in range(10):
            assert [int(n) for who, n in received if int(who) == name] == list(range(100))


async def test_only_one_task_may_receive(pair: OpenPair) -> None:
    async with pair() as (client, server), trio.open_nursery() as nursery:
        nursery.start_soon(server.receive)
        await trio.testing.wait_all_tasks_blocked()
        assert server.statistics().tasks_waiting_receive == 1
        with pytest.raises(trio.BusyResourceError):
            await server.receive()
        await client.send("a")


@pytest.mark.parametrize("message", [1, None, {"a": 1}, 1.5])
async def test_other_types_are_refused(pair: OpenPair, message: object) -> None:
    async with pair() as (client, server):
        with pytest.raises(TypeError, match="a message is str, bytes-like"):
            await client.send(message)  # type: ignore[arg-type]
        with pytest.raises(TypeError):
            client.send_nowait(message)  # type: ignore[arg-type]
        await client.send("still fine")
        assert await server.receive() == "still fine"


async def test_text_with_a_lone_surrogate_is_refused(pair: OpenPair) -> None:
    async with pair() as (client, server):
        with pytest.raises(UnicodeEncodeError):
            await client.send("\ud800")
        await client.send("still fine")
        assert await server.receive() == "still fine"


# Fragmented messages


async def test_an_iterable_goes_as_one_message(pair: OpenPair) -> None:
    async def numbers() -> AsyncIterator[str]:
        for number in range(5):
            yield str(number)

    async with pair() as (client, server):
        await client.send(["a", "b", "c"])
        await client.send(numbers())
        binary: list[bytes | bytearray] = [b"x", bytearray(b"y")]
        await client.send(binary)
        await client.send([])
        await client.send("end")
        received = [await server.receive() for _ in range(4)]
        assert received == ["abc", "01234", b"xy", "end"]


async def test_other_messages_wait_while_a_fragmented_one_is_sent(pair: OpenPair) -> None:
    halfway = trio.Event()

    async def parts() -> AsyncIterator[str]:
        yield "a"
        await halfway.wait()
        yield "b"

    async with pair() as (client, server), trio.open_nursery() as nursery:
        nursery.start_soon(client.send, parts())
        await trio.testing.wait_all_tasks_blocked(0.01)
        with pytest.raises(trio.WouldBlock):
            client.send_nowait("between")
        nursery.start_soon(client.send, "after")
        await client.ping()
        halfway.set()
        assert [await server.receive(), await server.receive()] == ["ab", "after"]


async def test_a_fragmented_message_that_is_not_completed_closes_with_1011(pair: OpenPair) -> None:
    async def parts() -> AsyncIterator[str]:
        yield "a"
        raise ValueError("no more")

    async with pair() as (client, server):
        with pytest.raises(ValueError, match="no more"):
            await client.send(parts())
        with pytest.raises(ConnectionClosedError) as caught:
            await server.receive()
        assert caught.value.reason.code == 1011


async def test_one_that_fails_before_its_first_fragment_costs_nothing(pair: OpenPair) -> None:
    async def parts() -> AsyncIterator[str]:
        for part in ("a",):
            if part:
                raise ValueError("none at all")
            yield part

    async with pair() as (client, server):
        with pytest.raises(ValueError, match="none at all"):
            await client.send(parts())
        with pytest.raises(TypeError, match="a message is str or bytes-like, not int"):
            await client.send([1])  # type: ignore[arg-type]
        await client.send("fine")
        assert await server.receive() == "fine"


async def test_mixed_fragments_are_refused(pair: OpenPair) -> None:
    async with pair() as (client, server):
        with pytest.raises(TypeError, match="all str or all bytes"):
            await client.send(["a", b"b"])  # type: ignore[arg-type]
        with pytest.raises(ConnectionClosedError):
            await server.receive()


async def test_the_end_of_the_connection_ends_a_fragmented_message(pair: OpenPair) -> None:
    async with pair() as (client, server):

        async def parts() -> AsyncIterator[str]:
            yield "a"
            await server.aclose(4000)
            yield "b"

        with pytest.raises(ConnectionClosedError):
            await client.send(parts())


# Ping


async def test_ping_measures_the_round_trip(pair: OpenPair) -> None:
    async with pair() as (client, server):
        assert client.latency is None
        assert await client.ping() >= 0
        assert await server.ping(b"payload") >= 0
        assert client.latency is not None


async def test_ping_time_is_exact_on_a_mock_clock(
    open_pair: OpenPair, autojump_clock: MockClock
) -> None:
    here, there = trio.testing.lockstep_stream_pair()
    async with open_pair(streams=(here, DelayedStream(there, 0.25))) as (client, _):
        assert await client.ping() == pytest.approx(0.25)
        assert client.latency == pytest.approx(0.25)


async def test_bad_pings_are_refused(pair: OpenPair) -> None:
    async with pair() as (client, _):
        with pytest.raises(ValueError, match="at most 125 bytes"):
            await client.ping(bytes(126))
        assert client.statistics().pings_in_flight == 0


@pytest.mark.parametrize("payload", [b"", b"I am here", bytes(125)])
async def test_a_pong_may_go_unasked(pair: OpenPair, payload: bytes) -> None:
    hook = Watching()
    async with pair(hooks=[hook]) as (client, server):
        for one, other in ((client, server), (server, client)):
            before = other.last_received
            one.pong(payload)
            await one.send("behind it")
            assert await other.receive() == "behind it"
            told = PongReceived(id=other.id, round_trip=None, payload=payload)
            assert [told] == [record for record in hook.records if record == told]
            assert other.latency is None
            assert other.last_received >= before


async def test_the_payload_of_a_pong_may_be_left_out(open_pair: OpenPair) -> None:
    async with raw_client(open_pair) as (stream, server):
        server.pong()
        assert await stream.receive_some() == encode_frame(Opcode.PONG, b"")
        await stream.aclose()


async def test_a_pong_that_is_too_long_is_refused(pair: OpenPair) -> None:
    async with pair() as (client, server):
        with pytest.raises(ValueError, match="at most 125 bytes, not 126"):
            client.pong(bytes(126))
        await client.send("still open")
        assert await server.receive() == "still open"


async def test_a_pong_unasked_does_not_pass_for_an_answer(
    open_pair: OpenPair, autojump_clock: MockClock
) -> None:
    async with open_pair() as (client, server):
        server.pong(b"guess")
        ping = client.start_ping(b"real")
        server.pong(b"other guess")
        assert await ping.wait() == 0
        assert client.statistics().pings_in_flight == 0


async def test_a_pong_goes_between_the_fragments_of_a_message(open_pair: OpenPair) -> None:
    async with raw_client(open_pair) as (stream, server):

        async def parts() -> AsyncIterator[str]:
            yield "a"
            await trio.testing.wait_all_tasks_blocked()
            server.pong(b"x")
            await trio.testing.wait_all_tasks_blocked()
            yield "b"

        await server.send(parts())
        await trio.testing.wait_all_tasks_blocked()
        assert await stream.receive_some(1000) == (
            encode_frame(Opcode.TEXT, b"a", fin=False)
            + encode_frame(Opcode.PONG, b"x")
            + encode_frame(Opcode.CONTINUATION, b"b", fin=False)
            + encode_frame(Opcode.CONTINUATION, b"")
        )
        await stream.aclose()


async def test_there_is_no_pong_after_the_end(pair: OpenPair) -> None:
    async with pair() as (client, server):
        await client.aclose()
        with pytest.raises(trio.ClosedResourceError):
            client.pong()
        await server.wait_closed()
        with pytest.raises(ConnectionClosedOK):
            server.pong()
    async with pair() as (client, server):
        client.abort()
        await server.wait_closed()
        with pytest.raises(ConnectionClosedError):
            server.pong()


@asynccontextmanager
async def blocked_server(
    open_pair: OpenPair,
) -> AsyncIterator[tuple[trio.abc.Stream, trio_ws.WebSocket]]:
    """A server's connection with a write under way, and the stream that nobody has read."""
    here, there = trio.testing.lockstep_stream_pair()
    idle, _ = trio.testing.memory_stream_pair()
    async with open_pair(streams=(idle, there)) as (other, server):
        other.abort()
        server.send_nowait("first")
        await trio.testing.wait_all_tasks_blocked()
        yield here, server
        await here.aclose()


def payloads(frames: bytes, opcode: Opcode) -> list[bytes]:
    """What stands in the server's short frames of one kind."""
    found = []
    while frames:
        end = 2 + frames[1]
        if frames[0] & 0x0F == opcode:
            found.append(frames[2:end])
        frames = frames[end:]
    return found


async def test_pongs_overtake_queued_data_and_are_bounded(open_pair: OpenPair) -> None:
    """Of those that nothing asked for the newest 16 are kept, and as many answers."""
    async with blocked_server(open_pair) as (stream, server):
        server.send_nowait("last")
        for number in range(40):
            server.pong(b"mine %d" % number)
            if number % 2:
                yours = encode_frame(Opcode.PING, b"yours %d" % number, KEY)
                await stream.send_all(yours)
                await trio.testing.wait_all_tasks_blocked()
        held = server.statistics().outbox_bytes
        frames = b""
        while not frames.endswith(b"last"):
            frames += await stream.receive_some()
        assert len(frames) == held
        assert payloads(frames, Opcode.TEXT) == [b"first", b"last"]
        pongs = payloads(frames, Opcode.PONG)
        mine = [pong for pong in pongs if pong.startswith(b"mine")]
        yours_answered = [pong for pong in pongs if pong.startswith(b"yours")]
        assert mine == [b"mine %d" % number for number in range(24, 40)]
        assert yours_answered == [b"yours %d" % number for number in range(9, 40, 2)]
        assert len(pongs) == 32
        await trio.testing.wait_all_tasks_blocked()
        assert server.statistics().outbox_bytes == 0
        server.pong(b"again")
        assert await stream.receive_some() == encode_frame(Opcode.PONG, b"again")


async def test_a_ping_is_not_dropped_for_pongs(open_pair: OpenPair) -> None:
    async with blocked_server(open_pair) as (stream, server):
        server.pong(b"same")
        ping = server.start_ping(b"ping")
        for _ in range(40):
            server.pong(b"same")
        assert payloads(bytes(await stream.receive_some()), Opcode.TEXT) == [b"first"]
        assert ping.written_at is None
        frames = bytes(await stream.receive_some())
        assert payloads(frames, Opcode.PING) == [b"ping"]
        assert payloads(frames, Opcode.PONG) == [b"same"] * 16
        await trio.testing.wait_all_tasks_blocked()
        assert ping.written_at is not None


async def test_ping_never_hangs_on_a_connection_that_ends(pair: OpenPair) -> None:
    async with pair() as (client, server):
        async with trio.open_nursery() as nursery:

            async def ping() -> None:
                with pytest.raises((trio.ClosedResourceError, ConnectionClosedError)):
                    while True:
                        await client.ping()

            nursery.start_soon(ping)
            nursery.start_soon(ping)
            await client.ping()
            server.abort()
        with pytest.raises(ConnectionClosedError):
            await client.ping()


# Closing


async def test_closing_hands_out_what_had_arrived(pair: OpenPair) -> None:
    async with pair() as (client, server):
        await client.send("a")
        await client.send("b")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.aclose, 4321, "done")
            assert [await server.receive(), await server.receive()] == ["a", "b"]
            with pytest.raises(ConnectionClosedError) as caught:
                await server.receive()
        reason = caught.value.reason
        assert (reason.code, reason.reason, reason.closed_by, reason.clean) == (
            4321,
            "done",
            ClosedBy.REMOTE,
            True,
        )
        await server.aclose()
        assert client.close_reason == CloseReason(4321, "done", ClosedBy.LOCAL, clean=True)


@pytest.mark.parametrize("code", [1000, 1001, 1005])
async def test_a_close_in_good_order_ends_iteration(pair: OpenPair, code: int) -> None:
    async with pair() as (client, server):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.aclose, code)
            assert [message async for message in server] == []
        with pytest.raises(ConnectionClosedOK):
            await server.receive()
        with pytest.raises(ConnectionClosedOK):
            await server.send("a")
        with pytest.raises(ConnectionClosedOK):
            server.send_nowait("a")
        assert isinstance(ConnectionClosedOK(CloseReason(1000)), trio.EndOfChannel)


@pytest.mark.parametrize("code", [1002, 1008, 1011, 3000, 4999])
async def test_any_other_close_is_an_error(pair: OpenPair, code: int) -> None:
    async with pair() as (client, server):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.aclose, code)
            with pytest.raises(ConnectionClosedError) as caught:
                async for _ in server:
                    pass
        assert caught.value.reason.code == code
        assert isinstance(caught.value, trio.BrokenResourceError)


async def test_after_closing_here_every_call_says_so(pair: OpenPair) -> None:
    async with pair() as (client, server):
        await server.send("never read")
        await client.aclose()
        await client.aclose(1001)
        for call in (client.receive, client.ping, lambda: client.send("a")):
            with pytest.raises(trio.ClosedResourceError, match="closed here"):
                await call()
        with pytest.raises(trio.ClosedResourceError):
            client.send_nowait("a")
        assert client.close_reason == CloseReason(1000, "", ClosedBy.LOCAL, clean=True)


async def test_closing_wakes_everybody_who_waits(pair: OpenPair) -> None:
    async with pair() as (client, _):

        async def receive() -> None:
            with pytest.raises(trio.ClosedResourceError):
                await client.receive()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(receive)
            await trio.testing.wait_all_tasks_blocked(0.01)
            await client.aclose()


async def test_both_may_close_at_once(pair: OpenPair) -> None:
    async with pair() as (client, server):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.aclose, 4001)
            nursery.start_soon(server.aclose, 4002)
        assert client.close_reason is not None
        assert server.close_reason is not None
        assert client.close_reason.code == 4001
        assert server.close_reason.code == 4002
        assert client.close_reason.clean
        assert server.close_reason.clean


async def test_queued_messages_go_before_the_close_frame(pair: OpenPair) -> None:
    async with pair(limits=Limits(max_message_size=None)) as (client, server):

        async def send() -> None:
            await client.send(bytes(3_000_000))
            await client.aclose()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(send)
            assert [len(message) async for message in server] == [3_000_000]


@pytest.mark.parametrize(("code", "reason"), [(1006, ""), (42, ""), (1000, "x" * 124)])
async def test_a_bad_code_or_reason_is_refused_and_nothing_is_closed(
    pair: OpenPair, code: int, reason: str
) -> None:
    async with pair() as (client, server):
        with pytest.raises(ValueError):
            await client.aclose(code, reason)
        await client.send("still open")
        assert await server.receive() == "still open"


async def test_abort_cuts_the_connection(pair: OpenPair) -> None:
    async with pair() as (client, server):
        client.abort()
        client.abort()
        with pytest.raises(trio.ClosedResourceError):
            await client.send("a")
        with pytest.raises(ConnectionClosedError) as caught:
            await server.receive()
        assert caught.value.reason.code == 1006
        assert not caught.value.reason.clean
        assert client.close_reason == CloseReason(1006, "", ClosedBy.LOCAL, clean=False)


@pytest.mark.parametrize(
    "reason",
    [
        CloseReason(1015),
        CloseReason(999, "x"),
        CloseReason(1011, "é" * 100),
        CloseReason(1005, "x"),
    ],
    ids=lambda reason: str(reason.code),
)
async def test_abort_for_a_reason_that_cannot_be_sent_aborts(
    pair: OpenPair, reason: CloseReason
) -> None:
    async with pair() as (client, server):
        client.abort(ConnectionClosedError(reason))
        with pytest.raises(ConnectionClosedError) as caught:
            await client.receive()
        assert caught.value.reason == reason
        with pytest.raises(ConnectionClosedError) as caught:
            await server.receive()
        assert caught.value.reason.code == 1006


async def test_every_call_raises_an_error_of_its_own_like_the_one_given(
    open_pair: OpenPair,
) -> None:
    class Custom(ConnectionClosedError):
        def __init__(self, topic: str, *, extra: int) -> None:
            super().__init__(CloseReason(4000, topic))
            self.extra = extra

    async with open_pair() as (client, _):
        given = Custom("news", extra=1)
        client.abort(given)
        raised = []
        for call in (client.receive, client.ping, lambda: client.send("a")):
            with pytest.raises(Custom, match="news") as caught:
                await call()
            assert caught.value.extra == 1
            raised.append(caught.value)
        assert len({id(error) for error in (given, *raised)}) == 4


async def test_leaving_the_block_of_a_websocket_closes_it(pair: OpenPair) -> None:
    async with pair() as (client, server):
        async with client:
            await client.send("a")
        assert client.close_reason is not None
        assert await server.receive() == "a"


async def test_what_is_known_about_a_connection(pair: OpenPair) -> None:
    async with pair(target="/path?query", subprotocols=["chat"]) as (client, server):
        assert client.request.target == server.request.target == "/path?query"
        assert client.subprotocol == server.subprotocol == "chat"
        assert client.response.status == 101
        assert client.extensions == ()
        assert client.local_address == server.remote_address
        assert client.remote_address == server.local_address
        assert client.id != server.id
        assert repr(client) == f"<{type(client).__name__} {client.id} /path?query: open>"
        assert client.close_reason is None
        await client.send("abc")
        await server.receive()
        statistics = server.statistics()
        assert (statistics.messages_received, statistics.bytes_received) == (1, 9)
        assert client.statistics().messages_sent == 1
        await client.aclose()
        assert "1000 (normal closure)" in repr(client)


# Backpressure


async def test_send_waits_for_a_peer_that_does_not_read(pair: OpenPair) -> None:
    async with pair() as (client, server):
        sent = 0

        async def send() -> None:
            nonlocal sent
            while sent < 2_000:
                await client.send(bytes(10_000))
                sent += 1

        async with trio.open_nursery() as nursery:
            nursery.start_soon(send)
            while not client.statistics().tasks_waiting_send:
                await trio.testing.wait_all_tasks_blocked(0.005)
            assert sent < 2_000
            statistics = client.statistics()
            assert 64 * 1024 < statistics.outbox_bytes < 64 * 1024 + 10_100
            held = server.statistics()
            assert held.inbox_messages < 64 + 27  # and one read
            with pytest.raises(trio.WouldBlock):
                client.send_nowait("a")
            for _ in range(2_000):
                assert len(await server.receive()) == 10_000


async def test_the_inbox_is_bounded_in_bytes(pair: OpenPair) -> None:
    limits = Limits(inbox_bytes=50_000)
    async with pair(limits=limits) as (client, server), trio.open_nursery() as nursery:
        nursery.start_soon(_send_many, client, bytes(40_000), 1_000)
        while not client.statistics().tasks_waiting_send:
            await trio.testing.wait_all_tasks_blocked(0.005)
        assert server.statistics().inbox_bytes <= 50_000 + 65_536
        for _ in range(1_000):
            await server.receive()


async def _send_many(ws: trio_ws.WebSocket, message: bytes, count: int) -> None:
    for _ in range(count):
        await ws.send(message)


async def test_control_frames_overtake_queued_data(open_pair: OpenPair) -> None:
    """In the order of the wire: the write under way, the ping, and only then what had waited."""
    here, there = trio.testing.lockstep_stream_pair()
    idle, _ = trio.testing.memory_stream_pair()
    async with open_pair(streams=(idle, here)) as (other, server):
        other.abort()
        for letter in (b"a", b"b", b"c"):
            server.send_nowait(letter * 20_000)
            # The first is under way, and nobody reads.
            await trio.testing.wait_all_tasks_blocked()
        ping = server.start_ping(b"now")
        waiting = ping.written_at is None
        wire = b""
        while len(wire) < 3 * 20_004 + 5:
            wire += await there.receive_some()
        assert wire == b"".join(
            (
                encode_frame(Opcode.BINARY, b"a" * 20_000),
                encode_frame(Opcode.PING, b"now"),
                encode_frame(Opcode.BINARY, b"b" * 20_000),
                encode_frame(Opcode.BINARY, b"c" * 20_000),
            )
        )
        await trio.testing.wait_all_tasks_blocked()
        assert waiting
        assert ping.written_at is not None
        server.abort()


async def test_a_message_before_a_broken_rule_is_answered_before_the_close(
    open_pair: OpenPair,
) -> None:
    async with raw_client(open_pair) as (stream, server):
        await stream.send_all(
            encode_frame(Opcode.TEXT, b"hello", KEY)
            + encode_frame(Opcode.TEXT, b"x", KEY, rsv1=True)
        )
        async with trio.open_nursery() as nursery:

            async def echo() -> None:
                with pytest.raises(ProtocolViolation) as caught:
                    async for message in server:
                        await server.send(message)
                assert caught.value.reason.code == 1002

            nursery.start_soon(echo)
            await trio.testing.wait_all_tasks_blocked()
            answer = bytes(await stream.receive_some())
            echoed = encode_frame(Opcode.TEXT, b"hello")
            assert answer.startswith(echoed)
            assert answer[len(echoed) :][:1] == b"\x88"
            assert answer[len(echoed) :][2:4] == (1002).to_bytes(2, "big")
            await stream.aclose()


async def test_a_message_before_a_close_frame_is_answered_before_the_close(
    open_pair: OpenPair,
) -> None:
    async with raw_client(open_pair) as (stream, server):
        await stream.send_all(
            encode_frame(Opcode.TEXT, b"hello", KEY) + encode_frame(Opcode.CLOSE, b"\x03\xe8", KEY)
        )
        async for message in server:
            await trio.testing.wait_all_tasks_blocked()
            await server.send(message)
        assert await read_to_end(stream) == encode_frame(Opcode.TEXT, b"hello") + encode_frame(
            Opcode.CLOSE, b"\x03\xe8"
        )


async def test_a_close_frame_is_answered_with_its_own_code_and_reason(
    open_pair: OpenPair,
) -> None:
    frame = (4999).to_bytes(2, "big") + "näxt".encode()
    async with raw_client(open_pair) as (stream, server):
        await stream.send_all(encode_frame(Opcode.CLOSE, frame, KEY))
        assert await read_to_end(stream) == encode_frame(Opcode.CLOSE, frame)
        assert server.close_reason == CloseReason(4999, "näxt", ClosedBy.REMOTE)


async def test_a_handler_that_does_not_answer_delays_the_close_for_a_second_at_most(
    open_pair: OpenPair, autojump_clock: MockClock
) -> None:
    async with raw_client(open_pair) as (stream, server):
        await stream.send_all(
            encode_frame(Opcode.TEXT, b"hello", KEY) + encode_frame(Opcode.CLOSE, b"", KEY)
        )
        began = trio.current_time()
        assert await read_to_end(stream) == encode_frame(Opcode.CLOSE, b"")
        assert trio.current_time() - began == pytest.approx(1)
        assert await server.receive() == "hello"
        with pytest.raises(ConnectionClosedOK):
            await server.receive()


async def test_a_message_over_the_bound_is_refused_with_1009(open_pair: OpenPair) -> None:
    async with raw_client(open_pair, limits=Limits(max_message_size=10)) as (stream, server):
        await stream.send_all(encode_frame(Opcode.TEXT, bytes(11), KEY))
        with pytest.raises(MessageTooBig) as caught:
            await server.receive()
        reason = caught.value.reason
        assert (reason.code, reason.closed_by, reason.clean) == (1009, ClosedBy.LOCAL, False)
        assert "10 bytes" in reason.reason
        assert (await stream.receive_some())[2:4] == (1009).to_bytes(2, "big")
        await stream.aclose()


async def test_a_peer_that_ignores_our_failing_the_connection_is_cut_off(
    open_pair: OpenPair, autojump_clock: MockClock
) -> None:
    async with raw_client(open_pair) as (stream, server):
        await stream.send_all(b"\xff\xff")
        began = trio.current_time()
        with pytest.raises(ProtocolViolation):
            await server.receive()
        await server.aclose()
        assert trio.current_time() - began == pytest.approx(1)


async def test_a_peer_that_does_not_answer_our_close_is_cut_off(
    open_pair: OpenPair, autojump_clock: MockClock
) -> None:
    async with raw_client(open_pair, timeouts=Timeouts(close_timeout=3)) as (stream, server):
        began = trio.current_time()
        await server.aclose()
        assert trio.current_time() - began == pytest.approx(3)
        assert server.close_reason == CloseReason(1000, "", ClosedBy.LOCAL, clean=False)
        assert await read_to_end(stream) == encode_frame(Opcode.CLOSE, b"\x03\xe8")


async def test_an_idle_connection_is_left_alone(
    open_pair: OpenPair, autojump_clock: MockClock
) -> None:
    async with open_pair() as (client, server):
        await trio.sleep(80_000)
        await client.send("hello")
        assert await server.receive() == "hello"


async def test_a_peer_that_stops_reading_for_good_is_given_up(
    open_pair: OpenPair, autojump_clock: MockClock
) -> None:
    here, there = trio.testing.lockstep_stream_pair()
    idle, _ = trio.testing.memory_stream_pair()
    async with open_pair(streams=(idle, there)) as (other, server):
        other.abort()
        began = trio.current_time()
        with pytest.raises(ConnectionClosedError) as caught:
            while True:
                await server.send(bytes(10_000))
        assert trio.current_time() - began == pytest.approx(20)
        assert caught.value.reason.reason == "the peer stopped reading"
        await here.aclose()


async def test_pongs_answer_pings_and_are_bounded(open_pair: OpenPair) -> None:
    async with raw_client(open_pair) as (stream, server):
        await stream.send_all(
            b"".join(encode_frame(Opcode.PING, bytes([n]), KEY) for n in range(100))
        )
        await trio.testing.wait_all_tasks_blocked()
        answers = await stream.receive_some(100_000)
        assert answers.endswith(encode_frame(Opcode.PONG, bytes([99])))
        assert len(answers) <= 17 * 3
        await stream.send_all(encode_frame(Opcode.PING, b"x", KEY) * 2)
        with pytest.raises(ProtocolViolation) as caught:
            await server.receive()
        assert caught.value.reason.code == 1008
        await stream.aclose()


async def test_pongs_that_were_asked_for_are_not_counted(open_pair: OpenPair) -> None:
    async with raw_client(open_pair) as (stream, server):
        pings = [server.start_ping(number.to_bytes(2, "big")) for number in range(150)]
        async with trio.open_nursery() as nursery:
            for ping in pings:
                nursery.start_soon(ping.wait)
            await stream.send_all(
                b"".join(encode_frame(Opcode.PONG, ping.payload, KEY) for ping in pings)
            )
        # Nobody asked for these.
        await stream.send_all(encode_frame(Opcode.PONG, b"", KEY) * 101)
        with pytest.raises(ProtocolViolation) as caught:
            await server.receive()
        assert caught.value.reason.code == 1008


async def test_pings_that_came_while_this_side_did_not_read_are_no_flood(
    open_pair: OpenPair, autojump_clock: MockClock
) -> None:
    async with open_pair(limits=Limits(inbox_messages=4)) as (client, server):
        for _ in range(10):
            await server.send("x")
        for _ in range(150):
            server.start_ping().forget()
            await trio.sleep(1)
        assert client.reading_since is None
        for _ in range(10):
            await client.receive()
        await trio.sleep(1)
        assert client.close_reason is None
        assert client.reading_since is not None


async def test_pings_at_a_moderate_rate_go_on_for_ever(
    open_pair: OpenPair, autojump_clock: MockClock
) -> None:
    async with raw_client(open_pair) as (stream, server):
        for _ in range(500):
            await stream.send_all(encode_frame(Opcode.PING, b"x", KEY))
            assert await stream.receive_some() == encode_frame(Opcode.PONG, b"x")
            await trio.sleep(0.05)
        assert server.close_reason is None


async def test_a_transport_that_fails_is_a_1006(open_pair: OpenPair) -> None:
    async with raw_client(open_pair) as (stream, server):
        await stream.aclose()
        with pytest.raises(ConnectionClosedError) as caught:
            await server.receive()
        assert caught.value.reason == CloseReason(1006, "", ClosedBy.NETWORK, clean=False)


async def test_pings_after_our_close_frame_are_not_answered(open_pair: OpenPair) -> None:
    async with raw_client(open_pair) as (stream, server):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(server.aclose)
            await trio.testing.wait_all_tasks_blocked()
            await stream.send_all(
                encode_frame(Opcode.PING, b"x", KEY)
                + encode_frame(Opcode.TEXT, b"dropped", KEY)
                + encode_frame(Opcode.CLOSE, b"", KEY)
            )
        assert await read_to_end(stream) == encode_frame(Opcode.CLOSE, b"\x03\xe8")


# A transport that fails while the inbox is full


@asynccontextmanager
async def full_inbox(
    open_pair: OpenPair, **options: Any
) -> AsyncIterator[tuple[trio.abc.Stream, trio_ws.WebSocket]]:
    """As `raw_client`, after one message more than the server's inbox takes has come."""
    async with raw_client(open_pair, limits=Limits(inbox_messages=2), **options) as (
        stream,
        server,
    ):
        for text in (b"a", b"b", b"c"):
            await stream.send_all(encode_frame(Opcode.TEXT, text, KEY))
            await trio.testing.wait_all_tasks_blocked()
        assert server.reading_since is None
        yield stream, server


async def test_a_failed_write_is_noticed_behind_a_full_inbox(
    open_pair: OpenPair, autojump_clock: MockClock
) -> None:
    async with full_inbox(open_pair) as (stream, server):
        await stream.aclose()
        await server.send("into the void")
        with pytest.raises(ConnectionClosedError) as caught:
            while True:
                await server.send("x")
        assert caught.value.reason == server.close_reason
        assert await server.wait_closed() == CloseReason(1006, "", ClosedBy.NETWORK, clean=False)
        # What had arrived is handed out all the same.
        assert [await server.receive(), await server.receive()] == ["a", "b"]
        with pytest.raises(ConnectionClosedError):
            await server.receive()


async def test_a_close_frame_behind_a_full_inbox_is_read_after_a_failed_write(
    open_pair: OpenPair,
) -> None:
    async with full_inbox(open_pair) as (stream, server):
        await stream.send_all(encode_frame(Opcode.CLOSE, (4000).to_bytes(2, "big"), KEY))
        await stream.aclose()
        await server.send("into the void")
        await trio.testing.wait_all_tasks_blocked()
        async with trio.open_nursery() as nursery:

            async def send() -> None:
                with pytest.raises(ConnectionClosedError, match="4000"):
                    await server.send("x")

            nursery.start_soon(send)
            await trio.testing.wait_all_tasks_blocked()
            # Until the end is known, nothing is refused for a wrong reason.
            with pytest.raises(trio.WouldBlock):
                server.send_nowait("x")
            ping = server.start_ping()
            assert [await server.receive() for _ in range(3)] == ["a", "b", "c"]
            with pytest.raises(ConnectionClosedError, match="4000"):
                await server.receive()
            with pytest.raises(ConnectionClosedError, match="4000"):
                await ping.wait()


# Cancellation


async def test_a_cancelled_receive_leaves_the_message_for_the_next(pair: OpenPair) -> None:
    async with pair() as (client, server):
        with trio.move_on_after(0):
            await server.receive()
        await client.send("a")
        await client.send("b")
        with trio.CancelScope() as scope:
            scope.cancel()
            await server.receive()
        assert [await server.receive(), await server.receive()] == ["a", "b"]


async def test_a_cancelled_send_sends_nothing(pair: OpenPair) -> None:
    async with pair() as (client, server):
        with trio.CancelScope() as scope:
            scope.cancel()
            await client.send("never")
        await client.send("sent")
        assert await server.receive() == "sent"


async def test_cancelled_calls_on_a_flooded_connection_are_noticed_at_once(
    open_pair: OpenPair,
) -> None:
    async with open_pair() as (client, server):
        for number in range(50):
            client.send_nowait(str(number))
        await trio.testing.wait_all_tasks_blocked()
        with trio.CancelScope() as scope:
            await server.receive()
            scope.cancel()
            await server.receive()
        assert scope.cancelled_caught
        assert await server.receive() == "1"


async def test_a_flood_lets_others_run(open_pair: OpenPair) -> None:
    async with open_pair(limits=Limits(inbox_messages=1000)) as (client, server):
        for number in range(400):
            client.send_nowait(str(number))
        await trio.testing.wait_all_tasks_blocked()
        turns = 0

        async def other() -> None:
            nonlocal turns
            while True:
                await trio.lowlevel.checkpoint()
                turns += 1

        async with trio.open_nursery() as nursery:
            nursery.start_soon(other)
            for _ in range(400):
                await server.receive()
            nursery.cancel_scope.cancel()
        # One turn each 64 messages; the other task's first one is spent on starting.
        assert turns >= 400 // 64 - 1


async def test_a_cancelled_close_still_sends_its_frame_where_the_socket_takes_it(
    open_pair: OpenPair,
) -> None:
    async with open_pair(streams=await socket_streams()) as (client, server):
        with trio.CancelScope() as scope:
            scope.cancel()
            await client.aclose(4000, "in a hurry")
        with pytest.raises(ConnectionClosedError) as caught:
            await server.receive()
        assert caught.value.reason.code == 4000


async def test_cancel_sweep_over_a_conversation(open_pair: OpenPair) -> None:
    """Whatever is cancelled where: what `send` said is true, and nothing stays behind."""
    sent: list[str] = []
    received: list[str] = []

    async def scenario() -> None:
        sent.clear()
        received.clear()
        async with open_pair() as (client, server), trio.open_nursery() as nursery:

            async def echo() -> None:
                async for message in server:
                    received.append(str(message))
                    await server.send(message)

            nursery.start_soon(echo)
            for number in range(3):
                await client.send(str(number))
                sent.append(str(number))
                assert await client.receive() == str(number)
            await client.ping()
            await client.aclose()

    async def check(cancelled: bool) -> None:
        assert received == sent[: len(received)] or received[:-1] == sent
        if not cancelled:
            assert received == sent == ["0", "1", "2"]

    assert await cancel_sweep(scenario, check) > 10


async def test_cancel_sweep_over_concurrent_senders_and_a_large_message(
    open_pair: OpenPair,
) -> None:
    """Exactly the messages whose send returned are received, whole and in order."""
    for step in range(60):
        async with open_pair(streams=await socket_streams()) as (client, server):
            returned: list[str] = []
            scopes = {name: trio.CancelScope() for name in "ab"}

            async def send(
                name: str,
                size: int,
                scope: trio.CancelScope,
                client: trio_ws.WebSocket = client,
                returned: list[str] = returned,
            ) -> None:
                with scope:
                    for number in range(10):
                        await client.send(f"{name}{number}".ljust(size))
                        returned.append(f"{name}{number}")

            async def cancel(
                steps: int = step, scopes: dict[str, trio.CancelScope] = scopes
            ) -> None:
                for _ in range(steps):
                    await trio.lowlevel.checkpoint()
                for scope in scopes.values():
                    scope.cancel()

            received: list[str] = []
            async with trio.open_nursery() as nursery:
                async with trio.open_nursery() as senders:
                    senders.start_soon(send, "a", 0, scopes["a"])
                    senders.start_soon(send, "b", 400_000, scopes["b"])
                    senders.start_soon(cancel)
                    nursery.start_soon(_collect, server, received)
                await client.aclose()
            assert sorted(received) == sorted(returned)
            for name in "ab":
                assert [one for one in received if one[0] == name] == [
                    one for one in returned if one[0] == name
                ]


async def _collect(ws: trio_ws.WebSocket, received: list[str]) -> None:
    async for message in ws:
        received.append(str(message).rstrip())


@pytest.mark.parametrize("direction", ["send", "receive"])
async def test_cut_sweep(open_pair: OpenPair, direction: str) -> None:
    """Whatever byte the transport is cut after: an error that says so, and nothing doubled."""
    messages = ["a", "b" * 200, "c"]
    for budget in range(260):
        here, there = trio.testing.memory_stream_pair()
        cut = CutStream(here, **{direction: budget})
        received: list[str] = []
        async with (
            open_pair(streams=(cut, there)) as (client, server),
            trio.open_nursery() as nursery,
        ):
            nursery.start_soon(_echo_until_end, server, received)
            answers = await _converse(client, messages)
        assert received == messages[: len(received)]
        assert answers == messages[: len(answers)]
        assert len(answers) <= len(received)
        assert client.close_reason is not None
        assert server.close_reason is not None


async def _echo_until_end(ws: trio_ws.WebSocket, received: list[str]) -> None:
    with suppress(ConnectionClosedError, ConnectionClosedOK):
        async for message in ws:
            received.append(str(message))
            await ws.send(message)


async def _converse(ws: trio_ws.WebSocket, messages: list[str]) -> list[str]:
    answers: list[str] = []
    with suppress(ConnectionClosedError, ConnectionClosedOK):
        for message in messages:
            await ws.send(message)
            answers.append(str(await ws.receive()))
        await ws.aclose()
    return answers


async def test_hooks_are_told_of_opening_traffic_and_end(open_pair: OpenPair) -> None:
    hook = Watching()

    async def parts() -> AsyncIterator[str]:
        yield "fragment"

    async with open_pair(hooks=[hook], target="/chat") as (client, server):
        await client.send("hello")
        await server.receive()
        await client.send(parts())
        await server.receive()
    opened = [one for one in hook.records if isinstance(one, ConnectionOpened)]
    assert {(one.id, one.client, one.target) for one in opened} == {
        (client.id, True, "/chat"),
        (server.id, False, "/chat"),
    }
    sent = [one for one in hook.records if isinstance(one, Sent)]
    assert [(one.messages, one.bytes) for one in sent] == [(1, 11), (0, 14), (1, 6)]
    received = [one for one in hook.records if isinstance(one, Received) and one.id == server.id]
    assert sum(one.messages for one in received) == 2
    assert sum(one.bytes for one in received) == server.statistics().bytes_received
    for ended in (one for one in hook.records if isinstance(one, ConnectionEnded)):
        assert ended.reason.code == 1000
        assert ended.uptime == ended.statistics.uptime >= 0


async def test_hooks_are_told_of_pings_and_pongs(
    open_pair: OpenPair, autojump_clock: MockClock
) -> None:
    hook = Watching()
    hook.traffic = False
    async with raw_client(open_pair, hooks=[hook]) as (stream, server):
        await trio.testing.wait_all_tasks_blocked()
        hook.records.clear()
        ping = server.start_ping(b"mine")
        assert await stream.receive_some() == encode_frame(Opcode.PING, b"mine")
        await trio.sleep(0.25)
        for frame in (
            encode_frame(Opcode.PONG, b"mine", KEY),
            encode_frame(Opcode.PONG, b"mine", KEY),
            encode_frame(Opcode.PONG, b"unasked", KEY),
            encode_frame(Opcode.PING, b"yours", KEY),
            encode_frame(Opcode.PING, b"", KEY),
        ):
            await stream.send_all(frame)
        await trio.testing.wait_all_tasks_blocked()
        assert hook.records == [
            PingSent(id=server.id),
            PongReceived(id=server.id, round_trip=0.25, payload=b"mine"),
            PongReceived(id=server.id, round_trip=None, payload=b"mine"),
            PongReceived(id=server.id, round_trip=None, payload=b"unasked"),
            PingReceived(id=server.id, payload=b"yours"),
            PingReceived(id=server.id, payload=b""),
        ]
        assert ping.round_trip == server.latency == 0.25
        await stream.aclose()


async def test_hooks_are_told_of_a_ping_that_is_answered_no_more(open_pair: OpenPair) -> None:
    hook = Watching()
    async with (
        raw_client(open_pair, hooks=[hook]) as (stream, server),
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(server.aclose)
        await trio.testing.wait_all_tasks_blocked()
        await stream.send_all(
            encode_frame(Opcode.PING, b"late", KEY) + encode_frame(Opcode.CLOSE, b"", KEY)
        )
        assert await read_to_end(stream) == encode_frame(Opcode.CLOSE, b"\x03\xe8")
    assert PingReceived(id=server.id, payload=b"late") in hook.records


async def test_a_hook_that_raises_disturbs_nobody(
    open_pair: OpenPair, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(record: object) -> None:
        raise KeyError("a bug")

    async with open_pair(hooks=[broken]) as (client, server):
        await client.send("hello")
        assert await server.receive() == "hello"
    assert caplog.messages[0] == "a hook failed on ConnectionOpened"


async def test_when_the_end_is_known(open_pair: OpenPair) -> None:
    async with open_pair() as (client, server):
        await client.aclose(4000)
        assert (await server.wait_closed()).code == 4000
        assert (await client.wait_closed()).code == 4000
        uptime = client.statistics().uptime
        assert client.statistics().uptime == uptime


# Faults, for whoever tests a peer


async def test_pings_can_be_left_unanswered(open_pair: OpenPair, autojump_clock: MockClock) -> None:
    async with open_pair() as (client, server):
        assert isinstance(server, Connection)
        server.answers_pings = False
        with trio.move_on_after(1_000) as waited:
            await client.ping()
        assert waited.cancelled_caught
        await client.send("heard")
        assert await server.receive() == "heard"


async def test_a_full_inbox_does_not_hide_that_the_peer_has_gone(
    open_pair: OpenPair, autojump_clock: MockClock
) -> None:
    async with open_pair(limits=Limits(inbox_messages=1)) as (client, server):
        await client.send("a")
        await trio.testing.wait_all_tasks_blocked()
        client.abort()
        await trio.testing.wait_all_tasks_blocked()
        assert server.close_reason is None
        await server.send("to nobody")
        assert (await server.wait_closed()).code == 1006
        assert await server.receive() == "a"
        with pytest.raises(ConnectionClosedError):
            await server.receive()


@pytest.mark.parametrize("call", ["receive", "send"])
async def test_a_cancelled_call_says_so_though_the_connection_ended_as_well(
    open_pair: OpenPair, call: str
) -> None:
    async with open_pair() as (client, _), trio.open_nursery() as nursery:
        scope = trio.CancelScope()

        async def wait() -> None:
            with scope:
                await (client.receive() if call == "receive" else client.send("never"))

        if call == "send":
            assert isinstance(client, Connection)
            client._fragmenting = True
        nursery.start_soon(wait)
        await trio.testing.wait_all_tasks_blocked()
        client.abort()
        scope.cancel()
    assert scope.cancelled_caught
