"""Pings in flight."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

from trio_ws._pings import Pings

if TYPE_CHECKING:
    from trio.testing import MockClock


class Ended(Exception):
    """Stands for what the connection raises once it has ended."""


def new_pings() -> Pings:
    return Pings(Ended)


async def test_a_pong_answers_its_ping_and_all_before_it(autojump_clock: MockClock) -> None:
    pings = new_pings()
    sent = []
    for payload in (b"a", b"b", b"c"):
        ping = pings.start(payload)
        ping.written()
        sent.append(ping)
        await trio.sleep(1)
    a, b, c = sent
    assert len(pings) == 3
    assert pings.settle(b"unknown") is None
    assert len(pings) == 3
    assert pings.settle(b"b") == pytest.approx(2)
    assert await a.wait() == a.round_trip == pytest.approx(3)
    assert await b.wait() == pytest.approx(2)
    assert c.round_trip is None
    assert len(pings) == 1
    pings.wake_all()
    with pytest.raises(Ended):
        await c.wait()


async def test_a_round_trip_begins_when_the_ping_has_been_written(
    autojump_clock: MockClock,
) -> None:
    pings = new_pings()
    ping = pings.start(None)
    await trio.sleep(5)
    ping.written()
    assert ping.written_at == trio.current_time()
    await trio.sleep(1)
    assert pings.settle(ping.payload) == pytest.approx(1)


async def test_latency_is_counted(autojump_clock: MockClock) -> None:
    pings = new_pings()
    for round_trip in (2, 1, 4):
        ping = pings.start(None)
        await trio.sleep(round_trip)
        pings.settle(ping.payload)
    latency = pings.statistics
    assert latency is not None
    assert (latency.last, latency.minimum, latency.maximum) == pytest.approx((4, 1, 4))
    assert latency.smoothed == pytest.approx(1.875 + (4 - 1.875) / 8)


async def test_a_payload_is_in_flight_once() -> None:
    pings = new_pings()
    ping = pings.start(b"a")
    with pytest.raises(ValueError, match="in flight already"):
        pings.start(b"a")
    ping.forget()
    assert len(pings) == 0
    again = pings.start(b"a")
    ping.forget()
    assert len(pings) == 1, "forgetting the first does not forget the second"
    pings.settle(b"a")
    assert await again.wait() >= 0
    pings.start(b"a")


async def test_payloads_differ() -> None:
    pings = new_pings()
    assert len({pings.start(None).payload for _ in range(100)}) == 100
