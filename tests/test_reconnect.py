"""Reconnecting: when, how often, and what is left behind."""

from __future__ import annotations

import datetime
import email.utils
import errno
import logging
import math
import random
import socket
import ssl
import traceback
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
import trio
import trio.testing
import trustme

import trio_ws
from trio_ws import Backoff, Client, ConnectionContext, Endpoint, Failure, GaveUp, Verdict
from trio_ws.instrumentation import (
    Connected,
    Connecting,
    Disconnected,
    ReconnectEvent,
    Stopped,
    Waiting,
)

from .network import URL, Network, echo, install
from .sweeps import CancelAt, cancel_sweep, living_tasks, open_sockets

if TYPE_CHECKING:
    from trio.testing import MockClock

    from trio_ws import WebSocket
    from trio_ws.instrumentation import Record

REFUSED = ConnectionRefusedError(errno.ECONNREFUSED, "cannot connect: refused")
SHORT = trio_ws.Timeouts(open_timeout=2, close_timeout=1)
EXACT = Backoff(jitter="none", initial=1, maximum=8, intensity=None)


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> Network:
    return install(monkeypatch)


async def read_out(ws: WebSocket) -> None:
    """Receive until the connection has ended."""
    with suppress(trio_ws.ConnectionClosed):
        while True:
            await ws.receive()


def rejected(status: int, **headers: str) -> trio_ws.ConnectionRejected:
    pairs = [(name.replace("_", "-"), value) for name, value in headers.items()]
    return trio_ws.ConnectionRejected(trio_ws.Response.text(status, "", pairs))


# The client


async def test_connections_one_after_the_other(network: Network, autojump_clock: MockClock) -> None:
    got = []
    async with network.served(echo), Client(URL, backoff=EXACT) as client:
        assert "connecting" in repr(client)
        async for ws in client.connections():
            await ws.send("hello")
            got.append(await ws.receive())
            context = client.context
            assert context is not None
            assert context.number == len(got)
            if len(got) == 3:
                break
            await network.cut()
        assert "open" in repr(client)
        assert ws.close_reason is None, "break leaves the last connection open"
    assert got == ["hello"] * 3
    reason = await ws.wait_closed()
    assert reason.code == 1000
    # 1 s, then 2: none of them was stable.
    assert network.attempts == pytest.approx([0, 1, 3])


async def test_asking_for_the_next_closes_the_one_before(
    network: Network, autojump_clock: MockClock
) -> None:
    codes = []

    async def handler(ws: WebSocket) -> None:
        codes.append((await ws.wait_closed()).code)

    async with network.served(handler), Client(URL, backoff=EXACT) as client:
        first = await client.next_connection()
        second = await client.next_connection()
        assert first is not None
        assert second is not None
        assert first.close_reason is not None
        assert second.close_reason is None
    assert codes == [1000, 1000]


@pytest.mark.parametrize("closes", [True, False], ids=["aclose", "next"])
async def test_one_request_per_connection_goes_on_for_ever(
    network: Network, autojump_clock: MockClock, closes: bool
) -> None:
    def never(failure: Failure) -> bool:
        raise AssertionError("what is closed by choice is no failure")

    backoff = Backoff(jitter="none", initial=1, max_attempts=3, max_elapsed=5)
    turns = 0
    async with network.served(echo), Client(URL, backoff=backoff, should_retry=never) as client:
        async for ws in client.connections():
            await ws.send("request")
            assert await ws.receive() == "request"
            if closes:
                await ws.aclose()
            turns += 1
            if turns == 20:
                break
    assert network.attempts == pytest.approx(list(range(20))), "the backoff's first step each"


async def test_a_target_that_was_left_by_choice_keeps_its_turn(
    network: Network, autojump_clock: MockClock
) -> None:
    async with network.served(echo), Client([URL, "ws://other/"], backoff=EXACT) as client:
        await client.next_connection()
        await client.next_connection()
        await network.cut()
        await client.next_connection()
    assert network.urls == [URL, URL, "ws://other/"]


async def test_one_task_at_a_time_waits_for_the_next_connection(
    network: Network, autojump_clock: MockClock
) -> None:
    network.delay = 1
    async with network.served(echo) as server, Client(URL) as client:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.next_connection)
            await trio.testing.wait_all_tasks_blocked()
            with pytest.raises(trio.BusyResourceError, match="next connection"):
                async for _ in client.connections():
                    raise AssertionError
        assert len(server.connections) == 1


async def test_it_is_used_in_an_async_with_block_once(network: Network) -> None:
    client = Client(URL)
    with pytest.raises(RuntimeError, match="async with"):
        await client.next_connection()
    async with client:
        with pytest.raises(RuntimeError, match="entered once"):
            await client.__aenter__()
    with pytest.raises(RuntimeError, match="async with"):
        await client.next_connection()
    assert client.context is None
    assert [event async for event in client.events()] == []


def test_bad_targets_are_refused_at_once() -> None:
    with pytest.raises(trio_ws.InvalidURL):
        Client("nonsense")
    with pytest.raises(trio_ws.InvalidURL):
        Client([URL, Endpoint("http//x")])
    with pytest.raises(ValueError, match="at least one"):
        Client([])


