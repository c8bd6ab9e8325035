"""What hooks cost: an echo of small messages with no hook, with the log's, and with traffic.

    python -m benchmarks.hooks --messages 20000 --rounds 9

Client and server are in one process, joined in memory, so that their code is all there is to
measure. The kinds take turns, in another order each round, and what counts is each one's ratio
to the round's own "none": a machine that is busy for a while slows all of them.
"""

from __future__ import annotations

import argparse
import random
import statistics
import time
from typing import TYPE_CHECKING

import trio

from trio_ws.instrumentation import log_record
from trio_ws.testing import open_pair

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trio_ws.instrumentation import Hook, Record

#: Messages in flight at once.
BATCH = 50


class Traffic:
    """A hook that asks for everything, and does next to nothing with it."""

    traffic = True

    def __init__(self) -> None:
        self.records = 0

    def __call__(self, record: Record, /) -> None:
        self.records += 1


KINDS: dict[str, Sequence[Hook]] = {
    "none": (),
    "none again": (),
    "log": (log_record,),
    "traffic": (Traffic(),),
}


async def echoed(hooks: Sequence[Hook], messages: int, size: int) -> float:
    """CPU seconds that one message's way there and back takes."""
    async with open_pair(hooks=hooks) as (client, server), trio.open_nursery() as nursery:

        async def echo() -> None:
            async for message in server:
                await server.send(message)

        nursery.start_soon(echo)
        text = "x" * size
        start = time.process_time()
        for _ in range(messages // BATCH):
            for _ in range(BATCH):
                await client.send(text)
            for _ in range(BATCH):
                await client.receive()
        taken = time.process_time() - start
        await client.aclose()
    return taken / messages


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--size", type=int, default=64)
    arguments = parser.parse_args()
    times: dict[str, list[float]] = {kind: [] for kind in KINDS}
    for _ in range(arguments.rounds):
        for kind in random.sample(list(KINDS), len(KINDS)):
            taken = trio.run(echoed, KINDS[kind], arguments.messages, arguments.size)
            times[kind].append(taken)
    print(f"CPU per echo of {arguments.size} bytes, medians of {arguments.rounds} rounds:")
    for kind, all_taken in times.items():
        ratios = [one / base for one, base in zip(all_taken, times["none"], strict=True)]
        print(
            f"  {kind:10} {statistics.median(all_taken) * 1e6:6.2f} us,"
            f" {statistics.median(ratios):.3f} of none"
        )


if __name__ == "__main__":
    main()
