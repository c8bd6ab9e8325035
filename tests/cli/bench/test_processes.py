"""Several processes as one; here they are tasks, and tests/e2e has real ones."""

from __future__ import annotations

from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import trio
import trio.testing

from tests.network import URL, Network, echo, install
from trio_ws.cli.bench import load as load_module
from trio_ws.cli.bench.load import destination_for
from trio_ws.cli.bench.processes import (
    Processes,
    json_line,
    options_from_json,
    options_to_json,
    read_json_lines,
)
from trio_ws.cli.bench.worker import work
from trio_ws.cli.options.bench import BenchOptions
from trio_ws.cli.options.client import Color

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from trio.testing import MockClock


class FakeProcess:
    """A worker's process that is a task: *main* is given its orders and where to report."""

    def __init__(self, main: Callable[[Any, Any], Awaitable[None]]) -> None:
        self.stdin, self._orders = trio.testing.memory_stream_one_way_pair()
        self._reports, self.stdout = trio.testing.memory_stream_one_way_pair()
        self.returncode: int | None = None
        self._main = main
        self._scope = trio.CancelScope()
        self._ended = trio.Event()

    async def run(self) -> None:
        with self._scope:
            await self._main(self._orders, self._reports)
        for end in (self._orders, self._reports):
            await trio.aclose_forcefully(end)
        if self.returncode is None:
            self.returncode = -9 if self._scope.cancelled_caught else 0
        self._ended.set()

    def kill(self) -> None:
        self._scope.cancel()

    async def wait(self) -> int:
        await self._ended.wait()
        assert self.returncode is not None
        return self.returncode