async def test_done_ends_the_iteration(network: Network, autojump_clock: MockClock) -> None:
    async def handler(ws: WebSocket) -> None:
        await ws.send("bye")

    async with network.served(handler), Client(URL) as client:
        events = client.events()
        async for ws in client.connections():
            assert [message async for message in ws] == ["bye"]
        assert await client.next_connection() is None
        assert "stopped" in repr(client)
    kinds = [type(event) async for event in events]
    assert kinds == [Connecting, Connected, Disconnected, Stopped]


async def test_fatal_failures_give_up(network: Network, autojump_clock: MockClock) -> None:
    network.down = rejected(404)
    async with Client("ws://user:secret@testserver/feed?token=secret") as client:
        for _ in range(20):
            with pytest.raises(GaveUp) as caught:
                await client.next_connection()
        # Or what is raised again and again would grow.
        assert len(traceback.extract_tb(caught.value.__traceback__)) < 10
    assert caught.value.__cause__ is network.down
    assert caught.value.attempts == 1
    assert "secret" not in str(caught.value)
    assert len(network.attempts) == 1


async def test_targets_are_taken_in_turn(network: Network, autojump_clock: MockClock) -> None:
    network.failures = [REFUSED, REFUSED, REFUSED]
    seen = []

    async def handler(ws: WebSocket) -> None:
        seen.append(ws.request.headers.get("x-key"))

    other = Endpoint("ws://other/", headers={"X-Key": "own"})
    async with (
        network.served(handler),
        Client([URL, other], headers={"x-key": "common"}, backoff=EXACT) as client,
    ):
        assert await client.next_connection()
        await trio.testing.wait_all_tasks_blocked()
    assert network.urls == [URL, "ws://other/"] * 2
    assert seen == ["own"]


async def test_a_callable_is_asked_at_every_attempt(
    network: Network, autojump_clock: MockClock
) -> None:
    asked = 0

    async def target() -> str | Endpoint:
        nonlocal asked
        asked += 1
        await trio.lowlevel.checkpoint()
        return f"{URL}?token={asked}"

    network.failures = [rejected(401)]
    async with network.served(echo), Client(target, backoff=EXACT) as client:
        ws = await client.next_connection()
        assert ws is not None
        assert ws.request.target == "/feed?token=2"
        # A connection makes up for a refusal: one more is forgiven, and no more.
        network.failures = [rejected(403), rejected(401)]
        await network.cut()
        with pytest.raises(GaveUp):
            await client.next_connection()


async def test_what_a_callable_raises_surfaces_unless_it_is_the_network(
    network: Network, autojump_clock: MockClock
) -> None:
    errors: list[Exception] = [OSError("no token for now"), KeyError("a bug")]

    async def target() -> str:
        raise errors.pop(0)

    async with Client(target) as client:
        with pytest.raises(KeyError):
            await client.next_connection()


async def test_a_callable_that_hangs_is_a_failed_attempt(autojump_clock: MockClock) -> None:
    failures: list[Failure] = []

    async def target() -> str:
        await trio.sleep_forever()
        raise AssertionError

    def should_retry(failure: Failure) -> Verdict:
        failures.append(failure)
        return trio_ws.classification.default(failure)

    backoff = Backoff(jitter="none", initial=1, max_elapsed=5)
    async with Client(target, backoff=backoff, should_retry=should_retry, timeouts=SHORT) as client:
        with pytest.raises(GaveUp, match="the target was not known within 2 s"):
            await client.next_connection()
    assert [failure.stage for failure in failures] == ["resolve"] * 2
    assert trio.current_time() == 5


async def test_a_callable_may_bring_nonsense(network: Network, autojump_clock: MockClock) -> None:
    async def target() -> str:
        return "http//nonsense"

    async with Client(target) as client:
        with pytest.raises(GaveUp, match="nonsense"):
            await client.next_connection()


async def test_should_retry_decides(network: Network, autojump_clock: MockClock) -> None:
    failures: list[Failure] = []

    def should_retry(failure: Failure) -> Verdict | bool:
        failures.append(failure)
        answers: list[Verdict | bool] = [True, Verdict.RETRY, False]
        return answers[len(failures) - 1]

    network.failures = [KeyError("a"), rejected(404)]
    async with (
        network.served(echo),
        Client(URL, should_retry=should_retry, backoff=EXACT) as client,
    ):
        ws = await client.next_connection()
        assert ws is not None
        await trio.sleep(7)
        await network.cut()
        with pytest.raises(GaveUp):
            await client.next_connection()
    first, second, third = failures
    assert (first.stage, first.attempt, first.elapsed) == ("connect", 1, 0)
    assert isinstance(first.exception, KeyError)
    assert (second.status, second.attempt) == (404, 2)
    assert second.elapsed == pytest.approx(1)
    assert (third.stage, third.attempt) == ("open", 3)
    assert third.open_for == pytest.approx(7)
    assert third.reason is not None
    assert third.reason.code == 1006


async def test_what_should_retry_may_not_return(
    network: Network, autojump_clock: MockClock
) -> None:
    async def asynchronous(failure: Failure) -> bool:
        raise AssertionError

    def forgetful(failure: Failure) -> None:
        pass

    network.down = REFUSED
    callbacks: list[tuple[Any, str]] = [(asynchronous, "must not be async"), (forgetful, "None")]
    for should_retry, problem in callbacks:
        async with Client(URL, should_retry=should_retry) as client:
            with pytest.raises(TypeError, match=problem):
                await client.next_connection()


