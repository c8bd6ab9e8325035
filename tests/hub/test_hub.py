"""`Hub`: topics, joining and publishing."""

from __future__ import annotations

import logging
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

import pytest
import trio
import trio.testing

import trio_ws
from trio_ws import Hub, HubLimits
from trio_ws.testing import open_pair

from .crowd import gated_pair, let_go, one_member_a_turn, pairs, received

if TYPE_CHECKING:
    from trio.testing import MockClock


# Publishing


async def test_every_member_gets_what_is_published() -> None:
    async with Hub() as hub, pairs(3) as (one, two, other):
        async with hub.join(one.server, "room"), hub.join(two.server, "room"):
            async with hub.join(other.server, "other"):
                await hub.publish("room", "hello")
                await hub.publish("room", b"\x00\xff")
                for pair in (one, two):
                    assert await received(pair.client) == ["hello", b"\x00\xff"]
                assert await received(other.client) == []


async def test_what_is_bytes_like_goes_as_binary_as_it_was() -> None:
    async with Hub() as hub, open_pair() as (client, server):
        async with hub.join(server, "room"):
            message = bytearray(b"abc")
            await hub.publish("room", message)
            message[0] = 0
            await hub.publish("room", memoryview(b"def"))
            assert await received(client) == [b"abc", b"def"]


async def test_nobody_there_is_fine() -> None:
    async with Hub() as hub:
        await hub.publish("room", "hello")
        hub.publish_nowait("room", "hello")
        assert hub.topics == ()


async def test_the_sender_can_be_left_out() -> None:
    async with Hub() as hub, pairs(3) as (one, two, three):
        async with hub.join(one.server, "room"), hub.join(two.server, "room"):
            async with hub.join(three.server, "room"):
                await hub.publish("room", "a", exclude=one.server)
                hub.publish_nowait("room", "b", exclude=[one.server, two.server])
                await hub.publish("room", "c")
                assert await received(one.client) == ["c"]
                assert await received(two.client) == ["a", "c"]
                assert await received(three.client) == ["a", "b", "c"]


async def test_all_members_see_one_order_whoever_publishes() -> None:
    async with Hub() as hub, pairs(3) as crowd:
        async with hub.join(crowd[0].server, "room"), hub.join(crowd[1].server, "room"):
            async with hub.join(crowd[2].server, "room"):

                async def publish(name: str) -> None:
                    for number in range(10):
                        await hub.publish("room", f"{name}{number}")
                        await trio.lowlevel.checkpoint()

                async with trio.open_nursery() as nursery:
                    for name in "abc":
                        nursery.start_soon(publish, name)
                first, *others = [await received(pair.client) for pair in crowd]
                assert len(first) == 30
                assert others == [first, first]


async def test_what_a_member_sends_itself_goes_in_between() -> None:
    async with Hub() as hub, open_pair() as (client, server):
        async with hub.join(server, "room"):
            await hub.publish("room", "first")
            await trio.testing.wait_all_tasks_blocked()
            await server.send("second")
            await hub.publish("room", "third")
            assert await received(client) == ["first", "second", "third"]


async def test_messages_are_sent_together_where_they_pile_up() -> None:
    records: list[trio_ws.instrumentation.Record] = []

    class Traffic:
        traffic = True

        def __call__(self, record: trio_ws.instrumentation.Record, /) -> None:
            if isinstance(record, trio_ws.instrumentation.Sent):
                records.append(record)

    async with Hub() as hub, open_pair(hooks=[Traffic()]) as (client, server):
        async with hub.join(server, "room"):
            for number in range(10):
                hub.publish_nowait("room", str(number))
            assert await received(client) == [str(number) for number in range(10)]
            [sent] = records
            assert isinstance(sent, trio_ws.instrumentation.Sent)
            assert (sent.messages, sent.bytes) == (10, 30)
            assert server.statistics().messages_sent == 10


@pytest.mark.parametrize("message", [7, None, ["a"]])
async def test_what_is_no_message_is_refused(message: Any) -> None:
    async with Hub() as hub:
        with pytest.raises(TypeError, match="a message is str or bytes-like"):
            await hub.publish("room", message)
        with pytest.raises(TypeError, match="a message is str or bytes-like"):
            hub.publish_nowait("room", message)


async def test_a_lone_surrogate_is_refused() -> None:
    async with Hub() as hub:
        with pytest.raises(UnicodeEncodeError):
            await hub.publish("room", "\ud800")


async def test_publishing_waits_while_this_process_is_behind() -> None:
    limits = HubLimits(pending_messages=4)
    async with Hub(limits=limits) as hub, open_pair() as (client, server):
        async with hub.join(server, "room"):
            for number in range(4):
                hub.publish_nowait("room", str(number))
            with pytest.raises(trio.WouldBlock):
                hub.publish_nowait("room", "too much")
            hub.publish_nowait("another", "has room")
            await hub.publish("room", "waited for")
            assert await received(client) == ["0", "1", "2", "3", "waited for"]


