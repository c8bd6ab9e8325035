"""`Subscription`: a topic as a Trio channel."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

from trio_ws import Hub, HubLimits, slow_consumers

if TYPE_CHECKING:
    from trio.testing import MockClock


async def test_it_receives_what_is_published() -> None:
    async with Hub() as hub, hub.subscribe("room") as channel:
        await hub.publish("room", "text")
        await hub.publish("other", "elsewhere")
        await hub.publish("room", b"binary")
        assert await channel.receive() == "text"
        assert await channel.receive() == b"binary"
        assert channel.topic == "room"
        assert repr(channel) == "<Subscription to 'room'>"
        assert channel.position is None
        assert channel.recovered is None


async def test_it_waits_for_what_comes() -> None:
    async with Hub() as hub, hub.subscribe("room") as channel, trio.open_nursery() as nursery:
        messages: list[str | bytes] = []

        async def receive() -> None:
            messages.append(await channel.receive())

        nursery.start_soon(receive)
        nursery.start_soon(receive)
        await trio.testing.wait_all_tasks_blocked()
        await hub.publish("room", "a")
        await hub.publish("room", "b")
        await trio.testing.wait_all_tasks_blocked()
        assert sorted(map(str, messages)) == ["a", "b"]


async def test_iterating_ends_with_the_hub() -> None:
    messages = []
    async with trio.open_nursery() as nursery:
        async with Hub() as hub:

            async def listen() -> None:
                async with hub.subscribe("room") as channel:
                    async for message in channel:
                        messages.append(message)
                    with pytest.raises(trio.EndOfChannel):
                        await channel.receive()

            nursery.start_soon(listen)
            await trio.testing.wait_all_tasks_blocked()
            await hub.publish("room", "hello")
            await trio.testing.wait_all_tasks_blocked()
        assert messages == ["hello"]


async def test_it_is_subscribed_in_its_block_only() -> None:
    async with Hub() as hub:
        channel = hub.subscribe("room")
        with pytest.raises(RuntimeError, match=r"async with hub\.subscribe"):
            await channel.receive()
        async with channel:
            assert hub.statistics().topics == 1
        assert hub.statistics().topics == 0
        with pytest.raises(trio.ClosedResourceError):
            await channel.receive()
        with pytest.raises(RuntimeError, match="entered once"):
            await channel.__aenter__()


async def test_closing_it_unsubscribes_and_wakes_the_receiver() -> None:
    async with Hub() as hub, hub.subscribe("room") as channel, trio.open_nursery() as nursery:

        async def receive() -> None:
            with pytest.raises(trio.ClosedResourceError):
                await channel.receive()

        nursery.start_soon(receive)
        await trio.testing.wait_all_tasks_blocked()
        await channel.aclose()
        assert hub.topics == ()
        await channel.aclose()


async def test_one_that_was_closed_before_cannot_be_entered() -> None:
    async with Hub() as hub:
        channel = hub.subscribe("room")
        await channel.aclose()
        with pytest.raises(RuntimeError, match="entered once"):
            await channel.__aenter__()


async def test_who_does_not_receive_is_evicted(autojump_clock: MockClock) -> None:
    limits = HubLimits(backlog_messages=2)
    async with Hub(limits=limits) as hub, hub.subscribe("room") as channel:
        for _ in range(34):
            await hub.publish("room", "hello")
            await trio.sleep(1)
        assert hub.statistics().evicted == 1
        with pytest.raises(trio.BrokenResourceError, match="evicted from 'room'"):
            await channel.receive()


async def test_receiving_is_progress(autojump_clock: MockClock) -> None:
    limits = HubLimits(backlog_messages=2)
    async with Hub(limits=limits) as hub, hub.subscribe("room") as channel:
        for number in range(100):
            await hub.publish("room", str(number))
            await trio.sleep(1)
            if number % 20 == 0:
                assert await channel.receive() == str(number // 20)
        assert hub.statistics().evicted == 0


async def test_policies_apply() -> None:
    limits = HubLimits(backlog_messages=2)
    async with Hub(limits=limits) as hub:
        async with hub.subscribe("room", slow=slow_consumers.drop_oldest) as channel:
            for letter in "abcd":
                await hub.publish("room", letter)
            await trio.testing.wait_all_tasks_blocked()
            assert channel.dropped == 2
            assert [await channel.receive(), await channel.receive()] == ["c", "d"]


async def test_publishers_can_wait_for_it() -> None:
    limits = HubLimits(backlog_messages=2)
    async with Hub(limits=limits) as hub, trio.open_nursery() as nursery:
        async with hub.subscribe("room", slow=slow_consumers.wait(10)) as channel:

            async def publish() -> None:
                for number in range(100):
                    await hub.publish("room", str(number))
                    await trio.testing.wait_all_tasks_blocked()

            nursery.start_soon(publish)
            for number in range(100):
                await trio.testing.wait_all_tasks_blocked()
                assert await channel.receive() == str(number)


async def test_receiving_is_atomic_under_cancellation() -> None:
    async with Hub() as hub, hub.subscribe("room") as channel:
        await hub.publish("room", "hello")
        await trio.testing.wait_all_tasks_blocked()
        with trio.CancelScope() as scope:
            scope.cancel()
            await channel.receive()
        assert await channel.receive() == "hello"
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:

                @nursery.start_soon
                async def cancel() -> None:
                    await trio.testing.wait_all_tasks_blocked()
                    await hub.publish("room", "at the same time")
                    scope.cancel()

                await channel.receive()
        assert await channel.receive() == "at the same time"