async def test_at_once_is_at_once_only_once(network: Network, autojump_clock: MockClock) -> None:
    async def handler(ws: WebSocket) -> None:
        await ws.aclose(4200)

    async with (
        network.served(handler),
        Client(URL, should_retry=trio_ws.classification.pusher, backoff=EXACT) as client,
    ):
        for _ in range(3):
            ws = await client.next_connection()
            assert ws is not None
            await ws.wait_closed()
    assert network.attempts == pytest.approx([0, 0, 2])


# How long


async def test_accept_then_close_is_not_success(
    network: Network, autojump_clock: MockClock
) -> None:
    """A rival tried 589 times in 2 s: its backoff started again at every handshake."""

    async def handler(ws: WebSocket) -> None:
        await ws.send("hello")
        await ws.aclose(1013)

    # By chance, one time in a hundred, all of it happens within the first two seconds.
    backoff = Backoff(rng=random.Random(1).random)
    async with network.served(handler), Client(URL, backoff=backoff) as client:
        with trio.move_on_after(2):
            async for ws in client.connections():
                await read_out(ws)
        assert len(network.attempts) <= 20
        with pytest.raises(GaveUp, match="lost as soon as they were open"):
            async for ws in client.connections():
                await read_out(ws)
    assert len(network.attempts) <= 7, "5 may be lost within a minute, and their successor"


async def test_a_rival_that_starts_again_at_every_handshake_hammers(
    network: Network, autojump_clock: MockClock
) -> None:
    """What the test above would show of a client whose backoff a handshake resets."""

    async def handler(ws: WebSocket) -> None:
        await ws.aclose(1013)

    async with network.served(handler):
        with trio.move_on_after(2):
            while True:
                delay = 0.003
                async with trio_ws.connect(URL) as ws:
                    await ws.wait_closed()
                await trio.sleep(delay)
    assert len(network.attempts) > 500


@pytest.mark.parametrize(
    ("open_for", "delivers", "waits"),
    [(11, True, 1), (9, True, 2), (11, False, 2)],
)
async def test_only_a_stable_connection_that_delivered_starts_again(
    network: Network, autojump_clock: MockClock, open_for: float, delivers: bool, waits: float
) -> None:
    async def handler(ws: WebSocket) -> None:
        if delivers:
            await ws.send("hello")
        await ws.wait_closed()

    network.failures = [REFUSED]
    async with (
        network.served(handler),
        Client(URL, backoff=EXACT, heartbeat=None) as client,
    ):
        await client.next_connection()
        await trio.sleep(open_for)
        await network.cut()
        await client.next_connection()
    assert network.attempts == pytest.approx([0, 1, 1 + open_for + waits])


async def test_an_answered_ping_is_delivery_too(
    network: Network, autojump_clock: MockClock
) -> None:
    network.failures = [REFUSED]
    async with network.served(echo), Client(URL, backoff=EXACT) as client:
        ws = await client.next_connection()
        assert ws is not None
        await ws.ping()
        await trio.sleep(11)
        await network.cut()
        await client.next_connection()
    assert network.attempts == pytest.approx([0, 1, 13])


async def test_attempts_are_bounded(network: Network, autojump_clock: MockClock) -> None:
    network.down = REFUSED
    backoff = Backoff(jitter="none", initial=1, max_attempts=3)
    async with Client(URL, backoff=backoff) as client:
        with pytest.raises(GaveUp, match="3 attempts failed; the last: cannot connect") as caught:
            await client.next_connection()
    assert network.attempts == pytest.approx([0, 1, 3])
    assert caught.value.attempts == 3
    assert caught.value.elapsed == pytest.approx(3)


async def test_one_attempt_reads_well(network: Network, autojump_clock: MockClock) -> None:
    network.down = REFUSED
    async with Client(URL, backoff=Backoff(max_attempts=1)) as client:
        with pytest.raises(GaveUp, match="1 attempt failed"):
            await client.next_connection()


async def test_elapsed_time_is_bounded(network: Network, autojump_clock: MockClock) -> None:
    network.down = REFUSED
    backoff = Backoff(jitter="none", initial=1, max_elapsed=5)
    async with Client(URL, backoff=backoff) as client:
        with pytest.raises(GaveUp, match="not connected within 5 s"):
            await client.next_connection()
    assert network.attempts == pytest.approx([0, 1, 3]), "none begins after the bound"


async def test_time_adds_up_over_cancelled_calls(
    network: Network, autojump_clock: MockClock
) -> None:
    network.down = REFUSED
    backoff = Backoff(jitter="none", initial=1, maximum=1, max_elapsed=5)
    async with Client(URL, backoff=backoff) as client:
        with pytest.raises(GaveUp, match="not connected within 5 s"):
            for _ in range(100):
                with trio.move_on_after(0.7):
                    await client.next_connection()


async def test_time_with_a_connection_is_not_time_without_one(
    network: Network, autojump_clock: MockClock
) -> None:
    """An hour with a connection that delivered nothing, and then one that nobody asks for."""
    backoff = Backoff(jitter="none", initial=1, max_elapsed=10)
    async with network.served(echo), Client(URL, backoff=backoff, heartbeat=None) as client:
        for _ in range(2):
            await client.next_connection()
            await trio.sleep(3600)
            await network.cut()
            await trio.sleep(3600)
        assert await client.next_connection()


