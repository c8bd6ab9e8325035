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
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Final, Protocol

import trio

from ._alarms import Alarm
from ._close import ClosedBy, CloseReason
from ._errors import ConnectionClosedError, HeartbeatTimeout, is_end_of
from ._standstill import ASLEEP, AwakeUntil, last_turns, seconds_asleep, stood_still
from .instrumentation import HeartbeatLost

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from ._websocket import PendingPing, WebSocket
    from .instrumentation import Hooks

#: Waking up takes longer than a ping, so pings that are due within this share of the interval
#: leave together,
_GRAIN: Final = 1 / 128
#: and their pongs are looked for together: seconds within which most have come.
_FIRST_LOOK: Final = 0.5

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
        await _follow(ws, self._rhythm(ws))

    def _rhythm(self, ws: WebSocket) -> _Rhythm:
        return _Steady(self)


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
        await _follow(ws, self._rhythm(ws))

    def _rhythm(self, ws: WebSocket) -> _Rhythm:
        return _WhenIdle(self, ws)


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
        await _follow(ws, self._rhythm(ws))

    def _rhythm(self, ws: WebSocket) -> _Rhythm:
        return _Adapting(self)


class _Rhythm(ABC):
    """When a policy of ours pings one connection, and how long it waits for life.

    Attributes:
      interval: seconds between pings, about.
      due: when the next ping is to leave, as far as is known now.
      timeout: seconds that the peer has to show life.
      misses: pings in a row that it may let pass without.
    """

    __slots__ = ()

    @property
    @abstractmethod
    def interval(self) -> float: ...

    @property
    @abstractmethod
    def due(self) -> float: ...

    @property
    @abstractmethod
    def timeout(self) -> float: ...

    @property
    @abstractmethod
    def misses(self) -> int: ...

    @abstractmethod
    def begin(self) -> None:
        """A ping leaves."""

    @abstractmethod
    def end(self, round_trip: float | None) -> None:
        """The peer is alive, or there is no telling; *round_trip* as `_probe` returns it."""


class _Steady(_Rhythm):
    __slots__ = ("_due", "_policy")

    def __init__(self, policy: Heartbeat) -> None:
        self._policy = policy
        self._due = trio.current_time() + policy.interval * policy.rng()

    @property
    def interval(self) -> float:
        return self._policy.interval

    @property
    def due(self) -> float:
        return self._due

    @property
    def timeout(self) -> float:
        return self._policy.timeout

    @property
    def misses(self) -> int:
        return self._policy.misses

    def begin(self) -> None:
        policy = self._policy
        self._due = trio.current_time() + _spread(policy.interval, policy.jitter, policy.rng)

    def end(self, round_trip: float | None) -> None:
        pass


class _WhenIdle(_Rhythm):
    __slots__ = ("_idle", "_not_before", "_policy", "_ws")

    def __init__(self, policy: IdleHeartbeat, ws: WebSocket) -> None:
        self._policy = policy
        self._ws = ws
        # Connections that open together and stay idle do not ping together.
        self._not_before = trio.current_time() + policy.idle * policy.rng()
        self._idle = self._chosen_idle()

    def _chosen_idle(self) -> float:
        # Earlier, never later: the other side of a proxy's timeout is the wrong one.
        return self._policy.idle * (1 - self._policy.jitter * self._policy.rng())

    @property
    def interval(self) -> float:
        return self._policy.idle

    @property
    def due(self) -> float:
        last = min(self._ws.last_received, self._ws.last_sent)
        return max(self._not_before, last + self._idle)

    @property
    def timeout(self) -> float:
        return self._policy.timeout

    @property
    def misses(self) -> int:
        return self._policy.misses

    def begin(self) -> None:
        # Where this side does not read, nothing is received, ping or no ping.
        self._not_before = trio.current_time() + self._idle

    def end(self, round_trip: float | None) -> None:
        self._idle = self._chosen_idle()


class _Adapting(_Rhythm):
    __slots__ = ("_due", "_policy", "_smoothed", "_timeout", "_variation")

    def __init__(self, policy: AdaptiveHeartbeat) -> None:
        self._policy = policy
        self._smoothed = self._variation = 0.0
        self._timeout = policy.maximum
        self._due = trio.current_time() + policy.interval * policy.rng()

    @property
    def interval(self) -> float:
        return self._policy.interval

    @property
    def due(self) -> float:
        return self._due

    @property
    def timeout(self) -> float:
        return self._timeout

    @property
    def misses(self) -> int:
        return self._policy.misses

    def begin(self) -> None:
        policy = self._policy
        self._due = trio.current_time() + _spread(policy.interval, policy.jitter, policy.rng)

    def end(self, round_trip: float | None) -> None:
        policy = self._policy
        if round_trip is None:
            # Alive, yet slower than the estimate: look again from the safe side.
            self._timeout = policy.maximum
            return
        if self._smoothed:
            self._variation += (abs(round_trip - self._smoothed) - self._variation) / 4
            self._smoothed += (round_trip - self._smoothed) / 8
        else:
            self._smoothed, self._variation = round_trip, round_trip / 2
        estimate = self._smoothed + 4 * self._variation
        self._timeout = min(policy.maximum, max(policy.minimum, estimate))


async def _follow(ws: WebSocket, rhythm: _Rhythm) -> None:
    while True:
        while (due := rhythm.due) > trio.current_time():
            if await _sleep_until(due):
                break
        rhythm.begin()
        rhythm.end(await _probe(ws, rhythm.timeout, rhythm.misses))


