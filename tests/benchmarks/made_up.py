"""Results that nobody measured."""

from __future__ import annotations

from benchmarks.load.orders import Measurement
from benchmarks.peers import AIOHTTP_UVLOOP, OURS, RAW_EPOLL, RAW_TRIO, TRIO_WEBSOCKET, Peer
from benchmarks.results import Cell, Results, case_named


def cell(case: str, peer: Peer, *rates: int, note: str = "", **details: float) -> Cell:
    """With a measurement of one second for each rate."""
    made = [
        Measurement(
            messages=rate,
            seconds=1.0,
            peer_cpu=details.get("peer_cpu", 1.0),
            generator_cpu=details.get("generator_cpu", 0.5),
            peer_waited=details.get("peer_waited", 0.0),
            p50=details.get("p50", 0.0),
            p99=details.get("p99", 0.0),
        )
        for rate in rates
    ]
    return Cell(case=case_named(case), peer=peer, measurements=tuple(made), note=note)


def memory(peer: Peer, kib: float) -> Cell:
    measurement = Measurement(seconds=20.0, memory=kib, connections=5_000)
    return Cell(case=case_named("idle"), peer=peer, measurements=(measurement,))


RESULTS = Results(
    facts={"date": "2026-01-02 03:04 UTC", "processor": "abacus, 2 cores"},
    versions={"trio-ws": "1.0", "aiohttp": "3"},
    cells=(
        cell("round-trips-100", OURS, 9_000, 12_345, 15_000, p50=80.0, p99=95.5),
        cell("round-trips-100", TRIO_WEBSOCKET, 2_000, p50=900.0, p99=1_234.0),
        cell("round-trips-100", AIOHTTP_UVLOOP, 40_000, generator_cpu=0.95, peer_cpu=0.7),
        cell("round-trips-100", RAW_TRIO, 12_000, peer_waited=0.2),
        cell("round-trips-100", RAW_EPOLL, 60_000),
        cell("pipelined-1x500", OURS, 100_000),
        cell("pipelined-1x500", AIOHTTP_UVLOOP, note="failed: it was tired"),
        memory(OURS, 10.0),
        memory(TRIO_WEBSOCKET, 25.0),
        memory(AIOHTTP_UVLOOP, 10.5),
        cell("growth-10", OURS, 10_000),
        cell("growth-100", OURS, 9_000),
    ),
)
