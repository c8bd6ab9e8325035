"""What a message through Redis takes: ``python -m benchmarks.through_redis [--processes 2 4]``.

A Redis of its own, and processes that each have a hub with a subscriber. One of them publishes:
first 1,000 messages of 64 bytes a second, of which each says when it was sent; then as many as it
can.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import trio

import trio_ws
from trio_ws.backplane.redis import RedisBackplane

if TYPE_CHECKING:
    from collections.abc import Sequence

_RATE = 1000
_SECONDS = 3.0
#: What pads a message to 64 bytes.
_PADDING = "x" * 44


async def _listen(url: str) -> None:
    """Be one of the processes: read commands, and print figures."""
    hub = trio_ws.Hub(
        backplane=RedisBackplane(url), limits=trio_ws.HubLimits(backlog_messages=1_000_000)
    )
    async with hub, hub.subscribe("room") as messages:
        print("ready", flush=True)
        delays: list[float] = []
        count = 0
        async for message in messages:
            kind, _, rest = str(message).partition(" ")
            if kind == "timed":
                delays.append(time.monotonic() - float(rest.split()[0]))
            elif kind == "fast":
                count += 1
            elif kind == "end":
                break
        cuts = statistics.quantiles(delays, n=100)
        print(cuts[49], cuts[98], len(delays), count, flush=True)


async def _publish(url: str) -> None:
    """Be the one that publishes."""
    async with trio_ws.Hub(backplane=RedisBackplane(url)) as hub:
        began = trio.current_time()
        for number in range(int(_RATE * _SECONDS)):
            await trio.sleep_until(began + number / _RATE)
            await hub.publish("room", f"timed {time.monotonic():.9f} {_PADDING[:35]}")
        await trio.sleep(0.5)
        began, before, count = trio.current_time(), time.process_time(), 0
        while trio.current_time() < began + _SECONDS:
            await hub.publish("room", f"fast {_PADDING[:59]}")
            count += 1
        took, own = trio.current_time() - began, time.process_time() - before
        await hub.publish("room", "end")
        await trio.sleep(1)
    print(count / took, own / count * 1e6, flush=True)


def _processor_time(process: int) -> float:
    fields = open(f"/proc/{process}/stat").read().rpartition(")")[2].split()  # noqa: SIM115
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _start(*arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "benchmarks.through_redis", *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def measure(processes: int) -> str:
    """Do it with so many processes that listen; return a line of figures."""
    from tests.e2e.processes import free_port

    port = free_port()
    redis = subprocess.Popen(
        ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", ""],
        stdout=subprocess.PIPE,
        text=True,
    )
    url = f"redis://127.0.0.1:{port}/0"
    started = [redis]
    try:
        assert redis.stdout is not None
        while "Ready to accept" not in redis.stdout.readline():
            pass
        listening = [_start("--listen", url) for _ in range(processes)]
        started += listening
        for one in listening:
            assert one.stdout is not None
            assert one.stdout.readline() == "ready\n"
        before = _processor_time(redis.pid)
        publishing = _start("--publish", url)
        started.append(publishing)
        rate, own = map(float, publishing.communicate()[0].split())
        spent = _processor_time(redis.pid) - before
        heard = [[float(word) for word in one.communicate()[0].split()] for one in listening]
    finally:
        for one in started:
            one.kill()
            one.wait()
    p50 = statistics.median(figures[0] for figures in heard) * 1e3
    p99 = max(figures[1] for figures in heard) * 1e3
    received = min(figures[3] for figures in heard) / _SECONDS
    published = rate * _SECONDS + _RATE * _SECONDS
    return (
        f"{processes} processes: p50 {p50:.2f} ms, p99 {p99:.2f} ms at {_RATE}/s; at most "
        f"{rate:,.0f}/s published and {received:,.0f}/s received by each; processor time of a "
        f"message: {own:.0f} us to publish, {spent / published * 1e6:.0f} us of Redis"
    )


def main(arguments: Sequence[str] | None = None) -> None:
    assert __doc__ is not None
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--processes", type=int, nargs="+", default=[2, 4])
    parser.add_argument("--listen", help=argparse.SUPPRESS)
    parser.add_argument("--publish", help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.listen:
        trio.run(_listen, given.listen)
    elif given.publish:
        trio.run(_publish, given.publish)
    else:
        for processes in given.processes:
            print(measure(processes), flush=True)


if __name__ == "__main__":
    main()