class Pulse(Alarm):
    """Follows a rhythm beside a connection, with a task only for a pong that does not come.

    A task that sleeps would take 3 KiB more, a third of an idle connection; one for each ping
    takes six times the processor time of a ping without.
    """

    __slots__ = ("_asleep", "_context", "_hooks", "_nursery", "_ping", "_rhythm", "_ws")

    def __init__(self, nursery: trio.Nursery, ws: WebSocket, rhythm: _Rhythm, hooks: Hooks) -> None:
        super().__init__()
        self._nursery = nursery
        self._ws = ws
        self._rhythm = rhythm
        self._hooks = hooks
        # The connection's own, for the sake of hooks.
        self._context = trio.lowlevel.current_task().context
        # What is in flight, and `seconds_asleep` when it left.
        self._ping: PendingPing | None = None
        self._asleep = 0.0
        self._set()

    def ring(self, *, awoke: bool) -> None:
        if self._ws.close_reason is not None:
            return
        try:
            self._context.run(self._ring, awoke=awoke)
        except Exception as error:
            # What to do about it is said in one place.
            self._nursery.start_soon(_heed, self._ws, partial(_raise, error), self._hooks)

    def _ring(self, *, awoke: bool) -> None:
        rhythm, ping = self._rhythm, self._ping
        due, now = rhythm.due, trio.current_time()
        if ping is not None:
            self._ping = None
            if awoke or ping.round_trip is None:
                self._nursery.start_soon(self._watch, ping)
                return
            ping.forget()
            rhythm.end(ping.round_trip)
            self._set()
        elif due - now > _grain(rhythm.interval) and not awoke:
            self._set()
        else:
            self._beat(now)

    def _set(self) -> None:
        """Ring when the next ping is due, or a little earlier together with others'."""
        grain = _grain(self._rhythm.interval)
        self.set(self._rhythm.due // grain * grain)

    def _beat(self, now: float) -> None:
        rhythm = self._rhythm
        rhythm.begin()
        self._asleep = seconds_asleep()
        self._ping = self._ws.start_ping()
        look = (now + 2 * _FIRST_LOOK) // _FIRST_LOOK * _FIRST_LOOK
        self.set(min(look, now + rhythm.timeout, rhythm.due))

    async def _watch(self, ping: PendingPing) -> None:
        await _heed(self._ws, partial(self._wait_for_life, ping), self._hooks)
        if self._ws.close_reason is None:
            self._set()

    async def _wait_for_life(self, ping: PendingPing) -> None:
        rhythm, sent = self._rhythm, (ping, self._asleep)
        rhythm.end(await _probe(self._ws, rhythm.timeout, rhythm.misses, sent))


async def _raise(error: Exception) -> None:
    raise error


def start_heartbeat(
    nursery: trio.Nursery, ws: WebSocket, policy: HeartbeatPolicy | None, hooks: Hooks
) -> Pulse | None:
    """Have *policy* watch over *ws*, in *nursery*.

    What is returned is to be cancelled when the nursery is left, or it keeps *ws* in memory.
    """
    if policy is None:
        return None
    # Not what is derived from them, which may have a `run` of its own.
    if (
        type(policy) is Heartbeat
        or type(policy) is IdleHeartbeat
        or type(policy) is AdaptiveHeartbeat
    ):
        return Pulse(nursery, ws, policy._rhythm(ws), hooks)
    nursery.start_soon(keep_alive, ws, policy, hooks)
    return None


async def keep_alive(ws: WebSocket, policy: HeartbeatPolicy, hooks: Hooks) -> None:
    """Run *policy* beside *ws*, and abort the connection at its verdict."""
    await _heed(ws, partial(policy.run, ws), hooks)
    if ws.close_reason is None:
        _logger.warning("%s: the heartbeat policy has returned: nobody watches now", ws.id)


async def _heed(ws: WebSocket, watch: Callable[[], Awaitable[None]], hooks: Hooks) -> None:
    """Abort the connection where *watch* raises a verdict, or crashes."""
    try:
        await watch()
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


async def _probe(
    ws: WebSocket,
    timeout: float,
    misses: int,
    sent: tuple[PendingPing, float] | None = None,
) -> float | None:
    """Ping until the peer shows life, or has missed *misses* pings.

    The first ping may have left already: *sent* is it, with `seconds_asleep` at that time.

    Returns the round trip; ``None`` where nothing can be said, or for a sign of life other than
    the pong.

    Raises:
      HeartbeatTimeout: no sign of life.
    """
    missed = 0
    while missed < misses:
        ping, asleep = sent or (ws.start_ping(), seconds_asleep())
        sent = None
        try:
            outcome = await _outcome(ws, ping, asleep, timeout)
        finally:
            ping.forget()
        if outcome in (_Outcome.ALIVE, _Outcome.UNREAD):
            return ping.round_trip
        missed += outcome is _Outcome.SILENT
    silent = trio.current_time() - ws.last_received
    text = f"no sign of life for {silent:.1f} s"
    raise HeartbeatTimeout(CloseReason(1011, text, ClosedBy.LOCAL, clean=False))


async def _outcome(ws: WebSocket, ping: PendingPing, asleep: float, timeout: float) -> _Outcome:
    """Wait for the pong, or for *timeout* seconds of silence that count.

    *asleep* is `seconds_asleep` when the ping left.
    """
    forgiven = -math.inf
    while seconds_asleep() - asleep <= ASLEEP:
        deadline = max(_silent_since(ws, ping), forgiven) + timeout
        with AwakeUntil(deadline):
            await ping.wait()
        if ping.round_trip is None:
            # What has arrived is read before it is judged.
            await last_turns()
        if seconds_asleep() - asleep > ASLEEP:
            break
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
    return _Outcome.ASLEEP


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


@lru_cache
def _grain(interval: float) -> float:
    """Seconds by which a ping may leave early: a power of two, of which others are multiples."""
    return math.ldexp(0.5, math.frexp(interval * _GRAIN)[1])


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