class Machine:
    """Where processes are started."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self.mains: list[Any] = []
        self.processes: list[FakeProcess] = []
        self._nursery = nursery

    async def open_process(self, command: Any, **_: Any) -> FakeProcess:
        await trio.lowlevel.checkpoint()
        process = FakeProcess(self.mains.pop(0) if self.mains else work)
        self.processes.append(process)
        self._nursery.start_soon(process.run)
        return process


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> Network:
    monkeypatch.setattr(load_module, "_COARSE", 0.0)
    return install(monkeypatch)


@pytest.fixture
def machine(nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch) -> Machine:
    machine = Machine(nursery)
    monkeypatch.setattr(trio.lowlevel, "open_process", machine.open_process)
    return machine


def options_of(**changes: Any) -> BenchOptions:
    defaults: dict[str, Any] = {"url": URL, "connections": 5, "processes": 2, "duration": 10.0}
    return BenchOptions(**{**defaults, **changes})


def processes_of(options: BenchOptions) -> Processes:
    return Processes(destination_for(options), options)


async def test_the_shares_make_the_whole(
    network: Network, machine: Machine, autojump_clock: MockClock
) -> None:
    processes = processes_of(options_of(rate=10))
    async with network.served(echo):
        await processes.run()
    tally = processes.tally
    assert (tally.opened, tally.open, tally.errors) == (5, 0, 0)
    assert tally.round_trips.count == 100
    assert tally.window == 10.0
    assert [process.returncode for process in machine.processes] == [0, 0]


async def test_the_rate_is_shared_by_what_is_open(
    network: Network, machine: Machine, autojump_clock: MockClock
) -> None:
    network.down = ConnectionRefusedError(111, "refused")

    async def up_again() -> None:
        await trio.sleep(0.5)
        network.down = None

    processes = processes_of(options_of(rate=10, connections=2, ramp=2.0))
    async with network.served(echo), trio.open_nursery() as nursery:
        nursery.start_soon(up_again)
        await processes.run()
    assert (processes.tally.opened, processes.tally.failures) == (1, {"refused": 1})
    assert processes.tally.round_trips.count == 100


async def test_a_closed_loop_has_no_rate_to_share(
    network: Network, machine: Machine, autojump_clock: MockClock
) -> None:
    async def slow(ws: Any) -> None:
        async for message in ws:
            await trio.sleep(1)
            await ws.send(message)

    processes = processes_of(options_of())
    async with network.served(slow):
        await processes.run()
    assert processes.tally.answered == pytest.approx(50, abs=5)


async def test_reports_come_on_the_way(
    network: Network, machine: Machine, autojump_clock: MockClock
) -> None:
    processes = processes_of(options_of(rate=10))
    async with network.served(echo), trio.open_nursery() as nursery:
        nursery.start_soon(processes.run)
        await trio.sleep(6.1)
        assert processes.update().open == 5
        assert processes.update().round_trips.count == pytest.approx(50, abs=5)


async def test_cancelled_the_workers_report_once_more(
    network: Network, machine: Machine, autojump_clock: MockClock
) -> None:
    processes = processes_of(options_of(rate=10, warmup=0))
    async with network.served(echo):
        with trio.move_on_after(5.25):
            await processes.run()
    assert processes.tally.round_trips.count == 53
    assert processes.tally.errors == 0
    assert [process.returncode for process in machine.processes] == [0, 0]


async def test_cancelled_before_they_are_told_what_to_do(
    network: Network, machine: Machine, autojump_clock: MockClock
) -> None:
    processes = processes_of(options_of(rate=10))
    with trio.CancelScope() as scope:
        scope.cancel()
        await processes.run()
    assert [process.returncode for process in machine.processes] == [0, 0]
    assert processes.tally.opened == 0


async def test_workers_that_do_not_listen_are_killed(
    network: Network, machine: Machine, autojump_clock: MockClock
) -> None:
    async def deaf(orders: Any, reports: Any) -> None:
        await trio.sleep_forever()

    machine.mains = [deaf, work]
    processes = processes_of(options_of(rate=10))
    began = trio.current_time()
    async with network.served(echo):
        with trio.move_on_after(3):
            await processes.run()
    assert trio.current_time() - began == pytest.approx(3 + 5)
    assert [process.returncode for process in machine.processes] == [-9, 0]
    assert processes.tally.crashed == 1


async def test_the_others_go_on_without_a_worker_that_failed(
    network: Network, machine: Machine, autojump_clock: MockClock
) -> None:
    async def fails(orders: Any, reports: Any) -> None:
        machine.processes[0].returncode = 1

    machine.mains = [fails, work]
    processes = processes_of(options_of(rate=10, connections=4))
    async with network.served(echo):
        await processes.run()
    assert (processes.tally.opened, processes.tally.crashed) == (2, 1)
    assert processes.tally.round_trips.count == 100


async def test_secrets_travel_in_the_headers(network: Network, machine: Machine) -> None:
    orders: list[Any] = []

    async def note(stream: Any, reports: Any) -> None:
        async with aclosing(read_json_lines(stream)) as lines:
            orders.append(await anext(lines))

    machine.mains = [note, note]
    options = options_of(auth="user:secret", header=("X-Other: 1",))
    await processes_of(options).run()
    given = options_from_json(orders[0]["options"])
    assert (given.auth, given.bearer) == (None, None)
    assert given.header == ("X-Other: 1", "Authorization: Basic dXNlcjpzZWNyZXQ=")


def test_options_travel_as_json() -> None:
    options = options_of(
        cacert=Path("/ca.pem"), subprotocol=("a", "b"), color=Color.NEVER, rate=0.5
    )
    assert options_from_json(options_to_json(options)) == options


async def test_lines_are_put_together() -> None:
    sender, receiver = trio.testing.memory_stream_one_way_pair()
    data = json_line({"a": 1}) + json_line({"b": "é\n"})

    async def send() -> None:
        for byte in data:
            await sender.send_all(bytes([byte]))
        await sender.aclose()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(send)
        assert [members async for members in read_json_lines(receiver)] == [{"a": 1}, {"b": "é\n"}]
