"""Run for a while, and say whether anything grew, hung or went missing.

    python -m soak [--minutes 2] [--clients 300] [--seed N] [--output build/soak]

What was measured goes to the output folder, as ``samples.json`` and, where matplotlib is there,
``soak.svg``. The exit status is 1 where a bar is missed. Memory and delays are held to their bars
from 20 minutes on: before, what a process takes to warm up is what there is to see.
"""

from __future__ import annotations

import argparse
import json
import random
import ssl
import statistics
import subprocess
import sys
from dataclasses import asdict, dataclass, field
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import trio
import trustme

from trio_ws.testing import Network

from .account import Account, Run
from .clients import Clients, bad_network
from .plot import plot
from .samples import Sample, second_half, slope, steadiness

if TYPE_CHECKING:
    from collections.abc import Sequence

#: The share of the memory that may be added in an hour.
MOST_GROWTH = 0.01
#: How much worse the delays of the second half may be.
MOST_WORSE = 1.5
#: From so many minutes on, a slope means something.
_LONG = 20
#: Seconds that the clients take to leave, and the server to let go of what they left.
_PATIENCE = 60
#: What must be back in the end.
_COUNTED = ("tasks", "descriptors", "connections")


class Server:
    """`soak.server` in its process, and what it says."""

    def __init__(self, process: trio.Process) -> None:
        self._process = process
        self._answers, self._asked = trio.open_memory_channel[dict[str, Any]](0)
        #: Of each client, its connections: the server's number of each, and what it brought.
        self.runs: dict[str, list[tuple[int, Run]]] = {}

    async def listen(self) -> None:
        """Take in what it says, until it ends."""
        assert self._process.stdout is not None
        rest = b""
        async with self._answers:
            async for data in self._process.stdout:
                *lines, rest = (rest + data).split(b"\n")
                for line in lines:
                    record = json.loads(line)
                    if "client" not in record:
                        await self._answers.send(record)
                        continue
                    first, last, wrong = record["run"]
                    run = Run(first, last, wrong, ended=record["reason"], whole=record["whole"])
                    runs = self.runs.setdefault(record["client"], [])
                    runs.append((record["connection"], run))

    async def answer(self) -> dict[str, Any]:
        """The next thing that it says and that is not about a connection."""
        return await self._asked.receive()

    async def held(self) -> dict[str, int]:
        """What it holds now."""
        assert self._process.stdin is not None
        await self._process.stdin.send_all(b"\n")
        return await self.answer()

    async def stop(self) -> None:
        assert self._process.stdin is not None
        await self._process.stdin.aclose()
        await self._process.wait()


@dataclass
class Outcome:
    """What came of a run.

    Attributes:
      samples: one for each second.
      before: what the server held before anybody came.
      after: what it held when all had left.
      account: what became of the messages of those that stayed.
      acts: how often what was done.
      wrong: what must not be.
      log: what the server wrote.
    """

    samples: list[Sample] = field(default_factory=list)
    before: dict[str, int] = field(default_factory=dict)
    after: dict[str, int] = field(default_factory=dict)
    account: Account = field(default_factory=Account)
    acts: dict[str, int] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)
    log: str = ""

    def verdicts(self) -> list[tuple[bool, str]]:
        """What holds and what does not, each in words."""
        account = self.account
        growth = slope(second_half(self.samples))
        minutes = self.samples[-1].at / 60
        worse = steadiness(self.samples)
        # More than what chance may have made of less.
        grown = growth.per_hour - growth.error > MOST_GROWTH
        wrong = [*account.wrong, *self.wrong]
        return [
            (
                minutes < _LONG or not grown,
                f"memory in the second half: {growth}"
                + ("" if minutes >= _LONG else " (which says nothing in so short a run)"),
            ),
            (
                all(self.before[name] == self.after[name] for name in _COUNTED),
                "back where it began: "
                + ", ".join(
                    f"{self.before[name]} -> {self.after[name]} {name}" for name in _COUNTED
                ),
            ),
            (
                not wrong,
                f"{account}; {len(wrong)} things wrong",
            ),
            (
                minutes < _LONG or worse <= MOST_WORSE,
                f"p99 of the second half is {worse:.2f} of the first's",
            ),
            ("Traceback" not in self.log, f"{len(self.log.splitlines())} lines of warnings"),
        ]


async def soak(minutes: float, clients: int, seed: int, log: Path) -> Outcome:
    """Run for *minutes*."""
    outcome = Outcome()
    authority = trustme.CA()
    context = ssl.create_default_context()
    authority.configure_trust(context)
    pem = authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem
    with pem.tempfile() as certificate, log.open("wb") as stderr:
        process = await trio.lowlevel.open_process(
            [sys.executable, "-m", "soak.server", certificate],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
        )
        try:
            async with trio.open_nursery() as nursery:
                server = Server(process)
                nursery.start_soon(server.listen)
                await _run(server, outcome, context, minutes * 60, clients, seed)
                await server.stop()
        finally:
            process.kill()
            await process.wait()
    return outcome


