"""What may be lost, doubled or delayed between a client that stays connected and its server.

Hypothesis drives client, server and network, a step at a time, and a model says what may have
become of each message: it arrives once or never, in order, and what is missing went with a
connection that was not closed properly.
"""

from __future__ import annotations

import queue
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import outcome
import trio
import trio.testing
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

import trio_ws
from trio_ws.testing import NO_FAULTS, Faults, Network

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

_T = TypeVar("_T")

URL = "ws://testserver/"
#: Seconds of the clock in which a client whose network is good again must be connected.
RECOVERED = 120


class SteppedRun:
    """A Trio run that goes on only while something is done in it, and whose time jumps."""

    def __init__(self) -> None:
        self._steps: queue.SimpleQueue[Callable[[], object]] = queue.SimpleQueue()
        self._result: outcome.Outcome[Any] | None = None
        self._end: outcome.Outcome[Any] | None = None
        trio.lowlevel.start_guest_run(
            self._main,
            run_sync_soon_threadsafe=self._steps.put,
            done_callback=self._done,
            clock=trio.testing.MockClock(autojump_threshold=0),
            restrict_keyboard_interrupt_to_checkpoints=True,
        )
        self.do(trio.lowlevel.checkpoint)

    async def _main(self) -> None:
        async with trio.open_nursery() as self.nursery:
            await trio.sleep_forever()

    def _done(self, end: outcome.Outcome[Any]) -> None:
        self._end = end

    def do(self, call: Callable[[], Awaitable[_T]]) -> _T:
        """Run *call* to its end, and give or raise what it did."""

        async def run() -> None:
            self._result = await outcome.acapture(call)

        self._steps.put(lambda: self.nursery.start_soon(run))
        while self._result is None:
            self._step()
        result, self._result = self._result, None
        value: _T = result.unwrap()
        return value

    def _step(self) -> None:
        self._steps.get(timeout=60)()
        if self._end is not None:
            self._end.unwrap()
            raise AssertionError("the run ended by itself")

    def close(self) -> None:
        self._steps.put(self.nursery.cancel_scope.cancel)
        while self._end is None:
            self._steps.get(timeout=60)()
        self._end.unwrap()


offline = st.sampled_from(["wait", "raise", trio_ws.OfflineQueue(messages=4)])
directions = st.sampled_from(["up", "down"])
faults = st.builds(
    Faults,
    latency=st.sampled_from([0, 0.05, 1]),
    jitter=st.sampled_from([0, 0.5]),
    bandwidth=st.sampled_from([500, 1e5, 1e9]),
    segment=st.sampled_from([None, 1, 30]),
    buffer=st.sampled_from([10, 300, 65536]),
    extra_turns=st.integers(0, 2),
    reset_after=st.none() | st.integers(0, 2000),
    end_after=st.none() | st.integers(0, 2000),
    stall_after=st.none() | st.integers(0, 2000),
)


