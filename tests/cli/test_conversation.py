"""Conversations: what is sent, what is shown, when it is over, and what is left when it is cut."""

from __future__ import annotations

import math
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
import trio
import trio.testing

from trio_ws import CloseReason, ConnectionClosedError, GaveUp, keep_connected
from trio_ws._settings import Limits
from trio_ws.cli.conversation import Conversation, Plan
from trio_ws.cli.failures import Unmet, Usage, innermost
from trio_ws.cli.goal import Goal
from trio_ws.testing import open_pair

from ..network import URL, install
from ..sweeps import CutStream, cancel_sweep

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from trio.testing import MockClock

    from trio_ws import WebSocket


class Shown:
    """What an output was given.

    Attributes:
      received, sent: the messages.
      times: when each was sent.
      readable: unset while nobody reads the output.
    """

    def __init__(self) -> None:
        self.received_messages: list[str | bytes] = []
        self.sent_messages: list[str | bytes] = []
        self.times: list[float] = []
        self.readable = trio.Event()
        self.readable.set()

    async def received(self, message: str | bytes) -> None:
        self.received_messages.append(message)
        await self.readable.wait()

    async def sent(self, message: str | bytes) -> None:
        self.sent_messages.append(message)
        self.times.append(trio.current_time())


def saying(*messages: str | bytes, then: Exception | None = None) -> Callable[[], Any]:
    async def say() -> AsyncGenerator[str | bytes]:
        for message in messages:
            yield message
        if then is not None:
            raise then

    return say


async def say_for_ever() -> AsyncGenerator[str | bytes]:
    while True:
        yield "again"


def plan(count: int | None = None, expect: str | None = None, **members: Any) -> Plan:
    return Plan(goal=Goal.of(count, expect), **members)


async def echo(ws: WebSocket) -> None:
    async for message in ws:
        await ws.send(message)


@asynccontextmanager
async def served(handler: Any, **options: Any) -> AsyncGenerator[WebSocket]:
    """The client's end of a connection whose other end *handler* has."""
    async with open_pair(**options) as (client, server), trio.open_nursery() as nursery:

        async def handle() -> None:
            await handler(server)
            await server.aclose()

        nursery.start_soon(handle)
        yield client
        nursery.cancel_scope.cancel()


async def converse(
    plan: Plan, handler: Any = echo, talk: Any = None, shown: Shown | None = None, **options: Any
) -> Shown:
    shown = shown or Shown()
    try:
        async with served(handler, **options) as ws:
            await Conversation(ws, plan, shown, talk).run()  # type: ignore[arg-type]
    except ExceptionGroup as group:
        raise innermost(group) from None
    return shown


# When it is over


async def test_it_lingers_after_the_end_of_the_input(autojump_clock: MockClock) -> None:
    async def slow(ws: WebSocket) -> None:
        async for message in ws:
            await trio.sleep(1.5)
            await ws.send(message)

    start = trio.current_time()
    shown = await converse(plan(more=saying("a", "b", "c"), linger=2), slow)
    assert shown.received_messages == ["a", "b", "c"]
    assert trio.current_time() - start == pytest.approx(3 * 1.5 + 2)


async def test_without_an_end_of_the_input_the_server_ends_it(autojump_clock: MockClock) -> None:
    async def feed(ws: WebSocket) -> None:
        for number in range(3):
            await trio.sleep(100)
            await ws.send(str(number))

    assert (await converse(plan(), feed)).received_messages == ["0", "1", "2"]
    assert (await converse(plan(more=saying()), feed)).received_messages == ["0", "1", "2"]


async def test_it_is_not_quiet_while_nobody_reads_the_output(autojump_clock: MockClock) -> None:
    shown = Shown()
    shown.readable = trio.Event()

    async def read_later() -> None:
        await trio.sleep(1000)
        shown.readable.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read_later)
        messages = [str(number) for number in range(200)]
        await converse(plan(more=saying(*messages), linger=2), shown=shown)
    assert shown.received_messages == messages


