"""`MemoryBackplane`: what every backplane does, and its own bounds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

from trio_ws.backplane import Backplane, History, MemoryBackplane, Position

from .contract import HISTORY, Contract, connected, publish, subscribe

if TYPE_CHECKING:
    from trio.testing import MockClock

    from trio_ws.backplane import Link


class TestMemoryBackplane(Contract):
    @pytest.fixture
    def backplane(self) -> Backplane:
        return MemoryBackplane()


async def kept(link: Link, topic: str = "room") -> list[str | bytes]:
    replay = await link.replay(topic, Position.OLDEST)
    return [envelope.message for envelope in replay.envelopes]


async def test_messages_expire(autojump_clock: MockClock) -> None:
    async with connected(MemoryBackplane()) as ((link, _),):
        await subscribe("room", link)
        publish(link, "room", "first", history=History(seconds=10))
        await trio.sleep(6)
        publish(link, "room", "second", history=History(seconds=10))
        assert await kept(link) == ["first", "second"]
        await trio.sleep(5)
        assert await kept(link) == ["second"]
        await trio.sleep(5)
        assert await kept(link) == []


async def test_an_expired_message_is_no_loss_for_who_has_seen_it(
    autojump_clock: MockClock,
) -> None:
    async with connected(MemoryBackplane()) as ((link, recorder),):
        await subscribe("room", link)
        publish(link, "room", "first", history=History(seconds=10))
        await trio.sleep(20)
        [envelope] = recorder.envelopes
        assert (await link.replay("room", envelope.position)).recovered


async def test_sizes_are_bounded() -> None:
    async with connected(MemoryBackplane()) as ((link, _),):
        await subscribe("room", link)
        history = History(messages=10, size=100)
        for letter in "abc":
            publish(link, "room", letter * 50, history=history)
        assert await kept(link) == ["b" * 50, "c" * 50]
        publish(link, "room", "d" * 101, history=history)
        assert await kept(link) == []


async def test_a_message_that_is_not_kept_makes_a_hole() -> None:
    async with connected(MemoryBackplane()) as ((link, recorder),):
        await subscribe("room", link)
        publish(link, "room", "kept", history=HISTORY)
        publish(link, "room", "not kept")
        publish(link, "room", "kept again", history=HISTORY)
        assert await kept(link) == ["kept again"]
        assert not (await link.replay("room", recorder.envelopes[0].position)).recovered


async def test_topics_nobody_is_subscribed_to_are_forgotten(autojump_clock: MockClock) -> None:
    backplane = MemoryBackplane()
    async with connected(backplane) as ((link, _),):
        publish(link, "never", "nobody hears it")
        assert repr(backplane) == "<MemoryBackplane: 0 topics>"
        publish(link, "kept", "for a while", history=History(seconds=10))
        await subscribe("used", link)
        assert repr(backplane) == "<MemoryBackplane: 2 topics>"
        link.unsubscribe("used")
        assert repr(backplane) == "<MemoryBackplane: 1 topics>"
        await trio.sleep(11)
        assert not (await link.replay("kept", Position.OLDEST)).recovered
        assert repr(backplane) == "<MemoryBackplane: 0 topics>"


async def test_how_many_of_them_are_kept_is_bounded() -> None:
    backplane = MemoryBackplane(max_idle_topics=2)
    async with connected(backplane) as ((link, recorder),):
        await subscribe("a", link)
        publish(link, "a", "hello", history=HISTORY)
        [envelope] = recorder.envelopes
        for topic in "bcb":
            publish(link, topic, "hello", history=HISTORY)
        link.unsubscribe("a")
        # "c" had been without for longest.
        assert await kept(link, "c") == []
        assert await kept(link, "b") == ["hello", "hello"]
        publish(link, "d", "hello", history=HISTORY)
        publish(link, "e", "hello", history=HISTORY)
        await subscribe("a", link)
        assert not (await link.replay("a", envelope.position)).recovered


async def test_a_topic_in_use_again_is_not_idle() -> None:
    backplane = MemoryBackplane(max_idle_topics=1)
    async with connected(backplane) as ((link, _),):
        publish(link, "a", "hello", history=HISTORY)
        await subscribe("a", link)
        publish(link, "b", "hello", history=HISTORY)
        publish(link, "c", "hello", history=HISTORY)
        assert await kept(link, "a") == ["hello"]


async def test_a_receiver_without_room_holds_up_publishers_everywhere() -> None:
    backplane = MemoryBackplane()
    async with connected(backplane, backplane) as ((here, _), (there, recorder)):
        await subscribe("room", here, there)
        recorder.has_room_now = False
        assert not here.has_room("room")
        assert here.has_room("another")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(here.wait_room, "room")
            await trio.testing.wait_all_tasks_blocked()
            assert nursery.child_tasks
            recorder.make_room()
        assert here.has_room("room")


async def test_who_enters_a_topic_without_subscribing_is_not_seen() -> None:
    async with connected(MemoryBackplane()) as ((link, _),):
        member = link.enter("room", {})
        link.leave("room", member)
        assert await link.present("room") == ()
