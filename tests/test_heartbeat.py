"""Heartbeats: no false alarms, no missed deaths.

They run on each engine. The seven failures of rivals that the design names have a test each, and a
rival's heartbeat as they write it, `naive`, which fails where ours must not.
"""

from __future__ import annotations

import itertools
import logging
import math
import random
import ssl
import time
from contextlib import asynccontextmanager
from contextvars import ContextVar
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import pytest
import trio
import trio.testing
import trustme

import trio_ws
from benchmarks.heartbeats import spread
from trio_ws import (
    AdaptiveHeartbeat,
    ConnectionClosedError,
    Heartbeat,
    HeartbeatTimeout,
    IdleHeartbeat,
    Limits,
    Timeouts,
    _heartbeat,
)
from trio_ws._connection import Connection
from trio_ws.instrumentation import NO_HOOKS, HeartbeatLost, PingSent, PongReceived
from trio_ws.protocol.frames import Opcode, encode_frame

from .network import URL, Sleeper, echo, install
from .sweeps import living_tasks
from .test_docs import BLOCK, ROOT

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable

    from trio.testing import MockClock

    from trio_ws import HeartbeatPolicy, WebSocket

    from .pairs import OpenPair

HEARTBEATS = ROOT / "docs" / "how-to" / "heartbeat.md"
SECOND = Heartbeat(interval=1, timeout=1, jitter=0, rng=lambda: 1.0)


class Naive:
    """A rival's heartbeat: a ping, and a timeout around the wait for its pong."""

    def __init__(self, interval: float, timeout: float) -> None:
        self._interval = interval
        self._timeout = timeout

    async def run(self, ws: WebSocket) -> None:
        while True:
            await trio.sleep(self._interval)
            with trio.move_on_after(self._timeout):
                await ws.ping()
                continue
            raise HeartbeatTimeout(trio_ws.CloseReason(1011))


class Valve(trio.abc.Stream):
    """One end of a memory stream, whose writes or reads can be held up."""

    def __init__(self, inner: trio.abc.Stream) -> None:
        self._inner = inner
        self.writable = trio.Event()
        self.readable = trio.Event()
        self.writable.set()
        self.readable.set()

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self.writable.wait()
        await self._inner.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        raise NotImplementedError

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        await self.readable.wait()
        data = bytes(await self._inner.receive_some(max_bytes))
        # What arrives while it is closed stays here.
        await self.readable.wait()
        return data

    async def aclose(self) -> None:
        await self._inner.aclose()


class Delayed(Valve):
    """One end, to which everything comes late."""

    def __init__(self, inner: trio.abc.Stream, delay: float) -> None:
        super().__init__(inner)
        self._delay = delay

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        await trio.sleep(self._delay)
        data = await super().receive_some(max_bytes)
        await trio.sleep(self._delay)
        return data


@asynccontextmanager
async def watched(
    open_pair: OpenPair, policy: HeartbeatPolicy | None, **options: Any
) -> AsyncGenerator[tuple[WebSocket, WebSocket, Valve]]:
    """A client with *policy*, a server without, and the server's side of the network."""
    here, there = trio.testing.memory_stream_pair()
    valve = Valve(there)
    async with open_pair(streams=(here, valve), **options) as (client, server):
        async with trio.open_nursery() as nursery:
            if policy is not None:
                nursery.start_soon(_heartbeat.keep_alive, client, policy, NO_HOOKS)
            yield client, server, valve
            nursery.cancel_scope.cancel()


# The policies


async def test_a_ping_every_interval(open_pair: OpenPair, autojump_clock: MockClock) -> None:
    records: list[object] = []
    async with open_pair(heartbeat=SECOND, hooks=[records.append]) as (client, server):
        await trio.sleep(10.5)
        for ws in (client, server):
            assert ws.statistics().pings_in_flight == 0
            assert ws.latency is not None
            assert records.count(PingSent(id=ws.id)) == 10
    assert sum(isinstance(record, PongReceived) for record in records) == 20


async def test_the_first_ping_leaves_after_a_random_part_of_the_interval(
    open_pair: OpenPair,
    autojump_clock: MockClock,
) -> None:
    sent = []
    policy = Heartbeat(interval=20, rng=lambda: 0.3)
    async with watched(open_pair, None) as (client, _, _):
        with trio.move_on_after(7):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(policy.run, client)
                await trio.sleep(5.9)
                sent.append(client.statistics().bytes_sent)
                await trio.sleep(0.2)
                sent.append(client.statistics().bytes_sent)
                nursery.cancel_scope.cancel()
    assert sent[0] == 0 < sent[1]


