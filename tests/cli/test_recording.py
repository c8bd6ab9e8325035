"""``--format jsonl``: the recorder and the WebSocket that tells it of messages."""

from __future__ import annotations

import errno
import threading
from typing import TYPE_CHECKING, Any

import pytest
import trio
import trio.testing

import trio_ws
from tests.instrumentation.records import ended
from trio_ws.cli.jsonlines import Entry, decode
from trio_ws.cli.recorded import RecordedWebSocket
from trio_ws.cli.recording import Recorder
from trio_ws.instrumentation import (
    ConnectionEnded,
    ConnectionOpened,
    HandlerCrashed,
    HeartbeatLost,
    PingReceived,
    PingSent,
    PongReceived,
    Received,
    Record,
)
from trio_ws.testing import open_pair

from ..sweeps import cancel_sweep

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from trio_ws.testing import Pair


class Output:
    """What a recorder has written; it can be slow, and it can fail."""

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.may_write = threading.Event()
        self.may_write.set()
        self.error: OSError | None = None

    def write(self, data: bytes) -> None:
        assert self.may_write.wait(10)
        if self.error is not None:
            raise self.error
        self.written.append(data)

    @property
    def entries(self) -> list[Entry]:
        return list(decode(b"".join(self.written).splitlines(), "written"))

    @property
    def messages(self) -> list[tuple[object, object]]:
        return [(entry.dir, entry.data) for entry in self.entries if entry.type == "message"]


@pytest.fixture
def output() -> Iterator[Output]:
    output = Output()
    yield output
    # No thread is left waiting.
    output.may_write.set()


@pytest.fixture
def recorder(output: Output, nursery: trio.Nursery) -> Recorder:
    recorder = Recorder(output.write, capacity=1000, now=lambda: 1.0)
    nursery.start_soon(recorder.run)
    return recorder


@pytest.fixture
async def pair(nursery: trio.Nursery) -> AsyncIterator[Pair]:
    async with open_pair() as pair:
        yield pair


def ping(number: int) -> PingReceived:
    return PingReceived(id="c", payload=str(number).encode())


# The recorder


async def test_what_hooks_are_told_becomes_entries(
    recorder: Recorder, output: Output, pair: Pair
) -> None:
    reason = trio_ws.CloseReason(4000, "bye", trio_ws.ClosedBy.REMOTE)
    crash = ValueError("half a pair: \ud800")
    told: list[Record] = [
        ConnectionOpened(id="c", client=False, target="/x?y", remote_address=None),
        PingReceived(id="c", payload=b"p"),
        PingSent(id="c"),
        PongReceived(id="c", round_trip=None, payload=b"q"),
        Received(id="c", messages=1, bytes=1),
        HeartbeatLost(id="c", silent=20.04),
        HandlerCrashed(id="c", target="/", remote_address=None, error=crash),
        ended("c", reason=reason),
    ]
    for record in told:
        recorder(record)
    await recorder.wait_written()
    common: dict[str, Any] = {"ts": 1.0, "conn": "c"}
    assert output.entries == [
        Entry(**common, type="open", url="/x?y"),
        Entry(**common, type="ping", dir="in", data=b"p"),
        Entry(**common, type="ping", dir="out"),
        Entry(**common, type="pong", dir="in", data=b"q"),
        Entry(**common, type="error", reason="nothing came for 20.0 s"),
        Entry(
            **common,
            type="error",
            reason="the handler raised ValueError: half a pair: \\ud800",
        ),
        Entry(**common, type="close", dir="in", code=4000, reason="bye"),
    ]


@pytest.mark.parametrize(
    ("closed_by", "direction"),
    [
        (trio_ws.ClosedBy.LOCAL, "out"),
        (trio_ws.ClosedBy.REMOTE, "in"),
        (trio_ws.ClosedBy.NETWORK, None),
    ],
)
async def test_a_close_says_whose_it_was(
    closed_by: trio_ws.ClosedBy,
    direction: str | None,
    recorder: Recorder,
    output: Output,
    pair: Pair,
) -> None:
    reason = trio_ws.CloseReason(1006, "", closed_by)
    recorder(ended("c", reason=reason))
    await recorder.wait_written()
    assert output.entries == [Entry(ts=1.0, conn="c", type="close", dir=direction, code=1006)]  # type: ignore[arg-type]


async def test_lines_that_pile_up_are_written_at_once_and_in_order(
    recorder: Recorder, output: Output
) -> None:
    output.may_write.clear()
    for number in range(3):
        recorder(ping(number))
        await trio.testing.wait_all_tasks_blocked()
    output.may_write.set()
    await recorder.wait_written()
    assert [entry.data for entry in output.entries] == [b"0", b"1", b"2"]
    assert len(output.written) == 2