async def _run(
    server: Server, outcome: Outcome, context: ssl.SSLContext, seconds: float, count: int, seed: int
) -> None:
    ports = (await server.answer())["ports"]
    network = Network(seed=seed, up=bad_network, down=bad_network)
    async with trio.open_nursery() as nursery:
        good, bad = {}, {}
        for kind, port in ports.items():
            scheme = "wss" if kind == "tls" else "ws"
            relayed = await nursery.start(network.relay, "127.0.0.1", port)
            good[kind] = f"{scheme}://127.0.0.1:{port}"
            bad[kind] = f"{scheme}://127.0.0.1:{relayed}"
        crowd = Clients(good, bad, context, random.Random(seed))
        # What is made for the first connection, once for all.
        await crowd.warm_up()
        outcome.before = await _settled(server)
        start = trio.current_time()
        async with trio.open_nursery() as clients:
            clients.start_soon(crowd.run, count)
            for second in range(1, 1 + round(seconds)):
                await trio.sleep_until(start + second)
                outcome.samples.append(await _sample(server, start, crowd.figures.delays))
                if second % 60 == 0:
                    print(_line(outcome.samples[-60:]), flush=True)
            crowd.over.set()
            clients.cancel_scope.deadline = trio.current_time() + _PATIENCE
        if clients.cancel_scope.cancelled_caught:
            outcome.wrong.append(f"clients did not leave within {_PATIENCE} s")
        nursery.cancel_scope.cancel()
    outcome.after = await _settled(server)
    outcome.acts = dict(sorted(crowd.figures.acts.items()))
    outcome.wrong += crowd.figures.wrong
    for name, sent in crowd.figures.sent.items():
        runs = sorted(server.runs.get(name, []), key=lambda one: one[0])
        outcome.account.settle(name, sent, [run for _, run in runs])


async def _settled(server: Server) -> dict[str, int]:
    """What the server holds when everybody has left: connections and tasks do not end at once."""
    held = await server.held()
    for _ in range(_PATIENCE):
        await trio.sleep(1)
        before, held = held, await server.held()
        if not held["connections"] and all(held[name] == before[name] for name in _COUNTED):
            break
    return held


async def _sample(server: Server, start: float, delays: list[float]) -> Sample:
    cuts = statistics.quantiles(delays, n=100) if len(delays) > 1 else [0.0] * 99
    delays.clear()
    at = trio.current_time() - start
    return Sample(at=at, p50=cuts[49], p99=cuts[98], **await server.held())


def _line(samples: Sequence[Sample]) -> str:
    last = samples[-1]
    p99 = statistics.median(sample.p99 for sample in samples)
    return (
        f"{last.at / 60:4.0f} min: {last.resident / 2**20:6.1f} MiB, {last.tasks} tasks, "
        f"{last.connections} connections, {last.descriptors} descriptors, p99 {p99 * 1e3:.1f} ms"
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run, report, and return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m soak", description="A long run.")
    parser.add_argument("--minutes", type=float, default=2)
    parser.add_argument("--clients", type=int, default=300)
    parser.add_argument("--seed", type=int, default=None, help="of all that is left to chance")
    parser.add_argument("--output", type=Path, default=Path("build/soak"))
    asked = parser.parse_args(arguments)
    seed = random.randrange(10**6) if asked.seed is None else asked.seed
    print(f"{asked.clients} clients for {asked.minutes:g} minutes, --seed {seed}", flush=True)
    asked.output.mkdir(parents=True, exist_ok=True)
    log = asked.output / "server.log"
    run = partial(soak, asked.minutes, asked.clients, seed, log)
    outcome = trio.run(run)
    outcome.log = log.read_text()
    samples = [asdict(sample) for sample in outcome.samples]
    (asked.output / "samples.json").write_text(json.dumps(samples))
    if find_spec("matplotlib"):
        title = f"{asked.clients} clients, {asked.minutes:g} minutes"
        plot(outcome.samples, asked.output / "soak.svg", title)
    print(", ".join(f"{name}: {count:,}" for name, count in outcome.acts.items()))
    for line in [*outcome.account.wrong, *outcome.wrong][:20]:
        print(f"  {line}")
    verdicts = outcome.verdicts()
    for holds, words in verdicts:
        print(f"{'ok    ' if holds else 'MISSED'} {words}")
    return 0 if all(holds for holds, _ in verdicts) else 1


if __name__ == "__main__":
    sys.exit(main())
