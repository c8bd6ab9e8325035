"""One of several processes, in this one."""

from __future__ import annotations

import os
from contextlib import aclosing, asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
import trio
import trio.testing

from tests.network import URL, Network, echo, install
from trio_ws.cli.bench import load as load_module
from trio_ws.cli.bench import worker
from trio_ws.cli.bench.processes import json_line, options_to_json, read_json_lines
from trio_ws.cli.bench.tally import Tally
from trio_ws.cli.bench.worker import work
from trio_ws.cli.options.bench import BenchOptions

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator

    from trio.testing import MockClock

OPTIONS = BenchOptions(url=URL, connections=4, processes=2, warmup=0.0, duration=2.0, rate=20.0)


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> Network:
    monkeypatch.setattr(load_module, "_COARSE", 0.0)
    return install(monkeypatch)


class Parent:
    """The other end of a worker."""

    def __init__(self, orders: Any, reports: AsyncIterator[dict[str, Any]]) -> None:
        self._orders = orders
        self._reports = reports

    async def order(self, **members: Any) -> None:
        await self._orders.send_all(json_line(members))

    async def hear(self) -> dict[str, Any]:
        return await anext(self._reports)

    async def hear_all(self) -> list[dict[str, Any]]:
        return [report async for report in self._reports]

    async def stop(self) -> None:
        await self._orders.aclose()


@asynccontextmanager
async def worker_at_work() -> AsyncGenerator[Parent]:
    orders, to_obey = trio.testing.memory_stream_one_way_pair()
    to_report, reports = trio.testing.memory_stream_one_way_pair()

    async def run() -> None:
        await work(to_obey, to_report)
        await to_report.aclose()

    async with trio.open_nursery() as nursery, aclosing(read_json_lines(reports)) as lines:
        nursery.start_soon(run)
        yield Parent(orders, lines)


async def test_it_does_its_share(network: Network, autojump_clock: MockClock) -> None:
    async with network.served(echo), worker_at_work() as parent:
        await parent.order(share=1, options=options_to_json(OPTIONS))
        assert await parent.hear() == {"settled": 2}
        # It waits for the others, and still reports.
        assert Tally.from_json((await parent.hear())["tally"]).open == 2
        await parent.order(rate=5.0)
        reports = await parent.hear_all()
    last = Tally.from_json(reports[-1]["tally"])
    assert (last.opened, last.open, last.errors) == (2, 0, 0)
    assert last.round_trips.count == 10


async def test_the_end_of_its_orders_stops_it(network: Network, autojump_clock: MockClock) -> None:
    async with network.served(echo), worker_at_work() as parent:
        await parent.order(share=0, options=options_to_json(OPTIONS))
        assert await parent.hear() == {"settled": 2}
        await parent.stop()
        *_, last = await parent.hear_all()
    assert Tally.from_json(last["tally"]).opened == 2


async def test_no_order_no_work(network: Network) -> None:
    async with worker_at_work() as parent:
        await parent.stop()
        assert await parent.hear_all() == []
    assert network.attempts == []


async def test_it_ends_with_its_parent(network: Network, autojump_clock: MockClock) -> None:
    orders, to_obey = trio.testing.memory_stream_one_way_pair()
    to_report, reports = trio.testing.memory_stream_one_way_pair()
    async with network.served(echo), trio.open_nursery() as nursery:
        nursery.start_soon(work, to_obey, to_report)
        await orders.send_all(json_line({"share": 0, "options": options_to_json(OPTIONS)}))
        await trio.testing.wait_all_tasks_blocked()
        await orders.aclose()
        await reports.aclose()


def test_the_process(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    pipes = [os.pipe(), os.pipe()]
    real = os.dup
    ends: dict[int, int] = {0: pipes[0][0], 1: pipes[1][1]}

    def dup(descriptor: int) -> int:
        return real(ends.get(descriptor, descriptor))

    monkeypatch.setattr(os, "dup", dup)
    os.write(pipes[0][1], b"not JSON\n")
    os.close(pipes[0][1])
    with pytest.raises(SystemExit) as caught:
        worker.main()
    assert caught.value.code == 1
    assert "internal: JSONDecodeError" in capsys.readouterr().err
    for descriptor in (*ends.values(), pipes[1][0]):
        os.close(descriptor)
