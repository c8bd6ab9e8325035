"""Messages there and back, as many as the peer can do.

As little as possible per message: replies are counted by their bytes, and what is sent is a slice
of an endless repetition that was made beforehand. What came is checked exactly: the first reply of
each connection by its content, all of them by the number of bytes when the last one is there.
"""

from __future__ import annotations

import dataclasses
import select
import time
from typing import TYPE_CHECKING

from . import opening
from .line import Line
from .orders import TOO_MUCH, LoadError
from .stopwatch import Stopwatch

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Sequence

    from .orders import Load, Measurement
    from .traffic import Traffic

#: Both edges at once: no call to change what is waited for, and none to find nothing there.
_EVENTS = select.EPOLLIN | select.EPOLLOUT | select.EPOLLET


@dataclasses.dataclass(slots=True)
class Tally:
    """What is counted while it is measured."""

    replies: int = 0
    seconds: float = 0.0


class Exchange:
    """All connections of one measurement."""

    def __init__(self, load: Load, traffic: Traffic, streams: Sequence[socket.socket]) -> None:
        self._load = load
        self._traffic = traffic
        stretch = traffic.stretch(load.in_flight)
        for stream in streams:
            check_first_reply(stream, traffic)
        self.lines = [Line(stream, traffic, stretch) for stream in streams]
        self._poll = select.epoll()
        self._by_descriptor = {line.stream.fileno(): line for line in self.lines}
        for descriptor in self._by_descriptor:
            self._poll.register(descriptor, _EVENTS)
        self.latencies: list[float] = []

    def measure(self) -> Measurement:
        """Send and receive for as long as the load says, and see that all came back."""
        load, step = self._load, self._step_for()
        for line in self.lines:
            line.sent_at = time.perf_counter()
            line.allow(load.in_flight)
        self._run(load.warm_up, step)
        self.latencies.clear()
        before, stopwatch = self._received(), Stopwatch(load.pid)
        tally = self._run(load.seconds, step)
        measurement = stopwatch.measurement(tally.replies * self._traffic.weight, tally.seconds)
        received = self._received() - before
        if load.kind != "send":
            self._drain()
        return self._with_details(measurement, received)

    def _step_for(self) -> Callable[[], int]:
        if self._load.kind == "send":
            return self._step_receiving
        return self._step_timed if self._load.in_flight == 1 else self._step

    def _received(self) -> int:
        """Bytes so far."""
        return sum(line.received for line in self.lines)

    def _with_details(self, measurement: Measurement, received: int) -> Measurement:
        size = self._traffic.size or self._load.size
        p50, p90, p99 = percentiles(self.latencies)
        return dataclasses.replace(
            measurement,
            connections=len(self.lines),
            wire_ratio=received / measurement.messages / size,
            p50=p50,
            p90=p90,
            p99=p99,
        )

    def _run(self, seconds: float, step: Callable[[], int]) -> Tally:
        """Go on for *seconds*, and until a reply is complete: from one reply to another."""
        start = now = time.perf_counter()
        end, last, replies, done = start + seconds, start, 0, 0
        while now < end or not done:
            done = step()
            now = time.perf_counter()
            if done:
                replies, last = replies + done, now
            elif now - last > opening.PATIENCE:
                raise LoadError(f"no reply for {opening.PATIENCE:g} s")
        return Tally(replies, last - start)

    def _step(self) -> int:
        by_descriptor, total = self._by_descriptor, 0
        for descriptor, events in self._poll.poll(1.0):
            line = by_descriptor[descriptor]
            if events & ~select.EPOLLOUT:
                done = line.pull()
                if done:
                    total += done
                    line.allow(done)
                    continue
            if line.owed:
                line.push()
        return total

    def _step_timed(self) -> int:
        by_descriptor, total, clock = self._by_descriptor, 0, time.perf_counter
        for descriptor, events in self._poll.poll(1.0):
            line = by_descriptor[descriptor]
            if events & ~select.EPOLLOUT and (done := line.pull()):
                if done > 1:
                    raise LoadError(TOO_MUCH)
                now = clock()
                self.latencies.append(now - line.sent_at)
                line.sent_at = now
                total += 1
                line.allow(1)
            elif line.owed:
                line.push()
        return total

    def _step_receiving(self) -> int:
        return sum(self._by_descriptor[descriptor].pull() for descriptor, _ in self._poll.poll(1.0))

    def _drain(self) -> None:
        """Wait for the last replies, and see that nothing is missing and nothing too much."""
        missing = dict.fromkeys(self.lines, self._load.in_flight)
        deadline = time.monotonic() + opening.PATIENCE
        while missing:
            if time.monotonic() > deadline:
                raise LoadError(f"{len(missing)} connections lack replies")
            for descriptor, _ in self._poll.poll(0.1):
                line = self._by_descriptor[descriptor]
                line.push()
                left = missing.pop(line, 0) - line.pull()
                if left < 0 or (not left and not line.whole):
                    raise LoadError(TOO_MUCH)
                if left:
                    missing[line] = left


def check_first_reply(stream: socket.socket, traffic: Traffic) -> None:
    """Send one message by itself, and compare what comes back."""
    stream.sendall(traffic.probe)
    if traffic.raw:
        reply = opening.received(stream, traffic.reply_size)
    else:
        reply = opening.received_frame(stream)
    if traffic.carried(reply) != traffic.expected:
        raise LoadError("the first reply differs from what was sent")
    if traffic.reply_size and len(reply) != traffic.reply_size:
        raise LoadError(f"a reply takes {len(reply)} bytes, not {traffic.reply_size}")


def percentiles(seconds: Sequence[float]) -> tuple[float, float, float]:
    """The 50th, 90th and 99th in microseconds, zeros if there is nothing."""
    ranked = sorted(seconds) or [0.0]
    p50, p90, p99 = (
        ranked[min(len(ranked) - 1, len(ranked) * percent // 100)] * 1e6 for percent in (50, 90, 99)
    )
    return p50, p90, p99
