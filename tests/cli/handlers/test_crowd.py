"""Telling many the same: order, bounds, and what becomes of who is slow."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

import trio_ws
from trio_ws import Limits
from trio_ws.cli.handlers import crowd as crowd_module
from trio_ws.cli.handlers.crowd import MAX_MESSAGES, Crowd, Member
from trio_ws.testing import open_pair

from ...sweeps import cancel_sweep

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from trio.testing import MockClock

BIG = "x" * 400_000


@asynccontextmanager
async def client_of(crowd: Crowd) -> AsyncGenerator[tuple[trio_ws.WebSocket, Member]]:
    """A client that is a member, and the member."""
    members: list[Member] = []

    async def attend(server: trio_ws.WebSocket) -> None:
        async with crowd.joined(server) as member:
            members.append(member)
            await server.wait_closed()

    async with open_pair(limits=Limits(outbox_bytes=1)) as (client, server):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(attend, server)
            await trio.testing.wait_all_tasks_blocked()
            yield client, members[0]
            nursery.cancel_scope.cancel()


async def test_everybody_is_told_in_order_but_one(autojump_clock: MockClock) -> None:
    crowd = Crowd()
    async with client_of(crowd) as (one, member), client_of(crowd) as (other, _):
        assert len(crowd) == 2
        await crowd.tell("a", besides=member)
        await crowd.tell(b"b")
        assert await one.receive() == b"b"
        assert [await other.receive(), await other.receive()] == ["a", b"b"]
        await crowd.wait_sent()
    assert len(crowd) == 0


async def fill(crowd: Crowd, member: Member, message: str) -> int:
    """Tell *member* until it has no room; how often that was."""
    count = 0
    while member.has_room(message):
        await crowd.tell(message)
        await trio.testing.wait_all_tasks_blocked()
        count += 1
    return count


@pytest.mark.parametrize("message", ["x", BIG])
async def test_one_who_takes_nothing_is_closed_with_1013_and_holds_up_nobody_for_long(
    message: str, autojump_clock: MockClock
) -> None:
    crowd = Crowd()
    received = 0

    async def read(client: trio_ws.WebSocket) -> None:
        nonlocal received
        async for _ in client:
            received += 1

    async with stalled_client_of(crowd) as slow, client_of(crowd) as (quick, _):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(read, quick)
            count = await fill(crowd, slow, message)
            assert slow._size <= crowd_module.MAX_SIZE
            beginning = trio.current_time()
            await crowd.tell(message)
            assert trio.current_time() == beginning + crowd_module.PATIENCE
            assert slow.left
            for _ in range(3):
                await crowd.tell(message)
            await crowd.wait_sent()
            assert trio.current_time() == beginning + crowd_module.PATIENCE
            await trio.testing.wait_all_tasks_blocked()
            assert received == count + 4
            nursery.cancel_scope.cancel()


@asynccontextmanager
async def stalled_client_of(crowd: Crowd) -> AsyncGenerator[Member]:
    """A member whose client takes nothing."""

    class Stalled:
        """What there is of a connection that takes nothing."""

        closed: tuple[int, str] | None = None

        async def send(self, message: object) -> None:
            await trio.sleep_forever()

        async def aclose(self, code: int, reason: str) -> None:
            await trio.lowlevel.checkpoint()
            self.closed = (code, reason)

    members: list[Member] = []
    stalled = Stalled()

    async def attend() -> None:
        async with crowd.joined(stalled) as member:  # type: ignore[arg-type]
            members.append(member)
            await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(attend)
        await trio.testing.wait_all_tasks_blocked()
        yield members[0]
        assert stalled.closed == (1013, "too slow")


class Slow:
    """What there is of a connection that takes a message every so many seconds."""

    def __init__(self, pause: float) -> None:
        self.pause = pause
        self.taken: list[object] = []

    async def send(self, message: object) -> None:
        await trio.sleep(self.pause)
        self.taken.append(message)


async def test_one_who_is_a_little_slow_slows_the_sender_and_loses_nothing(
    autojump_clock: MockClock,
) -> None:
    crowd = Crowd()
    slow = Slow(crowd_module.PATIENCE / MAX_MESSAGES / 2)
    async with crowd.joined(slow) as member:  # type: ignore[arg-type]
        for number in range(5 * MAX_MESSAGES):
            await crowd.tell(str(number))
            assert len(member._queue) <= MAX_MESSAGES
        await crowd.wait_sent()
        assert not member.left
    assert slow.taken == [str(number) for number in range(5 * MAX_MESSAGES)]


async def test_whoever_waits_for_one_who_leaves_goes_on(autojump_clock: MockClock) -> None:
    crowd = Crowd()
    async with crowd.joined(Slow(1e9)) as member:  # type: ignore[arg-type]
        await fill(crowd, member, "x")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(crowd.tell, "y")
            nursery.start_soon(crowd.wait_sent)
            await trio.testing.wait_all_tasks_blocked()
            member._leave()
        await crowd.tell("z")


async def test_a_connection_that_ends_is_told_nothing_more(autojump_clock: MockClock) -> None:
    crowd = Crowd()
    async with client_of(crowd) as (client, member):
        await client.aclose()
        await trio.testing.wait_all_tasks_blocked()
    assert member.left
    async with open_pair() as (client, server):
        async with crowd.joined(server) as member:
            client.abort()
            await server.wait_closed()
            await crowd.tell("nobody hears it")
            await trio.testing.wait_all_tasks_blocked()
            assert member.left


async def test_dismissing_all_closes_them_once(autojump_clock: MockClock) -> None:
    crowd = Crowd()
    async with client_of(crowd) as (one, member), client_of(crowd) as (other, _):
        crowd.dismiss_all(4000, "go")
        member.dismiss(4001, "again")
        for client in (one, other):
            with pytest.raises(trio_ws.ConnectionClosedError) as caught:
                await client.receive()
            assert (caught.value.reason.code, caught.value.reason.reason) == (4000, "go")
    never_present = Member(one)
    never_present.dismiss(1000, "")
    assert never_present.left


async def test_telling_can_be_cancelled_anywhere(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crowd_module, "MAX_MESSAGES", 4)
    autojump_clock.autojump_threshold = 0.01
    taken: list[list[object]] = []

    async def scenario() -> None:
        crowd = Crowd()
        slow = Slow(0)
        taken.append(slow.taken)
        async with crowd.joined(slow) as member:  # type: ignore[arg-type]
            while member.has_room("x"):
                member.put("x")
            await crowd.tell("y")
            await crowd.wait_sent()

    async def check(cancelled: bool) -> None:
        complete = ["x"] * 4 + ["y"]
        assert taken[-1] == complete[: len(taken[-1])]
        assert cancelled or taken[-1] == complete

    assert await cancel_sweep(scenario, check) > 2
