"""When to try again, and when to stop: no clock and no I/O, so that it can be tested by itself.

`Backoff` says how long to wait. `Sequence` counts what has happened since the last connection
that was stable, and says what follows from a failure. The time is told to it.
"""

from __future__ import annotations

import random
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal

from .classification import Verdict

if TYPE_CHECKING:
    from collections.abc import Callable

    from .classification import Failure

#: Seconds over which clients come back after 1012, "service restart" (the IANA registry).
_RESTART_SPREAD: Final = (5.0, 30.0)
_CREDENTIALS_REFUSED: Final = frozenset({401, 403})


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """How long to wait before the next attempt, and when to stop trying.

    The n-th delay is at most ``initial * factor ** (n - 1)`` seconds and never over `maximum`.
    The sequence starts again only after a connection that stayed open for `stable_after` seconds
    and delivered something: a handshake is not success.

    Attributes:
      initial: seconds.
      factor: by which the bound grows, at least 1.
      maximum: seconds.
      jitter: ``"full"`` draws each delay between 0 and its bound, so that clients that were cut
        off together do not come back together; ``"none"`` takes the bound.
      stable_after: seconds.
      max_attempts: attempts in a sequence; ``None`` for no bound.
      max_elapsed: seconds spent on attempts and waits in a sequence, after which no attempt
        begins; time with a connection, or in which none is asked for, does not count.
      intensity: ``(n, seconds)``: more than *n* connections that were lost before they were
        stable, within *seconds*, are a failure of their own kind. ``None`` for no bound.
      max_retry_after: seconds up to which a server's ``Retry-After`` is honoured; one that asks
        for more gets as many.
      rng: gives numbers from 0 to 1.
    """

    initial: float = 0.5
    factor: float = 2.0
    maximum: float = 60.0
    jitter: Literal["full", "none"] = "full"
    stable_after: float = 10.0
    max_attempts: int | None = None
    max_elapsed: float | None = None
    intensity: tuple[int, float] | None = (5, 60.0)
    max_retry_after: float = 3600.0
    rng: Callable[[], float] = field(default=random.random, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not (self.initial > 0 and self.maximum >= self.initial and self.factor >= 1):
            raise ValueError(
                "Backoff needs 0 < initial <= maximum and factor >= 1, not "
                f"initial={self.initial!r}, maximum={self.maximum!r}, factor={self.factor!r}"
            )
        if self.jitter not in ("full", "none"):
            raise ValueError(f"Backoff.jitter is 'full' or 'none', not {self.jitter!r}")
        if not self.stable_after >= 0:
            raise ValueError(f"Backoff.stable_after must not be negative: {self.stable_after!r}")
        if self.max_attempts is not None and self.max_attempts < 1:
            raise ValueError(f"Backoff.max_attempts must be at least 1: {self.max_attempts!r}")
        if self.max_elapsed is not None and not self.max_elapsed > 0:
            raise ValueError(f"Backoff.max_elapsed must be positive: {self.max_elapsed!r}")
        if self.intensity is not None and not (self.intensity[0] >= 0 and self.intensity[1] > 0):
            raise ValueError(f"Backoff.intensity must be (n >= 0, seconds > 0): {self.intensity!r}")
        if not self.max_retry_after >= 0:
            raise ValueError(
                f"Backoff.max_retry_after must not be negative: {self.max_retry_after!r}"
            )

    def bound(self, failures: int) -> float:
        """The most that the delay after so many *failures* in a row can be, in seconds."""
        try:
            return min(self.maximum, self.initial * float(self.factor) ** (failures - 1))
        except OverflowError:
            return self.maximum

    def delay(self, failures: int) -> float:
        """A delay after so many *failures* in a row, at least 1, in seconds."""
        bound = self.bound(failures)
        return bound * self.rng() if self.jitter == "full" else bound


DEFAULT_BACKOFF: Final = Backoff()


class Sequence:
    """The attempts since the last stable connection was lost, or since the start.

    Attributes:
      attempt: the number of the attempt under way, or else of the last.
    """

    def __init__(self, backoff: Backoff) -> None:
        self._backoff = backoff
        self.attempt = 0
        self._failures = 0
        self._spent = 0.0
        self._since: float | None = None
        # When the last of them were lost: as many as it takes to break the bound.
        longest = 0 if backoff.intensity is None else backoff.intensity[0] + 1
        self._short_lived: deque[float] = deque(maxlen=longest)
        self._at_once_allowed = True
        self._refused = False

    def start_clock(self, now: float) -> None:
        """From *now* on a connection is sought: that is what ``max_elapsed`` bounds."""
        self._since = now

    def stop_clock(self, now: float) -> None:
        """One is there, or nobody wants one for now."""
        self._spent = self.elapsed(now)
        self._since = None

    def elapsed(self, now: float) -> float:
        """Seconds that have been spent on seeking a connection."""
        return self._spent + (0.0 if self._since is None else now - self._since)

    def begin_attempt(self) -> None:
        """Count one more attempt."""
        self.attempt += 1

    def drop_attempt(self) -> None:
        """The attempt under way was cancelled, so it says nothing about the other side."""
        self.attempt -= 1

    def connection_lost(self, now: float, *, open_for: float, delivered: bool) -> None:
        """Take note that a connection was lost. A stable one begins the sequence again.

        Args:
          now: when.
          open_for: seconds that it was open.
          delivered: whether anything came from the other side.
        """
        self._refused = False
        if open_for >= self._backoff.stable_after and delivered:
            self._begin_again(now)
        else:
            self._short_lived.append(now)

    def connection_closed(self, now: float, *, delivered: bool) -> None:
        """Take note that a connection was closed here, by choice: no failure, however short.

        One that delivered has done what was wanted of it, and begins the sequence again; one
        that did not is as if it had never been.
        """
        self._refused = False
        if delivered:
            self._begin_again(now)
        else:
            self.drop_attempt()

    def _begin_again(self, now: float) -> None:
        self.attempt = self._failures = 0
        self._spent = 0.0
        if self._since is not None:
            self._since = now
        self._at_once_allowed = True
        self._short_lived.clear()

    def may_renew(self, status: int | None) -> bool:
        """Whether other credentials may do, since these are the first that were refused.

        Args:
          status: the HTTP status of the present refusal, if it is one.
        """
        first = not self._refused
        self._refused = self._refused or status in _CREDENTIALS_REFUSED
        return first

    def delay_after_choice(self) -> float:
        """Seconds between a connection that was closed here and the next: the first step.

        It never grows, but a loop that closes what it gets does not make a client hammer.
        """
        return self._backoff.delay(1)

    def delay_after(self, failure: Failure, verdict: Verdict) -> float:
        """Count *failure*; return the seconds to wait before the next attempt, if there is one."""
        self._failures += 1
        delay = self._backoff.delay(self._failures)
        if verdict is Verdict.RETRY_AT_ONCE and self._at_once_allowed:
            self._at_once_allowed = False
            delay = 0.0
        if failure.reason is not None and failure.reason.code == 1012:
            shortest, longest = _RESTART_SPREAD
            delay = max(delay, shortest + (longest - shortest) * self._backoff.rng())
        if failure.retry_after is not None:
            # A floor; what the backoff draws on top keeps clients apart.
            delay += min(failure.retry_after, self._backoff.max_retry_after)
        return delay

    def problem(self, failure: Failure, delay: float, *, now: float) -> str | None:
        """Why no other attempt follows *failure* after *delay* seconds, if so."""
        backoff = self._backoff
        if backoff.max_attempts is not None and self.attempt >= backoff.max_attempts:
            return f"{_counted(self.attempt)} failed; the last: {failure}"
        if backoff.max_elapsed is not None and failure.elapsed + delay >= backoff.max_elapsed:
            return f"not connected within {backoff.max_elapsed:g} s; the last: {failure}"
        if backoff.intensity is not None:
            bound, seconds = backoff.intensity
            while self._short_lived and self._short_lived[0] < now - seconds:
                self._short_lived.popleft()
            if len(self._short_lived) > bound:
                return (
                    f"{len(self._short_lived)} connections within {seconds:g} s were lost as soon "
                    f"as they were open; the last: {failure}"
                )
        return None


def _counted(attempts: int) -> str:
    return "1 attempt" if attempts == 1 else f"{attempts} attempts"