async def test_room_is_waited_for_while_the_reader_is_slow(
    recorder: Recorder, output: Output
) -> None:
    output.may_write.clear()
    await recorder.wait_for_room()
    while recorder.has_room:
        recorder(ping(0))
    waited = trio.Event()

    async def wait() -> None:
        await recorder.wait_for_room()
        waited.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        await trio.testing.wait_all_tasks_blocked()
        assert not waited.is_set()
        with trio.move_on_after(0) as scope:
            await recorder.wait_for_room()
        assert scope.cancelled_caught
        output.may_write.set()
        await waited.wait()
    assert recorder.has_room


async def test_when_nobody_reads_any_more_it_ends_and_nobody_waits(output: Output) -> None:
    output.error = BrokenPipeError()
    recorder = Recorder(output.write, capacity=1)
    recorder(ping(0))
    await recorder.run()
    recorder(ping(1))
    await recorder.wait_for_room()
    await recorder.wait_written()
    assert recorder.has_room
    assert output.written == []


async def test_what_cannot_be_written_for_another_reason_is_an_error(output: Output) -> None:
    output.error = OSError(errno.ENOSPC, "No space left on device")
    recorder = Recorder(output.write)
    recorder(ping(0))
    with pytest.raises(OSError, match="No space left"):
        await recorder.run()
    await recorder.wait_written()


async def test_cancelled_it_does_not_wait_for_a_reader_that_hangs(output: Output) -> None:
    output.may_write.clear()
    recorder = Recorder(output.write)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(recorder.run)
        recorder(ping(0))
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    await recorder.wait_written()


# Messages


async def test_messages_are_recorded_as_they_are_received_and_sent(
    recorder: Recorder, output: Output, pair: Pair
) -> None:
    ws = RecordedWebSocket(pair.server, recorder)
    await pair.client.send("question")
    assert await ws.receive() == "question"
    await ws.send(memoryview(b"answer"))
    ws.send_nowait(bytearray(b"more"))
    await ws.send(["in ", "fragments"])
    await ws.send([])

    async def parts() -> AsyncIterator[bytes]:
        yield b"a"
        yield b"b"

    await ws.send(parts())
    for expected in (b"answer", b"more", "in fragments", b"ab"):
        assert await pair.client.receive() == expected
    await recorder.wait_written()
    assert output.messages == [
        ("in", "question"),
        ("out", b"answer"),
        ("out", b"more"),
        ("out", "in fragments"),
        ("out", b"ab"),
    ]
    assert {entry.conn for entry in output.entries} == {pair.server.id}


async def test_a_message_taken_in_pieces_is_recorded_whole_when_it_is_complete(
    recorder: Recorder, output: Output, pair: Pair
) -> None:
    ws = RecordedWebSocket(pair.server, recorder)
    await pair.client.send(["a", "b", ""])
    async with ws.receive_stream() as stream:
        assert "".join([str(piece) async for piece in stream]) == "ab"
        with pytest.raises(trio.EndOfChannel):
            await stream.receive()
    await pair.client.send(["abandoned", "x"])
    async with ws.receive_stream() as stream:
        await stream.receive()
    await recorder.wait_written()
    assert output.messages == [("in", "ab")]


async def test_a_message_that_the_close_cuts_short_is_not_recorded(
    recorder: Recorder, output: Output, pair: Pair
) -> None:
    ws = RecordedWebSocket(pair.server, recorder)

    async def endless() -> AsyncIterator[str]:
        yield "a"
        await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(pair.client.send, endless())
        stream = ws.receive_stream()
        assert await stream.receive() == "a"
        nursery.cancel_scope.cancel()
    with pytest.raises(trio_ws.ConnectionClosed):
        await stream.receive()
    await recorder.wait_written()
    assert output.messages == []


async def test_what_is_refused_is_not_recorded(
    recorder: Recorder, output: Output, pair: Pair
) -> None:
    ws = RecordedWebSocket(pair.server, recorder)
    with pytest.raises(TypeError):
        await ws.send(7)  # type: ignore[arg-type]
    with pytest.raises(UnicodeEncodeError):
        await ws.send("\ud800")
    await ws.aclose()
    with pytest.raises(trio.ClosedResourceError):
        await ws.send("late")
    with pytest.raises(trio.ClosedResourceError):
        await ws.receive()
    await recorder.wait_written()
    assert output.messages == []


