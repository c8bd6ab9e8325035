"""One WebSocket across reconnects: what it keeps, and what it never sends twice."""

from __future__ import annotations

import errno
import logging
import math
import traceback
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

import trio_ws
from trio_ws import (
    Backoff,
    CloseReason,
    ConnectionClosedError,
    ConnectionClosedOK,
    GaveUp,
    OfflineQueue,
    Verdict,
    keep_connected,
)
from trio_ws.instrumentation import PongReceived

from .network import URL, Network, echo, install
from .sweeps import cancel_sweep, living_tasks

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from trio.testing import MockClock

    from trio_ws import ReconnectingWebSocket, WebSocket
    from trio_ws.instrumentation import Record

REFUSED = ConnectionRefusedError(errno.ECONNREFUSED, "cannot connect: refused")
EXACT = Backoff(jitter="none", initial=1, factor=1, maximum=1, intensity=None)
LOST = ConnectionClosedError(CloseReason(1006))


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> Network:
    return install(monkeypatch)


async def lose(network: Network, ws: ReconnectingWebSocket) -> None:
    """Cut the connection, and wait until that is known."""
    await network.cut()
    await trio.testing.wait_all_tasks_blocked()
    assert not ws.is_connected


async def test_it_goes_on(network: Network, autojump_clock: MockClock) -> None:
    async with network.served(echo), keep_connected(URL, backoff=EXACT) as ws:
        for number in range(3):
            await ws.send(str(number))
            assert await ws.receive() == str(number)
            assert await ws.ping() >= 0
            await lose(network, ws)
        statistics = ws.statistics()
        assert (statistics.messages_sent, statistics.messages_received) == (3, 3)
        await ws.send(b"x")
        assert await ws.receive() == b"x"
        statistics = ws.statistics()
        assert (statistics.messages_sent, statistics.messages_received) == (4, 4)
        assert statistics.bytes_received == 4 * 3 + 3 * 10
        assert ws.close_reason is None
    assert len(network.attempts) == 4


async def test_async_for_goes_on_until_the_server_is_done(
    network: Network, autojump_clock: MockClock
) -> None:
    served = 0

    async def handler(ws: WebSocket) -> None:
        nonlocal served
        served += 1
        await ws.send(f"message {served}")
        await ws.aclose(1001 if served < 3 else 1000)

    async with network.served(handler), keep_connected(URL) as ws:
        assert [message async for message in ws] == ["message 1", "message 2", "message 3"]
        assert ws.close_reason is not None
        assert ws.close_reason.code == 1000
        for call in (ws.receive, ws.ping, lambda: ws.send("x")):
            with pytest.raises(ConnectionClosedOK):
                await call()
        with pytest.raises(ConnectionClosedOK):
            ws.send_nowait("x")
        assert (await ws.wait_closed()).code == 1000


async def test_what_had_arrived_is_received_first(
    network: Network, autojump_clock: MockClock
) -> None:
    served = 0

    async def handler(ws: WebSocket) -> None:
        nonlocal served
        served += 1
        for number in range(3):
            await ws.send(f"{served}.{number}")
        await trio.sleep_forever()

    async with network.served(handler), keep_connected(URL, backoff=EXACT) as ws:
        await trio.testing.wait_all_tasks_blocked()
        await lose(network, ws)
        await trio.sleep(5)
        assert ws.is_connected
        got = [await ws.receive() for _ in range(6)]
    assert got == ["1.0", "1.1", "1.2", "2.0", "2.1", "2.2"]