@pytest.mark.parametrize("status", [429, 503])
async def test_retry_after_is_a_floor(
    network: Network, autojump_clock: MockClock, status: int
) -> None:
    network.failures = [rejected(status, Retry_After="30")]
    async with network.served(echo), Client(URL) as client:
        await client.next_connection()
    assert 30 <= network.attempts[1] <= 30.5


async def test_retry_after_may_be_a_date(network: Network, autojump_clock: MockClock) -> None:
    now = datetime.datetime.now(datetime.UTC)
    later = email.utils.format_datetime(now + datetime.timedelta(seconds=100), usegmt=True)
    answers = [trio_ws.Response.text(503, "Full\n", [("Retry-After", later)]), None]

    async def process_request(request: trio_ws.Request) -> trio_ws.Response | None:
        return answers.pop(0)

    async with (
        network.served(echo, process_request=process_request),
        Client(URL, backoff=EXACT) as client,
    ):
        assert await client.next_connection()
    # The date is by the wall clock, which goes on, and in whole seconds.
    assert 50 < network.attempts[1] <= 101


@pytest.mark.parametrize(
    ("value", "waits"),
    [
        ("Mon, 01 Jan 99999999999999 00:00:00 GMT", 1),
        ("9" * 400, 1),
        ("9" * 300, 3601),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 3601),
    ],
)
async def test_no_retry_after_crashes_a_client_or_parks_it_for_ever(
    network: Network, autojump_clock: MockClock, value: str, waits: float
) -> None:
    network.failures = [rejected(503, Retry_After=value)]
    async with network.served(echo), Client(URL, backoff=EXACT) as client:
        assert await client.next_connection()
    assert network.attempts == pytest.approx([0, waits])


async def test_after_a_restart_clients_come_back_spread(
    network: Network, autojump_clock: MockClock
) -> None:
    async def handler(ws: WebSocket) -> None:
        await ws.aclose(1012)

    async with network.served(handler), Client(URL) as client:
        for _ in range(2):
            ws = await client.next_connection()
            assert ws is not None
            await ws.wait_closed()
    assert 5 <= network.attempts[1] <= 30


async def test_retry_now_cuts_a_wait_short(network: Network, autojump_clock: MockClock) -> None:
    network.failures = [rejected(503, Retry_After="1000")]
    async with network.served(echo), Client(URL) as client:
        client.retry_now()

        async def hurry() -> None:
            await trio.sleep(5)
            assert "waiting" in repr(client)
            client.retry_now()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(hurry)
            await client.next_connection()
    assert network.attempts == pytest.approx([0, 5])


async def test_a_hook_may_cut_a_wait_short(network: Network, autojump_clock: MockClock) -> None:
    network.failures = [REFUSED, REFUSED]

    def impatient(record: Record) -> None:
        if isinstance(record, Waiting):
            client.retry_now()

    async with network.served(echo), Client(URL, backoff=EXACT, hooks=[impatient]) as client:
        await client.next_connection()
    assert network.attempts == [0, 0, 0]


async def test_a_cancelled_wait_is_not_over(network: Network, autojump_clock: MockClock) -> None:
    network.failures = [rejected(503, Retry_After="10")]
    async with network.served(echo), Client(URL, backoff=EXACT) as client:
        for _ in range(5):
            with trio.move_on_after(1):
                await client.next_connection()
        assert len(network.attempts) == 1
        await client.next_connection()
    assert network.attempts == pytest.approx([0, 11])


# on_connect


async def test_on_connect_comes_before_anything_else(
    network: Network, autojump_clock: MockClock
) -> None:
    async def log_in(ws: WebSocket) -> None:
        await ws.send("secret")
        assert await ws.receive() == "secret"

    async with network.served(echo), Client(URL, on_connect=log_in, backoff=EXACT) as client:
        for _ in range(2):
            ws = await client.next_connection()
            assert ws is not None
            assert ws.statistics().messages_received == 1
            await network.cut()


async def test_on_connect_has_a_timeout(network: Network, autojump_clock: MockClock) -> None:
    failures: list[Failure] = []

    def should_retry(failure: Failure) -> bool:
        failures.append(failure)
        return False

    async def stuck(ws: WebSocket) -> None:
        await trio.sleep_forever()

    async with (
        network.served(echo),
        Client(URL, on_connect=stuck, on_connect_timeout=3, should_retry=should_retry) as client,
    ):
        with pytest.raises(GaveUp, match="on_connect was not done within 3 s"):
            await client.next_connection()
    assert failures[0].stage == "on_connect"


@pytest.mark.parametrize("in_a_nursery", [False, True])
async def test_a_connection_lost_in_on_connect_is_a_failure_like_others(
    network: Network, autojump_clock: MockClock, in_a_nursery: bool
) -> None:
    calls = 0

    async def log_in(ws: WebSocket) -> None:
        nonlocal calls
        calls += 1
        if calls > 2:
            return
        if not in_a_nursery:
            await network.cut()
            await ws.receive()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ws.receive)
            await network.cut()

    def should_retry(failure: Failure) -> Verdict:
        assert failure.stage == "on_connect"
        assert failure.reason is not None
        assert failure.reason.code == 1006
        return trio_ws.classification.default(failure)

    async with (
        network.served(echo),
        Client(URL, on_connect=log_in, should_retry=should_retry) as client,
    ):
        assert await client.next_connection()
    assert calls == 3