async def test_silence_is_death(open_pair: OpenPair, autojump_clock: MockClock) -> None:
    records: list[object] = []
    here, there = trio.testing.memory_stream_pair()
    valve = Valve(there)
    valve.readable = trio.Event()
    async with open_pair(streams=(here, valve), heartbeat=SECOND, hooks=[records.append]) as (
        client,
        server,
    ):
        with pytest.raises(HeartbeatTimeout, match=r"no sign of life for 1\.0 s") as caught:
            await client.receive()
        assert trio.current_time() == pytest.approx(2)
        with pytest.raises(HeartbeatTimeout):
            await client.send("x")
        assert caught.value.reason.code == 1011
        assert HeartbeatLost(id=client.id, silent=pytest.approx(1)) in records  # type: ignore[arg-type]
        server.abort()


async def test_several_may_be_missed(open_pair: OpenPair, autojump_clock: MockClock) -> None:
    policy = Heartbeat(interval=1, timeout=1, misses=3, rng=lambda: 1.0)
    async with watched(open_pair, policy) as (client, _, valve):
        valve.readable = trio.Event()
        with pytest.raises(HeartbeatTimeout):
            await client.receive()
        assert trio.current_time() == pytest.approx(4)


async def test_jitter_stays_within_its_share() -> None:
    intervals = [_heartbeat._spread(20, 0.1, random.random) for _ in range(1_000)]
    assert 18 <= min(intervals) < 18.5
    assert 21.5 < max(intervals) <= 22


async def test_idle_pings_only_where_a_direction_is_silent(
    open_pair: OpenPair, autojump_clock: MockClock
) -> None:
    policy = IdleHeartbeat(idle=5, timeout=5, jitter=0, rng=lambda: 0.0)
    records: list[object] = []
    async with open_pair(hooks=[records.append]) as (client, server):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(policy.run, client)
            await trio.sleep(0.5)
            records.clear()
            for _ in range(10):
                await client.send("a")
                await server.send("b")
                await trio.sleep(2)
            assert not any(isinstance(record, PingSent) for record in records)
            for _ in range(5):
                # One direction alone is not enough: a proxy may time out the other.
                await server.send("b")
                await client.receive()
                await trio.sleep(2)
            assert any(isinstance(record, PingSent) for record in records)
            nursery.cancel_scope.cancel()


@pytest.mark.parametrize("drawn", [0.0, 1.0])
async def test_idle_pings_never_later_than_asked(
    open_pair: OpenPair, autojump_clock: MockClock, drawn: float
) -> None:
    """Later is what a proxy would punish."""
    records: list[float] = []

    def hook(record: object) -> None:
        if isinstance(record, PingSent):
            records.append(trio.current_time())

    here, there = trio.testing.memory_stream_pair()
    policy = IdleHeartbeat(idle=55, jitter=0.2, rng=lambda: drawn)
    # Answers come late, and still the next ping counts from the one before.
    async with open_pair(streams=(Delayed(here, 2), there), hooks=[hook]) as (client, _):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(policy.run, client)
            await trio.sleep(1_000)
            nursery.cancel_scope.cancel()
    gaps = [after - before for before, after in itertools.pairwise(records)]
    assert gaps == pytest.approx([44 if drawn else 55] * len(gaps))


async def test_idle_notices_silence(open_pair: OpenPair, autojump_clock: MockClock) -> None:
    policy = IdleHeartbeat(idle=5, timeout=3, jitter=0)
    async with watched(open_pair, policy) as (client, _, valve):
        valve.readable = trio.Event()
        with pytest.raises(HeartbeatTimeout):
            await client.receive()
        assert trio.current_time() <= 8.01


async def test_idle_does_not_ping_on_and_on_while_this_side_does_not_read(
    open_pair: OpenPair,
    autojump_clock: MockClock,
) -> None:
    policy = IdleHeartbeat(idle=5, timeout=3, jitter=0)
    async with watched(open_pair, policy, limits=Limits(inbox_messages=1)) as (client, server, _):
        for _ in range(5):
            await server.send("x")
        await trio.sleep(100)
        assert client.reading_since is None
        assert client.statistics().pings_in_flight <= 1
        assert await client.receive() == "x"