class Losses(RuleBasedStateMachine):
    """A client, a server, what lies between, and what is known of each message.

    Attributes:
      accepted: messages whose ``send`` returned, in order.
      refused: those whose ``send`` raised or was cancelled.
      got: of each of the server's connections, the messages that came.
      said: of each, how many messages the server sent.
      heard: what the client received: the number of the connection, and of the message on it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.run = SteppedRun()
        self.network = Network()
        self.accepted: list[int] = []
        self.refused: set[int] = set()
        self.got: list[list[int]] = []
        self.said: list[int] = []
        self.talking: list[trio.Lock] = []
        self.heard: list[tuple[int, int]] = []
        self.connections: dict[int, trio_ws.WebSocket] = {}
        self.number = 0
        self.leaves = trio.Event()
        self.left = trio.Event()

    @initialize(offline=offline, seed=st.integers(0, 1000))
    def begin(self, offline: Any, seed: int) -> None:
        self.network = Network(seed=seed)
        self.run.do(self.start_server)
        connected = trio.Event()
        self.run.do(partial(self.start, self.stay_connected, offline, connected))
        self.run.do(connected.wait)

    async def start(self, call: Callable[..., Awaitable[object]], *arguments: Any) -> None:
        self.run.nursery.start_soon(call, *arguments)

    async def start_server(self) -> None:
        heartbeat = trio_ws.Heartbeat(interval=5, timeout=5)
        self.server = await self.run.nursery.start(
            partial(
                trio_ws.serve,
                self.handle,
                listeners=[self.network.listen()],
                heartbeat=heartbeat,
                hooks=(),
            )
        )

    async def handle(self, ws: trio_ws.WebSocket) -> None:
        number = len(self.got)
        self.got.append([])
        self.said.append(0)
        self.talking.append(trio.Lock())
        self.connections[number] = ws
        try:
            async for message in ws:
                self.got[number].append(int(message[:6]))
                await self.say(number, len(message))
        finally:
            del self.connections[number]

    async def say(self, number: int, size: int) -> None:
        # One after the other: what was cancelled was not sent, and the next takes its number.
        ws = self.connections[number]
        async with self.talking[number]:
            await ws.send(f"{number} {self.said[number]} ".ljust(size))
            self.said[number] += 1

    async def stay_connected(self, offline: Any, connected: trio.Event) -> None:
        with self.network:
            async with trio_ws.keep_connected(
                URL,
                offline=offline,
                backoff=trio_ws.Backoff(initial=0.1, maximum=5, intensity=None),
                heartbeat=trio_ws.Heartbeat(interval=5, timeout=5),
                hooks=(),
            ) as self.ws:
                connected.set()
                await self.leaves.wait()
        self.left.set()

    # What the client and the server do

    @rule(size=st.sampled_from([10, 200, 5000]), patience=st.sampled_from([0, 0.01, 1, 60]))
    def send(self, size: int, patience: float) -> None:
        self.run.do(partial(self.try_to_send, size, patience))

    async def try_to_send(self, size: int, patience: float) -> bool:
        self.number += 1
        number = self.number
        with trio.move_on_after(patience):
            with suppress(trio_ws.ConnectionClosed):
                await self.ws.send(f"{number:06} ".ljust(size))
                self.accepted.append(number)
                return True
        self.refused.add(number)
        return False

    @rule(patience=st.sampled_from([0, 0.01, 1, 60]))
    def receive(self, patience: float) -> None:
        self.run.do(partial(self.try_to_receive, patience))

    async def try_to_receive(self, patience: float) -> bool:
        with trio.move_on_after(patience):
            connection, number = str(await self.ws.receive()).split()
            self.heard.append((int(connection), int(number)))
            return True
        return False

    @rule(size=st.sampled_from([10, 5000]), patience=st.sampled_from([0.01, 1]))
    def server_says(self, size: int, patience: float) -> None:
        async def say() -> None:
            if not self.connections:
                return
            number = max(self.connections)
            with trio.move_on_after(patience), suppress(trio_ws.ConnectionClosed):
                await self.say(number, size)

        self.run.do(say)

    @rule(code=st.sampled_from([1001, 1011, 1012]))
    def server_closes(self, code: int) -> None:
        if self.connections:
            self.run.do(partial(self.connections[max(self.connections)].aclose, code))

    @rule()
    def server_restarts(self) -> None:
        async def restart() -> None:
            await self.server.drain(1)
            await self.start_server()

        self.run.do(restart)

    # What the network does

    @rule(seconds=st.sampled_from([0.001, 0.1, 2, 20]))
    def time_passes(self, seconds: float) -> None:
        self.run.do(partial(trio.sleep, seconds))

    @rule(faults=faults, direction=directions)
    def gets_bad(self, faults: Faults, direction: str) -> None:
        setattr(self.network, direction, faults)

    @rule(faults=faults, direction=directions)
    def gets_bad_at_once(self, faults: Faults, direction: str) -> None:
        for wire in self.network.wires:
            getattr(wire, direction).faults = faults

    @rule()
    def cut(self) -> None:
        self.run.do(self.cut_now)

    async def cut_now(self) -> None:
        self.network.cut()

    @rule(direction=directions, what=st.sampled_from(["stall", "resume", "end"]))
    def stalls_or_ends(self, direction: str, what: str) -> None:
        async def call() -> None:
            for wire in self.network.wires:
                getattr(getattr(wire, direction), what)()

        self.run.do(call)

    @rule(failure=st.sampled_from([None, OSError("unreachable")]))
    def nobody_is_reached(self, failure: Exception | None) -> None:
        self.network.failure = failure

    # What must hold in the end

    def teardown(self) -> None:
        try:
            if hasattr(self, "ws"):
                self.run.do(self.recover_and_leave)
                self.check()
        finally:
            self.run.close()

    async def recover_and_leave(self) -> None:
        self.network.up = self.network.down = NO_FAULTS
        self.network.failure = None
        with trio.fail_after(RECOVERED):
            # A connection may still have to be found dead.
            while not (await self.try_to_send(10, 10) and await self.heard_of(self.number)):  # noqa: ASYNC110
                await trio.sleep(1)
        self.leaves.set()
        await self.left.wait()
        # The server has read it all when its handlers are done.
        await trio.sleep(RECOVERED)
        assert not self.connections

    async def heard_of(self, number: int) -> bool:
        while await self.try_to_receive(10):
            if self.got[-1][-1:] == [number] and self.heard[-1][1] == self.said[-1] - 1:
                return True
        return False

    def check(self) -> None:
        arrived = [number for got in self.got for number in got]
        assert len(arrived) == len(set(arrived)), "nothing arrives twice"
        assert not self.refused & set(arrived), "what was not sent does not arrive"
        place = {number: index for index, number in enumerate(self.accepted)}
        places = [place[number] for number in arrived]
        assert places == sorted(places), "the order holds"
        for got in self.got:
            own = [place[number] for number in got]
            assert own == list(range(own[0], own[-1] + 1)) if own else True, "without a gap"
        assert arrived[-1:] == self.accepted[-1:], "the last connection brought the rest"
        assert self.heard == sorted(set(self.heard)), "nothing is heard twice, and in order"
        for connection, said in enumerate(self.said):
            own = [number for where, number in self.heard if where == connection]
            assert own == list(range(len(own))), "what is missing was under way when it was cut"
            assert len(own) <= said


Losses.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
TestLosses = Losses.TestCase