async def test_the_end_of_the_input_while_nobody_reads_is_no_end(autojump_clock: MockClock) -> None:
    shown = Shown()
    shown.readable = trio.Event()

    async def input_ends_later() -> AsyncGenerator[str | bytes]:
        yield "a"
        yield "b"
        await trio.sleep(10)

    async def read_later() -> None:
        await trio.sleep(1000)
        shown.readable.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read_later)
        await converse(plan(more=input_ends_later, linger=2), shown=shown)
    assert shown.received_messages == ["a", "b"]


async def test_a_goal_ends_it_once_everything_given_is_sent(autojump_clock: MockClock) -> None:
    shown = await converse(plan(1, given=[saying("a", "b"), saying("c")]))
    assert shown.sent_messages == ["a", "b", "c"]
    assert shown.received_messages == ["a"]


async def test_a_goal_ends_it_whatever_else_there_is_to_say(autojump_clock: MockClock) -> None:
    shown = await converse(plan(3, more=say_for_ever))
    assert shown.received_messages == ["again"] * 3


async def test_nothing_is_waited_for_where_nothing_is_wanted(autojump_clock: MockClock) -> None:
    shown = await converse(plan(0, given=[saying("a")]))
    assert (shown.sent_messages, shown.received_messages) == (["a"], [])


async def test_what_was_hoped_for_ends_it(autojump_clock: MockClock) -> None:
    shown = await converse(plan(expect="b", more=saying("a", "b", "c"), linger=1))
    assert shown.received_messages == ["a", "b"]


async def test_only_the_goal_is_waited_for(autojump_clock: MockClock) -> None:
    async def late(ws: WebSocket) -> None:
        await trio.sleep(1000)
        await ws.send("late")

    shown = await converse(plan(1, more=saying("a"), linger=2), late)
    assert shown.received_messages == ["late"]


async def test_a_goal_that_was_missed(autojump_clock: MockClock) -> None:
    with pytest.raises(Unmet, match="0 messages came"):
        await converse(plan(1), lambda ws: ws.aclose())


async def test_a_server_that_closes_in_good_order(autojump_clock: MockClock) -> None:
    async def one(ws: WebSocket) -> None:
        await ws.send(f"{await ws.receive()!s} is enough")

    shown = await converse(plan(more=say_for_ever), one)
    assert shown.received_messages == ["again is enough"]


async def test_a_server_that_does_not(autojump_clock: MockClock) -> None:
    async def one(ws: WebSocket) -> None:
        await ws.send("last words")
        await ws.aclose(4000, "enough")

    shown = Shown()
    with pytest.raises(ConnectionClosedError) as caught:
        await converse(plan(more=say_for_ever), one, shown=shown)
    assert caught.value.reason.code == 4000
    assert shown.received_messages == ["last words"]


async def test_what_came_is_shown_although_nothing_can_be_sent_any_more(
    autojump_clock: MockClock,
) -> None:
    here, there = trio.testing.memory_stream_pair()
    shown = Shown()

    async def one(ws: WebSocket) -> None:
        await ws.send("last words")
        async for _ in ws:
            pass

    with pytest.raises(ConnectionClosedError):
        cut = CutStream(here, send=20)
        await converse(plan(more=say_for_ever), one, shown=shown, streams=(cut, there))
    assert shown.sent_messages


# Sending


async def test_there_is_a_delay_between_messages_and_nowhere_else(
    autojump_clock: MockClock,
) -> None:
    start = trio.current_time()
    shown = await converse(plan(3, given=[saying("a", "b"), saying("c")], delay=5))
    assert [time - start for time in shown.times] == [0, 5, 10]
    assert trio.current_time() - start == 10


async def test_more_than_the_connection_holds(autojump_clock: MockClock) -> None:
    messages = [str(number) * 100 for number in range(5_000)]
    small = Limits(inbox_messages=4)
    shown = await converse(plan(more=saying(*messages), linger=1), limits=small)
    assert shown.received_messages == messages