async def test_what_nobody_receives_is_bounded(
    network: Network, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async def handler(ws: WebSocket) -> None:
        await ws.send("unread")
        await trio.sleep_forever()

    caplog.set_level(logging.WARNING)
    async with network.served(handler), keep_connected(URL, backoff=EXACT) as ws:
        for _ in range(9):
            await trio.sleep(2)
            await lose(network, ws)
        assert caplog.messages == [f"{ws.id}: 1 messages that nobody received are lost"]
        await trio.sleep(2)
        assert [await ws.receive() for _ in range(9)] == ["unread"] * 9


async def test_streams_come_from_whichever_connection_is_there(
    network: Network, autojump_clock: MockClock
) -> None:
    async def handler(ws: WebSocket) -> None:
        async def parts() -> AsyncGenerator[str]:
            yield "half"
            await trio.sleep(1)
            yield "whole"

        await trio.sleep(1)
        await ws.send(parts())
        await trio.sleep_forever()

    async with network.served(handler), keep_connected(URL, backoff=EXACT) as ws:
        async with ws.receive_stream() as stream:
            await lose(network, ws)
            # Nothing of it had come, so it is the next connection's.
            assert "".join([str(piece) async for piece in stream]) == "halfwhole"
        await lose(network, ws)
        async with ws.receive_stream() as stream:
            assert await stream.receive() == "half"
            await lose(network, ws)
            with pytest.raises(ConnectionClosedError):
                await stream.receive()
        await ws.receive_stream().aclose()


async def test_one_receiver_at_a_time(network: Network, autojump_clock: MockClock) -> None:
    async with network.served(echo), keep_connected(URL) as ws, trio.open_nursery() as nursery:
        nursery.start_soon(ws.receive)
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(trio.BusyResourceError):
            await ws.receive()
        with pytest.raises(trio.BusyResourceError):
            await ws.receive_stream().receive()
        nursery.cancel_scope.cancel()


# Sending while offline


async def test_send_waits(network: Network, autojump_clock: MockClock) -> None:
    async with network.served(echo), keep_connected(URL, backoff=EXACT) as ws:
        await lose(network, ws)
        with pytest.raises(trio.WouldBlock):
            ws.send_nowait("now")
        for call in (ws.start_ping, ws.pong):
            with pytest.raises(ConnectionClosedError, match="1006"):
                call()
        await ws.send("later")
        assert await ws.receive() == "later"
        assert trio.current_time() == pytest.approx(1)
        ws.send_nowait("now")
        assert await ws.receive() == "now"
        ping = ws.start_ping()
        assert await ping.wait() >= 0


async def test_pongs_go_over_the_connection_that_is_there(
    network: Network, autojump_clock: MockClock
) -> None:
    records: list[Record] = []
    async with (
        network.served(echo, hooks=[records.append]),
        keep_connected(URL, backoff=EXACT) as ws,
    ):
        ws.pong(b"one")
        await trio.testing.wait_all_tasks_blocked()
        await lose(network, ws)
        with pytest.raises(ConnectionClosedError):
            ws.pong(b"lost")
        await trio.sleep(2)
        ws.pong(b"two")
        with pytest.raises(ValueError, match="at most 125 bytes"):
            ws.pong(bytes(126))
        await trio.testing.wait_all_tasks_blocked()
    pongs = [one.payload for one in records if isinstance(one, PongReceived)]
    assert pongs == [b"one", b"two"], "what failed is never sent later"
    with pytest.raises(trio.ClosedResourceError):
        ws.pong()


async def test_what_cannot_wait_fails_alike_when_the_end_is_not_known_yet(
    network: Network, autojump_clock: MockClock
) -> None:
    async def handler(ws: WebSocket) -> None:
        await ws.receive()
        await ws.aclose(1001)

    async with network.served(handler), keep_connected(URL, backoff=EXACT) as ws:
        await ws.send("please close")
        while ws.is_connected:
            await trio.lowlevel.checkpoint()
        for call in (ws.start_ping, ws.pong):
            with pytest.raises(ConnectionClosedError, match="1001"):
                call()


async def test_send_raises_where_that_is_wanted(
    network: Network, autojump_clock: MockClock
) -> None:
    async with network.served(echo), keep_connected(URL, backoff=EXACT, offline="raise") as ws:
        await lose(network, ws)
        with pytest.raises(ConnectionClosedError, match="1006"):
            await ws.send("lost")
        with pytest.raises(ConnectionClosedError, match="1006"):
            ws.send_nowait("lost")
        await trio.sleep(2)
        await ws.send("kept")
        assert await ws.receive() == "kept", "what failed is never sent later"


async def test_a_queue_is_sent_before_anything_else(
    network: Network, autojump_clock: MockClock
) -> None:
    async def log_in(ws: WebSocket) -> None:
        await ws.send("login")

    queue = OfflineQueue(messages=3, bytes=100)
    async with (
        network.served(echo),
        keep_connected(URL, backoff=EXACT, offline=queue, on_connect=log_in) as ws,
    ):
        assert await ws.receive() == "login"
        await lose(network, ws)
        await ws.send("1")
        ws.send_nowait(b"2")
        await ws.send("3")
        with pytest.raises(trio.WouldBlock):
            ws.send_nowait("4")
        started = trio.current_time()
        await ws.send("4")
        assert trio.current_time() > started, "a full queue makes send wait"
        assert [await ws.receive() for _ in range(5)] == ["login", "1", b"2", "3", "4"]


@pytest.mark.parametrize("way", ["left", "cancelled", "gave up"])
async def test_a_queue_that_nobody_will_get_is_not_dropped_silently(
    network: Network, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture, way: str
) -> None:
    queue, backoff = OfflineQueue(), Backoff(jitter="none", initial=1, max_attempts=2)
    async with network.served(echo):
        with trio.move_on_after(0.5 if way == "cancelled" else math.inf):
            async with keep_connected(URL, offline=queue, backoff=backoff) as ws:
                network.down = REFUSED
                await lose(network, ws)
                await ws.send("precious")
                ws.send_nowait("and dear")
                if way == "cancelled":
                    await trio.sleep_forever()
                elif way == "gave up":
                    with pytest.raises(GaveUp):
                        await ws.receive()
                    assert "lost" in caplog.messages[-1], "at once"
    lost = [text for text in caplog.messages if "offline queue" in text]
    assert lost == [f"{ws.id}: 2 messages in the offline queue are lost"]


async def test_a_message_on_its_way_out_of_the_queue_is_counted_too(
    network: Network, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async def deaf(ws: WebSocket) -> None:
        await trio.sleep_forever()

    network.lockstep = True
    limits = trio_ws.Limits(outbox_bytes=10, inbox_messages=1)
    timeouts = trio_ws.Timeouts(close_timeout=1)
    async with network.served(deaf, limits=limits):
        async with keep_connected(
            URL, offline=OfflineQueue(), backoff=EXACT, limits=limits, timeouts=timeouts
        ) as ws:
            await lose(network, ws)
            for _ in range(5):
                await ws.send("x" * 100_000)
            await trio.sleep(2)
            sent = ws.statistics().messages_sent
            assert 0 < sent < 5
    assert f"{ws.id}: {5 - sent} messages in the offline queue are lost" in caplog.messages


async def test_nothing_overtakes_a_queue(network: Network, autojump_clock: MockClock) -> None:
    got: list[str] = []
    reads = trio.Event()

    async def handler(ws: WebSocket) -> None:
        await reads.wait()
        async for message in ws:
            got.append(str(message)[0])

    network.lockstep = True
    limits = trio_ws.Limits(outbox_bytes=10, inbox_messages=1)
    queue = OfflineQueue(messages=3)
    async with (
        network.served(handler, limits=limits),
        keep_connected(URL, offline=queue, backoff=EXACT, limits=limits) as ws,
        trio.open_nursery() as nursery,
    ):
        await lose(network, ws)
        for text in "123":
            await ws.send(text * 100_000)
        await trio.sleep(2)
        assert ws.is_connected
        # The queue is on its way out, and stuck.
        nursery.start_soon(ws.send, "4")
        nursery.start_soon(ws.ping)
        await trio.testing.wait_all_tasks_blocked()
        assert ws.statistics().tasks_waiting_send == 1, "whoever sends now queues up behind it"
        with suppress(trio.WouldBlock):
            ws.send_nowait("5")
        reads.set()
        await trio.sleep(5)
    assert got[:3] == ["1", "2", "3"]
    assert "4" in got


async def test_a_queue_is_bounded_in_bytes_too(network: Network, autojump_clock: MockClock) -> None:
    queue = OfflineQueue(bytes=5)
    async with network.served(echo), keep_connected(URL, backoff=EXACT, offline=queue) as ws:
        await lose(network, ws)
        await ws.send("large message")
        with pytest.raises(trio.WouldBlock):
            ws.send_nowait("x")


@pytest.mark.parametrize("offline", ["queue", "Wait", None, OfflineQueue])
async def test_a_policy_that_is_none_is_refused(network: Network, offline: Any) -> None:
    with pytest.raises(ValueError, match="'wait', 'raise' or an OfflineQueue"):
        async with keep_connected(URL, offline=offline):
            raise AssertionError
    assert network.attempts == []


async def test_text_that_cannot_be_sent_is_refused_before_it_is_queued(
    network: Network, autojump_clock: MockClock
) -> None:
    async with (
        network.served(echo),
        keep_connected(URL, backoff=EXACT, offline=OfflineQueue()) as ws,
    ):
        await lose(network, ws)
        with pytest.raises(UnicodeEncodeError):
            await ws.send("\ud800")
        with pytest.raises(UnicodeEncodeError):
            ws.send_nowait("\ud800")
        await ws.send("fine")
        assert await ws.receive() == "fine"


async def test_connections_without_anything_unread_drop_nobody_else_s_messages(
    network: Network, autojump_clock: MockClock
) -> None:
    served = 0

    async def handler(ws: WebSocket) -> None:
        nonlocal served
        served += 1
        if served == 1:
            await ws.send("unread")
        await trio.sleep_forever()

    async with network.served(handler), keep_connected(URL, backoff=EXACT) as ws:
        for _ in range(12):
            await trio.sleep(2)
            await lose(network, ws)
        assert await ws.receive() == "unread"


async def test_a_ping_that_loses_its_connection_goes_to_the_next(
    network: Network, autojump_clock: MockClock
) -> None:
    async with network.served(echo), keep_connected(URL, backoff=EXACT) as ws:
        await network.cut()
        assert await ws.ping() >= 0
    assert len(network.attempts) == 2


@pytest.mark.parametrize("options", [{"messages": 0}, {"bytes": 0}])
def test_a_queue_without_room_is_refused(options: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="must be positive"):
        OfflineQueue(**options)


async def test_a_queue_survives_a_connection_that_dies_while_it_is_sent(
    network: Network, autojump_clock: MockClock
) -> None:
    got: list[object] = []

    async def handler(ws: WebSocket) -> None:
        async for message in ws:
            got.append(message)
        await ws.wait_closed()

    queue = OfflineQueue()
    limits = trio_ws.Limits(outbox_bytes=10)
    async with (
        network.served(handler),
        keep_connected(URL, backoff=EXACT, offline=queue, limits=limits) as ws,
    ):
        await lose(network, ws)
        for number in range(50):
            await ws.send(f"message {number:04}")
        network.cut_after = {"send": 400}
        await trio.sleep(10)
        assert ws.statistics().messages_sent == 50, "each is handed to one connection"
    numbers = [str(message) for message in got]
    assert numbers == sorted(set(numbers)), "none twice, and in order"
    assert "message 0049" in numbers
    assert len(numbers) < 50, "what was handed to the dead connection is not sent again"


async def test_a_send_that_waits_when_the_connection_dies_goes_to_the_next(
    network: Network, autojump_clock: MockClock
) -> None:
    got: list[object] = []
    reads = trio.Event()

    async def handler(ws: WebSocket) -> None:
        await reads.wait()
        async for message in ws:
            got.append(message)

    network.lockstep = True
    limits = trio_ws.Limits(outbox_bytes=10, inbox_messages=1)
    async with (
        network.served(handler, limits=limits),
        keep_connected(URL, backoff=EXACT, limits=limits) as ws,
    ):
        async with trio.open_nursery() as nursery:
            # The write under way and the queue behind it are full: the last one waits.
            done: set[str] = set()

            async def send(letter: str) -> None:
                await ws.send(letter * 100_000)
                done.add(letter)

            for letter in "abcd":
                nursery.start_soon(send, letter)
            await trio.testing.wait_all_tasks_blocked()
            waited = set("abcd") - done
            assert waited
            ws.abort(LOST)
            reads.set()
        await trio.sleep(5)
        assert ws.statistics().messages_sent == 4
    letters = [str(message)[0] for message in got]
    assert len(letters) == len(set(letters)), "none twice"
    assert waited <= set(letters), "those that waited arrive"


async def test_an_iterable_is_not_sent_again(network: Network, autojump_clock: MockClock) -> None:
    async def parts() -> AsyncGenerator[str]:
        yield "half"
        await network.cut()
        await trio.sleep(0.5)
        yield "whole"

    async with network.served(echo), keep_connected(URL, backoff=EXACT) as ws:
        with pytest.raises(ConnectionClosedError):
            await ws.send(parts())
        await ws.send("next")
        assert await ws.receive() == "next"


# The end


async def test_giving_up_reaches_everybody(network: Network, autojump_clock: MockClock) -> None:
    async def handler(ws: WebSocket) -> None:
        await ws.send("unread")
        await ws.receive()

    backoff = Backoff(max_attempts=2)
    async with network.served(handler), keep_connected(URL, backoff=backoff) as ws:
        await trio.testing.wait_all_tasks_blocked()
        network.down = REFUSED
        await lose(network, ws)
        with pytest.raises(GaveUp):
            await ws.send("x")
        with pytest.raises(GaveUp):
            await ws.ping()
        with pytest.raises(GaveUp):
            ws.send_nowait("x")
        assert await ws.receive() == "unread"
        for _ in range(2):
            with pytest.raises(GaveUp):
                await ws.receive()
        assert "1006" in repr(ws)


@pytest.mark.parametrize("verdict", list(Verdict)[-2:])
async def test_what_is_raised_again_and_again_does_not_grow(
    network: Network, autojump_clock: MockClock, verdict: Verdict
) -> None:
    error: Exception | None = None
    async with (
        network.served(echo),
        keep_connected(URL, should_retry=lambda _: verdict) as ws,
    ):
        await lose(network, ws)
        for _ in range(50):
            with pytest.raises((GaveUp, ConnectionClosedOK)) as caught:
                await ws.receive()
            error = caught.value
    assert error is not None
    assert len(traceback.extract_tb(error.__traceback__)) < 10


async def test_the_first_connection_s_failure_leaves_as_itself(
    network: Network, autojump_clock: MockClock
) -> None:
    network.down = REFUSED
    with pytest.raises(GaveUp):
        async with keep_connected(URL, backoff=Backoff(max_attempts=1)):
            raise AssertionError
    with pytest.raises(ConnectionClosedOK):
        async with keep_connected(URL, should_retry=lambda _: trio_ws.Verdict.DONE):
            raise AssertionError


async def test_what_a_callback_raises_reaches_whoever_waits(
    network: Network, autojump_clock: MockClock
) -> None:
    calls = 0

    async def log_in(ws: WebSocket) -> None:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise KeyError("a bug")

    async with network.served(echo), keep_connected(URL, on_connect=log_in) as ws:
        await lose(network, ws)
        with pytest.raises(KeyError):
            await ws.receive()


@pytest.mark.parametrize(("error", "code"), [(None, 1000), (KeyError("mine"), 1011)])
async def test_leaving_closes(
    network: Network, autojump_clock: MockClock, error: Exception | None, code: int
) -> None:
    codes = []

    async def handler(ws: WebSocket) -> None:
        codes.append((await ws.wait_closed()).code)

    async with network.served(handler):
        try:
            async with keep_connected(URL) as ws:
                if error is not None:
                    raise error
        except KeyError:
            assert code == 1011
        assert (await ws.wait_closed()).code == code
    assert codes == [code]


async def test_closed_here(network: Network, autojump_clock: MockClock) -> None:
    async with network.served(echo), keep_connected(URL) as ws:
        await ws.aclose(4000, "enough")
        assert ws.close_reason is not None
        assert ws.close_reason.code == 4000
        for call in (ws.receive, ws.ping, lambda: ws.send("x")):
            with pytest.raises(trio.ClosedResourceError):
                await call()
        await ws.aclose()
        with pytest.raises(ValueError, match="1006"):
            await ws.aclose(1006)
    assert len(network.attempts) == 1


async def test_abort_ends_and_abort_with_an_error_goes_on(
    network: Network, autojump_clock: MockClock
) -> None:
    async with network.served(echo), keep_connected(URL, backoff=EXACT) as ws:
        ws.abort(LOST)
        await ws.send("again")
        assert await ws.receive() == "again"
        ws.abort()
        with pytest.raises(trio.ClosedResourceError):
            await ws.receive()
    assert len(network.attempts) == 2


async def test_a_sender_that_never_receives_is_connected_again(
    network: Network, autojump_clock: MockClock
) -> None:
    """Behind its full inbox, only a failed write tells that the connection is gone."""

    async def flood(ws: WebSocket) -> None:
        for _ in range(100):
            await ws.send("x")
        async for _ in ws:
            pass

    async with network.served(flood), keep_connected(URL, backoff=EXACT) as ws:
        for _ in range(20):
            await network.cut()
            with trio.fail_after(10):
                for _ in range(3):
                    await ws.send("tick")
                    await trio.sleep(1)
    assert len(network.attempts) > 10


async def test_closing_wakes_who_waits_for_a_connection(
    network: Network, autojump_clock: MockClock
) -> None:
    async with network.served(echo), keep_connected(URL) as ws:
        network.down = REFUSED
        await lose(network, ws)
        woken = 0

        async def expect_closed(call: Callable[[], Any]) -> None:
            nonlocal woken
            with pytest.raises(trio.ClosedResourceError):
                await call()
            woken += 1

        async with trio.open_nursery() as nursery:
            for call in (ws.receive, ws.ping, lambda: ws.send("x")):
                nursery.start_soon(expect_closed, call)
            nursery.start_soon(ws.wait_closed)
            await trio.sleep(100)
            await ws.aclose()
        assert woken == 3


async def test_what_is_known(network: Network, autojump_clock: MockClock) -> None:
    async with (
        network.served(echo, subprotocols=["chat"]),
        keep_connected(URL, subprotocols=["chat"], heartbeat=None, backoff=EXACT) as ws,
    ):
        events = ws.events()
        assert ws.id.startswith("r")
        assert ws.subprotocol == "chat"
        assert ws.request.target == "/feed"
        assert ws.response.status == 101
        assert ws.extensions == ()
        assert ws.local_address is ws.remote_address is ws.latency is None
        assert ws.last_received == ws.last_sent == ws.reading_since == 0
        assert "open" in repr(ws)
        await lose(network, ws)
        assert "offline" in repr(ws)
        assert ws.statistics().messages_sent == 0
        ws.retry_now()
        await trio.testing.wait_all_tasks_blocked()
        assert ws.is_connected
    kinds = [type(event).__name__ async for event in events]
    assert kinds[:4] == ["Disconnected", "Waiting", "Connecting", "Connected"]
    assert kinds[4:] == ["Disconnected", "Stopped"]


# At most once


class Sent:
    """What one sending task was told of its messages."""

    def __init__(self) -> None:
        self.accepted: list[str] = []
        self.failed: list[str] = []


@settings(max_examples=60, deadline=None)
@given(
    cuts=st.lists(st.integers(1, 12), max_size=6),
    bytes_carried=st.lists(st.integers(0, 2_000), max_size=4),
    offline=st.sampled_from(["wait", "raise", OfflineQueue(messages=4)]),
    patience=st.lists(st.sampled_from([0, 0.001, 0.01, math.inf]), min_size=1, max_size=7),
    outbox_bytes=st.sampled_from([10, 65536]),
    lockstep=st.booleans(),
)
def test_at_most_once(
    cuts: list[int],
    bytes_carried: list[int],
    offline: Any,
    patience: list[float],
    outbox_bytes: int,
    lockstep: bool,
) -> None:
    connections: list[list[str]] = []
    tasks = [Sent(), Sent()]

    async def main() -> None:
        with pytest.MonkeyPatch.context() as monkeypatch:
            network = install(monkeypatch)
            network.lockstep = lockstep
            async with network.served(handler(network)):
                await run_client(network)

    def handler(network: Network) -> Any:
        async def handle(ws: WebSocket) -> None:
            got: list[str] = []
            connections.append(got)
            left = cuts.pop() if cuts else -1
            if bytes_carried:
                network.cut_after = {"send": 160 + bytes_carried.pop()}
            async for message in ws:
                got.append(str(message))
                left -= 1
                if left == 0:
                    ws.abort()

        return handle

    async def run_client(network: Network) -> None:
        backoff = Backoff(initial=0.01, maximum=0.02, intensity=None)
        limits = trio_ws.Limits(outbox_bytes=outbox_bytes)
        async with keep_connected(
            URL, offline=offline, backoff=backoff, limits=limits, hooks=()
        ) as ws:
            async with trio.open_nursery() as nursery:
                for name, sent in zip("ab", tasks, strict=True):
                    nursery.start_soon(send_many, ws, name, sent)
            await trio.sleep(1)

    async def send_many(ws: WebSocket, name: str, sent: Sent) -> None:
        for number in range(30):
            message = f"{name}{number:03}"
            with trio.move_on_after(patience[number % len(patience)]) as scope:
                try:
                    await ws.send(message)
                    sent.accepted.append(message)
                except ConnectionClosedError:
                    assert offline == "raise"
                    sent.failed.append(message)
            if scope.cancelled_caught:
                sent.failed.append(message)
            await trio.sleep(0.005)

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
    arrived = [message for got in connections for message in got]
    assert len(arrived) == len(set(arrived)), "no number arrives twice"
    for sent, name in zip(tasks, "ab", strict=True):
        assert not set(arrived) & set(sent.failed), "none arrives whose send raised"
        assert len(sent.accepted) + len(sent.failed) == 30
        for got in connections:
            own = [message for message in got if message.startswith(name)]
            assert own == sorted(own), "order holds within a connection"


@pytest.mark.parametrize("offline", ["wait", "raise", OfflineQueue()])
async def test_cancelled_anywhere_nothing_is_left(network: Network, offline: Any) -> None:
    async def scenario() -> None:
        backoff = Backoff(initial=1e-6, maximum=1e-6)
        async with keep_connected(URL, backoff=backoff, offline=offline) as ws:
            await ws.send("a")
            await ws.receive()
            await network.cut()
            try:
                await ws.send("b")
            except ConnectionClosedError:
                assert offline == "raise"
            await ws.ping()

    async with network.served(echo) as server:

        async def check(cancelled: bool) -> None:
            await trio.testing.wait_all_tasks_blocked(0.002)
            assert server.connections == ()

        assert await cancel_sweep(scenario, check, every_task=True) > 30


@pytest.mark.parametrize("direction", ["send", "receive"])
@pytest.mark.parametrize("offline", ["wait", "raise", OfflineQueue()])
async def test_cut_anywhere_what_send_said_is_true(
    network: Network, autojump_clock: MockClock, direction: str, offline: Any
) -> None:
    arrived: list[str] = []

    async def handler(ws: WebSocket) -> None:
        async for message in ws:
            arrived.append(str(message))
            await ws.send(message)

    async def log_in(ws: WebSocket) -> None:
        await ws.send("login")
        assert await ws.receive() == "login"

    for after in range(0, 330, 9):
        network.cut_after = {direction: after}
        arrived.clear()
        accepted, failed, received = [], [], []
        tasks = living_tasks()
        async with network.served(handler):
            async with keep_connected(URL, offline=offline, on_connect=log_in, backoff=EXACT) as ws:
                for number in range(6):
                    message = f"message {number}"
                    try:
                        await ws.send(message)
                        accepted.append(message)
                    except ConnectionClosedError:
                        failed.append(message)
                    with trio.move_on_after(5):
                        received.append(await ws.receive())
        messages = [message for message in arrived if message != "login"]
        assert messages == sorted(set(messages)), f"cut after {after}: none twice, in order"
        assert set(messages) <= set(accepted)
        assert set(received) <= set(messages)
        assert not failed or offline == "raise"
        assert len(messages) >= 4, "at most one is lost with the connection, and one refused"
        assert living_tasks() == tasks
