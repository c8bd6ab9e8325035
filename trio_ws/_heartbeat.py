"""Heartbeats: when to ping, and when silence means that the peer is dead.

A policy is any object with ``async def run(self, ws)``. It runs beside the connection and sees
only a `WebSocket`. It never returns, or raises `HeartbeatTimeout`, which aborts the connection.

No false alarms. Silence counts only

- from when the ping had been written to the socket, not from when it was queued;
- while this side was reading: with a full inbox, the pong lies unread behind its own back;
- if no byte at all has come since the ping left, whatever it was;
- after the receive task has had another turn, and, where this process itself stood still past
  the deadline, another ``timeout`` to catch up;

and after the machine was asleep, a new ping is sent at once rather than an old one judged. Pings
go out all the while, for those in between who close what is idle.

No missed deaths. A ping that cannot leave, because the peer does not read, is not judged here:
then ``Timeouts.write_stall`` ends the connection.
"""

from __future__ import annotations

import enum
import logging
import math
import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

import trio

from ._close import ClosedBy, CloseReason
from ._errors import ConnectionClosedError, HeartbeatTimeout, is_end_of
from ._standstill import ASLEEP, AwakeUntil, last_turns, seconds_asleep, stood_still
from .instrumentation import HeartbeatLost

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._websocket import PendingPing, WebSocket
    from .instrumentation import Hooks

_logger: Final = logging.getLogger("trio_ws.heartbeat")