@pytest.mark.parametrize(
    "error",
    [
        KeyError("a bug"),
        FileNotFoundError("no token file"),
        trio_ws.HandshakeTimeout("of another connection"),
        trio.TooSlowError(),
        socket.gaierror(socket.EAI_NONAME, "no token service"),
    ],
    ids=repr,
)
async def test_what_on_connect_raises_of_its_own_surfaces(
    network: Network, autojump_clock: MockClock, error: Exception
) -> None:
    codes = []

    async def server(ws: WebSocket) -> None:
        codes.append((await ws.wait_closed()).code)

    async def broken(ws: WebSocket) -> None:
        raise error

    async with network.served(server):
        with pytest.raises(type(error)) as caught:
            async with Client(URL, on_connect=broken) as client:
                await client.next_connection()
    assert caught.value is error
    assert codes == [1011]


@pytest.mark.parametrize("goes_on", [True, False])
async def test_a_connection_that_on_connect_closes_is_not_handed_out(
    network: Network, autojump_clock: MockClock, goes_on: bool
) -> None:
    async def refuse(ws: WebSocket) -> None:
        await ws.aclose(4001)
        if goes_on:
            await ws.receive()

    async with network.served(echo):
        with pytest.raises(trio.ClosedResourceError, match="4001"):
            async with Client(URL, on_connect=refuse) as client:
                await client.next_connection()
    assert len(network.attempts) == 1


# Events and the log


async def test_a_lost_connection_reads_well_in_the_log(
    network: Network, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "trio_ws.reconnect")
    async with network.served(echo), Client(URL, backoff=EXACT) as client:
        ws = await client.next_connection()
        assert ws is not None
        await ws.ping()
        await trio.sleep(61.5)
        await network.cut()
        network.failures = [REFUSED]
        await client.next_connection()
    assert caplog.messages == [
        "ws://testserver/feed: connected",
        "ws://testserver/feed: lost after 61.5 s: 1006 (abnormal closure), the transport was cut",
        "ws://testserver/feed: attempt 1 in 1.0 s: 1006 (abnormal closure), the transport was cut",
        "ws://testserver/feed: attempt 2 in 2.0 s: cannot connect: refused",
        "ws://testserver/feed: connected again after 3.0 s",
        "ws://testserver/feed: closed after 0.0 s: 1000 (normal closure), closed here",
        "ws://testserver/feed: done",
    ]


async def test_a_loss_is_told_when_it_happens(network: Network, autojump_clock: MockClock) -> None:
    """Not when somebody asks for the next connection, which may be much later."""
    told: list[tuple[float, object]] = []

    def hook(record: Record) -> None:
        if isinstance(record, ReconnectEvent):
            told.append((trio.current_time(), record))

    async with network.served(echo), Client(URL, backoff=EXACT, hooks=[hook]) as client:
        ws = await client.next_connection()
        assert ws is not None
        await trio.sleep(20)
        await network.cut()
        await trio.sleep(100)
        await client.next_connection()
    assert [(when, type(event)) for when, event in told] == [
        (0, Connecting),
        (0, Connected),
        (20, Disconnected),
        (120, Waiting),
        (121, Connecting),
        (121, Connected),
        (121, Disconnected),
        (121, Stopped),
    ]
    again = told[5][1]
    assert isinstance(again, Connected)
    assert again.offline == 101


@pytest.mark.parametrize("way", ["end", "exception", "cancellation"])
async def test_leaving_is_told(network: Network, autojump_clock: MockClock, way: str) -> None:
    events = None
    async with network.served(echo):
        with trio.move_on_after(10), suppress(KeyError):
            async with Client(URL) as client:
                events = client.events()
                await client.next_connection()
                if way == "exception":
                    raise KeyError
                if way == "cancellation":
                    await trio.sleep_forever()
    assert events is not None
    told = [event async for event in events]
    assert [type(event) for event in told] == [Connecting, Connected, Disconnected, Stopped]
    disconnected, stopped = told[2], told[3]
    assert isinstance(disconnected, Disconnected)
    assert disconnected.by_choice
    assert isinstance(stopped, Stopped)
    assert stopped.cause is None


async def test_every_loss_in_supervise_is_told_once(
    network: Network, autojump_clock: MockClock
) -> None:
    told: list[Record] = []
    served = 0

    async def server(ws: WebSocket) -> None:
        nonlocal served
        served += 1
        await ws.aclose(1001 if served < 3 else 1000)

    async def handler(ws: WebSocket) -> None:
        await ws.wait_closed()
        await trio.testing.wait_all_tasks_blocked()
        assert isinstance(told[-1], Disconnected)

    async with network.served(server):
        await trio_ws.supervise(handler, URL, hooks=[told.append])
    losses = [record for record in told if isinstance(record, Disconnected)]
    assert [loss.reason.code for loss in losses] == [1001, 1001, 1000]
    assert not any(loss.by_choice for loss in losses)


async def test_events_are_bounded(network: Network, autojump_clock: MockClock) -> None:
    network.down = REFUSED
    async with Client(URL, backoff=Backoff(max_attempts=80)) as client:
        events = client.events()
        with pytest.raises(GaveUp):
            await client.next_connection()
        assert events.dropped == 60
    last = [event async for event in events]
    assert len(last) == 100
    assert isinstance(last[-1], Stopped)


