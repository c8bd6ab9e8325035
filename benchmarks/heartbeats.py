"""How heartbeats' pings are spread: a histogram of a simulated minute.

    python -m benchmarks.heartbeats --connections 10000

What they cost is measured by ``python -m benchmarks --cases idle heartbeats``.
"""

from __future__ import annotations

import argparse
import random
from typing import TYPE_CHECKING, cast

import trio
import trio.testing

import trio_ws

if TYPE_CHECKING:
    from collections.abc import Callable


class Counting:
    """Just enough of a WebSocket to be pinged, and answers at once."""

    id = "counting"
    close_reason = None

    def __init__(self, pings: list[float]) -> None:
        self._pings = pings
        self.last_received = self.reading_since = self.written_at = trio.current_time()
        self.round_trip = 0.0

    def start_ping(self) -> Counting:
        self.written_at = self.last_received = trio.current_time()
        self._pings.append(self.written_at)
        return self

    async def wait(self) -> float:
        await trio.lowlevel.checkpoint()
        return 0.0

    def forget(self) -> None:
        pass


def spread(connections: int, rng: Callable[[], float] = random.random) -> list[int]:
    """How many pings fall into each second of a simulated minute."""
    pings: list[float] = []

    async def main() -> None:
        policy = trio_ws.Heartbeat(rng=rng)
        with trio.move_on_after(60):
            async with trio.open_nursery() as nursery:
                for _ in range(connections):
                    nursery.start_soon(policy.run, cast("trio_ws.WebSocket", Counting(pings)))

    clock = trio.testing.MockClock(autojump_threshold=0)
    trio.run(main, clock=clock)
    start = min(pings)
    counts = [0] * 60
    for at in pings:
        counts[min(59, int(at - start))] += 1
    return counts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--connections", type=int, default=10_000)
    arguments = parser.parse_args()
    counts = spread(arguments.connections)
    highest = max(counts)
    print(f"pings a second of {arguments.connections:,} connections, interval 20 s:")
    for second in range(0, 60, 3):
        mean = sum(counts[second : second + 3]) / 3
        print(f"  {second:2}-{second + 3:2} s {mean:6.0f} {'#' * int(mean / highest * 60)}")
    print(f"  least {min(counts)}, most {highest}")


if __name__ == "__main__":
    main()
