"""What heartbeats cost: CPU of idle connections, and how their pings are spread.

    python -m benchmarks.heartbeats --connections 1000 --seconds 60

The connections are real sockets to a server in a process of its own, whose CPU time is what is
measured; the peers are raw sockets that answer pings and do nothing else.
"""

from __future__ import annotations

import argparse
import multiprocessing
import random
import resource
import select
import socket
import time
from pathlib import Path
from typing import TYPE_CHECKING, cast

import trio
import trio.testing

import trio_ws

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.connection import Connection as Pipe

HANDSHAKE = (
    b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
#: An unsolicited payload would do for life, but latency wants the ping's own, so it is echoed.
MASKED_PONG = b"\x8a\x88\0\0\0\0"


async def wait_for_the_end(ws: trio_ws.WebSocket) -> None:
    async for _ in ws:
        pass


def resident() -> int:
    """KiB of memory that this process holds."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() // 1024


def serve(pipe: Pipe, interval: float) -> None:
    """The server's process: tells its port, and its CPU time whenever it is asked."""
    heartbeat = trio_ws.Heartbeat(interval=interval) if interval else None

    async def main() -> None:
        async with trio.open_nursery() as nursery:

            async def start(task_status: trio.TaskStatus[trio_ws.Server]) -> None:
                await trio_ws.serve(
                    wait_for_the_end, "127.0.0.1", 0, heartbeat=heartbeat, task_status=task_status
                )

            server: trio_ws.Server = await nursery.start(start)
            pipe.send(server.port)
            while await trio.to_thread.run_sync(pipe.recv):
                usage = resource.getrusage(resource.RUSAGE_SELF)
                memory = resident()
                pipe.send((usage.ru_utime + usage.ru_stime, memory, len(server.connections)))
            nursery.cancel_scope.cancel()

    trio.run(main)


def measure(connections: int, seconds: float, interval: float) -> tuple[float, float]:
    """CPU seconds that the server took in *seconds*, and KiB of memory per connection."""
    # Spawned, not forked: memory that is there already would hide what connections take.
    spawning = multiprocessing.get_context("spawn")
    ours, theirs = spawning.Pipe()
    process = spawning.Process(target=serve, args=(theirs, interval))
    process.start()
    port = ours.recv()
    ours.send(True)
    memory_before = ours.recv()[1]
    poll = select.epoll()
    peers = {}
    for _ in range(connections):
        peer = socket.create_connection(("127.0.0.1", port))
        peer.sendall(HANDSHAKE)
        assert peer.recv(4096).startswith(b"HTTP/1.1 101")
        peers[peer.fileno()] = peer
        poll.register(peer, select.EPOLLIN)
    # The first round of pings is over before anything is measured.
    answer(poll, peers, interval or 1.0)
    ours.send(True)
    before, memory, there = ours.recv()
    assert there == connections
    answer(poll, peers, seconds)
    ours.send(True)
    after, _, there = ours.recv()
    assert there == connections
    for peer in peers.values():
        peer.close()
    ours.send(False)
    process.join()
    return after - before, (memory - memory_before) / connections


def answer(poll: select.epoll, peers: dict[int, socket.socket], seconds: float) -> None:
    """Answer pings for a while."""
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        for descriptor, _ in poll.poll(left):
            ping = peers[descriptor].recv(4096)
            peers[descriptor].sendall(MASKED_PONG + ping[2:10])


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
    parser.add_argument("--connections", type=int, default=1_000)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--interval", type=float, default=20.0)
    arguments = parser.parse_args()
    counts = spread(10_000)
    print("pings a second of 10,000 connections, interval 20 s:")
    for second in range(0, 60, 3):
        mean = sum(counts[second : second + 3]) / 3
        print(f"  {second:2}-{second + 3:2} s {mean:6.0f} {'#' * int(mean / 10)}")
    print(f"  least {min(counts)}, most {max(counts)}")
    for interval in (0.0, arguments.interval):
        cpu, memory = measure(arguments.connections, arguments.seconds, interval)
        each = cpu / arguments.connections * 60 / arguments.seconds
        print(
            f"{arguments.connections} connections, "
            f"{f'a ping every {interval:g} s' if interval else 'no heartbeat'}: "
            f"{cpu:.2f} s of CPU in {arguments.seconds:g} s, "
            f"{each * 1e3:.2f} ms per connection and minute; {memory:.1f} KiB each"
        )


if __name__ == "__main__":
    main()
