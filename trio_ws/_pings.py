"""The pings of one connection that wait for their pongs (RFC 6455, section 5.5.2)."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Final

import trio

from ._websocket import LatencyStatistics, PendingPing

if TYPE_CHECKING:
    from collections.abc import Callable

#: How much of a new round trip goes into the smoothed one (RFC 6298, section 2).
_SMOOTHING: Final = 1 / 8
#: What has no ping in flight has in place of a dict of its own: one that was used once takes 232
#: bytes, and heartbeats use it once in a while. Nothing is ever put into it.
_NOTHING: Final[dict[bytes, _PendingPing]] = {}


class Pings:
    """Pings in flight, oldest first.

    Args:
      closed: makes what a waiter raises once the connection has ended.
    """

    __slots__ = ("_closed", "_pending", "statistics")

    def __init__(self, closed: Callable[[], Exception]) -> None:
        #: ``None`` before the first answered ping.
        self.statistics: LatencyStatistics | None = None
        self._closed = closed
        self._pending = _NOTHING

    def __len__(self) -> int:
        return len(self._pending)

    def start(self, payload: bytes | None) -> _PendingPing:
        """A ping that waits for its pong from now on.

        Raises:
          ValueError: a ping with this payload is in flight already.
        """
        if payload is None:
            # Such that no peer can guess it.
            payload = secrets.token_bytes(8)
        elif payload in self._pending:
            raise ValueError(f"a ping with the payload {payload!r} is in flight already")
        if self._pending is _NOTHING:
            self._pending = {}
        ping = self._pending[payload] = _PendingPing(self, payload)
        return ping

    def forget(self, ping: PendingPing) -> None:
        """Let nobody wait for *ping* any longer."""
        if self._pending.get(ping.payload) is ping:
            self._remove(ping.payload)

    def settle(self, payload: bytes) -> float | None:
        """A pong has come: it answers its ping and, as peers may skip some, all before it.

        Returns the round trip; ``None`` when no ping was waiting for it.
        """
        if payload not in self._pending:
            return None
        now = trio.current_time()
        for key, ping in list(self._pending.items()):
            ping.answered_at(now)
            self._remove(key)
            if key == payload:
                break
        round_trip = ping.round_trip
        assert round_trip is not None
        self._count(round_trip)
        return round_trip

    def _remove(self, payload: bytes) -> None:
        del self._pending[payload]
        if not self._pending:
            self._pending = _NOTHING

    def _count(self, round_trip: float) -> None:
        before = self.statistics
        if before is None:
            self.statistics = LatencyStatistics(round_trip, round_trip, round_trip, round_trip)
        else:
            self.statistics = LatencyStatistics(
                last=round_trip,
                smoothed=before.smoothed + _SMOOTHING * (round_trip - before.smoothed),
                minimum=min(before.minimum, round_trip),
                maximum=max(before.maximum, round_trip),
            )

    def wake_all(self) -> None:
        """The connection has ended: nobody waits any longer."""
        for ping in self._pending.values():
            ping.answered.set()

    def closed(self) -> Exception:
        """What a waiter raises once the connection has ended."""
        return self._closed()


class _PendingPing(PendingPing):
    """One ping in flight. `round_trip` stays ``None`` when the connection ended first."""

    __slots__ = ("_pings", "_queued_at", "_round_trip", "_written_at", "answered", "payload")

    def __init__(self, pings: Pings, payload: bytes) -> None:
        self.payload = payload
        self.answered = trio.Event()
        self._pings = pings
        self._queued_at = trio.current_time()
        self._written_at: float | None = None
        self._round_trip: float | None = None

    @property
    def written_at(self) -> float | None:
        return self._written_at

    @property
    def round_trip(self) -> float | None:
        return self._round_trip

    async def wait(self) -> float:
        await self.answered.wait()
        if self._round_trip is None:
            raise self._pings.closed()
        return self._round_trip

    def forget(self) -> None:
        self._pings.forget(self)

    def written(self) -> None:
        """The transport has taken the ping's frame."""
        self._written_at = trio.current_time()

    def answered_at(self, now: float) -> None:
        """Its pong, or a later one, came at *now*."""
        # An answer can be read before the send task hears that the transport took the ping.
        self._round_trip = now - (self._queued_at if self._written_at is None else self._written_at)
        self.answered.set()
