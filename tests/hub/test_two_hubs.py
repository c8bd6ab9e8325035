"""Two hubs on one backplane: as if they were two processes."""

from __future__ import annotations

import logging
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

from trio_ws import History, Hub, HubLimits, Position, slow_consumers
from trio_ws.backplane import Envelope, Gap, MemoryBackplane, Presence, PresenceChange
from trio_ws.instrumentation import BackplaneChanged, MessagesMissed, Record
from trio_ws.testing import open_pair

from .crowd import gated_pair, pairs, received

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator


@asynccontextmanager
async def two_hubs(
    limits: HubLimits | None = None, history: History | None = None
) -> AsyncGenerator[tuple[Hub, Hub]]:
    backplane = MemoryBackplane()
    limits = limits or HubLimits()
    async with Hub(backplane=backplane, limits=limits, history=history) as here:
        async with Hub(backplane=backplane, limits=limits, history=history) as there:
            yield here, there


async def test_members_of_both_get_what_either_publishes() -> None:
    async with two_hubs() as (here, there), pairs(2) as (one, two):
        async with here.join(one.server, "room"), there.join(two.server, "room"):
            await here.publish("room", "a")
            await there.publish("room", "b")
            assert await received(one.client) == await received(two.client) == ["a", "b"]
            assert here.topic_statistics("room").published == 2


async def test_all_see_one_order() -> None:
    async with two_hubs() as (here, there), pairs(2) as (one, two):
        async with here.join(one.server, "room"), there.join(two.server, "room"):

            async def publish(hub: Hub, name: str) -> None:
                for number in range(20):
                    await hub.publish("room", f"{name}{number}")
                    await trio.lowlevel.checkpoint()

            async with trio.open_nursery() as nursery:
                nursery.start_soon(publish, here, "a")
                nursery.start_soon(publish, there, "b")
            messages = await received(one.client)
            assert len(messages) == 40
            assert await received(two.client) == messages


async def test_who_is_excluded_is_so_in_its_own_process_only() -> None:
    """A connection's name means nothing elsewhere, where another may have the same."""
    async with two_hubs() as (here, there), pairs(2) as (one, two):
        two.server._id = one.server.id  # type: ignore[attr-defined]
        async with here.join(one.server, "room"), there.join(two.server, "room"):
            await here.publish("room", "hello", exclude=one.server)
            assert await received(one.client) == []
            assert await received(two.client) == ["hello"]


async def test_who_comes_back_to_another_process_catches_up() -> None:
    async with two_hubs(history=History()) as (here, there), pairs(2) as (one, two):
        async with here.join(one.server, "room") as first:
            pass
        await here.publish("room", "a")
        await there.publish("room", "b")
        async with there.join(two.server, "room", since=first.position) as second:
            assert second.recovered
            await here.publish("room", "c")
            assert await received(two.client) == ["a", "b", "c"]


async def test_presence_spans_both() -> None:
    async with two_hubs() as (here, there), pairs(2) as (one, two):
        async with here.presence("room") as watch:
            async with there.join(one.server, "room", info={"name": "ann"}):
                async with here.join(two.server, "room", info={"name": "bob"}):
                    for hub in (here, there):
                        members = await hub.members("room")
                        assert [member.info["name"] for member in members] == ["ann", "bob"]
            told = [(await watch.receive()).joined for _ in range(4)]
            assert told == [True, True, False, False]


async def test_a_process_that_ends_takes_its_members_along() -> None:
    backplane = MemoryBackplane()
    async with Hub(backplane=backplane) as here, here.presence("room") as watch:
        async with open_pair() as (_, server), trio.open_nursery() as nursery:
            async with Hub(backplane=backplane) as there:

                async def stay() -> None:
                    async with there.join(server, "room", info={"name": "ann"}):
                        await trio.sleep_forever()

                nursery.start_soon(stay)
                assert (await watch.receive()).joined
            assert not (await watch.receive()).joined
            assert await here.members("room") == ()
            nursery.cancel_scope.cancel()