class HeartbeatPolicy(Protocol):
    """What ``heartbeat=`` takes."""

    async def run(self, ws: WebSocket) -> None:
        """Watch over *ws* until cancelled, when the connection has ended.

        Raises:
          HeartbeatTimeout: the peer is dead.
          ConnectionClosed, trio.ClosedResourceError: those of *ws* may be let through; its end is
          known.

        Anything else is a crash, which aborts the connection with 1011.
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
      jitter: the share of it by which a ping may come earlier, 0 to 1.
      timeout, misses, rng: as in `Heartbeat`.
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
            # Earlier, never later: the other side of a proxy's timeout is the wrong one.
            idle = self.idle * (1 - self.jitter * self.rng())
            while True:
                due = max(not_before, min(ws.last_received, ws.last_sent) + idle)
                if due <= trio.current_time():
                    break
                if await _sleep_until(due):
                    break
            # Where this side does not read, nothing is received, ping or no ping.
            not_before = trio.current_time() + idle
            await _probe(ws, self.timeout, self.misses)


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
        if ws.close_reason is None:
            _logger.warning("%s: the heartbeat policy has returned: nobody watches now", ws.id)
    # A policy with a nursery raises groups.
    except* HeartbeatTimeout as verdicts:
        if ws.close_reason is None and hooks:
            hooks.tell(HeartbeatLost(id=ws.id, silent=trio.current_time() - ws.last_received))
        ws.abort(_first(verdicts))
    except* Exception as crashes:
        if not is_end_of(ws.id, crashes):
            _logger.exception("%s: the heartbeat policy crashed", ws.id)
            reason = CloseReason(1011, "the heartbeat crashed", ClosedBy.LOCAL, clean=False)
            ws.abort(ConnectionClosedError(reason))


def _first(verdicts: BaseExceptionGroup[HeartbeatTimeout]) -> HeartbeatTimeout:
    one = verdicts.exceptions[0]
    return _first(one) if isinstance(one, BaseExceptionGroup) else one


def check_policy(policy: object) -> None:
    """Refuse now what would crash every connection later.

    Raises:
      TypeError: *policy* is neither a `HeartbeatPolicy` nor ``None``.
    """
    if isinstance(policy, type):
        raise TypeError(f"heartbeat= takes a policy such as {policy.__name__}(), not its class")
    if policy is not None and not callable(getattr(policy, "run", None)):
        raise TypeError(
            f"heartbeat= takes a policy such as Heartbeat(interval=20), or None, not {policy!r}"
        )


class _Outcome(enum.Enum):
    """What became of one ping."""

    ALIVE = enum.auto()
    SILENT = enum.auto()
    UNREAD = enum.auto()
    """This side does not read, so there is no telling."""
    ASLEEP = enum.auto()
    """The machine slept meanwhile: whatever came of that ping, a new one tells more."""


async def _probe(ws: WebSocket, timeout: float, misses: int) -> float | None:
    """Ping until the peer shows life, or has missed *misses* pings.

    Returns the round trip; ``None`` where nothing can be said, or for a sign of life other than
    the pong.

    Raises:
      HeartbeatTimeout: no sign of life.
    """
    missed = 0
    while missed < misses:
        ping = ws.start_ping()
        try:
            outcome = await _outcome(ws, ping, timeout)
        finally:
            ping.forget()
        if outcome in (_Outcome.ALIVE, _Outcome.UNREAD):
            return ping.round_trip
        missed += outcome is _Outcome.SILENT
    silent = trio.current_time() - ws.last_received
    text = f"no sign of life for {silent:.1f} s"
    raise HeartbeatTimeout(CloseReason(1011, text, ClosedBy.LOCAL, clean=False))


async def _outcome(ws: WebSocket, ping: PendingPing, timeout: float) -> _Outcome:
    """Wait for the pong, or for *timeout* seconds of silence that count."""
    asleep = seconds_asleep()
    forgiven = -math.inf
    while True:
        deadline = max(_silent_since(ws, ping), forgiven) + timeout
        with AwakeUntil(deadline):
            await ping.wait()
        if ping.round_trip is None:
            # What has arrived is read before it is judged.
            await last_turns()
        if seconds_asleep() - asleep > ASLEEP:
            return _Outcome.ASLEEP
        if ping.round_trip is not None:
            return _Outcome.ALIVE
        now = trio.current_time()
        if now < deadline or ping.written_at is None:
            continue
        if ws.last_received > ping.written_at:
            return _Outcome.ALIVE
        if ws.reading_since is None:
            return _Outcome.UNREAD
        if stood_still(deadline, timeout):
            # Perhaps the peer's process as well.
            forgiven = now
        elif now >= _silent_since(ws, ping) + timeout:
            return _Outcome.SILENT


def _silent_since(ws: WebSocket, ping: PendingPing) -> float:
    """From when on silence counts, as far as is known now."""
    if ping.written_at is None:
        return trio.current_time()
    return max(ping.written_at, ws.reading_since or ping.written_at)


async def _sleep_until(due: float) -> bool:
    """Sleep; return early, and true, when the machine was asleep meanwhile."""
    asleep = seconds_asleep()
    while True:
        with AwakeUntil(due):
            await trio.sleep_forever()
        if seconds_asleep() - asleep > ASLEEP:
            return True
        if trio.current_time() >= due:
            return False


def _spread(seconds: float, jitter: float, rng: Callable[[], float]) -> float:
    return seconds * (1 + jitter * (2 * rng() - 1))


def _check(policy: Heartbeat | IdleHeartbeat | AdaptiveHeartbeat, **seconds: float) -> None:
    name = type(policy).__name__
    for option, value in seconds.items():
        if not value > 0:
            raise ValueError(f"{name}.{option} must be a positive number of seconds, not {value!r}")
        if value == math.inf and option in ("interval", "idle"):
            raise ValueError(f"{name}.{option} must be finite: heartbeat=None switches pings off")
    if not 0 <= policy.jitter <= 1:
        raise ValueError(f"{name}.jitter must be from 0 to 1, not {policy.jitter!r}")
    if not (isinstance(policy.misses, int) and policy.misses >= 1):
        raise ValueError(f"{name}.misses must be a whole number, at least 1: {policy.misses!r}")


#: What `serve` and `connect` use unless told otherwise.
DEFAULT_HEARTBEAT: Final = Heartbeat()
