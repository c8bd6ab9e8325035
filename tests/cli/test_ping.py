"""``trio-ws ping``, in memory and with a clock that jumps."""

from __future__ import annotations

import json
import signal
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
import trio

import trio_ws
from tests.network import URL, Network, install
from tests.sweeps import cancel_sweep
from trio_ws.cli import ping
from trio_ws.cli.connecting import destination_of
from trio_ws.cli.failures import Interrupted, told
from trio_ws.cli.options.ping import PingOptions

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trio.testing import MockClock

    from trio_ws import WebSocket


class Output:
    """What is written to stdout."""

    def __init__(self) -> None:
        self.data = b""

    async def put(self, data: bytes) -> None:
        await trio.lowlevel.checkpoint()
        self.data += data

    @property
    def lines(self) -> list[str]:
        return self.data.decode().splitlines()


@pytest.fixture
def output(monkeypatch: pytest.MonkeyPatch) -> Output:
    output = Output()
    monkeypatch.setattr(ping, "write_stdout", output.put)
    return output


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> Network:
    return install(monkeypatch)


async def quiet(ws: WebSocket) -> None:
    async for _ in ws:
        pass


def no_pongs(monkeypatch: pytest.MonkeyPatch, until: float) -> None:
    """The server forgets pings that come before *until*; a later pong answers them as well."""
    real = trio_ws._outbox.Outbox.put_pong

    def put_pong(outbox: Any, frame: bytes) -> None:
        if trio.current_time() >= until:
            real(outbox, frame)

    monkeypatch.setattr(trio_ws._outbox.Outbox, "put_pong", put_pong)


async def run(network: Network, handler: Any = quiet, **changes: Any) -> None:
    options = PingOptions(**{"url": URL, **changes})
    async with network.served(handler):
        await ping._run(options, destination_of(options))


@contextmanager
def failing(code: int, text: str = "") -> Iterator[None]:
    """What happens in the block leads to this exit code and line."""
    with pytest.raises(BaseExceptionGroup) as caught:
        yield
    exit_code, line = told(caught.value)
    assert exit_code == code
    assert text in line


async def test_a_line_for_each_pong_and_a_summary(
    network: Network, output: Output, autojump_clock: MockClock
) -> None:
    network.delay = 0.25
    began = trio.current_time()
    await run(network, count=3, interval=2.0)
    assert trio.current_time() - began == pytest.approx(4.25)
    connected, *pongs, heading, counts, times = output.lines
    assert connected == "connected to ws://testserver/feed: connect 250 ms, handshake 0.000 us"
    assert [pong.split(" time=")[0] for pong in pongs] == [
        f"pong from testserver: seq={number}" for number in (1, 2, 3)
    ]
    assert heading == "--- testserver ping statistics ---"
    assert counts == "3 pings sent, 3 pongs received, 0% lost"
    assert times == "round trip min/avg/p95/max/mdev = 0.000/0.000/0.000/0.000/0.000 ms"


async def test_quiet_is_only_the_summary(
    network: Network, output: Output, autojump_clock: MockClock
) -> None:
    await run(network, count=1, quiet=True)
    assert [line[:3] for line in output.lines] == ["---", "1 p", "rou"]


async def test_the_summary_as_json(
    network: Network, output: Output, autojump_clock: MockClock
) -> None:
    await run(network, count=2, json=True)
    summary = json.loads(output.data)
    assert summary["sent"] == summary["received"] == 2
    assert summary["loss"] == summary["lost"] == summary["on_their_way"] == 0
    assert set(summary) >= {"min", "avg", "p95", "max", "mdev"}


