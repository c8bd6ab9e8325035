"""One message to many: ``python -m benchmarks.fan_out [--members 1000] [--output FOLDER]``.

`Hub`, a loop over ``send`` with trio-ws, and ``broadcast`` of `websockets` on uvloop, each in a
process and on a core of its own. The members are bare sockets in this process, on another core.
"""

from __future__ import annotations

import argparse
import os
import select
import socket
import statistics
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from . import machine, wire
from .fan_out_servers import KINDS
from .processes import raise_descriptor_limit

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

_NAMES = {
    "hub": "trio-ws, `Hub`",
    "loop": "trio-ws, a loop over `send`",
    "websockets": "`websockets` + uvloop, `broadcast`",
}
#: Seconds that one measurement takes, more or less.
_SECONDS = 1.0
#: Bursts with and without members that do not read, in turns.
_PAIRS = 9
#: Of so many members, the delays are read from one.
_SAMPLED = 50


class Members:
    """Sockets that are members, and one that commands."""

    def __init__(self, port: int, topics: Sequence[str], stalled: int = 0) -> None:
        self._port = port
        self.control = self._connected("control")
        self.sockets = [
            # One that is to be stalled shall not have half a second of messages on its way.
            self._connected(topic, buffer=4096 if number < stalled else None)
            for number, topic in enumerate(topics)
        ]
        self._reading = self.sockets[stalled:]
        self._epoll = select.epoll()
        self._by_descriptor = {one.fileno(): one for one in self._reading}
        for descriptor in self._by_descriptor:
            self._epoll.register(descriptor, select.EPOLLIN)

    def _connected(self, topic: str, buffer: int | None = None) -> socket.socket:
        one = socket.socket()
        if buffer is not None:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        one.connect(("127.0.0.1", self._port))
        one.sendall(wire.request().replace(b"GET / ", f"GET /{topic} ".encode(), 1))
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += one.recv(1)
        return one

    def close(self) -> None:
        self._epoll.close()
        for one in (self.control, *self.sockets):
            one.close()

    def command(self, text: str) -> None:
        self.control.sendall(wire.frame(wire.TEXT, text.encode(), key=wire.MASKING_KEY))

    def answer(self) -> str:
        data = b""
        while len(data) < 2 or len(data) < 2 + data[1]:
            data += self.control.recv(4096)
        return data[2:].decode()

    def read(self, total: int) -> float:
        """Read so many bytes from all of them together; return when the last had come."""
        while total > 0:
            for descriptor, _ in self._epoll.poll(10):
                total -= len(self._by_descriptor[descriptor].recv(1 << 18))
        return time.perf_counter()

    def read_delays(self, total: int, frame: int) -> list[float]:
        """The same; return how long messages took to some of them."""
        sampled = {one.fileno(): b"" for one in self._reading[::_SAMPLED]}
        delays = []
        while total > 0:
            for descriptor, _ in self._epoll.poll(10):
                data = self._by_descriptor[descriptor].recv(1 << 18)
                total -= len(data)
                if descriptor in sampled:
                    now = time.monotonic()
                    data = sampled[descriptor] + data
                    while len(data) >= frame:
                        delays.append(now - float(data[frame - 64 : frame]))
                        data = data[frame:]
                    sampled[descriptor] = data
        return delays


@contextmanager
def server(kind: str) -> Generator[int]:
    """The port of a server while it runs."""
    command = [sys.executable, "-m", "benchmarks.fan_out_servers", kind]
    # That its clients leave without a word, some log.
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert process.stdout is not None
    try:
        yield int(process.stdout.readline())
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def _frame(size: int) -> int:
    return size + (2 if size < 126 else 4)


def burst(kind: str, topics: Sequence[str], size: int, *, stalled: int = 0) -> float:
    """Deliveries a second, to those that read; the median of three."""
    return statistics.median(_burst(kind, topics, size, stalled) for _ in range(3))


def _burst(kind: str, topics: Sequence[str], size: int, stalled: int) -> float:
    with server(kind) as port:
        members = Members(port, topics, stalled)
        reading = len(topics) - stalled
        distinct = len(set(topics))
        # What reaches everybody once is a round; a first one says how many there may be.
        rounds, rate = 1, 0.0
        for _ in range(2):
            count = rounds * distinct
            began = time.perf_counter()
            members.command(f"burst {count} {size} {distinct}")
            ended = members.read(rounds * reading * _frame(size))
            rate = rounds * reading / (ended - began)
            members.answer()
            rounds = max(1, int(rate * _SECONDS / reading))
        members.close()
    return rate


