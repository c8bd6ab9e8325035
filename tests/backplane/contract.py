"""What every backplane does: one suite for all of them.

A backplane's own test file derives a class from `Contract` and says how to make one. Nothing here
asks how long anything takes: what is delivered is waited for.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
import trio

from trio_ws.backplane import (
    Backplane,
    Envelope,
    Gap,
    History,
    Link,
    Position,
    PresenceChange,
    Receiver,
)

from ..sweeps import cancel_sweep

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from trio_ws.backplane import Presence

HISTORY = History(messages=10, seconds=60)


class Recorder(Receiver):
    """Remembers what it is told.

    Attributes:
      has_room_now: what `has_room` says.
    """

    def __init__(self) -> None:
        self.has_room_now = True
        self.envelopes: list[Envelope] = []
        self.changes: list[PresenceChange] = []
        self.gaps: list[Gap] = []
        self.connections: list[tuple[bool, str]] = []
        self._told = trio.lowlevel.ParkingLot()

    def deliver(self, envelope: Envelope) -> None:
        self.envelopes.append(envelope)
        self._told.unpark_all()

    def presence_changed(self, change: PresenceChange) -> None:
        self.changes.append(change)
        self._told.unpark_all()

    def missed(self, gap: Gap) -> None:
        self.gaps.append(gap)
        self._told.unpark_all()

    def connection_changed(self, *, connected: bool, cause: str = "") -> None:
        self.connections.append((connected, cause))
        self._told.unpark_all()

    async def told(self) -> None:
        """Wait until it is told something."""
        await self._told.park()

    def has_room(self, topic: str) -> bool:
        return self.has_room_now

    async def wait_room(self, topic: str) -> None:
        await self._told.park()

    def make_room(self) -> None:
        self.has_room_now = True
        self._told.unpark_all()

    async def messages(self, count: int) -> list[str | bytes]:
        """The first *count* messages, when they have come."""
        with trio.fail_after(10):
            while len(self.envelopes) < count:
                await self._told.park()
        return [envelope.message for envelope in self.envelopes[:count]]

    async def presences(self, count: int) -> list[tuple[bool, Any]]:
        """The first *count* changes of presence, when they have come: joined, and who."""
        with trio.fail_after(10):
            while len(self.changes) < count:
                await self._told.park()
        return [(change.joined, change.member.info["name"]) for change in self.changes[:count]]


class Contract(ABC):
    """The suite."""

    @abstractmethod
    @pytest.fixture
    def backplane(self) -> Backplane:
        """The backplane of one process."""

    @pytest.fixture
    def elsewhere(self, backplane: Backplane) -> Backplane:
        """Another process's, joined with it."""
        return backplane

    @pytest.mark.parametrize(
        "message", ["hello", "grüße", "", b"", b"\x00\xff\r\n", "x" * 100_000, b"y" * 1_000_000]
    )
    async def test_a_message_comes_to_all_links_as_it_was(
        self, backplane: Backplane, elsewhere: Backplane, message: str | bytes
    ) -> None:
        async with connected(backplane, elsewhere) as ((here, one), (there, two)):
            await subscribe("room", here, there)
            publish(here, "room", message, exclude=frozenset({"s1", "s2"}))
            for recorder in (one, two):
                assert await recorder.messages(1) == [message]
                [envelope] = recorder.envelopes
                assert envelope.topic == "room"
                assert envelope.text is isinstance(message, str)
                assert envelope.node == here.node
                assert envelope.exclude == {"s1", "s2"}

    async def test_every_link_has_a_name_of_its_own(
        self, backplane: Backplane, elsewhere: Backplane
    ) -> None:
        async with connected(backplane, backplane, elsewhere) as links:
            assert len({link.node for link, _ in links}) == 3
            assert all(link.connected for link, _ in links)
            assert all(link.dropped == 0 for link, _ in links)

    @pytest.mark.parametrize("history", [None, HISTORY])
    async def test_all_see_one_order(
        self, backplane: Backplane, elsewhere: Backplane, history: History | None
    ) -> None:
        async with connected(backplane, elsewhere) as ((here, one), (there, two)):
            await subscribe("room", here, there)

            async def publish_some(link: Link, name: str) -> None:
                for number in range(20):
                    publish(link, "room", f"{name}{number}", history=history)
                    await trio.lowlevel.checkpoint()

            async with trio.open_nursery() as nursery:
                nursery.start_soon(publish_some, here, "a")
                nursery.start_soon(publish_some, there, "b")
            order = await one.messages(40)
            assert await two.messages(40) == order
            for name in "ab":
                mine = [message for message in order if str(message).startswith(name)]
                assert mine == [f"{name}{number}" for number in range(20)]

    async def test_topics_are_apart(self, backplane: Backplane, elsewhere: Backplane) -> None:
        async with connected(backplane, elsewhere) as ((here, one), (there, two)):
            await subscribe("räume/1", here)
            await subscribe("räume/2 *[?", there)
            publish(here, "räume/2 *[?", "two")
            publish(here, "räume/1", "one")
            # Nobody promises an order of what two of them publish.
            assert await one.messages(1) == ["one"]
            assert await two.messages(1) == ["two"]
            publish(there, "räume/2 *[?", "end")
            publish(there, "räume/1", "end")
            assert await one.messages(2) == ["one", "end"]
            assert await two.messages(2) == ["two", "end"]

    async def test_who_unsubscribes_gets_nothing_more(
        self, backplane: Backplane, elsewhere: Backplane
    ) -> None:
        async with connected(backplane, elsewhere) as ((here, one), (there, two)):
            await subscribe("room", here, there)
            publish(there, "room", "before")
            assert await one.messages(1) == ["before"]
            here.unsubscribe("room")
            here.unsubscribe("room")
            publish(there, "room", "without it")
            assert await two.messages(2) == ["before", "without it"]
            await subscribe("room", here)
            publish(there, "room", "after")
            assert await one.messages(2) == ["before", "after"]

    async def test_a_closed_link_is_gone(self, backplane: Backplane, elsewhere: Backplane) -> None:
        async with connected(backplane) as ((here, one),):
            await subscribe("room", here)
            async with connected(elsewhere) as ((there, two),):
                await subscribe("room", there)
                there.enter("room", {"name": "ann"})
                assert await one.presences(1) == [(True, "ann")]
            assert await one.presences(2) == [(True, "ann"), (False, "ann")]
            assert await here.present("room") == ()
            publish(here, "room", "hello")
            assert await one.messages(1) == ["hello"]
            assert two.envelopes == []

    # History

    async def test_what_was_missed_is_replayed(
        self, backplane: Backplane, elsewhere: Backplane
    ) -> None:
        async with connected(backplane, elsewhere) as ((here, one), (there, _)):
            await subscribe("room", here, history=HISTORY)
            for number in range(5):
                publish(here, "room", str(number), history=HISTORY)
            await one.messages(5)
            position = one.envelopes[1].position
            await subscribe("room", there, history=HISTORY)
            replay = await there.replay("room", position)
            assert replay.recovered
            assert [envelope.message for envelope in replay.envelopes] == ["2", "3", "4"]
            assert [one.position for one in replay.envelopes] == [
                envelope.position for envelope in one.envelopes[2:]
            ]
            assert replay.position == one.envelopes[-1].position
            at_the_end = await there.replay("room", replay.position)
            assert at_the_end.recovered
            assert at_the_end.envelopes == ()

    async def test_positions_are_numbered_in_one_epoch(
        self, backplane: Backplane, elsewhere: Backplane
    ) -> None:
        async with connected(backplane, elsewhere) as ((here, one), (there, _)):
            await subscribe("room", here, history=HISTORY)
            before = await here.replay("room", None)
            for link in (here, there, here):
                publish(link, "room", "hello", history=HISTORY)
            await one.messages(3)
            positions = [envelope.position for envelope in one.envelopes]
            first = positions[0]
            assert first is not None
            assert positions == [Position(first.epoch, first.offset + more) for more in range(3)]
            after = await here.replay("room", None)
            assert after.position == positions[-1]
            assert before.envelopes == after.envelopes == ()

    async def test_all_that_is_kept_is_replayed_from_the_oldest(self, backplane: Backplane) -> None:
        async with connected(backplane) as ((link, recorder),):
            await subscribe("room", link, history=HISTORY)
            for number in range(15):
                publish(link, "room", str(number), history=HISTORY)
            await recorder.messages(15)
            replay = await link.replay("room", Position.OLDEST)
            assert replay.recovered
            assert [one.message for one in replay.envelopes] == [str(n) for n in range(5, 15)]
            # Exactly that much can be caught up with, and no more.
            assert (await link.replay("room", recorder.envelopes[4].position)).recovered
            lost = await link.replay("room", recorder.envelopes[3].position)
            assert not lost.recovered
            assert lost.envelopes == ()
            assert lost.position == recorder.envelopes[-1].position

    async def test_a_position_of_another_sequence_means_nothing(self, backplane: Backplane) -> None:
        async with connected(backplane) as ((link, recorder),):
            await subscribe("room", link, history=HISTORY)
            publish(link, "room", "hello", history=HISTORY)
            await recorder.messages(1)
            position = recorder.envelopes[0].position
            assert position is not None
            for wrong in (Position("another", 0), Position(position.epoch, 1_000_000)):
                assert not (await link.replay("room", wrong)).recovered

    async def test_where_nothing_is_kept_nothing_is_recovered(self, backplane: Backplane) -> None:
        async with connected(backplane) as ((link, recorder),):
            await subscribe("room", link)
            publish(link, "room", "hello")
            await recorder.messages(1)
            assert not (await link.replay("room", Position("some", 0))).recovered
            assert (await link.replay("room", Position.OLDEST)).envelopes == ()

    async def test_history_outlives_its_subscribers(
        self, backplane: Backplane, elsewhere: Backplane
    ) -> None:
        async with connected(backplane) as ((here, one),):
            await subscribe("room", here, history=HISTORY)
            publish(here, "room", "first", history=HISTORY)
            await one.messages(1)
            here.unsubscribe("room")
            publish(here, "room", "second", history=HISTORY)
        async with connected(elsewhere) as ((there, _),):
            await subscribe("room", there, history=HISTORY)
            replay = await there.replay("room", one.envelopes[0].position)
            assert [envelope.message for envelope in replay.envelopes] == ["second"]

    async def test_so_do_positions_in_a_topic_that_is_quiet(
        self, backplane: Backplane, elsewhere: Backplane
    ) -> None:
        async with connected(backplane, elsewhere) as ((here, _), (there, other)):
            await subscribe("room", here, history=HISTORY)
            quiet = (await here.replay("room", None)).position
            here.unsubscribe("room")
            assert quiet is not None
            await subscribe("room", there, history=HISTORY)
            publish(there, "room", "first", history=HISTORY)
            await other.messages(1)
            await subscribe("room", here, history=HISTORY)
            replay = await here.replay("room", quiet)
            assert replay.recovered
            assert [envelope.message for envelope in replay.envelopes] == ["first"]

    async def test_nothing_is_missing_between_replay_and_delivery(
        self, backplane: Backplane, elsewhere: Backplane
    ) -> None:
        plenty = History(messages=1000, seconds=60)
        async with connected(backplane, elsewhere) as ((here, one), (there, two)):
            await subscribe("room", here, history=HISTORY)
            publish(here, "room", "first", history=plenty)
            await one.messages(1)

            async def publish_on() -> None:
                for number in range(50):
                    publish(here, "room", str(number), history=plenty)
                    await trio.lowlevel.checkpoint()

            async with trio.open_nursery() as nursery:
                nursery.start_soon(publish_on)
                for _ in range(10):
                    await trio.lowlevel.checkpoint()
                await subscribe("room", there, history=HISTORY)
                replay = await there.replay("room", one.envelopes[0].position)
            await one.messages(51)
            publish(here, "room", "end", history=plenty)
            with trio.fail_after(10):
                while not two.envelopes or two.envelopes[-1].message != "end":
                    await two.messages(len(two.envelopes) + 1)
            seen = {envelope.position: envelope.message for envelope in replay.envelopes}
            seen |= {envelope.position: envelope.message for envelope in two.envelopes}
            assert list(seen.values()) == [*map(str, range(50)), "end"]

    # Presence

    async def test_all_are_told_who_comes_and_goes(
        self, backplane: Backplane, elsewhere: Backplane
    ) -> None:
        async with connected(backplane, elsewhere) as ((here, one), (there, two)):
            await subscribe("room", here, there)
            ann = here.enter("room", {"name": "ann", "tags": [1, "two", None]})
            await one.presences(1)
            await two.presences(1)
            bob = there.enter("room", {"name": "bob"})
            await one.presences(2)
            assert set(map(_key, await here.present("room"))) == {_key(ann), _key(bob)}
            assert [_key(who) for who in await there.present("room")] == [_key(ann), _key(bob)]
            here.leave("room", ann)
            here.leave("room", ann)
            for recorder in (one, two):
                expected = [(True, "ann"), (True, "bob"), (False, "ann")]
                assert await recorder.presences(3) == expected
                assert recorder.changes[0].member == ann
                assert recorder.changes[0].topic == "room"
            assert await there.present("room") == (bob,)
            there.leave("room", bob)
            await one.presences(4)
            assert await here.present("room") == ()

    async def test_each_stay_has_a_name_of_its_own(
        self, backplane: Backplane, elsewhere: Backplane
    ) -> None:
        async with connected(backplane, elsewhere) as ((here, one), (there, _)):
            await subscribe("room", here, there)
            stays = [link.enter("room", {"name": "x"}) for link in (here, there, here)]
            assert len({stay.id for stay in stays}) == 3
            assert [stay.node for stay in stays] == [here.node, there.node, here.node]
            await one.presences(3)

    async def test_nobody_is_in_a_topic_that_nobody_entered(self, backplane: Backplane) -> None:
        async with connected(backplane) as ((link, _),):
            assert await link.present("room") == ()

    # Waiting

    async def test_publishing_goes_on_where_there_is_room(self, backplane: Backplane) -> None:
        async with connected(backplane) as ((link, _),):
            await subscribe("room", link)
            assert link.has_room("room")
            await link.wait_room("room")

    async def test_waits_can_be_cancelled_anywhere(self, backplane: Backplane) -> None:
        async with connected(backplane) as ((link, recorder),):
            await subscribe("room", link)

            async def scenario() -> None:
                await link.wait_subscribed("room")
                await link.replay("room", Position.OLDEST)
                await link.present("room")
                await link.wait_room("room")

            async def check(cancelled: bool) -> None:
                recorder.envelopes.clear()
                publish(link, "room", "hello", history=HISTORY)
                assert await recorder.messages(1) == ["hello"]

            assert await cancel_sweep(scenario, check) >= 4


def _key(who: Presence) -> tuple[str, str]:
    return who.node, who.id


@asynccontextmanager
async def connected(*backplanes: Backplane) -> AsyncGenerator[list[tuple[Link, Recorder]]]:
    """Links to *backplanes*, and what they tell."""
    async with AsyncExitStack() as stack:
        links = []
        for backplane in backplanes:
            recorder = Recorder()
            link = await stack.enter_async_context(backplane.connect(recorder))
            links.append((link, recorder))
        yield links


async def subscribe(topic: str, *links: Link, history: History | None = None) -> None:
    """Subscribe to it, and wait until that is so."""
    for link in links:
        link.subscribe(topic, history)
    for link in links:
        await link.wait_subscribed(topic)


def publish(
    link: Link,
    topic: str,
    message: str | bytes,
    *,
    exclude: frozenset[str] = frozenset(),
    history: History | None = None,
) -> None:
    """Publish *message*."""
    text = isinstance(message, str)
    payload = message.encode() if isinstance(message, str) else message
    link.publish(topic, payload, text=text, exclude=exclude, history=history)
