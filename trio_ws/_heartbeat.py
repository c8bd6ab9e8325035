"""Heartbeats: when to ping, and when silence means that the peer is dead.

A policy is any object with ``async def run(self, ws)``. It runs beside the connection and sees
only a `WebSocket`. It never returns, or raises `HeartbeatTimeout`, which aborts the connection.

No false alarms. Silence counts only

- from when the ping had been written to the socket, not from when it was queued;
- while this side was reading: with a full inbox, the pong lies unread behind its own back;
- if no byte at all has come since the ping left, whatever it was;
- after the receive task has had another turn, and, where this process itself stood still past
  the deadline, another ``timeout`` to catch up;

and after the machine was asleep, a new ping is sent at once rather than an old one judged.

No missed deaths. A ping that cannot leave, because the peer does not read, is not judged here:
then ``Timeouts.write_stall`` ends the connection.
"""

from __future__ import annotations

import logging
import random
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

import trio

from ._close import ClosedBy, CloseReason
from ._errors import ConnectionClosed, ConnectionClosedError, HeartbeatTimeout
from .instrumentation import HeartbeatLost

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._websocket import PendingPing, WebSocket
    from .instrumentation import Hooks

_logger: Final = logging.getLogger("trio_ws.heartbeat")

#: Waking up later than this share of the timeout means that the event loop stood still.
_LATE: Final = 0.25
#: Turns that other tasks get before a verdict, to read what has arrived: TLS needs several.
_LAST_TURNS: Final = 5
#: A wait is looked at this often, in seconds, because the clock of tasks stops while the machine
#: is asleep: nothing else would tell of it for the rest of the wait.
_LOOK: Final = 10.0
#: Seconds of sleep that count; adjusted clocks give less.
_ASLEEP: Final = 1.0