async def test_short_lived_connections_are_forgotten_in_time(
    network: Network, autojump_clock: MockClock
) -> None:
    async def handler(ws: WebSocket) -> None:
        await ws.aclose(1013)

    backoff = Backoff(jitter="none", initial=10, factor=1, maximum=10, intensity=(2, 15))
    async with network.served(handler), Client(URL, backoff=backoff) as client:
        for _ in range(10):
            ws = await client.next_connection()
            assert ws is not None
            await ws.wait_closed()


async def test_events_come_as_they_happen(network: Network, autojump_clock: MockClock) -> None:
    network.down = REFUSED
    got: list[object] = []

    async with Client(URL, backoff=EXACT) as client:
        events, closed = client.events(), client.events()
        await closed.aclose()

        async def watch() -> None:
            async for event in events:
                got.append(event)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch)
            with trio.move_on_after(0.5):
                await client.next_connection()
            nursery.cancel_scope.cancel()
        assert got == [
            Connecting(target=URL, attempt=1),
            Waiting(target=URL, delay=1.0, attempt=2, cause="cannot connect: refused"),
        ]
        with pytest.raises(trio.ClosedResourceError):
            await closed.receive()


# supervise


async def test_the_handler_runs_once_per_connection(
    network: Network, autojump_clock: MockClock
) -> None:
    contexts: list[ConnectionContext] = []

    async def handler(ws: WebSocket, context: ConnectionContext) -> None:
        contexts.append(context)
        if len(contexts) < 3:
            await network.cut()
            await ws.receive()

    async with network.served(echo):
        await trio_ws.supervise(handler, URL, backoff=EXACT)
    assert [(one.number, one.attempt, one.target) for one in contexts] == [
        (1, 1, URL),
        (2, 2, URL),
        (3, 3, URL),
    ]
    assert contexts[0].previous is None
    assert contexts[1].previous is not None
    assert contexts[1].previous.code == 1006


async def test_a_handler_that_returns_because_the_connection_ended_is_called_again(
    network: Network, autojump_clock: MockClock
) -> None:
    served = handled = 0

    async def server(ws: WebSocket) -> None:
        nonlocal served
        served += 1
        await ws.aclose(1001 if served < 3 else 1000)

    async def handler(ws: WebSocket) -> None:
        nonlocal handled
        handled += 1
        async for _ in ws:
            pass

    async with network.served(server):
        await trio_ws.supervise(handler, URL)
    assert served == handled == 3


async def test_a_handler_that_goes_on_without_its_connection_is_cancelled(
    network: Network, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "trio_ws.reconnect")
    calls: list[float] = []

    async def handler(ws: WebSocket) -> None:
        calls.append(trio.current_time())
        if len(calls) == 1:
            await network.cut()
            await trio.sleep_forever()

    timeouts = trio_ws.Timeouts(handler_grace=7)
    async with network.served(echo):
        await trio_ws.supervise(handler, URL, backoff=EXACT, timeouts=timeouts)
    assert calls == [0, 8]
    assert any("the handler, still running 7 s after" in text for text in caplog.messages)


async def test_a_handler_may_take_its_time_to_read_what_had_arrived(
    network: Network, autojump_clock: MockClock
) -> None:
    got: list[object] = []

    async def server(ws: WebSocket) -> None:
        for number in range(3):
            await ws.send(str(number))
        await trio.sleep_forever()

    async def handler(ws: WebSocket) -> None:
        if got:
            return
        await trio.testing.wait_all_tasks_blocked()
        await network.cut()
        for _ in range(3):
            await trio.sleep(100)
            got.append(await ws.receive())
        await trio.sleep(9)
        got.append("then")
        await trio.sleep(2)
        raise AssertionError("cancelled by now")

    async with network.served(server):
        await trio_ws.supervise(handler, URL, backoff=EXACT, heartbeat=None)
    assert got == ["0", "1", "2", "then"]


async def test_cancelling_a_handler_is_not_mistaken_for_the_end_of_its_connection(
    network: Network, autojump_clock: MockClock
) -> None:
    async def handler(ws: WebSocket) -> None:
        await network.cut()
        await trio.sleep_forever()

    async with network.served(echo):
        with trio.move_on_after(5) as scope:
            await trio_ws.supervise(handler, URL)
    assert scope.cancelled_caught
    assert trio.current_time() == 5


async def test_a_handler_that_closes_is_done(network: Network, autojump_clock: MockClock) -> None:
    async def handler(ws: WebSocket) -> None:
        await ws.aclose()
        await ws.receive()

    async with network.served(echo):
        await trio_ws.supervise(handler, URL)
    assert len(network.attempts) == 1


async def test_a_handler_s_own_exception_surfaces_as_itself(
    network: Network, autojump_clock: MockClock
) -> None:
    codes = []

    async def server(ws: WebSocket) -> None:
        codes.append((await ws.wait_closed()).code)

    async def handler(ws: WebSocket) -> None:
        raise KeyError("mine")

    async with network.served(server):
        with pytest.raises(KeyError, match="mine"):
            await trio_ws.supervise(handler, URL)
    assert codes == [1011]