async def test_late_pongs_are_told_apart_and_are_not_lost(
    network: Network,
    output: Output,
    autojump_clock: MockClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    no_pongs(monkeypatch, trio.current_time() + 4)
    await run(network, count=5, timeout=2.5)
    told = [line.split(": ", 1)[1].replace("from testserver", "") for line in output.lines[1:-3]]
    assert output.lines[1] == "no pong from testserver yet: seq=1 after 2.5 s"
    assert sorted(told[2:]) == [
        "seq=1 time=4000 ms (late)",
        "seq=2 time=3000 ms (late)",
        "seq=3 time=2000 ms",
        "seq=4 time=1000 ms",
        "seq=5 time=0.000 ms",
    ]
    assert output.lines[-2] == "5 pings sent, 5 pongs received, 0% lost"
    assert output.lines[-1].endswith("= 0.000/2000/4000/4000/1414 ms")


async def test_no_pong_at_all(
    network: Network,
    output: Output,
    autojump_clock: MockClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    no_pongs(monkeypatch, float("inf"))
    with failing(6, "no pong came from testserver"):
        await run(network, count=2, timeout=3.0)
    assert output.lines[-1] == "2 pings sent, 0 pongs received, 100% lost"
    with failing(6):
        await run(network, count=1, json=True)
    assert json.loads(output.lines[-1])["mdev"] is None


async def test_the_deadline_ends_it(
    network: Network, output: Output, autojump_clock: MockClock
) -> None:
    began = trio.current_time()
    await run(network, deadline=2.5)
    assert trio.current_time() - began == pytest.approx(2.5)
    assert output.lines[-2] == "3 pings sent, 3 pongs received, 0% lost"


async def test_what_could_still_come_is_not_lost(
    network: Network,
    output: Output,
    autojump_clock: MockClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    no_pongs(monkeypatch, float("inf"))
    with failing(6):
        await run(network, deadline=5.5, timeout=2.0)
    assert output.lines[-1] == "6 pings sent, 0 pongs received, 2 on their way, 100% lost"


async def test_a_signal_ends_it_with_the_summary(
    network: Network, output: Output, autojump_clock: MockClock
) -> None:
    async def interrupt() -> None:
        await trio.sleep(1.5)
        signal.raise_signal(signal.SIGINT)

    with pytest.raises(BaseExceptionGroup) as caught:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(interrupt)
            await run(network)
    assert caught.group_contains(Interrupted, depth=None)
    assert output.lines[-2] == "2 pings sent, 2 pongs received, 0% lost"


async def test_messages_do_not_stand_in_the_way_of_pongs(
    network: Network, output: Output, autojump_clock: MockClock
) -> None:
    async def talks(ws: WebSocket) -> None:
        for _ in range(1000):
            await ws.send("x" * 1000)
        await quiet(ws)

    await run(network, talks, count=2)
    assert output.lines[-2] == "2 pings sent, 2 pongs received, 0% lost"


@pytest.mark.parametrize(("code", "exit_code"), [(1000, None), (1001, None), (4000, 7)])
async def test_the_connection_ends_midway(
    network: Network,
    output: Output,
    autojump_clock: MockClock,
    capsys: pytest.CaptureFixture[str],
    code: int,
    exit_code: int | None,
) -> None:
    async def leaves(ws: WebSocket) -> None:
        with trio.move_on_after(2.5):
            await quiet(ws)
        await ws.aclose(code)

    if exit_code is None:
        await run(network, leaves)
        assert f"connection closed: {code}" in capsys.readouterr().err
    else:
        with failing(exit_code):
            await run(network, leaves)
    assert output.lines[-2] == "3 pings sent, 3 pongs received, 0% lost"


async def test_what_was_on_its_way_is_lost_with_the_connection(
    network: Network,
    output: Output,
    autojump_clock: MockClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def cuts(ws: WebSocket) -> None:
        with trio.move_on_after(2.5):
            await quiet(ws)
        ws.abort()

    no_pongs(monkeypatch, trio.current_time() + 10)
    with failing(7):
        await run(network, cuts)
    assert output.lines[-1] == "3 pings sent, 0 pongs received, 100% lost"


@pytest.mark.parametrize("code", [1000, 4000])
@pytest.mark.parametrize("pause", [0, 5])
async def test_the_connection_ends_at_once(
    network: Network,
    output: Output,
    autojump_clock: MockClock,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    code: int,
    pause: float,
) -> None:
    async def leaves(ws: WebSocket) -> None:
        await ws.aclose(code)

    async def put(data: bytes) -> None:
        # The first line takes its time: the connection has ended when the first ping is due.
        await trio.sleep(pause)
        await output.put(data)

    monkeypatch.setattr(ping, "write_stdout", put)
    monkeypatch.setattr(ping, "_PATIENCE", 100)
    with failing(*((6, "no pong came") if code == 1000 else (7, "4000"))):
        await run(network, leaves, count=1)
    assert output.lines[-1].endswith(", 0 pongs received, 0% lost") or "1 ping" in output.lines[-1]
    assert ("connection closed: 1000" in capsys.readouterr().err) is (code == 1000)


async def test_no_connection_no_summary(network: Network, output: Output) -> None:
    network.down = ConnectionRefusedError(111, "refused")
    with failing(3, "refused"):
        await run(network)
    assert output.lines == []


async def test_cancelled_anywhere_it_leaves_nothing(network: Network, output: Output) -> None:
    options = PingOptions(url=URL, count=2, interval=0.001)
    destination = destination_of(options)

    async def scenario() -> None:
        output.data = b""
        await ping._run(options, destination)

    async def check(cancelled: bool) -> None:
        # Once it has begun, there is a summary, and a whole one.
        told = output.data.decode()
        assert "pong from" not in told or "% lost" in told

    async with network.served(quiet):
        await cancel_sweep(scenario, check)


def test_run_runs(network: Network, output: Output) -> None:
    network.down = ConnectionRefusedError(111, "refused")
    with pytest.raises(BaseExceptionGroup):
        ping.run(PingOptions(url=URL))