async def test_publishing_waits_for_bytes_as_well() -> None:
    async with Hub(limits=HubLimits(pending_bytes=100)) as hub, open_pair() as (client, server):
        async with hub.join(server, "room"):
            hub.publish_nowait("room", "x" * 100)
            with pytest.raises(trio.WouldBlock):
                hub.publish_nowait("room", "y")
            await hub.publish("room", "y")
            assert await received(client) == ["x" * 100, "y"]


async def test_a_waiting_publisher_goes_on_when_everybody_has_left() -> None:
    async with Hub(limits=HubLimits(pending_messages=1)) as hub, open_pair() as (_, server):
        async with hub.join(server, "room") as membership:
            hub.publish_nowait("room", "first")
            membership.leave()
            await hub.publish("room", "nobody hears it")


async def test_publishing_checks_for_cancellation_and_yields() -> None:
    async with Hub() as hub, open_pair() as (_, server):
        async with hub.join(server, "room"):
            await hub.publish("room", "first")
            with trio.CancelScope() as scope:
                scope.cancel()
                await hub.publish("room", "second")
            assert scope.cancelled_caught
            ran = False

            async def run() -> None:
                nonlocal ran
                ran = True

            async with trio.open_nursery() as nursery:
                nursery.start_soon(run)
                # Twice as many as go without a turn for others, of whom one may come first.
                for _ in range(200):
                    await hub.publish("nobody", "there")
                assert ran


