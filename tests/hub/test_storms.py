"""Joining, leaving and publishing in any order, on two hubs, against a model.

Each operation takes as many steps as it likes in a task of its own, so what comes after it begins
before it is done. What must hold in the end:

- all members of a topic have seen its messages in one order;
- who was a member from before one message until after another has all that came between, the last
  message before it left included;
- who joined with ``since=`` has everything from there on, once;
- nobody has a message from before it joined or after it left.
"""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import trio
import trio.testing
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trio_ws import History, Hub, Position
from trio_ws.backplane import MemoryBackplane
from trio_ws.testing import open_pair

from .crowd import received

if TYPE_CHECKING:
    from trio_ws import WebSocket

MEMBERS = 4


@dataclass
class Stay:
    """One stay of one connection in the topic.

    Attributes:
      since: the position that it asked for.
      first: how many messages had been published when joining began, and when it was done.
      last: how many had been published when leaving began.
      messages: what its client has received in between, and what had come before.
    """

    since: Position | None
    first: tuple[int, int] = (0, 0)
    last: int | None = None
    messages: list[str] = field(default_factory=list)
    recovered: bool | None = None


OPERATIONS = st.lists(
    st.one_of(
        st.tuples(
            st.just("join"), st.integers(0, MEMBERS - 1), st.sampled_from(["none", "oldest"])
        ),
        st.tuples(st.just("leave"), st.integers(0, MEMBERS - 1), st.none()),
        st.tuples(st.just("publish"), st.integers(0, 1), st.integers(1, 4)),
        st.tuples(st.just("turns"), st.integers(1, 5), st.none()),
    ),
    max_size=40,
)


class Storm:
    """The members, and what they should have seen."""

    def __init__(self, hubs: list[Hub], clients: list[WebSocket], servers: list[WebSocket]) -> None:
        self.hubs = hubs
        self.clients = clients
        self.servers = servers
        self.published: list[str] = []
        self.stays: list[list[Stay]] = [[] for _ in servers]
        self.stacks: list[AsyncExitStack | None] = [None] * len(servers)

    async def join(self, index: int, catch_up: bool) -> None:
        if self.stacks[index] is not None:
            return
        stay = Stay(Position.OLDEST if catch_up else None)
        stack = self.stacks[index] = AsyncExitStack()
        begun = len(self.published)
        membership = self.hubs[index % 2].join(self.servers[index], "room", since=stay.since)
        await stack.enter_async_context(membership)
        stay.first = begun, len(self.published)
        stay.recovered = membership.recovered
        self.stays[index].append(stay)

    async def leave(self, index: int) -> None:
        stack = self.stacks[index]
        if stack is None:
            return
        self.stays[index][-1].last = len(self.published)
        await stack.aclose()
        await self.look(index)
        self.stacks[index] = None

    async def look(self, index: int) -> None:
        if self.stacks[index] is not None:
            messages = await received(self.clients[index])
            self.stays[index][-1].messages += map(str, messages)

    async def publish(self, hub: int, count: int) -> None:
        for _ in range(count):
            message = str(len(self.published))
            self.published.append(message)
            self.hubs[hub].publish_nowait("room", message)

    def check(self) -> None:
        for stays in self.stays:
            for stay in stays:
                last = len(self.published) if stay.last is None else stay.last
                if stay.since is not None:
                    # All that was kept when it joined, and what came since: everything.
                    assert stay.recovered
                    assert stay.messages == self.published[:last]
                    continue
                start = int(stay.messages[0]) if stay.messages else last
                assert stay.first[0] <= start <= max(stay.first[1], stay.first[0])
                assert stay.messages == self.published[start:last]


async def run_storm(operations: list[tuple[str, int, object]]) -> None:
    backplane = MemoryBackplane()
    history = History(messages=1000)
    async with (
        Hub(backplane=backplane, history=history) as one,
        Hub(backplane=backplane, history=history) as two,
        AsyncExitStack() as stack,
    ):
        pairs = [await stack.enter_async_context(open_pair()) for _ in range(MEMBERS)]
        storm = Storm([one, two], [pair.client for pair in pairs], [pair.server for pair in pairs])
        for name, number, argument in operations:
            if name == "join":
                await storm.join(number, bool(argument))
            elif name == "leave":
                await storm.leave(number)
            elif name == "publish":
                assert isinstance(argument, int)
                await storm.publish(number, argument)
            else:
                for _ in range(number):
                    await trio.lowlevel.checkpoint()
        for index in range(MEMBERS):
            await storm.look(index)
        storm.check()
        for index in range(MEMBERS):
            await storm.leave(index)
        assert one.topics == two.topics == ()
        assert await one.members("room") == ()


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(OPERATIONS)
def test_nothing_is_missed_doubled_or_reordered(
    operations: list[tuple[str, int, object]],
) -> None:
    trio.run(run_storm, operations)


# All at once


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.lists(st.integers(0, 6), min_size=1, max_size=6), min_size=2, max_size=6))
def test_nor_where_everybody_does_so_at_once(pauses: list[list[int]]) -> None:
    trio.run(run_at_once, pauses)


async def run_at_once(pauses: list[list[int]]) -> None:
    """Members come and go by their pauses, while two tasks publish."""
    history = History(messages=10_000)
    async with Hub(history=history) as hub, AsyncExitStack() as stack:
        async with hub.subscribe("room", since=Position.OLDEST) as witness:
            pairs = [await stack.enter_async_context(open_pair()) for _ in pauses]
            done = 0

            async def publish(name: str) -> None:
                number = 0
                while done < len(pauses):
                    await hub.publish("room", f"{name}{number}")
                    number += 1
                    await trio.lowlevel.checkpoint()

            async def come_and_go(client: WebSocket, server: WebSocket, waits: list[int]) -> None:
                """Each time it goes on where it was, and has everything once in the end."""
                nonlocal done
                position = Position.OLDEST
                seen: list[str | bytes] = []
                for wait in waits:
                    # To know where a client is, who stamps messages: here, they are counted.
                    async with hub.join(server, "room", since=position) as membership:
                        assert membership.recovered
                        for _ in range(wait):
                            await trio.lowlevel.checkpoint()
                    # What was given before it left is on its way; the rest it did not get.
                    await server.send("that was it")
                    while (message := await client.receive()) != "that was it":
                        seen.append(message)
                    assert membership.position is not None
                    position = Position(membership.position.epoch, len(seen))
                sights.append(seen)
                done += 1

            sights: list[list[str | bytes]] = []
            with trio.fail_after(60):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(publish, "a")
                    nursery.start_soon(publish, "b")
                    for (client, server), waits in zip(pairs, pauses, strict=True):
                        nursery.start_soon(come_and_go, client, server, waits)
            order = [await witness.receive() for _ in range(hub.topic_statistics("room").published)]
            assert len(set(order)) == len(order)
            for seen in sights:
                assert seen == order[: len(seen)]