@pytest.mark.parametrize("count", [None, 1, 3])
async def test_bad_input_is_told_after_the_replies_to_what_came_before(
    count: int | None, autojump_clock: MockClock
) -> None:
    async def slow(ws: WebSocket) -> None:
        async for message in ws:
            await trio.sleep(1)
            await ws.send(message)

    for source in ("given", "more"):
        said = saying("a", "b", then=Usage("line 3"))
        members = {"given": [said]} if source == "given" else {"more": said}
        shown = Shown()
        with pytest.raises(Usage, match="line 3"):
            await converse(plan(count, **members), slow, shown=shown)
        assert shown.received_messages == ["a", "b"][:count]


async def test_bad_input_after_the_goal_ends_it_at_once(autojump_clock: MockClock) -> None:
    async def later() -> AsyncGenerator[str | bytes]:
        yield "a"
        await trio.sleep(10)
        raise Usage("line 2")

    async def flood(ws: WebSocket) -> None:
        while True:
            await ws.send("x")
            await trio.sleep(1)

    start = trio.current_time()
    with pytest.raises(Usage):
        await converse(plan(1, given=[later]), flood)
    assert trio.current_time() - start <= 11


async def test_bad_input_is_not_waited_for_longer_than_asked(autojump_clock: MockClock) -> None:
    start = trio.current_time()
    with pytest.raises(Usage):
        await converse(plan(more=saying(then=Usage("x")), linger=0.5))
    assert trio.current_time() - start == 0.5


# Talking


async def test_somebody_talks_until_they_have_had_enough(autojump_clock: MockClock) -> None:
    shown = Shown()

    async def talk() -> None:
        assert shown.sent_messages == ["given"]
        await trio.sleep(50)

    start = trio.current_time()
    await converse(plan(given=[saying("given")]), talk=talk, shown=shown)
    assert shown.received_messages == ["given"]
    assert trio.current_time() - start == 50


async def test_somebody_may_close_it(autojump_clock: MockClock) -> None:
    async with served(echo) as ws:

        async def talk() -> None:
            await ws.aclose()
            await trio.sleep_forever()

        shown: Any = Shown()
        await Conversation(ws, plan(), shown, talk).run()


# Heartbeats


async def test_heartbeats_are_sent_again_and_again(autojump_clock: MockClock) -> None:
    shown = await converse(plan(3, heartbeat=("beat", 10)))
    assert shown.sent_messages == ["beat"] * 3
    assert [b - a for a, b in zip(shown.times, shown.times[1:], strict=False)] == [10, 10]


async def test_heartbeats_end_with_the_connection(autojump_clock: MockClock) -> None:
    async def leave(ws: WebSocket) -> None:
        await ws.receive()
        await ws.aclose(4000)

    shown = Shown()
    shown.readable = trio.Event()
    with pytest.raises(ConnectionClosedError):
        await converse(plan(heartbeat=("beat", 1)), leave, shown=shown)
    assert shown.sent_messages == ["beat"]


async def test_heartbeats_of_a_connection_that_ended_while_nobody_reads(
    autojump_clock: MockClock,
) -> None:
    async def leave(ws: WebSocket) -> None:
        await ws.send("last words")
        await trio.sleep(0.5)
        await ws.aclose(4000)

    shown = Shown()
    shown.readable = trio.Event()
    with pytest.raises(BaseExceptionGroup), trio.move_on_after(10):
        async with trio.open_nursery() as nursery:

            async def read_later() -> None:
                await trio.sleep(5)
                shown.readable.set()

            nursery.start_soon(read_later)
            await converse(plan(heartbeat=("beat", 1)), leave, shown=shown)
    assert shown.sent_messages == []