async def test_large_rooms_do_not_starve_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fan-out that takes longer than its turn goes on in the next one."""
    one_member_a_turn(monkeypatch)
    async with Hub() as hub, AsyncExitStack() as stack:
        channels = [await stack.enter_async_context(hub.subscribe("room")) for _ in range(20)]
        hub.publish_nowait("room", "hello")
        # In each turn of others, it had at most one.
        for turn in range(10):
            waiting = sum(channel._entered().member._backlog is not None for channel in channels)
            assert waiting <= turn + 1
            await trio.lowlevel.checkpoint()
        for channel in channels:
            assert await channel.receive() == "hello"


async def test_whose_connection_ends_in_the_midst_of_a_fan_out_is_passed_over() -> None:
    async with Hub() as hub, pairs(3) as (one, two, three):
        async with hub.join(one.server, "room"), hub.join(two.server, "room"):
            hub.publish_nowait("room", "hello")
            # To one member.
            hub._fan_out.give(0)
            two.server.abort()
            async with hub.join(three.server, "room"):
                await hub.publish("room", "again")
                assert await received(one.client) == ["hello", "again"]
                assert await received(three.client) == ["again"]
            assert hub.topic_statistics("room").delivered == 3


async def test_topics_have_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    one_member_a_turn(monkeypatch)
    async with Hub() as hub, pairs(4) as crowd:
        async with hub.join(crowd[0].server, "a"), hub.join(crowd[1].server, "a"):
            async with hub.join(crowd[2].server, "b"), hub.join(crowd[3].server, "b"):
                hub.publish_nowait("a", "a")
                hub.publish_nowait("b", "b")
                messages = [await received(pair.client) for pair in crowd]
                assert messages == [["a"], ["a"], ["b"], ["b"]]


# Compression


async def test_members_with_different_settings_get_the_same() -> None:
    text, own = "the quick brown fox " * 200, "jumps over the lazy dog " * 100
    compression = trio_ws.Compression()
    async with Hub() as hub, open_pair(compression=compression) as squeezed, open_pair() as plain:
        async with hub.join(squeezed.server, "room"), hub.join(plain.server, "room"):
            for _ in range(3):
                await hub.publish("room", text)
                await trio.testing.wait_all_tasks_blocked()
                await squeezed.server.send(own)
            assert await received(squeezed.client) == [text, own] * 3
            assert await received(plain.client) == [text] * 3
            assert squeezed.client.statistics().bytes_received < len(text)


# Joining and leaving


async def test_a_member_leaves_at_the_end_of_its_block() -> None:
    async with Hub() as hub, open_pair() as (client, server):
        async with hub.join(server, "room") as membership:
            assert membership.topic == "room"
            assert membership.ws is server
            assert hub.topics == ("room",)
        assert membership.has_left
        assert hub.statistics().topics == 0
        await hub.publish("room", "hello")
        assert await received(client) == []


async def test_what_was_published_before_it_left_is_for_it() -> None:
    async with Hub() as hub, pairs(2) as (one, two):
        async with hub.join(one.server, "room"):
            async with hub.join(two.server, "room"):
                # All without a turn of the scheduler in between.
                await hub.publish("room", "good")
                await hub.publish("room", "bye", exclude=one.server)
            await hub.publish("room", "it is gone")
        assert await received(one.client) == ["good", "it is gone"]
        assert await received(two.client) == ["good", "bye"]


async def test_and_that_only_once() -> None:
    async with Hub() as hub, pairs(3) as (one, two, three):
        async with hub.join(three.server, "room"), hub.join(two.server, "room") as second:
            async with hub.join(one.server, "room"):
                hub.publish_nowait("room", "a")
                # To one of them, and then to the next.
                hub._fan_out.give(0)
                hub._fan_out.give(0)
                hub.publish_nowait("room", "b")
                second.leave()
                second.leave()
            hub.publish_nowait("room", "c")
        assert await received(one.client) == ["a", "b"]
        assert await received(two.client) == ["a", "b"]
        assert await received(three.client) == ["a", "b", "c"]


async def test_it_leaves_when_its_block_raises() -> None:
    async with Hub() as hub, open_pair() as (_, server):
        with pytest.raises(KeyError):
            async with hub.join(server, "room"):
                raise KeyError
        assert hub.topics == ()


@pytest.mark.parametrize("end", ["peer closes", "closed here", "aborted", "cut"])
async def test_it_leaves_when_its_connection_ends(end: str) -> None:
    async with Hub() as hub, open_pair() as (client, server):
        async with hub.join(server, "room") as membership, hub.join(server, "other"):
            if end == "peer closes":
                await client.aclose()
            elif end == "closed here":
                await server.aclose()
            elif end == "aborted":
                server.abort()
            else:
                client.abort()
            await server.wait_closed()
            assert membership.has_left
            assert not membership.evicted
            assert hub.topics == ()
            assert hub.statistics().members == 0
            await hub.publish("room", "hello")


async def test_who_has_ended_already_is_a_member_of_nothing() -> None:
    async with Hub() as hub, open_pair() as (client, server):
        await client.aclose()
        await server.wait_closed()
        async with hub.join(server, "room") as membership:
            assert membership.has_left
            assert hub.topics == ()
            with pytest.raises(trio_ws.ConnectionClosedOK):
                await server.receive()


async def test_what_was_published_before_is_not_for_who_joins() -> None:
    async with Hub() as hub, pairs(2) as (one, two):
        async with hub.join(one.server, "room"):
            hub.publish_nowait("room", "before")
            async with hub.join(two.server, "room"):
                hub.publish_nowait("room", "after")
                assert await received(one.client) == ["before", "after"]
                assert await received(two.client) == ["after"]


async def test_not_even_where_it_is_given_only_later() -> None:
    async with Hub() as hub, pairs(3) as (one, two, three):
        async with hub.join(one.server, "room"), hub.join(two.server, "room"):
            hub.publish_nowait("room", "given to one now, to the other later")
            hub._fan_out.give(0)
            # In between, another message comes, and then a member.
            hub.publish_nowait("room", "before")
            async with hub.join(three.server, "room"):
                hub.publish_nowait("room", "after")
                assert await received(three.client) == ["after"]


async def test_one_connection_may_be_in_many_topics_but_once_in_each() -> None:
    async with Hub() as hub, open_pair() as (client, server):
        async with hub.join(server, "room"), hub.join(server, "other"):
            with pytest.raises(ValueError, match=f"{server.id} is a member of 'room' already"):
                async with hub.join(server, "room"):
                    raise AssertionError("unreachable")
            await hub.publish("room", "a")
            await hub.publish("other", "b")
            assert await received(client) == ["a", "b"]
        async with hub.join(server, "room"):
            await hub.publish("room", "again")
            assert await received(client) == ["again"]


async def test_a_membership_is_entered_once_and_used_inside() -> None:
    async with Hub() as hub, open_pair() as (_, server):
        membership = hub.join(server, "room")
        assert repr(membership) == f"<Membership of {server.id} in 'room': not entered>"
        with pytest.raises(RuntimeError, match="async with hub"):
            membership.leave()
        assert not membership.has_left
        async with membership:
            assert repr(membership) == f"<Membership of {server.id} in 'room': in>"
            assert membership.position is None
            assert membership.recovered is None
            assert membership.dropped == 0
        assert repr(membership) == f"<Membership of {server.id} in 'room': left>"
        with pytest.raises(RuntimeError, match="entered once"):
            await membership.__aenter__()


# The hub's own block


async def test_a_hub_is_used_in_its_block() -> None:
    hub = Hub()
    assert repr(hub) == "<Hub: 0 topics, not entered>"
    assert not hub.statistics().connected
    with pytest.raises(RuntimeError, match="async with Hub"):
        await hub.publish("room", "hello")
    async with hub:
        assert repr(hub) == "<Hub: 0 topics, open>"
        assert hub.connected
        with pytest.raises(RuntimeError, match="entered once"):
            await hub.__aenter__()
    assert repr(hub) == "<Hub: 0 topics, closed>"
    assert not hub.statistics().connected
    assert hub.statistics().members == 0


async def test_everything_fails_once_its_block_is_left() -> None:
    async with open_pair() as (_, server):
        async with Hub() as hub:
            pass
        for call in (
            lambda: hub.publish("room", "hello"),
            lambda: hub.members("room"),
            lambda: hub.join(server, "room").__aenter__(),
            lambda: hub.subscribe("room").__aenter__(),
            lambda: hub.presence("room").__aenter__(),
        ):
            with pytest.raises(trio.ClosedResourceError, match="the hub is closed"):
                await call()
        with pytest.raises(trio.ClosedResourceError):
            hub.publish_nowait("room", "hello")
        assert server.close_reason is None


async def test_its_end_ends_memberships_but_no_connection() -> None:
    async with pairs(2) as (one, two), trio.open_nursery() as nursery:
        memberships: list[trio_ws.Membership] = []
        async with Hub() as hub:

            async def stay(ws: trio_ws.WebSocket) -> None:
                async with hub.join(ws, "room") as membership:
                    memberships.append(membership)
                    await trio.sleep_forever()

            nursery.start_soon(stay, one.server)
            nursery.start_soon(stay, two.server)
            await trio.testing.wait_all_tasks_blocked()
            hub.publish_nowait("room", "the last word")
        assert [membership.has_left for membership in memberships] == [True, True]
        for pair in (one, two):
            assert await received(pair.client) == ["the last word"]
            await pair.server.send("still open")
            assert await pair.client.receive() == "still open"
        nursery.cancel_scope.cancel()


async def test_its_end_wakes_who_waits_to_publish() -> None:
    async with gated_pair() as pair, trio.open_nursery() as nursery:
        failed = trio.Event()
        slow = trio_ws.slow_consumers.wait(60)
        limits = HubLimits(backlog_messages=1)
        async with Hub(limits=limits) as hub, hub.join(pair.server, "room", slow=slow):

            async def publish() -> None:
                with pytest.raises(trio.ClosedResourceError):
                    while True:
                        await hub.publish("room", "x" * 70_000)
                failed.set()

            nursery.start_soon(publish)
            await trio.testing.wait_all_tasks_blocked()
            assert not failed.is_set()
        await failed.wait()


async def test_its_end_drops_what_waits_for_slow_members(autojump_clock: MockClock) -> None:
    async with gated_pair() as pair:
        async with Hub() as hub, hub.join(pair.server, "room"):
            for _ in range(10):
                await hub.publish("room", "x" * 70_000)
        let_go(pair)
        assert len(await received(pair.client)) < 10


async def test_an_exception_in_its_block_leaves_as_itself() -> None:
    with pytest.raises(KeyError):
        async with Hub():
            raise KeyError


# Statistics


async def test_what_happened_is_counted() -> None:
    async with Hub() as hub, pairs(2) as (one, two):
        async with hub.join(one.server, "room"), hub.subscribe("room") as channel:
            async with hub.join(two.server, "other"):
                for _ in range(3):
                    await hub.publish("room", "hello")
                await hub.publish("other", "hello")
                assert await channel.receive() == "hello"
                await trio.testing.wait_all_tasks_blocked()
                room = hub.topic_statistics("room")
                assert (room.members, room.published, room.delivered) == (2, 3, 4)
                assert (room.dropped, room.evicted) == (0, 0)
                total = hub.statistics()
                assert (total.topics, total.members, total.published) == (2, 3, 4)
                assert (total.delivered, total.dropped, total.evicted) == (5, 0, 0)
                assert (total.connected, total.missed, total.not_sent) == (True, 0, 0)
        assert hub.topic_statistics("room").published == 0
        after = hub.statistics()
        assert (after.topics, after.members) == (0, 0)
        assert (after.published, after.delivered) == (4, 5)


# What goes wrong


async def test_one_member_that_fails_is_not_the_others_concern(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with Hub() as hub, pairs(2) as (one, two):
        async with hub.join(one.server, "room") as membership, hub.join(two.server, "room"):

            def fail(prepared: object) -> bool:
                raise OSError("of another kind")

            put = type(one.server).put_prepared  # type: ignore[attr-defined]
            monkeypatch.setattr(
                "trio_ws._connection.Connection.put_prepared",
                lambda self, run: fail(run) if self is one.server else put(self, run),
            )
            with caplog.at_level(logging.ERROR):
                await hub.publish("room", "hello")
                assert await received(two.client) == ["hello"]
            assert membership.evicted
            assert "of another kind" in caplog.text
            with pytest.raises(trio_ws.ConnectionClosedError) as failure:
                await one.client.receive()
            assert failure.value.reason.code == 1011
