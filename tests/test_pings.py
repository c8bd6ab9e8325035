"""Pings in flight."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

from trio_ws._pings import Pings

if TYPE_CHECKING:
    from trio.testing import MockClock


async def test_a_pong_answers_its_ping_and_all_before_it(autojump_clock: MockClock) -> None:
    pings = Pings()
    sent: list[bytes] = []
    times: dict[bytes, float | None] = {}

    async def ping(payload: bytes) -> None:
        times[payload] = await pings.round_trip(payload, sent.append)

    async with trio.open_nursery() as nursery:
        for payload in (b"a", b"b", b"c"):
            nursery.start_soon(ping, payload)
            await trio.sleep(1)
        assert len(pings) == 3
        pings.settle(b"unknown")
        assert len(pings) == 3
        pings.settle(b"b")
        await trio.testing.wait_all_tasks_blocked()
        assert times == {b"a": pytest.approx(3), b"b": pytest.approx(2)}
        assert pings.latency == pytest.approx(2)
        pings.wake_all()
    assert times[b"c"] is None
    assert sent == [b"a", b"b", b"c"]
    assert len(pings) == 0


async def test_a_payload_is_in_flight_once() -> None:
    pings = Pings()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(pings.round_trip, b"a", bytes)
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(ValueError, match="in flight already"):
            await pings.round_trip(b"a", bytes)
        nursery.cancel_scope.cancel()
    assert len(pings) == 0


async def test_a_payload_can_be_used_again_as_soon_as_it_is_answered() -> None:
    pings = Pings()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(pings.round_trip, b"a", bytes)
        await trio.testing.wait_all_tasks_blocked()
        pings.settle(b"a")
        nursery.start_soon(pings.round_trip, b"a", bytes)
        await trio.testing.wait_all_tasks_blocked()
        assert len(pings) == 1
        pings.settle(b"a")


def test_payloads_differ() -> None:
    pings = Pings()
    assert len({pings.new_payload() for _ in range(100)}) == 100
