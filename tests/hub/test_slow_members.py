"""Members that do not keep up: policies, eviction, and that nobody else notices."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import trio
import trio.testing

import trio_ws
from trio_ws import Hub, HubLimits, slow_consumers
from trio_ws.testing import open_pair

from .crowd import gated_pair, let_go, received

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trio.testing import MockClock

    from trio_ws.instrumentation import MemberEvicted
    from trio_ws.testing import Pair

#: More than the outbox takes: it is over its high-water mark afterwards.
PLUG = "#" * 70_000
SMALL = HubLimits(backlog_messages=4, backlog_bytes=1_000, max_backlog_bytes=10_000)


async def plugged(hub: Hub, topic: str = "room") -> None:
    """Fill the outbox of slow members."""
    await hub.publish(topic, PLUG)
    await trio.testing.wait_all_tasks_blocked()


async def publish(hub: Hub, messages: Iterator[str] | list[str], topic: str = "room") -> None:
    for message in messages:
        await hub.publish(topic, message)
    await trio.testing.wait_all_tasks_blocked()


async def after_plug(pair: Pair) -> list[str | bytes]:
    """What the client receives when it reads again."""
    let_go(pair)
    messages = await received(pair.client)
    assert messages[0] == PLUG
    return messages[1:]


async def test_what_a_member_has_no_room_for_comes_later_and_in_order() -> None:
    async with Hub() as hub, gated_pair() as pair, open_pair() as (fast, fast_server):
        async with hub.join(pair.server, "room"), hub.join(fast_server, "room"):
            await plugged(hub)
            numbers = [str(number) for number in range(200)]
            await publish(hub, numbers)
            assert await received(fast) == [PLUG, *numbers]
            assert hub.topic_statistics("room").delivered == 202
            assert await after_plug(pair) == numbers
            assert hub.topic_statistics("room").delivered == 402
            await hub.publish("room", "and goes on")
            assert await received(pair.client) == ["and goes on"]


async def test_what_waits_goes_out_in_runs() -> None:
    async with Hub() as hub, gated_pair() as pair, hub.join(pair.server, "room"):
        await plugged(hub)
        large = [letter * 40_000 for letter in "abcde"]
        await publish(hub, large)
        assert await after_plug(pair) == large


async def test_a_compressed_connection_is_kept_in_order_as_well() -> None:
    compression = trio_ws.Compression()
    async with Hub() as hub, gated_pair(compression=compression) as pair:
        async with hub.join(pair.server, "room"):
            # Random enough not to vanish.
            plug = "".join(map(str, range(40_000)))
            await hub.publish("room", plug)
            messages = [f"{number} " * 300 for number in range(20)]
            await publish(hub, messages)
            let_go(pair)
            assert await received(pair.client) == [plug, *messages]
            await pair.server.send("x" * 1000)
            assert await received(pair.client) == ["x" * 1000]


async def test_leaving_drops_what_waits() -> None:
    async with Hub() as hub, gated_pair() as pair:
        async with hub.join(pair.server, "room"):
            await plugged(hub)
            await publish(hub, ["waits"])
        assert await after_plug(pair) == []
        async with hub.join(pair.server, "room"):
            await hub.publish("room", "again")
            assert await received(pair.client) == ["again"]


async def test_a_connection_that_ends_meanwhile_has_left() -> None:
    async with Hub() as hub, gated_pair() as pair:
        async with hub.join(pair.server, "room") as membership:
            await plugged(hub)
            await publish(hub, ["waits"])
            pair.server.abort()
            assert membership.has_left
            assert not membership.evicted
            await trio.testing.wait_all_tasks_blocked()


# Policies


async def test_the_oldest_make_room() -> None:
    async with Hub(limits=SMALL) as hub, gated_pair() as pair:
        slow = slow_consumers.drop_oldest
        async with hub.join(pair.server, "room", slow=slow) as membership:
            await plugged(hub)
            await publish(hub, list("abcdefgh"))
            assert membership.dropped == hub.topic_statistics("room").dropped == 4
            assert await after_plug(pair) == list("efgh")


async def test_the_newest_are_dropped() -> None:
    async with Hub(limits=SMALL) as hub, gated_pair() as pair:
        slow = slow_consumers.drop_newest
        async with hub.join(pair.server, "room", slow=slow) as membership:
            await plugged(hub)
            await publish(hub, list("abcdefgh"))
            assert membership.dropped == 4
            assert await after_plug(pair) == list("abcd")
            await publish(hub, ["i"])
            assert await received(pair.client) == ["i"]


def symbol_of(message: str | bytes) -> str | None:
    symbol, _, price = str(message).partition("=")
    return symbol if price else None


async def test_the_newest_of_each_key_is_kept() -> None:
    async with Hub(limits=SMALL) as hub, gated_pair() as pair:
        slow = slow_consumers.conflate(symbol_of)
        async with hub.join(pair.server, "room", slow=slow) as membership:
            await plugged(hub)
            prices = ["A=1", "B=1", "hello", "A=2", "C=1", "B=2", "hello", "A=3"]
            await publish(hub, prices)
            assert membership.dropped == 3
            assert await after_plug(pair) == ["A=3", "B=2", "hello", "C=1", "hello"]


async def test_a_policy_that_raises_evicts(caplog: pytest.LogCaptureFixture) -> None:
    def fail(message: str | bytes) -> str:
        raise ZeroDivisionError(message)

    async with Hub() as hub, gated_pair() as pair, open_pair() as (other, other_server):
        slow = slow_consumers.conflate(fail)
        async with hub.join(pair.server, "room", slow=slow) as membership:
            async with hub.join(other_server, "room"):
                await plugged(hub)
                await publish(hub, ["hello"])
                assert membership.evicted
                assert "ZeroDivisionError" in caplog.text
                assert await received(other) == [PLUG, "hello"]


async def test_publishers_wait_for_it(autojump_clock: MockClock) -> None:
    async with Hub(limits=SMALL) as hub, gated_pair() as pair, open_pair() as (fast, fast_server):
        slow = slow_consumers.wait(5)
        async with hub.join(pair.server, "room", slow=slow), hub.join(fast_server, "room"):
            await plugged(hub)
            await publish(hub, list("abcde"))
            with pytest.raises(trio.WouldBlock):
                hub.publish_nowait("room", "f")
            with trio.move_on_after(4) as scope:
                await hub.publish("room", "never sent")
            assert scope.cancelled_caught
            let_go(pair)
            await hub.publish("room", "f")
            for client in (pair.client, fast):
                assert await received(client) == [PLUG, *"abcdef"]


async def test_but_not_for_ever(autojump_clock: MockClock) -> None:
    async with Hub(limits=SMALL) as hub, gated_pair() as pair, open_pair() as (fast, fast_server):
        slow = slow_consumers.wait(5)
        async with hub.join(pair.server, "room", slow=slow) as membership:
            async with hub.join(fast_server, "room"):
                await plugged(hub)
                await publish(hub, list("abcde"))
                since = trio.current_time()
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(hub.publish, "room", "f")
                    nursery.start_soon(hub.publish, "room", "g")
                assert trio.current_time() - since == pytest.approx(5)
                assert membership.evicted
                # Who waited goes on in no particular order.
                plug, *letters = await received(fast)
                assert (plug, sorted(map(str, letters))) == (PLUG, list("abcdefg"))


async def test_each_is_waited_for_as_long_as_it_says(autojump_clock: MockClock) -> None:
    timeouts = trio_ws.Timeouts(write_stall=1000)
    async with (
        Hub(limits=SMALL, hooks=()) as hub,
        gated_pair(timeouts=timeouts) as one,
        gated_pair(timeouts=timeouts) as two,
        hub.join(one.server, "room", slow=slow_consumers.wait(5)) as short,
        hub.join(two.server, "room", slow=slow_consumers.wait(20)) as long,
    ):
        await plugged(hub)
        await publish(hub, list("abcde"))
        with trio.move_on_after(10):
            await hub.publish("room", "never sent")
        assert (short.evicted, long.evicted) == (True, False)
        since = trio.current_time()
        await hub.publish("room", "f")
        assert trio.current_time() - since == pytest.approx(10)
        assert hub.statistics().evicted == 2


async def test_who_waits_already_is_told_that_there_is_somebody_to_wait_for(
    autojump_clock: MockClock,
) -> None:
    """Or it would not know for how long, and nobody would evict the member."""
    async with Hub(limits=SMALL) as hub, gated_pair() as pair:
        async with hub.join(pair.server, "room", slow=slow_consumers.wait(5)):
            await plugged(hub)
            with trio.fail_after(1):
                async with trio.open_nursery() as nursery:
                    # As for a message that is pending, and will bring the member over its bound.
                    nursery.start_soon(hub._topics["room"].wait_room)
                    await trio.testing.wait_all_tasks_blocked()
                    for letter in "abcde":
                        hub.publish_nowait("room", letter)


async def test_a_member_that_is_waited_for_may_leave(autojump_clock: MockClock) -> None:
    async with Hub(limits=SMALL) as hub, gated_pair() as pair:
        slow = slow_consumers.wait(5)
        async with hub.join(pair.server, "room", slow=slow) as membership:
            await plugged(hub)
            await publish(hub, list("abcde"))
            async with trio.open_nursery() as nursery:
                nursery.start_soon(hub.publish, "room", "f")
                await trio.testing.wait_all_tasks_blocked(0.01)
                assert nursery.child_tasks
                membership.leave()


@pytest.mark.parametrize("seconds", [0, -1, float("inf"), float("nan")])
def test_waiting_takes_a_number_of_seconds(seconds: float) -> None:
    with pytest.raises(ValueError, match=r"wait\(\) takes a positive number of seconds"):
        slow_consumers.wait(seconds)


# Eviction


class Evictions:
    """A hook that remembers them."""

    def __init__(self) -> None:
        self.records: list[MemberEvicted] = []

    def __call__(self, record: Any, /) -> None:
        self.records.append(record)


async def test_too_many_bytes_evict_at_once() -> None:
    hook = Evictions()
    async with Hub(limits=SMALL, hooks=[hook]) as hub, gated_pair() as pair:
        async with hub.join(pair.server, "room") as membership, hub.join(pair.server, "other"):
            await plugged(hub)
            await publish(hub, ["x" * 1000] * 10)
            assert hub.statistics().evicted == 0
            await publish(hub, ["x" * 1000])
            assert membership.evicted
            assert membership.has_left
            # Its connection is closed, so it is nowhere any more.
            assert hub.topics == ()
            assert hub.statistics().evicted == 1
            [record] = hook.records
            assert (record.topic, record.id) == ("room", pair.server.id)
            assert record.reason == "over 10000 bytes waited"
            with pytest.raises(trio_ws.ConnectionClosedError) as failure:
                await pair.server.receive()
            assert (failure.value.reason.code, failure.value.reason.reason) == (1013, "too slow")
            let_go(pair)
            assert await received(pair.client) == [PLUG]
            with pytest.raises(trio_ws.ConnectionClosedError) as failure:
                await pair.client.receive()
            assert failure.value.reason.code == 1013


SLOW = trio_ws.Timeouts(write_stall=1000)


@pytest.mark.parametrize(
    "slow",
    [slow_consumers.disconnect, slow_consumers.drop_oldest, slow_consumers.drop_newest],
)
async def test_no_progress_for_long_enough_evicts(
    autojump_clock: MockClock, slow: slow_consumers.SlowConsumerPolicy
) -> None:
    hook = Evictions()
    async with Hub(limits=SMALL, hooks=[hook]) as hub, gated_pair(timeouts=SLOW) as pair:
        async with hub.join(pair.server, "room", slow=slow) as membership:
            await plugged(hub)
            await publish(hub, list("abcdef"))
            for _ in range(29):
                await trio.sleep(1)
                await publish(hub, ["x"])
            assert hub.statistics().evicted == 0
            await trio.sleep(1)
            await publish(hub, ["x"])
            # A first look, which may be that of a process that stood still, and a second.
            assert hub.statistics().evicted == 0
            await trio.sleep(1)
            await publish(hub, ["x"])
            assert membership.evicted
            assert hook.records[0].reason.startswith("nothing was taken for 3")


async def test_below_its_bounds_a_member_may_take_its_time(autojump_clock: MockClock) -> None:
    async with Hub(limits=SMALL) as hub, gated_pair(timeouts=SLOW) as pair:
        async with hub.join(pair.server, "room") as membership:
            await plugged(hub)
            for _ in range(4):
                await trio.sleep(40)
                await publish(hub, ["x"])
            assert not membership.evicted
            assert await after_plug(pair) == ["x"] * 4


async def test_a_slow_reader_that_moves_survives(autojump_clock: MockClock) -> None:
    limits = HubLimits(backlog_messages=4, max_backlog_bytes=10_000_000)
    async with Hub(limits=limits) as hub, open_pair(timeouts=SLOW) as (client, server):
        sent = 0
        async with hub.join(server, "room") as membership:
            # The server's writes go on a slice at a time.
            stream: Any = server
            pipe = stream._transport._stream
            real = pipe.send_all

            async def slowly(data: bytes) -> None:
                await trio.sleep(20)
                await real(data)

            pipe.send_all = slowly
            for _ in range(20):
                await hub.publish("room", "x" * 50_000)
                sent += 1
                await trio.sleep(10)
            assert not membership.evicted
            assert not membership.has_left
            count = 0
            while count < sent:
                await client.receive()
                count += 1
            assert membership.dropped == 0


async def test_a_process_that_stood_still_evicts_nobody(mock_clock: MockClock) -> None:
    async with Hub(limits=SMALL) as hub, gated_pair(timeouts=SLOW) as pair:
        async with hub.join(pair.server, "room") as membership:
            await plugged(hub)
            await publish(hub, list("abcdef"))
            let_go(pair)
            # Nothing could be written, because nothing ran.
            mock_clock.jump(100)
            for letter in "gh":
                hub.publish_nowait("room", letter)
                hub._fan_out.give()
            assert await after_plug(pair) == list("abcdefgh")
            mock_clock.jump(100)
            await publish(hub, ["i"])
            assert not membership.evicted


async def test_a_stalled_member_costs_the_others_no_wait(autojump_clock: MockClock) -> None:
    async with Hub() as hub, gated_pair() as pair, open_pair() as (fast, fast_server):
        async with hub.join(pair.server, "room"), hub.join(fast_server, "room"):
            await plugged(hub)
            since = trio.current_time()
            await publish(hub, list("abc"))
            assert await received(fast) == [PLUG, *"abc"]
            assert trio.current_time() == since
