"""The pings of one connection that wait for their pongs (RFC 6455, section 5.5.2)."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from collections.abc import Callable


class _Waiter:
    """One ping in flight. `round_trip` stays ``None`` when the connection ended first."""

    __slots__ = ("answered", "round_trip", "sent_at")

    def __init__(self, sent_at: float) -> None:
        self.sent_at = sent_at
        self.answered = trio.Event()
        self.round_trip: float | None = None


class Pings:
    """Pings in flight, oldest first.

    Attributes:
      latency: seconds, of the last pong that matched its ping; ``None`` before the first.
    """

    __slots__ = ("_waiters", "latency")

    def __init__(self) -> None:
        self.latency: float | None = None
        self._waiters: dict[bytes, _Waiter] = {}

    def __len__(self) -> int:
        return len(self._waiters)

    def new_payload(self) -> bytes:
        """A payload that no ping in flight has, and that no peer can guess."""
        return secrets.token_bytes(8)

    async def round_trip(self, payload: bytes, send: Callable[[bytes], object]) -> float | None:
        """Send a ping and wait for its pong; ``None`` when the connection ended first.

        Raises:
          ValueError: a ping with this payload is in flight already.
        """
        if payload in self._waiters:
            raise ValueError(f"a ping with the payload {payload!r} is in flight already")
        waiter = self._waiters[payload] = _Waiter(trio.current_time())
        try:
            send(payload)
            await waiter.answered.wait()
        finally:
            if self._waiters.get(payload) is waiter:
                del self._waiters[payload]
        return waiter.round_trip

    def settle(self, payload: bytes) -> None:
        """A pong has come: it answers its ping and, as peers may skip some, all before it."""
        matching = self._waiters.get(payload)
        if matching is None:
            return
        now = trio.current_time()
        self.latency = now - matching.sent_at
        for key, waiter in list(self._waiters.items()):
            waiter.round_trip = now - waiter.sent_at
            waiter.answered.set()
            del self._waiters[key]
            if key == payload:
                break

    def wake_all(self) -> None:
        """The connection has ended: nobody waits any longer."""
        for waiter in self._waiters.values():
            waiter.answered.set()