def delays(kind: str, members_count: int, rate: float) -> tuple[float, float]:
    """Median and 99th percentile, in seconds, from publishing to receipt, at messages a second."""
    with server(kind) as port:
        members = Members(port, ["t0"] * members_count)
        count = max(20, int(rate * 2 * _SECONDS))
        members.command(f"paced {max(1, int(rate))} {count} 64")
        found = members.read_delays(count * members_count * _frame(64), _frame(64))
        members.close()
    cuts = statistics.quantiles(found, n=100)
    return cuts[49], cuts[98]


def cost_of_stalled(kind: str, members_count: int) -> float:
    """What it changes for the others that a tenth of the members does not read.

    The messages a second that each of the others gets, beside what each gets when all read: the
    median of pairs of bursts.
    """
    everybody = ["t0"] * members_count
    stalled = members_count // 10
    ratios = [
        (_burst(kind, everybody, 64, stalled) / (members_count - stalled))
        / (_burst(kind, everybody, 64, 0) / members_count)
        for _ in range(_PAIRS)
    ]
    return statistics.median(ratios) - 1


def figures_of_hub(members_count: int) -> dict[str, float]:
    """What members and topics take, and joining."""
    with server("hub") as port:
        members = Members(port, [])

        def asked(command: str) -> float:
            members.command(command)
            return float(members.answer())

        joins = asked(f"joins {int(20_000 * _SECONDS)}")
        before = asked("memory")
        asked("topics 10000")
        topics = (asked("memory") - before) / 10_000
        members.close()
    grown = {}
    for kind in ("hub", "loop"):
        with server(kind) as port:
            members = Members(port, [])
            members.command("memory")
            before = float(members.answer())
            members.close()
            members = Members(port, ["t0"] * members_count)
            # Until all of them are members.
            members.command("burst 1 64")
            members.read(members_count * _frame(64))
            members.answer()
            members.command("memory")
            grown[kind] = (float(members.answer()) - before) / members_count
            members.close()
    return {
        "joins and leaves a second": joins,
        "KiB of a topic with one member": topics,
        "KiB of a member, beside its connection's": grown["hub"] - grown["loop"],
    }


def run(members_count: int, kinds: Sequence[str] = KINDS) -> str:
    """Measure everything; return a page."""
    lines = ["# One message to many", "", "Made by `python -m benchmarks.fan_out`.", ""]
    lines += ["|  |  |", "| --- | ---: |"]
    lines += [
        f"| {name} | {value} |" for name, value in machine.facts("benchmarks.fan_out").items()
    ]
    everybody = ["t0"] * members_count
    topics = [f"t{number % (members_count // 2)}" for number in range(members_count * 5)]
    spread = f"{len(topics):,} members in {members_count // 2} topics"
    lines += ["", "Deliveries a second; delays from publishing to receipt at 80% of the first.", ""]
    columns = (
        f"{members_count:,} members",
        "64 B",
        "1 KB",
        "p50",
        "p99",
        "a tenth stalled",
        spread,
    )
    lines += [f"| {' | '.join(columns)} |", "| --- |" + " ---: |" * (len(columns) - 1)]
    for kind in kinds:
        small = burst(kind, everybody, 64)
        large = burst(kind, everybody, 1024)
        p50, p99 = delays(kind, members_count, 0.8 * small / members_count)
        stalled = "waits"
        if kind != "loop":
            # A loop waits for the first that does not read.
            stalled = f"{cost_of_stalled(kind, members_count):+.0%} for the others"
        many = burst(kind, topics, 64)
        lines.append(
            f"| {_NAMES[kind]} | {small:,.0f} | {large:,.0f} | {p50 * 1e3:.1f} ms "
            f"| {p99 * 1e3:.1f} ms | {stalled} | {many:,.0f} |"
        )
        print(lines[-1], file=sys.stderr, flush=True)
    lines += ["", "| `Hub` |  |", "| --- | ---: |"]
    lines += [f"| {name} | {value:,.1f} |" for name, value in figures_of_hub(members_count).items()]
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str] | None = None) -> None:
    assert __doc__ is not None
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--members", type=int, default=1000)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS)
    parser.add_argument("--output", type=Path, help="a folder, for fan-out.md")
    given = parser.parse_args(arguments)
    raise_descriptor_limit()
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    page = run(given.members, given.kinds)
    print(page)
    if given.output is not None:
        (given.output / "fan-out.md").write_text(page)


if __name__ == "__main__":
    main()
