"""Members that are not the built-in engine's on a server: the interface is enough."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import pytest
import trio
import trio.testing

import trio_ws
from trio_ws import Hub, HubLimits, Position, slow_consumers
from trio_ws._hub.outlets import AnyOutlet, PreparedOutlet, outlet_of
from trio_ws.testing import open_pair

from .crowd import Gate, pairs, received

if TYPE_CHECKING:
    from trio.testing import MockClock

PLUG = "#" * 70_000


async def test_who_gets_which_outlet() -> None:
    async with open_pair() as (client, server), trio.open_nursery() as nursery:
        assert type(outlet_of(server, nursery)) is PreparedOutlet
        # What a client sends is masked, each time with another key.
        assert type(outlet_of(client, nursery)) is AnyOutlet


async def test_a_client_is_a_member_like_any_other() -> None:
    async with Hub() as hub, pairs(2) as (one, two):
        async with hub.join(one.client, "room"), hub.join(two.server, "room"):
            for number in range(5):
                await hub.publish("room", str(number))
            await hub.publish("room", b"\xff", exclude=one.client)
            numbers = [str(number) for number in range(5)]
            assert await received(one.server) == numbers
            assert await received(two.client) == [*numbers, b"\xff"]


async def test_what_it_has_no_room_for_comes_later_and_in_order() -> None:
    here, there = trio.testing.memory_stream_pair()
    gate = Gate(here)
    async with Hub() as hub, open_pair(streams=(gate, there)) as (client, server):
        async with hub.join(client, "room"):
            await hub.publish("room", PLUG)
            await trio.testing.wait_all_tasks_blocked()
            numbers = [str(number) for number in range(100)]
            for number in numbers:
                await hub.publish("room", number)
            await trio.testing.wait_all_tasks_blocked()
            assert hub.topic_statistics("room").delivered == 1
            gate.opened.set()
            assert await received(server) == [PLUG, *numbers]
            assert hub.topic_statistics("room").delivered == 101


async def test_policies_apply_to_it() -> None:
    here, there = trio.testing.memory_stream_pair()
    gate = Gate(here)
    limits = HubLimits(backlog_messages=2)
    async with Hub(limits=limits) as hub, open_pair(streams=(gate, there)) as (client, server):
        async with hub.join(client, "room", slow=slow_consumers.drop_oldest):
            await hub.publish("room", PLUG)
            await trio.testing.wait_all_tasks_blocked()
            # All before the member's task has a turn: it would take one of them out of the backlog.
            for letter in "abcdef":
                hub.publish_nowait("room", letter)
            await trio.testing.wait_all_tasks_blocked()
            gate.opened.set()
            assert await received(server) == [PLUG, "e", "f"]


@pytest.mark.parametrize("end", ["aclose", "abort", "peer"])
async def test_it_leaves_when_it_ends(end: str) -> None:
    async with Hub() as hub, open_pair() as (client, server):
        async with hub.join(client, "room") as membership:
            if end == "aclose":
                await client.aclose()
            elif end == "abort":
                client.abort()
            else:
                await server.aclose()
            await trio.testing.wait_all_tasks_blocked()
            assert membership.has_left
            assert hub.topics == ()


async def test_it_leaves_when_a_message_finds_that_it_has_ended() -> None:
    async with Hub() as hub, open_pair() as (client, _):
        async with hub.join(client, "room") as membership:
            client.abort()
            hub.publish_nowait("room", "hello")
            # Before the task that waits for its end has had a turn.
            hub._fan_out.give()
            assert membership.has_left
            assert hub.statistics().delivered == 0


async def test_it_is_closed_when_it_is_evicted(autojump_clock: MockClock) -> None:
    here, there = trio.testing.memory_stream_pair()
    gate = Gate(here)
    limits = HubLimits(max_backlog_bytes=1000)
    async with Hub(limits=limits) as hub, open_pair(streams=(gate, there)) as (client, server):
        async with hub.join(client, "room") as membership:
            await hub.publish("room", PLUG)
            await trio.testing.wait_all_tasks_blocked()
            await hub.publish("room", "x" * 2000)
            await trio.testing.wait_all_tasks_blocked()
            assert membership.evicted
            gate.opened.set()
            assert (await server.wait_closed()).code == 1013
            with pytest.raises(trio.ClosedResourceError):
                await client.send("hello")


async def test_it_may_end_while_messages_wait_for_it() -> None:
    here, there = trio.testing.memory_stream_pair()
    async with Hub() as hub, open_pair(streams=(Gate(here), there)) as (client, _):
        async with hub.join(client, "room") as membership:
            await hub.publish("room", PLUG)
            await trio.testing.wait_all_tasks_blocked()
            await hub.publish("room", "waits")
            await trio.testing.wait_all_tasks_blocked()
            client.abort()
            await trio.testing.wait_all_tasks_blocked()
            assert membership.has_left


async def test_a_reconnecting_client_is_a_websocket_too() -> None:
    """What it sends while it is connected goes to whomever it is connected to."""

    async def collect(ws: trio_ws.WebSocket) -> None:
        async for message in ws:
            messages.append(message)
            arrived.set()

    messages: list[str | bytes] = []
    arrived = trio.Event()
    async with trio.open_nursery() as nursery:
        from functools import partial

        serve: Any = partial(trio_ws.serve, collect, "127.0.0.1", 0)
        server = await nursery.start(serve)
        url = f"ws://127.0.0.1:{server.port}"
        async with Hub(history=trio_ws.History()) as hub, trio_ws.keep_connected(url) as ws:
            await hub.publish("room", "kept")
            async with hub.join(ws, "room", since=Position.OLDEST):
                with trio.fail_after(10):
                    await arrived.wait()
        assert messages == ["kept"]
        nursery.cancel_scope.cancel()


# WebSockets of somebody's own, which go wrong in their own ways


async def test_one_that_cannot_be_closed_is_logged(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with Hub() as hub, open_pair() as (client, _):

        async def aclose(code: int = 1000, reason: str = "") -> None:
            raise OSError("cannot close")

        def send_nowait(message: object) -> None:
            raise OSError("cannot send")

        async with hub.join(client, "room") as membership:
            with monkeypatch.context() as patch, caplog.at_level(logging.ERROR):
                patch.setattr(type(client), "aclose", staticmethod(aclose))
                patch.setattr(type(client), "send_nowait", staticmethod(send_nowait))
                await hub.publish("room", "hello")
                await trio.testing.wait_all_tasks_blocked()
            assert membership.evicted
        assert f"{client.id} could not be closed" in caplog.text
        assert "cannot send" in caplog.text


async def test_one_that_fails_while_waiting_is_evicted(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with Hub() as hub, open_pair() as (client, _):

        async def send(message: object) -> None:
            raise OSError("cannot send")

        def send_nowait(message: object) -> None:
            raise trio.WouldBlock

        async with hub.join(client, "room") as membership:
            with monkeypatch.context() as patch:
                patch.setattr(type(client), "send", staticmethod(send))
                patch.setattr(type(client), "send_nowait", staticmethod(send_nowait))
                await hub.publish("room", "hello")
                await trio.testing.wait_all_tasks_blocked()
            assert membership.evicted
        assert "cannot send" in caplog.text


async def test_one_whose_end_cannot_be_waited_for_leaves_at_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with Hub() as hub, open_pair() as (client, _):

        async def wait_closed() -> None:
            raise OSError("cannot wait")

        with monkeypatch.context() as patch:
            patch.setattr(type(client), "wait_closed", staticmethod(wait_closed))
            async with hub.join(client, "room") as membership:
                await trio.testing.wait_all_tasks_blocked()
                assert membership.has_left
        assert f"{client.id}: nobody knows when it ends" in caplog.text