@pytest.mark.parametrize(
    "mine",
    [
        trio.ClosedResourceError("a channel of its own"),
        trio_ws.ConnectionClosedError(trio_ws.CloseReason(4000, "of another connection")),
        trio_ws.ConnectionClosedOK(trio_ws.CloseReason(1000)),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_the_end_of_something_else_is_the_handler_s_own_exception(
    network: Network, autojump_clock: MockClock, mine: Exception
) -> None:
    async def handler(ws: WebSocket) -> None:
        await network.cut()
        await ws.wait_closed()
        raise mine

    async with network.served(echo):
        with pytest.raises(type(mine)) as caught:
            await trio_ws.supervise(handler, URL, backoff=EXACT)
    assert caught.value is mine


async def test_an_optional_second_argument_keeps_its_default(
    network: Network, autojump_clock: MockClock
) -> None:
    given: list[object] = []

    async def optional(ws: WebSocket, retries: int = 3) -> None:
        given.append(retries)

    async def keyword(ws: WebSocket, *, retries: int = 4) -> None:
        given.append(retries)

    async def anything(*arguments: object) -> None:
        given.append(len(arguments))

    async with network.served(echo):
        for handler in (optional, keyword, anything):
            await trio_ws.supervise(handler, URL)
    assert given == [3, 4, 1]


async def test_a_handler_s_nursery_may_wrap_the_end(
    network: Network, autojump_clock: MockClock
) -> None:
    calls = 0

    async def handler(ws: WebSocket) -> None:
        nonlocal calls
        calls += 1
        if calls == 2:
            return
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ws.receive)
            await network.cut()

    async with network.served(echo):
        await trio_ws.supervise(handler, URL)
    assert calls == 2


async def test_a_handler_without_a_signature_gets_the_connection(
    network: Network, autojump_clock: MockClock
) -> None:
    class Handler:
        __signature__ = "none"

        async def __call__(self, ws: WebSocket) -> None:
            await ws.send("x")

    async with network.served(echo):
        await trio_ws.supervise(Handler(), URL)


# Cancellation, and what is left


async def test_cancelling_at_any_point_leaves_nothing(network: Network) -> None:
    rounds = 0

    async def log_in(ws: WebSocket) -> None:
        await ws.send("hello")
        await ws.receive()

    async def target() -> str:
        await trio.lowlevel.checkpoint()
        return URL

    async def scenario() -> None:
        nonlocal rounds
        rounds = 0
        network.failures = [REFUSED]
        backoff = Backoff(initial=1e-6, maximum=1e-6)
        async with Client(target, on_connect=log_in, backoff=backoff, timeouts=SHORT) as client:
            async for ws in client.connections():
                await ws.send("again")
                await ws.receive()
                rounds += 1
                if rounds == 2:
                    break
                await network.cut()

    async with network.served(echo) as server:

        async def check(cancelled: bool) -> None:
            await trio.testing.wait_all_tasks_blocked(0.002)
            assert server.connections == ()
            assert cancelled or rounds == 2

        assert await cancel_sweep(scenario, check, every_task=True) > 50


async def test_cancelled_while_sends_wait_no_send_lied(network: Network) -> None:
    network.lockstep = True
    accepted: list[str] = []
    arrived: list[str] = []
    limits = trio_ws.Limits(outbox_bytes=10, inbox_messages=1)

    async def slow(ws: WebSocket) -> None:
        for _ in range(5):
            await trio.lowlevel.checkpoint()
        async for message in ws:
            arrived.append(str(message)[0])

    async def send(ws: WebSocket, letter: str) -> None:
        try:
            await ws.send(letter * 50_000)
        except (trio.ClosedResourceError, trio_ws.ConnectionClosed):
            # Cancelled as well, but woken before that: the connection's own task came first.
            await trio.lowlevel.checkpoint_if_cancelled()
            raise
        accepted.append(letter)

    async def scenario() -> None:
        accepted.clear()
        arrived.clear()
        async with Client(URL, timeouts=SHORT, limits=limits) as client:
            ws = await client.next_connection()
            assert ws is not None
            async with trio.open_nursery() as nursery:
                for letter in "abcd":
                    nursery.start_soon(send, ws, letter)

    async with network.served(slow, limits=limits) as server:

        async def check(cancelled: bool) -> None:
            await trio.testing.wait_all_tasks_blocked(0.002)
            assert server.connections == ()
            assert len(arrived) == len(set(arrived))
            assert set(arrived) <= set(accepted)
            assert cancelled or set(arrived) == set("abcd")

        assert await cancel_sweep(scenario, check, every_task=True) > 50


class Resolver(trio.abc.HostnameResolver):
    """Knows one host, after a while."""

    async def getaddrinfo(self, host: Any, port: Any, *rest: Any, **more: Any) -> Any:
        for _ in range(3):
            await trio.lowlevel.checkpoint()
        assert host in (b"localhost", "localhost")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", int(port)))]

    async def getnameinfo(self, sockaddr: Any, flags: int) -> Any:
        raise AssertionError


async def test_cancelling_within_resolving_and_tls_leaves_nothing() -> None:
    """Over sockets: a stream in memory has no name to look up and no TLS."""
    authority = trustme.CA()
    theirs = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(theirs)
    ours = ssl.create_default_context()
    authority.configure_trust(ours)
    trio.socket.set_custom_hostname_resolver(Resolver())

    async with trio.open_nursery() as nursery:

        async def serve(task_status: Any) -> None:
            await trio_ws.serve(echo, "127.0.0.1", 0, ssl_context=theirs, task_status=task_status)

        server: trio_ws.Server = await nursery.start(serve)

        async def scenario() -> None:
            url = f"wss://localhost:{server.port}/"
            async with Client(url, ssl_context=ours, proxy=None, timeouts=SHORT) as client:
                ws = await client.next_connection()
                assert ws is not None
                await ws.send("hello")
                assert await ws.receive() == "hello"

        await trio.testing.wait_all_tasks_blocked()
        tasks = living_tasks()
        descriptors = open_sockets()

        async def check(cancelled: bool) -> None:
            while living_tasks() > tasks:
                # The server's side of what was cut off.
                await trio.testing.wait_all_tasks_blocked(0.002)
            assert server.connections == ()
            assert open_sockets() == descriptors

        assert await cancel_sweep(scenario, check, every_task=True) > 30
        nursery.cancel_scope.cancel()


async def test_asking_again_after_a_cancellation_anywhere_gives_one_connection(
    network: Network, autojump_clock: MockClock
) -> None:
    async def log_in(ws: WebSocket) -> None:
        await ws.send("hello")
        await ws.receive()

    cancelled = True
    step = 0
    async with network.served(echo) as server:
        while cancelled:
            async with Client(URL, on_connect=log_in, backoff=Backoff(max_attempts=1)) as client:
                with trio.CancelScope() as scope:
                    instrument = CancelAt(None, scope, step)
                    trio.lowlevel.add_instrument(instrument)
                    try:
                        await client.next_connection()
                    finally:
                        trio.lowlevel.remove_instrument(instrument)
                cancelled = scope.cancelled_caught
                ws = await client.next_connection()
                assert ws is not None
                assert ws.close_reason is None
                await trio.testing.wait_all_tasks_blocked()
                assert len(server.connections) == 1, f"cancelled at {step}"
                assert client.context is not None
                assert client.context.attempt == 1, "a cancelled attempt does not count"
            await trio.testing.wait_all_tasks_blocked()
            step += 1
    assert step > 10


@pytest.mark.parametrize("direction", ["send", "receive"])
async def test_cuts_anywhere_are_survived(
    network: Network, autojump_clock: MockClock, direction: str
) -> None:
    got = []

    async def handler(ws: WebSocket) -> None:
        await ws.send("hello")
        got.append(await ws.receive())

    for after in range(0, 260, 7):
        network.cut_after = {direction: after}
        got.clear()
        tasks = living_tasks()
        async with network.served(echo):
            await trio_ws.supervise(handler, URL, timeouts=SHORT)
        assert got[-1] == "hello"
        assert living_tasks() == tasks


async def test_exceptions_leave_the_block_as_themselves(
    network: Network, autojump_clock: MockClock
) -> None:
    codes = []

    async def server(ws: WebSocket) -> None:
        codes.append((await ws.wait_closed()).code)

    async with network.served(server):
        with pytest.raises(KeyError):
            async with Client(URL) as client:
                await client.next_connection()
                raise KeyError
        with trio.move_on_after(1) as scope:
            async with Client(URL) as client:
                async for _ in client.connections():
                    await trio.sleep_forever()
        assert scope.cancelled_caught
        await trio.sleep(1)
    # A stream in memory takes nothing at once, so nothing is said when cancelled.
    assert codes == [1011, 1006]


async def test_a_storm_is_spread(network: Network, autojump_clock: MockClock) -> None:
    """500 clients lose their server at one instant, and it returns after 5 s."""
    clients, outage = 500, 5.0
    rng = random.Random(1)
    backoff = Backoff(rng=rng.random)
    back: list[float] = []
    lost_at = math.inf

    async def handler(ws: WebSocket, context: ConnectionContext) -> None:
        if context.number == 1:
            await ws.ping()
            await ws.receive()
        else:
            back.append(trio.current_time() - lost_at)
            await trio.sleep_forever()

    async with network.served(echo), trio.open_nursery() as nursery:
        for _ in range(clients):
            nursery.start_soon(_supervise, handler, backoff)
        await trio.sleep(60)
        assert len(network.attempts) == clients
        network.attempts.clear()
        lost_at = trio.current_time()
        network.down = REFUSED
        await network.cut()
        await trio.sleep(outage)
        network.down = None
        # The first delay to end after the outage began within it, and each is at most this long.
        failures = 1
        while sum(backoff.bound(n) for n in range(1, failures + 1)) < outage:
            failures += 1
        worst = outage + backoff.maximum
        await trio.sleep(worst - outage)
        assert len(back) == clients
        assert max(back) <= worst
        nursery.cancel_scope.cancel()
    # Full jitter: the n-th attempts are drawn evenly from a range of at least its bound, so in no
    # second can more be expected than all first attempts, whose range is half a second, and the
    # shares of the later ones.
    expected = clients * sum(min(1.0, 1 / backoff.bound(n)) for n in range(1, failures + 1))
    seconds = [int(at - lost_at) for at in network.attempts]
    busiest = max(seconds.count(second) for second in set(seconds))
    assert busiest <= expected


async def _supervise(handler: Any, backoff: Backoff) -> None:
    await trio_ws.supervise(handler, URL, backoff=backoff, hooks=())
