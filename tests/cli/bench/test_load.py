"""The load of one process, on servers that answer well, late, wrongly or not at all."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
import trio

import trio_ws
from tests.network import URL, Network, echo, install
from tests.sweeps import cancel_sweep
from trio_ws.cli.bench import load as load_module
from trio_ws.cli.bench.load import PATIENCE, Load, destination_for
from trio_ws.cli.options.bench import BenchOptions

if TYPE_CHECKING:
    from trio.testing import MockClock

    from trio_ws.cli.bench.tally import Tally


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> Network:
    # A clock that jumps does not move while somebody spins.
    monkeypatch.setattr(load_module, "_COARSE", 0.0)
    return install(monkeypatch)


def options_of(**changes: Any) -> BenchOptions:
    defaults = {"url": URL, "connections": 2, "warmup": 1.0, "duration": 10.0}
    return BenchOptions(**{**defaults, **changes})


def load_of(options: BenchOptions, **arguments: Any) -> Load:
    async def settled(opened: int) -> float | None:
        return options.rate

    return Load(destination_for(options), options, settled=settled, **arguments)


async def measure(network: Network, handler: Any = echo, **changes: Any) -> Tally:
    load = load_of(options_of(**changes))
    async with network.served(handler):
        await load.run()
    return load.tally


async def echo_after(seconds: float, ws: trio_ws.WebSocket) -> None:
    async for message in ws:
        await trio.sleep(seconds)
        await ws.send(message)


# With a rate


async def test_an_open_loop_sends_what_is_due(network: Network, autojump_clock: MockClock) -> None:
    tally = await measure(network, rate=10)
    assert (tally.opened, tally.open, tally.errors) == (2, 0, 0)
    # A second of warmup is not measured.
    assert tally.round_trips.count == 100
    assert tally.replies == 110
    assert tally.answered == pytest.approx(100, abs=1)
    assert tally.window == 10.0
    assert tally.round_trips.maximum < 1e-6
    assert tally.late.maximum < 1e-6


async def test_it_spins_for_what_is_finer_than_the_timer(monkeypatch: pytest.MonkeyPatch) -> None:
    tally = await measure(install(monkeypatch), rate=1000, warmup=0, duration=0.01)
    assert tally.round_trips.count == 10


async def test_a_stall_is_charged_to_all_that_was_due_meanwhile(
    network: Network, autojump_clock: MockClock
) -> None:
    async def stalls(ws: trio_ws.WebSocket) -> None:
        began = trio.current_time()
        async for message in ws:
            if 5 <= trio.current_time() - began < 7:
                await trio.sleep_until(began + 7)
            await ws.send(message)

    tally = await measure(network, stalls, connections=1, warmup=0, rate=100)
    assert tally.round_trips.count == 1000
    assert tally.round_trips.maximum == pytest.approx(2.0, abs=0.02)
    # 200 of 1000 were due in these two seconds, and waited a second on average.
    assert tally.round_trips.percentile(79) == pytest.approx(0, abs=1e-6)
    assert tally.round_trips.percentile(90) == pytest.approx(1.0, abs=0.02)
    assert tally.round_trips.mean == pytest.approx(0.2, abs=0.01)


async def test_a_closed_loop_does_not_see_it(network: Network, autojump_clock: MockClock) -> None:
    async def stalls(ws: trio_ws.WebSocket) -> None:
        began = trio.current_time()
        async for message in ws:
            await trio.sleep(2 if 5 <= trio.current_time() - began < 5.01 else 0.01)
            await ws.send(message)

    tally = await measure(network, stalls, connections=1, warmup=0)
    assert tally.round_trips.maximum == pytest.approx(2.0, abs=0.02)
    assert tally.round_trips.percentile(99) == pytest.approx(0.01, rel=0.02)


async def test_what_has_no_reply_counts_with_the_time_it_waited(
    network: Network, autojump_clock: MockClock
) -> None:
    async def swallows(ws: trio_ws.WebSocket) -> None:
        async for _ in ws:
            pass

    tally = await measure(network, swallows, rate=10)
    assert (tally.answered, tally.unanswered, tally.errors) == (0, 100, 100)
    assert tally.round_trips.count == 100
    assert tally.round_trips.maximum == pytest.approx(10 + PATIENCE)
    assert tally.round_trips.minimum == pytest.approx(PATIENCE + 0.1)


async def test_what_the_peer_does_not_take_is_not_forgotten(
    network: Network, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise trio.WouldBlock

    monkeypatch.setattr(trio_ws._connection.Connection, "send_nowait", full)
    monkeypatch.setattr(trio_ws._connection.Connection, "send", _block)
    tally = await measure(network, rate=10)
    assert (tally.unanswered, tally.unsent) == (0, 100)
    assert tally.round_trips.count == 100


async def _block(*_: Any, **__: Any) -> None:
    await trio.sleep_forever()


async def test_what_is_held_up_is_sent_in_its_turn(
    network: Network, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = trio_ws._connection.Connection.send

    async def slow(ws: Any, message: Any) -> None:
        await trio.sleep(0.5)
        await real(ws, message)

    def full(*_: Any, **__: Any) -> None:
        raise trio.WouldBlock

    monkeypatch.setattr(trio_ws._connection.Connection, "send_nowait", full)
    monkeypatch.setattr(trio_ws._connection.Connection, "send", slow)
    tally = await measure(network, connections=1, rate=1, warmup=0)
    assert tally.errors == 0
    # The server is as slow.
    assert tally.round_trips.minimum == pytest.approx(1.0)
    assert tally.late.minimum == pytest.approx(0.5)


async def test_a_process_that_is_too_slow_does_not_hide_it(
    network: Network, autojump_clock: MockClock
) -> None:
    offer = load_module.Conversation.offer

    class Slow(load_module.Conversation):
        def offer(self, due: float) -> None:
            autojump_clock.jump(0.2)
            offer(self, due)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(load_module, "Conversation", Slow)
        tally = await measure(network, rate=10, warmup=0)
    assert tally.unsent == pytest.approx(50, abs=16)
    assert tally.round_trips.count == 100
    assert tally.late.maximum > 4


# Without


@pytest.mark.parametrize(("pipeline", "replies"), [(None, 20), (1, 20), (5, 100)])
async def test_a_closed_loop_keeps_its_pipeline_full(
    network: Network, autojump_clock: MockClock, pipeline: int | None, replies: int
) -> None:
    async def batches(ws: trio_ws.WebSocket) -> None:
        while True:
            messages = [await ws.receive() for _ in range(pipeline or 1)]
            await trio.sleep(1)
            for message in messages:
                await ws.send(message)

    tally = await measure(network, batches, warmup=0, duration=10.5, pipeline=pipeline)
    assert tally.answered == replies
    # Those on their way at the end are waited for.
    assert tally.round_trips.count == replies + 2 * (pipeline or 1)
    assert tally.round_trips.minimum == pytest.approx(1)
    assert tally.late.count == 0
    assert tally.errors == 0


@pytest.mark.parametrize("binary", [True, False])
async def test_messages_are_as_asked_for(
    network: Network, autojump_clock: MockClock, binary: bool
) -> None:
    seen: set[tuple[type, int]] = set()

    async def look(ws: trio_ws.WebSocket) -> None:
        async for message in ws:
            seen.add((type(message), len(message)))
            await trio.sleep(0.1)
            await ws.send(message)

    tally = await measure(network, look, size=200_000, max_size=1000, binary=binary, duration=1)
    assert seen == {(bytes if binary else str, 200_000)}
    assert tally.errors == 0


async def test_more_on_the_way_than_all_buffers_hold(
    network: Network, autojump_clock: MockClock
) -> None:
    tally = await measure(
        network,
        partial(echo_after, 0.01),
        connections=1,
        pipeline=200,
        size=100_000,
        warmup=0,
        duration=1,
    )
    assert tally.errors == 0
    assert tally.answered == pytest.approx(100, abs=2)


async def test_wrong_replies_are_errors(network: Network, autojump_clock: MockClock) -> None:
    async def shouts(ws: trio_ws.WebSocket) -> None:
        async for message in ws:
            assert isinstance(message, str)
            await ws.send(message.swapcase() + "!")

    tally = await measure(network, shouts, connections=1)
    assert tally.failures == {"a message came that is not the echo of one on its way": 1}
    assert (tally.answered, tally.unanswered) == (0, 0)


# Connections


async def test_the_ramp_spreads_connections(network: Network, autojump_clock: MockClock) -> None:
    began = trio.current_time()
    await measure(network, partial(echo_after, 0.1), connections=4, ramp=8.0)
    assert [at - began for at in network.attempts] == pytest.approx([0, 2, 4, 6])


async def test_a_share_is_every_so_manyth_connection(
    network: Network, autojump_clock: MockClock
) -> None:
    load = load_of(options_of(connections=5, processes=2, ramp=5.0, rate=1), share=1)
    async with network.served(echo):
        began = trio.current_time()
        await load.run()
    assert [at - began for at in network.attempts] == pytest.approx([1, 3])


async def test_connecting_is_timed(network: Network, autojump_clock: MockClock) -> None:
    network.delay = 0.25
    tally = await measure(network, rate=10)
    assert tally.connecting.minimum == pytest.approx(0.25)


async def test_refused_connections_are_errors_and_the_others_go_on(
    network: Network, autojump_clock: MockClock
) -> None:
    network.failures.append(ConnectionRefusedError(111, "refused"))
    tally = await measure(network, rate=10)
    assert (tally.opened, tally.broken) == (1, 0)
    assert tally.failures == {"refused": 1}
    assert tally.round_trips.count == 100


async def test_all_refused(network: Network, autojump_clock: MockClock) -> None:
    network.down = ConnectionRefusedError(111, "refused")
    tally = await measure(network, rate=10)
    assert (tally.opened, tally.code, tally.failures) == (0, 3, {"refused": 2})
    assert tally.window == 0.0


async def test_it_ends_when_no_connection_is_left(
    network: Network, autojump_clock: MockClock
) -> None:
    async def leaves(ws: trio_ws.WebSocket) -> None:
        with trio.move_on_after(4.95):
            await echo(ws)
        await ws.aclose(1001)

    began = trio.current_time()
    tally = await measure(network, leaves, rate=10)
    assert trio.current_time() - began < 6
    assert (tally.opened, tally.broken, tally.open) == (2, 2, 0)
    assert tally.window == pytest.approx(3.95, abs=0.01)
    assert tally.round_trips.count == pytest.approx(39, abs=1)
    assert tally.failures.total() == 2


async def test_what_a_lost_connection_owed_is_an_error(
    network: Network, autojump_clock: MockClock
) -> None:
    async def one_leaves(ws: trio_ws.WebSocket) -> None:
        if len(network.attempts) == 1:
            with trio.move_on_after(5):
                async for _ in ws:
                    pass
            ws.abort()
        else:
            await echo(ws)

    tally = await measure(network, one_leaves, rate=10, ramp=2.0, warmup=0)
    assert (tally.opened, tally.broken) == (2, 1)
    assert tally.lost == 50
    assert tally.round_trips.count == 50


async def test_sending_may_be_the_first_to_see_the_end(
    network: Network, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ended(*_: Any, **__: Any) -> None:
        raise trio_ws.ConnectionClosedError(trio_ws.CloseReason(1006))

    monkeypatch.setattr(trio_ws._connection.Connection, "send_nowait", ended)
    tally = await measure(network, rate=10)
    assert (tally.lost, tally.round_trips.count) == (100, 0)


async def test_a_connection_that_ends_before_the_flow(
    network: Network, autojump_clock: MockClock
) -> None:
    async def leaves(ws: trio_ws.WebSocket) -> None:
        await ws.aclose()

    tally = await measure(network, leaves, ramp=5.0)
    assert (tally.opened, tally.broken, tally.window) == (2, 2, 0.0)


async def test_the_tally_is_up_to_date_on_the_way(
    network: Network, autojump_clock: MockClock
) -> None:
    load = load_of(options_of(rate=10))
    async with network.served(echo), trio.open_nursery() as nursery:
        nursery.start_soon(load.run)
        assert load.update().window == 0.0
        await trio.sleep(5.95)
        assert load.update().window == pytest.approx(4.95)
        assert load.tally.round_trips.count == 50
        assert load.tally.open == 2
        nursery.cancel_scope.cancel()
    assert load.tally.window == pytest.approx(4.95)
    assert load.tally.errors == 0


async def test_cancelled_anywhere_it_leaves_nothing(network: Network) -> None:
    options = options_of(connections=1, warmup=0, duration=0.001, pipeline=2)
    current: list[Load] = []

    async def scenario() -> None:
        current.append(load_of(options))
        await current[-1].run()

    async def check(cancelled: bool) -> None:
        tally = current[-1].tally if current else None
        if tally is not None:
            assert tally.open == 0
            assert tally.unanswered == tally.unsent == tally.lost == 0

    async with network.served(echo):
        await cancel_sweep(scenario, check)
