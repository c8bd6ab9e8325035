"""History: those who come back are brought up to date, or told that they cannot be."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, ClassVar

import pytest
import trio
import trio.testing

from trio_ws import History, Hub, HubLimits, Position, slow_consumers
from trio_ws.backplane.memory import MemoryBackplane, _MemoryLink
from trio_ws.testing import open_pair

from .crowd import gated_pair, let_go, pairs, received

if TYPE_CHECKING:
    from trio.testing import MockClock

    import trio_ws
    from trio_ws.backplane import Receiver, Replay

KEPT = History(messages=10)


async def publish(hub: Hub, messages: str, topic: str = "room") -> None:
    for message in messages:
        await hub.publish(topic, message)


async def test_who_comes_back_gets_what_it_missed() -> None:
    async with Hub(history=KEPT) as hub, pairs(2) as (one, two):
        async with hub.join(one.server, "room") as first:
            await publish(hub, "ab")
            position = first.position
        await publish(hub, "cd")
        async with hub.join(two.server, "room", since=position) as second:
            assert second.recovered
            await publish(hub, "ef")
            assert await received(two.client) == list("abcdef")


async def test_where_it_joined_is_told() -> None:
    async with Hub(history=KEPT) as hub, pairs(2) as (one, two):
        await publish(hub, "ab")
        async with hub.join(one.server, "room") as first:
            assert first.recovered is None
            assert first.position is not None
            assert first.position.offset == 2
        await publish(hub, "c")
        async with hub.join(two.server, "room", since=first.position) as second:
            assert second.recovered
            assert second.position == Position(first.position.epoch, 3)
            assert await received(two.client) == ["c"]


async def test_who_has_missed_nothing_gets_nothing() -> None:
    async with Hub(history=KEPT) as hub, pairs(2) as (one, two):
        async with hub.join(one.server, "room") as first:
            pass
        async with hub.join(two.server, "room", since=first.position) as second:
            assert second.recovered
            assert await received(two.client) == []


async def test_who_comes_for_the_first_time_may_have_all_that_is_kept() -> None:
    async with Hub(history=History(messages=3)) as hub, open_pair() as (client, server):
        await publish(hub, "abcde")
        async with hub.join(server, "room", since=Position.OLDEST) as membership:
            assert membership.recovered
            assert await received(client) == list("cde")


async def test_who_was_away_for_too_long_is_told_so() -> None:
    async with Hub(history=History(messages=3)) as hub, pairs(2) as (one, two):
        async with hub.join(one.server, "room") as first:
            pass
        await publish(hub, "abcd")
        async with hub.join(two.server, "room", since=first.position) as second:
            assert second.recovered is False
            assert second.position is not None
            await publish(hub, "e")
            assert await received(two.client) == ["e"]


async def test_a_topic_without_history_recovers_nothing() -> None:
    def history(topic: str) -> History | None:
        return KEPT if topic.startswith("room/") else None

    async with Hub(history=history) as hub, open_pair() as (client, server):
        for topic in ("room/1", "prices"):
            await publish(hub, "ab", topic)
        async with hub.join(server, "room/1", since=Position.OLDEST) as kept:
            assert kept.recovered
        assert await received(client) == ["a", "b"]
        async with hub.join(server, "prices", since=Position.OLDEST) as not_kept:
            assert not_kept.recovered is False
            assert not_kept.position is None


async def test_leaving_early_drops_what_there_was_no_room_for() -> None:
    async with Hub(history=KEPT) as hub, gated_pair() as pair:
        await publish(hub, "ab")
        await pair.server.send("#" * 70_000)
        async with hub.join(pair.server, "room", since=Position.OLDEST):
            pass
        let_go(pair)
        assert await received(pair.client) == ["#" * 70_000]


async def test_messages_are_stamped_with_their_position() -> None:
    def stamp(message: str | bytes, position: Position | None) -> str:
        assert position is not None
        return f"{position.offset} {message!s}"

    async with Hub(history=KEPT, stamp=stamp) as hub, pairs(2) as (one, two):
        async with hub.join(one.server, "room"):
            await publish(hub, "ab")
            assert await received(one.client) == ["1 a", "2 b"]
        async with hub.join(two.server, "room", since=Position.OLDEST):
            await publish(hub, "c")
            assert await received(two.client) == ["1 a", "2 b", "3 c"]


@pytest.mark.parametrize("stamped", ["raises", 7, "\ud800"])
async def test_a_stamp_that_fails_loses_its_message_only(
    stamped: str, caplog: pytest.LogCaptureFixture
) -> None:
    def stamp(message: str | bytes, position: Position | None) -> str:
        if message != "bad":
            return str(message)
        if stamped == "raises":
            raise KeyError("no stamp")
        return stamped

    async with Hub(history=KEPT, stamp=stamp) as hub, open_pair() as (client, server):
        async with hub.join(server, "room"):
            await hub.publish("room", "bad")
            await hub.publish("room", "good")
            assert await received(client) == ["good"]
        async with hub.join(server, "room", since=Position.OLDEST):
            assert await received(client) == ["good"]
    assert "a message of 'room' is lost: stamp= failed on it" in caplog.text


async def test_a_subscription_can_catch_up_as_well() -> None:
    async with Hub(history=KEPT) as hub:
        await publish(hub, "ab")
        async with hub.subscribe("room", since=Position.OLDEST) as channel:
            assert channel.recovered
            assert channel.position is not None
            await publish(hub, "c")
            assert [await channel.receive() for _ in range(3)] == list("abc")


async def test_what_is_replayed_is_not_what_makes_a_member_slow() -> None:
    limits = HubLimits(backlog_messages=2)
    async with Hub(history=KEPT, limits=limits) as hub, gated_pair() as pair:
        await publish(hub, "abcdefgh")
        slow = slow_consumers.drop_oldest
        async with hub.join(pair.server, "room", since=Position.OLDEST, slow=slow) as membership:
            assert membership.dropped == 0
            let_go(pair)
            assert await received(pair.client) == list("abcdefgh")


async def test_of_a_replay_that_waits_the_newest_of_each_key_is_kept() -> None:
    async with Hub(history=KEPT) as hub, gated_pair() as pair:
        await publish(hub, "aabab")
        await pair.server.send("#" * 70_000)
        slow = slow_consumers.conflate(lambda message: message)
        async with hub.join(pair.server, "room", since=Position.OLDEST, slow=slow) as membership:
            assert membership.dropped == 0
            let_go(pair)
            assert (await received(pair.client))[1:] == ["a", "b"]


async def test_a_large_replay_waits_where_there_is_no_room_for_it() -> None:
    messages = [letter * 30_000 for letter in "abcdefgh"]
    async with Hub(history=KEPT) as hub, gated_pair() as pair:
        for message in messages:
            await hub.publish("room", message)
        async with hub.join(pair.server, "room", since=Position.OLDEST):
            assert 60_000 < pair.server.statistics().outbox_bytes < 200_000
            hub.publish_nowait("room", "after it")
            await trio.testing.wait_all_tasks_blocked()
            let_go(pair)
            assert await received(pair.client) == [*messages, "after it"]


async def test_a_client_that_has_just_ended_leaves_where_it_would_be_replayed_to(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with open_pair() as (client, _):

        class Aborting(_MemoryLink):
            async def replay(self, topic: str, since: Position | None) -> Replay:
                found = await super().replay(topic, since)
                # Before the task that waits for its end has had a turn.
                client.abort()
                return found

        monkeypatch.setattr("trio_ws.backplane.memory._MemoryLink", Aborting)
        async with Hub(history=KEPT) as hub:
            await publish(hub, "ab")
            async with hub.join(client, "room", since=Position.OLDEST) as membership:
                assert membership.has_left


# While the replay is on its way


class SlowLink(_MemoryLink):
    """A link that takes its time to find out what was missed."""

    def __init__(self, backplane: MemoryBackplane, receiver: Receiver) -> None:
        super().__init__(backplane, receiver)
        self.before = trio.testing.Sequencer()

    async def replay(self, topic: str, since: Position | None) -> Replay:
        if since is None:
            return await super().replay(topic, since)
        async with self.before(0):
            found = await super().replay(topic, since)
        async with self.before(2):
            # What was found may be older than what was delivered meanwhile, or newer.
            return found if self.old else await super().replay(topic, since)

    old: ClassVar[bool] = True


class SlowLinkOfToday(SlowLink):
    old = False


async def slow_join(
    hub: Hub, server: trio_ws.WebSocket, joined: trio.Event, *, until: trio.Event
) -> None:
    async with hub.join(server, "room", since=Position.OLDEST):
        joined.set()
        await until.wait()


@pytest.mark.parametrize("link", [SlowLink, SlowLinkOfToday])
async def test_nothing_is_missed_and_nothing_comes_twice(
    link: type[SlowLink], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trio_ws.backplane.memory._MemoryLink", link)
    async with Hub(history=KEPT) as hub, open_pair() as (client, server):
        joined, done = trio.Event(), trio.Event()
        await publish(hub, "ab")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(slow_join, hub, server, joined, until=done))
            await trio.testing.wait_all_tasks_blocked()
            assert isinstance(hub._link, link)
            async with hub._link.before(1):
                await publish(hub, "cd")
                await trio.testing.wait_all_tasks_blocked()
                assert await received(client) == []
                # These are delivered, but not given to members yet.
                hub.publish_nowait("room", "e")
            await joined.wait()
            await publish(hub, "f")
            assert await received(client) == list("abcdef")
            done.set()


async def test_nor_for_a_subscription(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trio_ws.backplane.memory._MemoryLink", SlowLink)
    async with Hub(history=KEPT) as hub, trio.open_nursery() as nursery:
        await publish(hub, "ab")
        messages: list[str | bytes] = []

        async def listen() -> None:
            async with hub.subscribe("room", since=Position.OLDEST) as channel:
                for _ in range(4):
                    messages.append(await channel.receive())

        nursery.start_soon(listen)
        await trio.testing.wait_all_tasks_blocked()
        assert isinstance(hub._link, SlowLink)
        async with hub._link.before(1):
            await publish(hub, "cd")
            await trio.testing.wait_all_tasks_blocked()
            assert messages == []
        await trio.testing.wait_all_tasks_blocked()
        assert messages == list("abcd")


async def test_what_comes_meanwhile_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trio_ws.backplane.memory._MemoryLink", SlowLink)
    limits = HubLimits(max_backlog_bytes=1000)
    async with Hub(history=KEPT, limits=limits) as hub, open_pair() as (_, server):
        joined, done = trio.Event(), trio.Event()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(slow_join, hub, server, joined, until=done))
            await trio.testing.wait_all_tasks_blocked()
            assert isinstance(hub._link, SlowLink)
            async with hub._link.before(1):
                for _ in range(3):
                    await hub.publish("room", "x" * 400)
                    await trio.testing.wait_all_tasks_blocked()
                assert hub.statistics().evicted == 1
            await joined.wait()
            assert hub.topics == ()
            done.set()


async def test_a_connection_may_end_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trio_ws.backplane.memory._MemoryLink", SlowLink)
    async with Hub(history=KEPT) as hub, open_pair() as (_, server):
        await publish(hub, "ab")
        joined, done = trio.Event(), trio.Event()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(slow_join, hub, server, joined, until=done))
            await trio.testing.wait_all_tasks_blocked()
            assert isinstance(hub._link, SlowLink)
            async with hub._link.before(1):
                server.abort()
            await joined.wait()
            assert hub.topics == ()
            assert await hub.members("room") == ()
            done.set()


async def test_history_expires(autojump_clock: MockClock) -> None:
    async with Hub(history=History(seconds=10)) as hub, pairs(2) as (one, two):
        async with hub.join(one.server, "room") as first:
            await publish(hub, "a")
        await trio.sleep(11)
        async with hub.join(two.server, "room", since=first.position) as second:
            # The whole topic was forgotten: nobody was in it.
            assert second.recovered is False