async def test_send_nowait_would_block_where_there_is_no_room(
    recorder: Recorder, output: Output, pair: Pair
) -> None:
    ws = RecordedWebSocket(pair.server, recorder)
    output.may_write.clear()
    ws.send_nowait("x" * 1000)
    with pytest.raises(trio.WouldBlock):
        ws.send_nowait("y")
    output.may_write.set()
    await recorder.wait_for_room()
    ws.send_nowait("z")
    await recorder.wait_written()
    assert [data for _, data in output.messages] == ["x" * 1000, "z"]


async def test_a_slow_reader_slows_receiving_down_and_nothing_is_lost(
    recorder: Recorder, output: Output, pair: Pair
) -> None:
    ws = RecordedWebSocket(pair.server, recorder)
    output.may_write.clear()
    for number in range(3):
        await pair.client.send(str(number) * 1000)
    assert await ws.receive() == "0" * 1000
    with trio.move_on_after(0.01) as scope:
        await ws.receive()
    assert scope.cancelled_caught
    output.may_write.set()
    assert await ws.receive() == "1" * 1000
    assert await ws.receive() == "2" * 1000
    await recorder.wait_written()
    assert len(output.messages) == 3


async def test_cancelled_anywhere_what_was_exchanged_is_what_was_recorded(
    nursery: trio.Nursery,
) -> None:
    output = Output()
    exchanged: list[tuple[str, str]] = []
    # Outlives each run of the scenario, and has room for one entry.
    recorder = Recorder(output.write, capacity=1)
    nursery.start_soon(recorder.run)

    async def scenario() -> None:
        output.written.clear()
        exchanged.clear()
        async with open_pair() as pair:
            ws = RecordedWebSocket(pair.server, recorder)
            for number in range(3):
                await pair.client.send(f"question {number}")
                exchanged.append(("in", str(await ws.receive())))
                await ws.send(f"answer {number}")
                exchanged.append(("out", f"answer {number}"))

    async def check(cancelled: bool) -> None:
        await recorder.wait_written()
        assert output.messages == exchanged
        assert cancelled or len(exchanged) == 6

    # Warm up: the first write makes the worker thread's machinery.
    await scenario()
    await recorder.wait_written()
    assert await cancel_sweep(scenario, check) > 10


async def test_everything_else_is_the_connection_s_own(recorder: Recorder, pair: Pair) -> None:
    inner = pair.server
    ws = RecordedWebSocket(inner, recorder)
    assert await ws.ping(b"x") >= 0
    pending = ws.start_ping()
    assert await pending.wait() >= 0
    for name in (
        *("latency", "last_received", "last_sent", "reading_since", "request", "response"),
        *("subprotocol", "extensions", "local_address", "remote_address", "id"),
    ):
        assert getattr(ws, name) == getattr(inner, name)
    assert ws.statistics().messages_sent == 0
    assert "recorded" in repr(ws)
    assert ws.close_reason is None
    ws.abort()
    assert await ws.wait_closed() == ws.close_reason == inner.close_reason


# Handlers


async def test_the_close_comes_last_even_where_messages_are_read_after_it(
    output: Output,
) -> None:
    recorder = Recorder(output.write)
    closed = trio.Event()

    class Closed:
        def __call__(self, record: Record) -> None:
            if isinstance(record, ConnectionEnded):
                closed.set()

    async def read_late(ws: trio_ws.WebSocket) -> None:
        assert isinstance(ws, RecordedWebSocket)
        await closed.wait()
        async for message in ws:
            assert message == "early"

    async with trio.open_nursery() as nursery:
        nursery.start_soon(recorder.run)
        async with open_pair(hooks=[recorder, Closed()]) as pair:
            recorder._lines.clear()
            async with trio.open_nursery() as handling:
                handling.start_soon(recorder.handler(read_late), pair.server)
                await pair.client.send("early")
                await pair.client.aclose()
        await recorder.wait_written()
        nursery.cancel_scope.cancel()
    mine = [entry for entry in output.entries if entry.conn == pair.server.id]
    assert [entry.type for entry in mine][-2:] == ["message", "close"]
    assert mine[-1].ts <= mine[-2].ts


async def test_a_close_after_the_handler_is_recorded_when_it_comes(output: Output) -> None:
    recorder = Recorder(output.write)

    async def leave(ws: trio_ws.WebSocket) -> None:
        await ws.send("bye")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(recorder.run)
        async with open_pair(hooks=[recorder]) as pair:
            await recorder.handler(leave)(pair.server)
            await pair.server.aclose()
        await recorder.wait_written()
        nursery.cancel_scope.cancel()
    mine = [entry for entry in output.entries if entry.conn == pair.server.id]
    assert [entry.type for entry in mine] == ["open", "message", "close"]
    assert (mine[-1].dir, mine[-1].code) == ("out", 1000)
