"""A rolling restart under load: ``python -m benchmarks.rolling [--clients 500]``.

`trio-ws serve --workers` echoes; clients that stay connected (`keep_connected`) send numbered
messages, one after the other, each when the last was answered. Then SIGHUP: every worker is
replaced in turn. A message that was on its way when its worker left is sent again once the client
is back.
"""

from __future__ import annotations

import argparse
import signal
import statistics
import subprocess
import sys
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import trio

import trio_ws
from trio_ws import classification
from trio_ws.instrumentation import ConnectionOpened, Disconnected

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trio_ws.instrumentation import Record

#: Seconds that all of it may take: it measures, so a slow machine has to get to the end.
_PATIENCE = 300


@dataclass
class Figures:
    """What came of it.

    Attributes:
      clients: how many there were.
      answered: messages that were answered, each once or more.
      wrong: answers to something else than what was asked, but for late ones.
      resent: messages that were sent again.
      given_up: clients that will not try again.
      lost: connections that ended, by close code.
      failures: attempts that failed meanwhile, by what they said.
      absences: seconds from the end of a connection to the next, for every one that ended.
      took: seconds until every worker was replaced and every client had an answer from the new.
    """

    clients: int
    answered: int = 0
    wrong: int = 0
    resent: int = 0
    given_up: int = 0
    lost: dict[int, int] = field(default_factory=dict)
    failures: dict[str, int] = field(default_factory=dict)
    absences: list[float] = field(default_factory=list)
    took: float = 0.0

    def __str__(self) -> str:
        cuts = statistics.quantiles(self.absences, n=100) if len(self.absences) > 1 else [0.0] * 99
        lines = [f"{self.clients} clients, {self.took:.1f} s in all"]
        lines.append(f"connections that ended, by close code: {self.lost}")
        lines.append(f"attempts that failed: {self.failures or 'none'}; gave up: {self.given_up}")
        most = max(self.absences, default=0.0)
        lines.append(
            f"absent for {cuts[49]:.3f} s (median), {cuts[98]:.3f} (p99), {most:.3f} (most)"
        )
        counts = (
            f"{self.answered} answered, {self.resent} sent again, {self.wrong} answered wrongly"
        )
        lines.append(f"messages: {counts}")
        return "\n".join(lines)


class _Client:
    """One that asks, and waits for the answer, again and again."""

    def __init__(self, number: int, figures: Figures) -> None:
        self._number = number
        self._figures = figures
        self._count = 0
        self._asked: str | None = None
        self._left_at: float | None = None
        self.answered = trio.Event()

    async def run(self, url: str, over: trio.Event, answered: trio.Semaphore) -> None:
        options: dict[str, Any] = {"proxy": None, "heartbeat": None, "hooks": [self._told]}
        try:
            async with trio_ws.keep_connected(
                url, on_connect=self._ask_again, should_retry=self._note, **options
            ) as ws:
                while not over.is_set():
                    self._asked = f"{self._number} {self._count}"
                    await ws.send(self._asked)
                    while (answer := await ws.receive()) != self._asked:
                        # It was answered twice, since it was asked twice.
                        self._figures.wrong += not self._is_late(str(answer))
                    self._asked = None
                    self._count += 1
                    self._figures.answered += 1
                    answered.release()
                    await trio.sleep(0.1)
        except trio_ws.GaveUp:
            self._figures.given_up += 1

    def _is_late(self, answer: str) -> bool:
        number, count = answer.split()
        return int(number) == self._number and int(count) == self._count - 1

    async def _ask_again(self, ws: trio_ws.WebSocket) -> None:
        if self._asked is not None:
            self._figures.resent += 1
            await ws.send(self._asked)

    def _note(self, failure: trio_ws.Failure) -> trio_ws.Verdict:
        if failure.reason is None:
            text = str(failure)
            self._figures.failures[text] = self._figures.failures.get(text, 0) + 1
        return classification.default(failure)

    def _told(self, record: Record) -> None:
        match record:
            case Disconnected(reason=reason, by_choice=False):
                self._left_at = trio.current_time()
                self._figures.lost[reason.code] = self._figures.lost.get(reason.code, 0) + 1
            case ConnectionOpened() if self._left_at is not None:
                self._figures.absences.append(trio.current_time() - self._left_at)
                self._left_at = None


async def roll(clients: int, *, workers: int = 2) -> Figures:
    """Do it once."""
    figures = Figures(clients)
    command = [sys.executable, "-m", "trio_ws.cli", "serve", "--port", "0"]
    process = await trio.lowlevel.open_process(
        [*command, "--workers", str(workers)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        with trio.fail_after(_PATIENCE):
            line = b""
            while b"\n" not in line:
                line += await process.stdout.receive_some()
            url = line.split()[1].decode()
            over, answered = trio.Event(), trio.Semaphore(0)
            async with trio.open_nursery() as nursery:
                for number in range(clients):
                    nursery.start_soon(_Client(number, figures).run, url, over, answered)
                await _acquire(answered, 3 * clients)
                began = trio.current_time()
                process.send_signal(signal.SIGHUP)
                log = b""
                while b"all workers were replaced" not in log:
                    log += await process.stderr.receive_some()
                # Everybody has been asked by the new ones, or nearly.
                await _acquire(answered, 3 * clients)
                figures.took = trio.current_time() - began
                over.set()
            process.terminate()
            await process.wait()
    finally:
        process.kill()
        with trio.move_on_after(5, shield=True):
            await process.wait()
        for pipe in (process.stdout, process.stderr):
            await trio.aclose_forcefully(pipe)
    return figures


async def _acquire(semaphore: trio.Semaphore, count: int) -> None:
    for _ in range(count):
        await semaphore.acquire()


def main(arguments: Sequence[str] | None = None) -> None:
    assert __doc__ is not None
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clients", type=int, default=500)
    parser.add_argument("--workers", type=int, default=2)
    given = parser.parse_args(arguments)
    print(trio.run(partial(roll, given.clients, workers=given.workers)))


if __name__ == "__main__":
    main()
