"""Presence: who is in a topic, and who comes and goes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import trio
import trio.testing

from trio_ws import Hub, HubLimits, PresenceWatch
from trio_ws.backplane import Presence, PresenceChange
from trio_ws.backplane.memory import _MemoryLink
from trio_ws.testing import open_pair

from .crowd import pairs

if TYPE_CHECKING:
    from collections.abc import Mapping


async def names(hub: Hub, topic: str = "room") -> list[str]:
    return [member.info["name"] for member in await hub.members(topic)]


async def changes(watch: PresenceWatch, count: int) -> list[tuple[str, bool]]:
    found = []
    for _ in range(count):
        change = await watch.receive()
        found.append((change.member.info["name"], change.joined))
    return found


async def test_who_is_there() -> None:
    async with Hub() as hub, pairs(3) as (one, two, three):
        assert await names(hub) == []
        async with hub.join(one.server, "room", info={"name": "ann"}):
            async with hub.join(two.server, "room", info={"name": "bob"}):
                async with hub.join(three.server, "other", info={"name": "cyd"}):
                    assert await names(hub) == ["ann", "bob"]
            assert await names(hub) == ["ann"]
        assert await names(hub) == []


async def test_who_says_nothing_of_itself_is_there_too() -> None:
    async with Hub() as hub, open_pair() as (_, server), hub.join(server, "room"):
        [member] = await hub.members("room")
        assert member.info == {}


async def test_subscriptions_are_not_told_of() -> None:
    async with Hub() as hub, hub.subscribe("room"):
        assert await hub.members("room") == ()


async def test_who_comes_and_goes() -> None:
    async with Hub() as hub, pairs(2) as (one, two):
        async with hub.join(one.server, "room", info={"name": "ann"}):
            async with hub.presence("room") as watch:
                assert [member.info["name"] for member in watch.members] == ["ann"]
                async with hub.join(two.server, "room", info={"name": "bob"}):
                    pass
                assert await changes(watch, 2) == [("bob", True), ("bob", False)]
                one.server.abort()
                assert await changes(watch, 1) == [("ann", False)]
                assert watch.members == ()
                assert watch.dropped == 0


async def test_watching_alone_is_enough_to_be_told() -> None:
    async with Hub() as hub, open_pair() as (_, server), hub.presence("room") as watch:
        assert watch.topic == "room"
        assert hub.topics == ()
        async with hub.join(server, "room", info={"name": "ann"}):
            assert await changes(watch, 1) == [("ann", True)]


async def test_it_is_not_a_member() -> None:
    async with Hub() as hub, hub.presence("room"):
        await hub.publish("room", "hello")
        assert hub.statistics().members == 0


async def test_changes_are_bounded_and_members_are_right() -> None:
    limits = HubLimits(presence_changes=3)
    async with Hub(limits=limits) as hub, open_pair() as (_, server):
        async with hub.presence("room") as watch:
            for name in "abc":
                async with hub.join(server, "room", info={"name": name}):
                    pass
            async with hub.join(server, "room", info={"name": "d"}):
                assert watch.dropped == 4
                assert [member.info["name"] for member in watch.members] == ["d"]
                assert await changes(watch, 3) == [("c", True), ("c", False), ("d", True)]


async def test_what_was_told_before_it_was_known_who_is_there_counts_once() -> None:
    ann, bob = (Presence(id=name, node="n", info={"name": name}) for name in ("ann", "bob"))
    async with Hub() as hub, hub.presence("room") as watch:
        watch._known = False
        for member, joined in ((ann, True), (bob, True), (bob, False)):
            watch.put(PresenceChange(topic="room", member=member, joined=joined))
        watch.begin([ann])
        assert watch.members == (ann,)
        # He came and went, before or after: whoever is told of one is told of the other.
        assert await changes(watch, 2) == [("bob", True), ("bob", False)]


async def test_iterating_ends_with_the_hub() -> None:
    async with trio.open_nursery() as nursery:
        seen = []
        async with Hub() as hub, open_pair() as (_, server):

            async def watch() -> None:
                async with hub.presence("room") as changes:
                    async for change in changes:
                        seen.append(change.joined)

            nursery.start_soon(watch)
            await trio.testing.wait_all_tasks_blocked()
            async with hub.join(server, "room"):
                await trio.testing.wait_all_tasks_blocked()
            await trio.testing.wait_all_tasks_blocked()
        assert seen == [True, False]


async def test_a_watch_is_entered_once_and_closed() -> None:
    async with Hub() as hub:
        watch = hub.presence("room")
        async with watch:
            await watch.aclose()
            with pytest.raises(trio.ClosedResourceError):
                await watch.receive()
            watch.put(PresenceChange(topic="room", member=Presence(id="x", node="n"), joined=True))
            assert watch.members == ()
        with pytest.raises(RuntimeError, match="entered once"):
            await watch.__aenter__()


async def test_a_topic_is_subscribed_to_for_as_long_as_somebody_is_in_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As `Link.enter` wants it: a backplane need not tell of topics that nobody listens to."""

    class Strict(_MemoryLink):
        def enter(self, topic: str, info: Mapping[str, Any]) -> Presence:
            assert topic in self._subscribed
            return super().enter(topic, info)

        def leave(self, topic: str, member: Presence) -> None:
            assert topic in self._subscribed
            super().leave(topic, member)

    monkeypatch.setattr("trio_ws.backplane.memory._MemoryLink", Strict)
    async with Hub() as hub, pairs(2) as (one, two):
        async with hub.join(one.server, "room"):
            pass
        async with hub.join(two.server, "room"):
            two.server.abort()


async def test_an_evicted_member_is_gone() -> None:
    async with Hub() as hub, pairs(2) as (one, _):
        async with hub.join(one.server, "room", info={"name": "ann"}) as membership:
            membership.leave()
            assert await names(hub) == []