class HeartbeatPolicy(Protocol):
    """What ``heartbeat=`` takes."""

    async def run(self, ws: WebSocket) -> None:
        """Watch over *ws* until cancelled, when the connection has ended.

        Raises:
          HeartbeatTimeout: the peer is dead.
          ConnectionClosed, trio.ClosedResourceError: may be let through; the end is known.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class Heartbeat:
    """A ping every *interval* seconds.

    The first leaves after a random part of the interval, so that ten thousand connections do
    not ping in one instant.

    Attributes:
      interval: seconds between pings.
      timeout: seconds from the writing of a ping within which the peer must show life.
      jitter: the share of the interval by which each one varies, 0 to 1.
      misses: pings in a row that must go unanswered before the verdict.
      rng: gives numbers from 0 to 1.
    """

    interval: float = 20.0
    timeout: float = 20.0
    jitter: float = 0.1
    misses: int = 1
    rng: Callable[[], float] = field(default=random.random, repr=False, compare=False)

    def __post_init__(self) -> None:
        _check(self, interval=self.interval, timeout=self.timeout)

    async def run(self, ws: WebSocket) -> None:
        """See `HeartbeatPolicy.run`."""
        due = trio.current_time() + self.interval * self.rng()
        while True:
            await _sleep_until(due)
            due = trio.current_time() + _spread(self.interval, self.jitter, self.rng)
            await _probe(ws, self.timeout, self.misses)


@dataclass(frozen=True, slots=True, kw_only=True)
class IdleHeartbeat:
    """A ping when nothing was received, or nothing sent, for *idle* seconds.

    Either direction counts, because a proxy may time out either.

    Attributes:
      idle: seconds without traffic in one direction after which to ping.
      timeout, jitter, misses, rng: as in `Heartbeat`.
    """

    idle: float = 20.0
    timeout: float = 20.0
    jitter: float = 0.1
    misses: int = 1
    rng: Callable[[], float] = field(default=random.random, repr=False, compare=False)

    def __post_init__(self) -> None:
        _check(self, idle=self.idle, timeout=self.timeout)

    async def run(self, ws: WebSocket) -> None:
        """See `HeartbeatPolicy.run`."""
        # Connections that open together and stay idle do not ping together.
        not_before = trio.current_time() + self.idle * self.rng()
        while True:
            idle = _spread(self.idle, self.jitter, self.rng)
            while True:
                due = max(not_before, min(ws.last_received, ws.last_sent) + idle)
                if due <= trio.current_time():
                    break
                if await _sleep_until(due):
                    break
            await _probe(ws, self.timeout, self.misses)
            # Where this side does not read, nothing is received, ping or no ping.
            not_before = trio.current_time() + idle


@dataclass(frozen=True, slots=True, kw_only=True)
class AdaptiveHeartbeat:
    """A ping every *interval* seconds, with a timeout that follows the round trips.

    The timeout is the smoothed round trip and four times its variation, as TCP's is (RFC 6298),
    within bounds; before the first answer, *maximum*.

    Attributes:
      interval, jitter, misses, rng: as in `Heartbeat`.
      minimum: seconds below which the timeout never goes.
      maximum: seconds above which it never goes.
    """

    interval: float = 20.0
    minimum: float = 2.0
    maximum: float = 20.0
    jitter: float = 0.1
    misses: int = 2
    rng: Callable[[], float] = field(default=random.random, repr=False, compare=False)

    def __post_init__(self) -> None:
        _check(self, interval=self.interval, minimum=self.minimum, maximum=self.maximum)
        if self.minimum > self.maximum:
            raise ValueError(
                f"AdaptiveHeartbeat.minimum ({self.minimum:g}) is over its maximum "
                f"({self.maximum:g})"
            )

    async def run(self, ws: WebSocket) -> None:
        """See `HeartbeatPolicy.run`."""
        smoothed = variation = 0.0
        timeout = self.maximum
        due = trio.current_time() + self.interval * self.rng()
        while True:
            await _sleep_until(due)
            due = trio.current_time() + _spread(self.interval, self.jitter, self.rng)
            round_trip = await _probe(ws, timeout, self.misses)
            if round_trip is None:
                # Alive, yet slower than the estimate: look again from the safe side.
                timeout = self.maximum
                continue
            if smoothed:
                variation += (abs(round_trip - smoothed) - variation) / 4
                smoothed += (round_trip - smoothed) / 8
            else:
                smoothed, variation = round_trip, round_trip / 2
            timeout = min(self.maximum, max(self.minimum, smoothed + 4 * variation))


async def keep_alive(ws: WebSocket, policy: HeartbeatPolicy, hooks: Hooks) -> None:
    """Run *policy* beside *ws*, and abort the connection at its verdict."""
    try:
        await policy.run(ws)
    except HeartbeatTimeout as error:
        if ws.close_reason is None:
            silent = trio.current_time() - ws.last_received
            hooks.tell(HeartbeatLost(id=ws.id, silent=silent))
        ws.abort(error)
    except (ConnectionClosed, trio.ClosedResourceError):
        # The connection has ended, and who uses it knows.
        return
    except Exception:
        _logger.exception("%s: the heartbeat policy crashed", ws.id)
        reason = CloseReason(1011, "the heartbeat crashed", ClosedBy.LOCAL, clean=False)
        ws.abort(ConnectionClosedError(reason))


async def _probe(ws: WebSocket, timeout: float, misses: int) -> float | None:
    """Ping up to *misses* times until the peer shows life.

    Returns the round trip; ``None`` for a sign of life other than the pong.

    Raises:
      HeartbeatTimeout: no sign of life.
    """
    for _ in range(misses):
        ping = ws.start_ping()
        try:
            if await _shows_life(ws, ping, timeout):
                return ping.round_trip
        finally:
            ping.forget()
    silent = trio.current_time() - ws.last_received
    text = f"no sign of life for {silent:.1f} s"
    raise HeartbeatTimeout(CloseReason(1011, text, ClosedBy.LOCAL, clean=False))


async def _shows_life(ws: WebSocket, ping: PendingPing, timeout: float) -> bool:
    """Wait for the pong, or *timeout* seconds of silence that count."""
    asleep = _seconds_asleep()
    extended_to = 0.0
    while True:
        deadline = max(_deadline(ws, ping, timeout), extended_to)
        with trio.move_on_at(min(deadline, trio.current_time() + _LOOK)):
            await ping.wait()
            return True
        # What has arrived is read before it is judged.
        for _ in range(_LAST_TURNS):
            await trio.lowlevel.checkpoint()
        now = trio.current_time()
        if ping.written_at is not None and ws.last_received > ping.written_at and now >= deadline:
            return True
        if not extended_to and now - deadline > _LATE * timeout:
            # This process stood still, perhaps with the peer's.
            extended_to = now + timeout
        elif _seconds_asleep() - asleep > _ASLEEP:
            # The machine was asleep: whatever came of that ping, a new one tells more.
            return await _survives_sleep(ws, timeout)
        elif now >= max(_deadline(ws, ping, timeout), extended_to):
            return False


async def _survives_sleep(ws: WebSocket, timeout: float) -> bool:
    ping = ws.start_ping()
    try:
        return await _shows_life(ws, ping, timeout)
    finally:
        ping.forget()


def _deadline(ws: WebSocket, ping: PendingPing, timeout: float) -> float:
    """When silence becomes a verdict, as far as is known now."""
    if ping.written_at is None or ws.reading_since is None:
        return trio.current_time() + timeout
    return max(ping.written_at, ws.reading_since) + timeout


async def _sleep_until(due: float) -> bool:
    """Sleep; return early, and true, when the machine was asleep meanwhile."""
    asleep = _seconds_asleep()
    while True:
        left = due - trio.current_time()
        await trio.sleep(max(0.0, min(left, _LOOK)))
        if _seconds_asleep() - asleep > _ASLEEP:
            return True
        if left <= _LOOK:
            return False


def _seconds_asleep() -> float:
    """How far clocks that go on while the machine sleeps are ahead of the one that stops."""
    if hasattr(time, "CLOCK_BOOTTIME"):
        return time.clock_gettime(time.CLOCK_BOOTTIME) - time.monotonic()
    return time.time() - time.monotonic()


def _spread(seconds: float, jitter: float, rng: Callable[[], float]) -> float:
    return seconds * (1 + jitter * (2 * rng() - 1))


def _check(policy: Heartbeat | IdleHeartbeat | AdaptiveHeartbeat, **seconds: float) -> None:
    name = type(policy).__name__
    for option, value in seconds.items():
        if not value > 0:
            raise ValueError(f"{name}.{option} must be a positive number of seconds, not {value!r}")
    if not 0 <= policy.jitter <= 1:
        raise ValueError(f"{name}.jitter must be from 0 to 1, not {policy.jitter!r}")
    if policy.misses < 1:
        raise ValueError(f"{name}.misses must be at least 1, not {policy.misses!r}")


#: What `serve` and `connect` use unless told otherwise.
DEFAULT_HEARTBEAT: Final = Heartbeat()