async def test_without_a_connection_there_is_nothing_to_keep_alive(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    network = install(monkeypatch)
    shown: Any = Shown()

    async def one(ws: WebSocket) -> None:
        await ws.send(await ws.receive())
        if len(shown.sent_messages) == 1:
            network.delay = 9
            await ws.aclose(1011)
        else:
            await ws.aclose(1000)

    async with network.served(one):
        async with keep_connected(URL, heartbeat=None) as ws:
            await Conversation(ws, plan(heartbeat=("beat", 3)), shown).run()
    assert shown.sent_messages == ["beat", "beat"]
    assert shown.times[1] - shown.times[0] >= 9


async def test_a_heartbeat_that_comes_too_late_is_let_go(autojump_clock: MockClock) -> None:
    """Lost between the look and the sending, and no connection yet: the next one tries again."""

    class Flapping:
        close_reason: Any = None
        is_connected = True
        attempts = 0

        async def send(self, message: str) -> None:
            self.attempts += 1
            if self.attempts == 2:
                self.close_reason = CloseReason(1006)
            raise ConnectionClosedError(CloseReason(1006))

    ws: Any = Flapping()
    conversation = Conversation(ws, plan(), Shown())  # type: ignore[arg-type]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("trio_ws.cli.conversation.ReconnectingWebSocket", Flapping)
        await conversation._send_heartbeats("beat", 1)
    assert ws.attempts == 2


# Staying connected


async def test_it_goes_on_across_reconnects(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    network = install(monkeypatch)
    served_so_far = 0

    async def one(ws: WebSocket) -> None:
        nonlocal served_so_far
        served_so_far += 1
        await ws.send(f"{served_so_far}: {await ws.receive()!s}")
        await ws.aclose(1012 if served_so_far < 3 else 1000)

    async def spaced() -> AsyncGenerator[str | bytes]:
        for word in ("a", "b", "c"):
            yield word
            await trio.sleep(100)

    shown: Any = Shown()
    async with network.served(one):
        async with keep_connected(URL, heartbeat=None) as ws:
            await Conversation(ws, plan(more=spaced, linger=math.inf), shown).run()
    assert shown.received_messages == ["1: a", "2: b", "3: c"]


async def test_giving_up_is_told_by_whoever_receives(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    network = install(monkeypatch)
    shown: Any = Shown()
    async with network.served(lambda ws: ws.aclose(4000)):
        with pytest.raises(BaseExceptionGroup) as caught:
            async with keep_connected(URL, heartbeat=None) as ws:
                await Conversation(ws, plan(more=say_for_ever), shown).run()
    assert isinstance(innermost(caught.value), GaveUp)


async def test_input_without_a_connection_may_be_an_error(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    network = install(monkeypatch)
    shown: Any = Shown()

    async def leave(ws: WebSocket) -> None:
        network.delay = 1000
        await ws.aclose(1012)

    async def later() -> AsyncGenerator[str | bytes]:
        await trio.sleep(1)
        yield "too late"

    async with network.served(leave):
        with pytest.raises(BaseExceptionGroup) as caught:
            async with keep_connected(URL, heartbeat=None, offline="raise") as ws:
                await Conversation(ws, plan(more=later), shown).run()
    error = innermost(caught.value)
    assert isinstance(error, ConnectionClosedError)
    assert error.reason.code == 1012


# Cancellation


@pytest.mark.parametrize("every_task", [False, True])
async def test_cancelled_anywhere_it_leaves_nothing_and_invents_nothing(
    every_task: bool, autojump_clock: MockClock
) -> None:
    words = ["one", "two", "three"]
    arrived: list[str | bytes] = []
    shown = Shown()

    async def record(ws: WebSocket) -> None:
        async for message in ws:
            arrived.append(message)
            await ws.send(message)

    async def scenario() -> None:
        nonlocal shown
        shown = Shown()
        arrived.clear()
        await converse(
            plan(given=[saying(*words[:1])], more=saying(*words[1:]), delay=1, linger=2),
            record,
            shown=shown,
        )

    async def check(cancelled: bool) -> None:
        assert shown.sent_messages == words[: len(shown.sent_messages)]
        assert arrived == words[: len(arrived)]
        assert shown.received_messages == arrived[: len(shown.received_messages)]
        if not cancelled:
            assert shown.received_messages == words

    assert await cancel_sweep(scenario, check, every_task=every_task) > 5