async def test_pings_go_out_while_this_side_does_not_read(
    open_pair: OpenPair, autojump_clock: MockClock
) -> None:
    """Who stands in between may cut what is idle, whyever it is."""
    records: list[object] = []
    here, there = trio.testing.memory_stream_pair()
    limits = Limits(inbox_messages=2)
    async with open_pair(streams=(here, there), limits=limits, hooks=[records.append]) as (
        client,
        server,
    ):
        async with trio.open_nursery() as nursery:
            policy = Heartbeat(interval=20, timeout=20, jitter=0, rng=lambda: 0.0)
            nursery.start_soon(_heartbeat.keep_alive, client, policy, NO_HOOKS)
            for _ in range(5):
                await server.send("x")
            await trio.sleep(3_600)
            assert client.reading_since is None
            assert records.count(PingSent(id=client.id)) >= 179
            assert client.last_sent > trio.current_time() - 21
            for _ in range(5):
                assert await client.receive() == "x"
            await trio.sleep(100)
            assert client.close_reason is None
            nursery.cancel_scope.cancel()


async def test_adaptive_follows_the_round_trips(
    open_pair: OpenPair, autojump_clock: MockClock
) -> None:
    policy = AdaptiveHeartbeat(
        interval=10, minimum=1, maximum=30, jitter=0, misses=1, rng=lambda: 1.0
    )
    async with watched(open_pair, policy) as (client, _, valve):
        await trio.sleep(95)
        valve.readable = trio.Event()
        with pytest.raises(HeartbeatTimeout):
            await client.receive()
        # Quick answers so far: the shortest timeout, not the longest, after the ping at 100.
        assert trio.current_time() == pytest.approx(101, abs=0.5)


async def test_adaptive_starts_with_its_maximum(
    open_pair: OpenPair, autojump_clock: MockClock
) -> None:
    policy = AdaptiveHeartbeat(interval=10, maximum=30, misses=1, rng=lambda: 0.0)
    async with watched(open_pair, policy) as (client, _, valve):
        valve.readable = trio.Event()
        with pytest.raises(HeartbeatTimeout):
            await client.receive()
        assert trio.current_time() == pytest.approx(30)


async def test_adaptive_forgives_a_peer_that_is_alive_without_answering(
    autojump_clock: MockClock,
) -> None:
    policy = AdaptiveHeartbeat(interval=5, maximum=5, misses=1, rng=lambda: 0.5)

    class Mute:
        """Never answers a ping, and yet sends."""

        id = "mute"
        reading_since = 0.0

        @property
        def last_received(self) -> float:
            return trio.current_time()

        def start_ping(self) -> Any:
            class Ping:
                written_at = trio.current_time()
                round_trip = None

                async def wait(self) -> float:
                    await trio.sleep_forever()
                    raise AssertionError

                def forget(self) -> None:
                    pass

            return Ping()

    with trio.move_on_after(100) as scope:
        await policy.run(cast("WebSocket", Mute()))
    assert scope.cancelled_caught


@pytest.mark.parametrize(
    ("policy", "options"),
    [
        (Heartbeat, {"interval": 0}),
        (Heartbeat, {"timeout": -1}),
        (Heartbeat, {"jitter": 1.5}),
        (Heartbeat, {"misses": 0}),
        (Heartbeat, {"misses": 1.5}),
        (Heartbeat, {"misses": math.nan}),
        (Heartbeat, {"interval": math.nan}),
        (Heartbeat, {"interval": math.inf}),
        (Heartbeat, {"jitter": math.nan}),
        (IdleHeartbeat, {"idle": math.inf}),
        (IdleHeartbeat, {"idle": 0}),
        (IdleHeartbeat, {"timeout": 0}),
        (AdaptiveHeartbeat, {"interval": 0}),
        (AdaptiveHeartbeat, {"minimum": 0}),
        (AdaptiveHeartbeat, {"minimum": 30}),
    ],
)
def test_nonsense_is_refused(policy: Any, options: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=f"{policy.__name__}.{next(iter(options))}"):
        policy(**options)


