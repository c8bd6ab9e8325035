"""Cancellation at every step: a message goes to all or to nobody, and nothing is left behind."""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

import trio_ws
from trio_ws import History, Hub, HubLimits, Position, slow_consumers
from trio_ws.testing import open_pair

from ..sweeps import CancelAt, cancel_sweep, living_tasks
from .crowd import gated_pair, let_go, one_member_a_turn, pairs, received

if TYPE_CHECKING:
    from trio.testing import MockClock


#: The task that watches writes stays once it is there, so that tasks can be counted.
STEADY = trio_ws.Timeouts(write_stall=math.inf)


@pytest.mark.parametrize("every_task", [False, True])
@pytest.mark.parametrize("turns", ["long", "short"])
async def test_a_message_goes_to_all_or_to_nobody(
    every_task: bool, turns: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if turns == "short":
        one_member_a_turn(monkeypatch)
    limits = HubLimits(pending_messages=2)
    async with Hub(limits=limits) as hub, pairs(3, timeouts=STEADY) as crowd:
        returned: list[str] = []
        sequence = iter(range(1_000_000))

        async def scenario() -> None:
            returned.clear()
            for _ in range(4):
                message = str(next(sequence))
                await hub.publish("room", message)
                returned.append(message)

        async def check(cancelled: bool) -> None:
            for pair in crowd:
                assert await received(pair.client) == returned

        async with hub.join(crowd[0].server, "room"), hub.join(crowd[1].server, "room"):
            async with hub.join(crowd[2].server, "room"):
                await hub.publish("room", "warm up")
                await trio.testing.wait_all_tasks_blocked()
                for pair in crowd:
                    await pair.client.receive()
                assert await cancel_sweep(scenario, check, every_task=every_task) >= 2


async def test_nor_does_one_that_waited_for_a_member(autojump_clock: MockClock) -> None:
    plug = "#" * 70_000
    messages = [plug, "a", "b", "c", "d"]
    for step in itertools.count():
        returned: list[str] = []
        scope = trio.CancelScope()
        async with (
            Hub(limits=HubLimits(backlog_messages=1)) as hub,
            gated_pair() as pair,
            open_pair() as (fast, server),
        ):

            async def publish(
                step: int = step,
                hub: Hub = hub,
                scope: trio.CancelScope = scope,
                returned: list[str] = returned,
            ) -> None:
                instrument = CancelAt(trio.lowlevel.current_task(), scope, step)
                trio.lowlevel.add_instrument(instrument)
                with scope:
                    for message in messages:
                        await hub.publish("room", message)
                        returned.append(message)
                        await trio.lowlevel.checkpoint()
                trio.lowlevel.remove_instrument(instrument)

            slow = slow_consumers.wait(60)
            async with hub.join(pair.server, "room", slow=slow), hub.join(server, "room"):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(publish)
                    await trio.testing.wait_all_tasks_blocked()
                    assert scope.cancelled_caught or len(returned) < len(messages)
                    let_go(pair)
                assert await received(fast) == await received(pair.client) == returned
        if not scope.cancelled_caught:
            assert returned == messages
            assert step >= 5
            return


@pytest.mark.parametrize("every_task", [False, True])
async def test_joining_and_leaving_leave_nothing_behind(every_task: bool) -> None:
    async with Hub(history=History()) as hub, pairs(2, timeouts=STEADY) as (one, two):
        await one.server.send("warm up")
        await two.client.send("warm up")
        await received(one.client)
        await received(two.server)
        tasks = living_tasks()
        await hub.publish("room", "kept")

        async def scenario() -> None:
            async with hub.presence("room") as watch, hub.subscribe("room") as channel:
                async with hub.join(one.server, "room", since=Position.OLDEST):
                    async with hub.join(two.client, "room", info={"name": "ann"}):
                        await watch.receive()
                        await hub.publish("room", "hello")
                        await channel.receive()

        async def check(cancelled: bool) -> None:
            assert hub.topics == ()
            assert hub._topics == {}
            assert await hub.members("room") == ()
            await received(one.client)
            await received(two.server)
            assert living_tasks() == tasks

        assert await cancel_sweep(scenario, check, every_task=every_task) >= 6


@pytest.mark.parametrize("every_task", [False, True])
async def test_a_hub_leaves_nothing_behind(every_task: bool, autojump_clock: MockClock) -> None:
    async def scenario() -> None:
        async with Hub(limits=HubLimits(max_backlog_bytes=100)) as hub, gated_pair() as pair:
            async with hub.join(pair.server, "room"), hub.join(pair.client, "room"):
                await hub.publish("room", "#" * 70_000)
                await trio.testing.wait_all_tasks_blocked()
                await hub.publish("room", "waits")
                await trio.testing.wait_all_tasks_blocked()
                # One is evicted, and its connection closed.
                await hub.publish("room", "x" * 200)
                await trio.testing.wait_all_tasks_blocked()

    async def check(cancelled: bool) -> None:
        pass

    assert await cancel_sweep(scenario, check, every_task=every_task) >= 5


async def test_a_handler_that_is_cancelled_leaves() -> None:
    async with Hub() as hub, trio.open_nursery() as nursery:

        async def handler(ws: trio_ws.WebSocket) -> None:
            async with hub.join(ws, "room"):
                await trio.sleep_forever()

        async with open_pair() as (_, server):
            nursery.start_soon(handler, server)
            await trio.testing.wait_all_tasks_blocked()
            assert hub.statistics().members == 1
            nursery.cancel_scope.cancel()
            await trio.testing.wait_all_tasks_blocked()
            assert hub.statistics().members == 0