async def test_a_process_that_is_behind_holds_up_publishers_of_the_other() -> None:
    async with two_hubs(HubLimits(pending_messages=2)) as (here, there), open_pair() as pair:
        async with there.join(pair.server, "room"):
            here.publish_nowait("room", "a")
            here.publish_nowait("room", "b")
            with pytest.raises(trio.WouldBlock):
                here.publish_nowait("room", "c")
            await here.publish("room", "c")
            assert await received(pair.client) == ["a", "b", "c"]


async def test_so_does_a_member_that_is_waited_for() -> None:
    async with two_hubs(HubLimits(backlog_messages=1)) as (here, there), gated_pair() as pair:
        slow = slow_consumers.wait(1000)
        async with there.join(pair.server, "room", slow=slow) as membership:
            await here.publish("room", "#" * 70_000)
            await trio.testing.wait_all_tasks_blocked()
            await here.publish("room", "a")
            await here.publish("room", "b")
            await trio.testing.wait_all_tasks_blocked()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(here.publish, "room", "c")
                await trio.testing.wait_all_tasks_blocked()
                assert nursery.child_tasks
                membership.leave()


# What a backplane may tell


async def test_a_gap_is_told(caplog: pytest.LogCaptureFixture) -> None:
    gaps: list[Gap] = []
    records: list[Record] = []
    async with Hub(on_gap=gaps.append, hooks=[records.append]) as hub:
        gap = Gap(topic="room", cause="the network was gone", missed=3)
        hub._inbound.missed(gap)
        assert gaps == [gap]
        expected = MessagesMissed(topic="room", cause="the network was gone", messages=3)
        assert records == [expected]
        assert hub.statistics().missed == 1


async def test_an_on_gap_that_fails_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    def fail(gap: Gap) -> None:
        raise KeyError(gap)

    async with Hub(on_gap=fail, hooks=()) as hub:
        hub._inbound.missed(Gap(topic="room", cause="x"))
        hub._inbound.connection_changed(connected=False)
    assert "on_gap= failed on 'room'" in caplog.text


async def test_the_loss_of_a_backplane_is_told(caplog: pytest.LogCaptureFixture) -> None:
    records: list[Record] = []
    async with Hub(hooks=[records.append]) as hub:
        hub._inbound.connection_changed(connected=False, cause="refused")
        assert records == [BackplaneChanged(connected=False, cause="refused")]
    async with Hub() as hub:
        with caplog.at_level(logging.INFO):
            hub._inbound.connection_changed(connected=False, cause="refused")
            hub._inbound.connection_changed(connected=True)
            hub._inbound.missed(Gap(topic="room", cause="refused", missed=3))
            hub._inbound.missed(Gap(topic="room", cause="refused"))
    assert caplog.messages == [
        "the backplane is gone: refused",
        "the backplane is connected",
        "room: 3 messages may have been missed: refused",
        "room: messages may have been missed: refused",
    ]


async def test_what_is_told_of_a_topic_that_is_gone_is_no_matter() -> None:
    async with Hub() as hub:
        member = Presence(id="x", node="n")
        hub._inbound.presence_changed(PresenceChange(topic="gone", member=member, joined=True))
        hub._inbound.deliver(Envelope(topic="gone", payload=b"", text=True, node="n"))
        assert hub._inbound.has_room("gone")
        await hub._inbound.wait_room("gone")


async def test_a_sequence_that_begins_anew_is_told_from_what_was_seen() -> None:
    async with Hub(history=History()) as hub, open_pair() as (client, server):
        for letter in "abc":
            await hub.publish("room", letter)
        async with hub.join(server, "room", since=Position.OLDEST):
            for offset, letter in enumerate("de", 1):
                hub._inbound.deliver(
                    Envelope(
                        topic="room",
                        payload=letter.encode(),
                        text=True,
                        node="another",
                        position=Position("new", offset),
                    )
                )
            assert await received(client) == list("abcde")


async def test_messages_without_positions_are_never_taken_for_old_ones() -> None:
    """Where a backplane is gone, what is published here still comes, without a number."""
    async with Hub(history=History()) as hub, open_pair() as (client, server):
        await hub.publish("room", "a")
        async with hub.join(server, "room", since=Position.OLDEST):
            link = hub._link
            assert link is not None
            hub._inbound.deliver(
                Envelope(topic="room", payload=b"b", text=True, node=link.node, position=None)
            )
            await hub.publish("room", "c")
            assert await received(client) == ["a", "b", "c"]