@pytest.mark.parametrize(
    ("heartbeat", "message"),
    [
        (20, "such as Heartbeat.interval=20., or None, not 20"),
        ("20", "or None, not '20'"),
        (Heartbeat, r"such as Heartbeat\(\), not its class"),
    ],
)
async def test_what_is_no_policy_is_refused_at_once(heartbeat: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        async with trio_ws.connect(URL, heartbeat=heartbeat):
            pass
    with pytest.raises(TypeError, match=message):
        await trio_ws.serve(echo, "127.0.0.1", 0, heartbeat=heartbeat)
    with pytest.raises(TypeError, match=message):
        trio_ws.Client(URL, heartbeat=heartbeat)


# Policies of one's own


class Policy:
    """A policy that does what it is told."""

    def __init__(self, run: Callable[[WebSocket], Awaitable[None]]) -> None:
        self._run = run

    async def run(self, ws: WebSocket) -> None:
        await self._run(ws)


async def test_a_verdict_in_a_group_is_a_verdict(
    open_pair: OpenPair, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async def give(verdict: HeartbeatTimeout) -> None:
        await trio.sleep(1)
        raise verdict

    async def run(ws: WebSocket) -> None:
        async with trio.open_nursery() as nursery, trio.open_nursery() as inner:
            nursery.start_soon(ws.ping)
            inner.start_soon(give, HeartbeatTimeout(trio_ws.CloseReason(1011, "dead")))

    async with watched(open_pair, Policy(run)) as (client, _, _):
        with pytest.raises(HeartbeatTimeout, match="dead"):
            await client.receive()
    assert not caplog.records


async def test_the_end_of_the_connection_may_be_let_through_in_a_group(
    open_pair: OpenPair, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async def run(ws: WebSocket) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ws.wait_closed)
            while True:
                await ws.ping()
                await trio.sleep(1)

    async with watched(open_pair, Policy(run)) as (client, server, _):
        await server.aclose(4000)
        await trio.sleep(5)
        assert client.close_reason is not None
        assert client.close_reason.code == 4000
    assert not caplog.records


async def test_the_end_of_something_else_is_a_crash_of_the_policy(
    open_pair: OpenPair,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def run(ws: WebSocket) -> None:
        raise trio.ClosedResourceError("a channel of its own")

    async with watched(open_pair, Policy(run)) as (client, _, _):
        with pytest.raises(ConnectionClosedError, match="the heartbeat crashed"):
            await client.receive()
    assert "the heartbeat policy crashed" in caplog.text


async def test_a_policy_that_returns_is_worth_a_warning(
    open_pair: OpenPair, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async def once(ws: WebSocket) -> None:
        await ws.ping()

    async def until_the_end(ws: WebSocket) -> None:
        await ws.wait_closed()

    async with watched(open_pair, Policy(once)) as (client, _, _):
        await trio.sleep(1)
        assert client.close_reason is None
        text = f"{client.id}: the heartbeat policy has returned: nobody watches now"
    assert [record[1:] for record in caplog.record_tuples] == [(logging.WARNING, text)]
    caplog.clear()
    async with watched(open_pair, Policy(until_the_end)) as (client, _, _):
        await client.aclose()
        await trio.sleep(1)
    assert not caplog.records


async def test_the_documented_policy_spares_a_peer_that_was_not_read_in_time(
    open_pair: OpenPair, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reading went on just before the verdict, and what had come lies unread still."""
    (block,) = [one for one in BLOCK.findall(HEARTBEATS.read_text()) if "class App" in one]
    documented: dict[str, Any] = {}
    monkeypatch.setattr(trio, "run", bool)
    exec(compile(block, "<documentation>", "exec"), documented)
    here, there = trio.testing.memory_stream_pair()
    streams = (Delayed(here, 0.05), there)
    async with open_pair(streams=streams, limits=Limits(inbox_messages=1)) as (client, server):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_answer, server)
            policy = documented["ApplicationHeartbeat"]()
            nursery.start_soon(_heartbeat.keep_alive, client, policy, NO_HOOKS)
            for _ in range(2):
                await server.send("x")
            await trio.sleep(39.98)
            paused = client.reading_since is None
            for _ in range(2):
                assert await client.receive() == "x"
            await trio.testing.wait_all_tasks_blocked()
            assert paused
            assert client.reading_since is not None
            await trio.sleep(1)
            assert client.close_reason is None
            nursery.cancel_scope.cancel()


async def _answer(ws: WebSocket) -> None:
    async for _ in ws:
        await ws.send("yes")


async def test_any_object_with_run_will_do(open_pair: OpenPair, autojump_clock: MockClock) -> None:
    class Application:
        async def run(self, ws: WebSocket) -> None:
            await ws.send("are you there?")

    async with watched(open_pair, Application()) as (client, server, _):
        assert await server.receive() == "are you there?"
        await trio.sleep(100)
        assert client.close_reason is None


async def test_a_policy_that_crashes_costs_its_connection(
    open_pair: OpenPair,
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Broken:
        async def run(self, ws: WebSocket) -> None:
            raise KeyError("a bug")

    async with watched(open_pair, Broken()) as (client, _, _):
        with pytest.raises(ConnectionClosedError, match="the heartbeat crashed"):
            await client.receive()
    assert caplog.record_tuples[0][1:] == (
        logging.ERROR,
        f"{client.id}: the heartbeat policy crashed",
    )


async def test_server_and_client_alike(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    network = install(monkeypatch)
    ends = []

    async def handler(ws: WebSocket) -> None:
        ends.append(await ws.wait_closed())

    async with network.served(handler, heartbeat=SECOND):
        async with trio_ws.connect(URL, heartbeat=None) as ws:
            await trio.sleep(10)
            assert ws.close_reason is None
    async with network.served(echo), trio_ws.connect(URL, heartbeat=SECOND) as ws:
        await trio.sleep(10)
        assert ws.latency is not None


async def test_an_answered_ping_takes_no_task(
    open_pair: OpenPair, autojump_clock: MockClock
) -> None:
    async with open_pair(heartbeat=SECOND) as (client, server):
        await trio.sleep(1.01)
        await trio.testing.wait_all_tasks_blocked()
        busy = living_tasks()
        await trio.sleep(1)
        await trio.testing.wait_all_tasks_blocked()
        assert living_tasks() == busy
        assert client.latency is not None
        assert server.latency is not None


async def test_pings_of_many_share_a_wake_up(
    open_pair: OpenPair, autojump_clock: MockClock
) -> None:
    drawn = itertools.chain([0.5, 0.504, 0.51], itertools.repeat(0.5))
    policy = Heartbeat(interval=20, jitter=0, rng=lambda: next(drawn))
    sent_at: list[float] = []

    def note(record: object) -> None:
        if isinstance(record, PingSent):
            sent_at.append(trio.current_time())

    async with open_pair(heartbeat=policy, hooks=[note]), open_pair(hooks=[note]) as (last, _):
        async with trio.open_nursery() as nursery:
            pulse = _heartbeat.start_heartbeat(nursery, last, policy, NO_HOOKS)
            await trio.sleep(15)
            assert pulse is not None
            pulse.cancel()
    assert sent_at == [10, 10, 10.125]


@pytest.mark.parametrize("interval", [0.02, 1, 20, 1_000])
def test_a_ping_is_hardly_early(interval: float) -> None:
    grain = _heartbeat._grain(interval)
    assert interval / 256 < grain <= interval / 128
    assert math.frexp(grain)[0] == 0.5


async def test_hooks_hear_of_pings_in_the_connections_context(
    open_pair: OpenPair, autojump_clock: MockClock
) -> None:
    who: ContextVar[str] = ContextVar("who", default="nobody")
    heard: list[str] = []

    def note(record: object) -> None:
        if isinstance(record, PingSent | HeartbeatLost):
            heard.append(f"{type(record).__name__} {who.get()}")

    here, there = trio.testing.memory_stream_pair()
    mute = Valve(there)
    mute.readable = trio.Event()
    who.set("me")
    async with open_pair(streams=(here, mute), hooks=[note], heartbeat=SECOND) as (client, _):
        await client.wait_closed()
        mute.readable.set()
    assert set(heard) == {"PingSent me", "HeartbeatLost me"}


async def test_a_policy_whose_numbers_run_out_costs_its_connection(
    open_pair: OpenPair,
    autojump_clock: MockClock,
) -> None:
    policy = Heartbeat(rng=[0.6, 0.5].pop)
    async with open_pair(heartbeat=policy) as (_, server):
        with pytest.raises(ConnectionClosedError, match="the heartbeat crashed"):
            await server.receive()


async def test_a_ping_that_cannot_be_started_costs_its_connection(
    open_pair: OpenPair,
    autojump_clock: MockClock,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fail(self: Connection, payload: bytes | None = None) -> None:
        raise KeyError("a bug")

    monkeypatch.setattr(Connection, "start_ping", fail)
    async with open_pair(heartbeat=SECOND) as (client, _):
        with pytest.raises(ConnectionClosedError, match="the heartbeat crashed"):
            await client.receive()
    assert "the heartbeat policy crashed" in caplog.text


async def test_cancelled_it_forgets_its_ping(
    open_pair: OpenPair, autojump_clock: MockClock
) -> None:
    async with watched(open_pair, None) as (client, _, valve):
        valve.readable = trio.Event()
        with trio.move_on_after(1.5):
            await SECOND.run(client)
        assert client.statistics().pings_in_flight == 0
        valve.readable.set()


# The seven


@pytest.mark.parametrize(("policy", "dies"), [(SECOND, False), (Naive(1, 1), True)])
async def test_1_a_slow_application_is_no_dead_peer(
    open_pair: OpenPair, autojump_clock: MockClock, policy: HeartbeatPolicy, dies: bool
) -> None:
    """The pongs lie behind our own full inbox, unread: a rival closes 1011 after 3.6 s."""
    async with watched(open_pair, policy, limits=Limits(inbox_messages=4)) as (client, server, _):
        for _ in range(20):
            await server.send("x")
        await trio.sleep(1_000)
        assert (client.close_reason is not None) is dies
        if not dies:
            for _ in range(20):
                assert await client.receive() == "x"


async def test_1_a_peer_that_died_meanwhile_is_found_when_reading_goes_on(
    open_pair: OpenPair,
    autojump_clock: MockClock,
) -> None:
    async with watched(open_pair, SECOND, limits=Limits(inbox_messages=4)) as (
        client,
        server,
        valve,
    ):
        for _ in range(20):
            await server.send("x")
        await trio.sleep(100)
        valve.readable = trio.Event()
        for _ in range(20):
            await client.receive()
        read = trio.current_time()
        with pytest.raises(HeartbeatTimeout):
            await client.receive()
        assert trio.current_time() - read <= 2.01


@pytest.mark.parametrize(("policy", "dies"), [(SECOND, False), (Naive(1, 1), True)])
async def test_2_a_ping_behind_a_slow_write_is_judged_from_its_writing(
    open_pair: OpenPair, autojump_clock: MockClock, policy: HeartbeatPolicy, dies: bool
) -> None:
    here, there = trio.testing.memory_stream_pair()
    slow = Valve(here)
    async with open_pair(streams=(slow, there)) as (client, server):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_heartbeat.keep_alive, client, policy, NO_HOOKS)
            slow.writable = trio.Event()
            await client.send("large")
            await trio.sleep(15)
            slow.writable.set()
            await trio.sleep(15)
            assert (client.close_reason is not None) is dies
            nursery.cancel_scope.cancel()
        if not dies:
            assert await server.receive() == "large"


@pytest.mark.parametrize("scheme", ["ws", "wss"])
async def test_3_a_peer_that_stops_reading_for_good_is_noticed(scheme: str) -> None:
    """No ping can leave past a blocked send, so a rival never noticed (8 s and counting)."""

    async def never_reads(ws: WebSocket) -> None:
        await trio.sleep_forever()

    secure: dict[str, Any] = {}
    trusting = None
    if scheme == "wss":
        authority = trustme.CA()
        secure["ssl_context"] = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        authority.issue_cert("localhost").configure_cert(secure["ssl_context"])
        trusting = ssl.create_default_context()
        authority.configure_trust(trusting)
    timeouts = Timeouts(write_stall=0.5, close_timeout=0.5, handler_grace=0.1)
    async with trio.open_nursery() as nursery:
        server: trio_ws.Server = await nursery.start(
            partial(trio_ws.serve, never_reads, "localhost", 0, timeouts=timeouts, **secure)
        )
        async with trio_ws.connect(
            f"{scheme}://localhost:{server.port}",
            timeouts=timeouts,
            ssl_context=trusting,
            # Any that leaves in time is judged by its own rule.
            heartbeat=Heartbeat(interval=0.1, timeout=60),
        ) as ws:
            with pytest.raises(ConnectionClosedError, match="stopped reading"):
                while True:
                    await ws.send(bytes(100_000))
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("policy", "dies"),
    [(Heartbeat(interval=0.05, timeout=0.1), False), (Naive(0.05, 0.1), True)],
)
async def test_4_an_event_loop_that_stood_still_is_no_dead_peer(
    policy: HeartbeatPolicy, dies: bool
) -> None:
    """A rival: five false timeouts in five stalls of this process."""
    async with trio.open_nursery() as nursery:
        server: trio_ws.Server = await nursery.start(_serve_echo)
        async with trio_ws.connect(f"ws://127.0.0.1:{server.port}", heartbeat=policy) as ws:
            for _ in range(3):
                pings = ws.statistics().bytes_sent
                # Until a ping is under way, and then nothing for longer than its timeout.
                while ws.statistics().bytes_sent == pings and ws.close_reason is None:
                    await trio.lowlevel.checkpoint()
                time.sleep(0.3)  # noqa: ASYNC251  # the very point
                for _ in range(3):
                    await trio.testing.wait_all_tasks_blocked(0.01)
            assert (ws.close_reason is not None) is dies
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("stalls", [[1.5], [1.5, 1.5], [1.5, 0.5, 1.5, 1.5]], ids=str)
async def test_4_one_standstill_after_the_other(
    open_pair: OpenPair, mock_clock: MockClock, stalls: list[float]
) -> None:
    """The peer's machine is paused with ours, and answers only when both have run for a while."""
    here, there = trio.testing.memory_stream_pair()
    valve = Valve(there)
    policy = Heartbeat(interval=100, timeout=20, rng=lambda: 0.0)
    async with open_pair(streams=(here, valve)) as (client, _):
        async with trio.open_nursery() as nursery:
            valve.readable = trio.Event()
            nursery.start_soon(_heartbeat.keep_alive, client, policy, NO_HOOKS)
            await trio.testing.wait_all_tasks_blocked()
            for stall in stalls:
                mock_clock.jump(20 * stall)
                await trio.testing.wait_all_tasks_blocked()
                assert client.close_reason is None
            valve.readable.set()
            await trio.testing.wait_all_tasks_blocked()
            assert client.close_reason is None
            assert client.latency is not None
            nursery.cancel_scope.cancel()


async def test_4_an_answer_that_came_in_a_short_standstill_is_read_first(
    open_pair: OpenPair,
    mock_clock: MockClock,
) -> None:
    """Too short to be noticed as one, and yet past the deadline."""
    here, there = trio.testing.memory_stream_pair()
    idle, _ = trio.testing.memory_stream_pair()
    policy = Heartbeat(interval=100, timeout=20, rng=lambda: 0.0)
    async with open_pair(streams=(here, idle)) as (client, server):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_heartbeat.keep_alive, client, policy, NO_HOOKS)
            ping = await there.receive_some()
            payload = bytes(one ^ ping[2 + at % 4] for at, one in enumerate(ping[6:]))
            here.receive_stream.put_data(encode_frame(Opcode.PONG, payload))
            mock_clock.jump(1.05 * 20)
            await trio.testing.wait_all_tasks_blocked()
            assert client.close_reason is None
            assert client.latency == pytest.approx(21)
            nursery.cancel_scope.cancel()
        client.abort()
        server.abort()


async def _serve_echo(*, task_status: trio.TaskStatus[trio_ws.Server]) -> None:
    await trio_ws.serve(echo, "127.0.0.1", 0, heartbeat=None, task_status=task_status)


async def test_5_any_byte_is_life_and_only_the_pong_is_latency(
    open_pair: OpenPair,
    autojump_clock: MockClock,
) -> None:
    here, there = trio.testing.memory_stream_pair()
    # Reads nothing, so it answers no ping; and sends all the same.
    mute = Valve(there)
    mute.readable = trio.Event()
    async with open_pair(streams=(here, mute)) as (client, server):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_heartbeat.keep_alive, client, SECOND, NO_HOOKS)
            for _ in range(50):
                await server.send("x")
                assert await client.receive() == "x"
                await trio.sleep(0.5)
            assert client.close_reason is None
            assert client.latency is None
            assert client.statistics().pings_in_flight <= 1
            nursery.cancel_scope.cancel()
        mute.readable.set()


async def test_6_after_the_machine_slept_a_new_ping_is_sent_at_once(
    open_pair: OpenPair, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    sleeper = Sleeper(monkeypatch)
    policy = Heartbeat(interval=1_000, timeout=30, rng=lambda: 1.0)
    records: list[object] = []
    here, there = trio.testing.memory_stream_pair()
    valve = Valve(there)
    async with open_pair(streams=(here, valve), hooks=[records.append]) as (client, _):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_heartbeat.keep_alive, client, policy, NO_HOOKS)
            await trio.sleep(100)
            assert PingSent(id=client.id) not in records
            sleeper.asleep = 3_600
            await trio.sleep(1.1)
            assert records.count(PingSent(id=client.id)) == 1
            # Asleep again, with a ping under way: that one is not judged, a new one is.
            valve.readable = trio.Event()
            sleeper.asleep += 3_600
            await trio.sleep(1.1)
            assert records.count(PingSent(id=client.id)) == 2
            sleeper.asleep += 3_600
            await trio.sleep(1.1)
            assert records.count(PingSent(id=client.id)) == 3
            valve.readable.set()
            await trio.sleep(100)
            assert client.close_reason is None
            nursery.cancel_scope.cancel()


async def test_6_what_was_under_way_when_the_machine_slept_is_not_judged(
    open_pair: OpenPair, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    sleeper = Sleeper(monkeypatch)
    policy = Heartbeat(interval=100, timeout=20, rng=lambda: 0.1)
    records: list[object] = []
    here, there = trio.testing.memory_stream_pair()
    valve = Valve(there)
    valve.readable = trio.Event()
    async with open_pair(streams=(here, valve), hooks=[records.append], heartbeat=policy) as (
        client,
        server,
    ):
        await trio.sleep(10.1)
        assert records.count(PingSent(id=client.id)) == 1
        sleeper.asleep = 3_600
        await trio.sleep(1.1)
        assert records.count(PingSent(id=client.id)) == 2
        valve.readable.set()
        await trio.sleep(50)
        assert client.close_reason is None
        assert server.close_reason is None
        assert client.statistics().pings_in_flight == 0


async def test_6_life_from_before_the_sleep_is_none(
    open_pair: OpenPair, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    sleeper = Sleeper(monkeypatch)
    policy = Heartbeat(interval=1_000, timeout=20, rng=lambda: 0.0)
    records: list[object] = []
    here, there = trio.testing.memory_stream_pair()
    mute = Valve(there)
    mute.readable = trio.Event()
    async with open_pair(streams=(here, mute), hooks=[records.append]) as (client, server):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_heartbeat.keep_alive, client, policy, NO_HOOKS)
            await trio.sleep(1)
            await server.send("alive")
            assert await client.receive() == "alive"
            sleeper.asleep = 3_600
            # Whoever it was may be gone since: a new ping, at once, is what is judged.
            await trio.sleep(1.1)
            assert records.count(PingSent(id=client.id)) == 2
            with pytest.raises(HeartbeatTimeout):
                await client.receive()
            assert trio.current_time() == pytest.approx(22, abs=1)
            nursery.cancel_scope.cancel()
        mute.readable.set()


async def test_7_ping_wakes_with_the_end(open_pair: OpenPair, autojump_clock: MockClock) -> None:
    """A rival's ``ping()`` hangs when the connection aborts."""
    async with watched(open_pair, SECOND) as (client, _, valve):
        valve.readable = trio.Event()
        with pytest.raises(HeartbeatTimeout):
            await client.ping()


@pytest.mark.parametrize("call", ["ping", "start_ping", "send", "wait_closed"])
async def test_7_a_dead_peer_behind_a_full_inbox_hangs_nobody(
    open_pair: OpenPair, autojump_clock: MockClock, call: str
) -> None:
    """Nothing is read there, so that a ping cannot be written is all that tells."""
    async with watched(open_pair, SECOND, limits=Limits(inbox_messages=2)) as (client, server, _):
        for _ in range(4):
            await server.send("x")
            await trio.testing.wait_all_tasks_blocked()
        assert client.reading_since is None
        server.abort()
        with trio.fail_after(5):
            if call == "wait_closed":
                assert (await client.wait_closed()).code == 1006
            with pytest.raises(ConnectionClosedError):
                if call == "start_ping":
                    await client.start_ping().wait()
                while True:
                    await (client.send("x") if call == "send" else client.ping())


# Many at once


def test_ten_thousand_do_not_ping_together() -> None:
    per_second = spread(10_000, random.Random(1).random)
    assert sum(per_second) == pytest.approx(30_000, rel=0.05)
    # 500 a second on average; where first pings end and second ones begin, they overlap a little.
    assert max(per_second) <= 750
    assert min(per_second) >= 250
