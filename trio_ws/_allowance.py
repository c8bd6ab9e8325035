"""How many control frames a peer may send (RFC 6455, section 5.5, leaves that open)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from ._settings import Limits


class ControlAllowance:
    """What is left to the peer: it grows at `Limits.control_frame_rate`, up to the burst.

    Time in which this side did not read counts without that bound: the frames of all of it come
    at once when reading goes on.
    """

    __slots__ = ("_burst", "_counted_at", "_left", "_rate")

    def __init__(self, limits: Limits) -> None:
        self._burst: float = limits.control_frame_burst
        self._rate = limits.control_frame_rate
        self._left: float = self._burst
        self._counted_at = trio.current_time()

    def spend(self) -> bool:
        """Count one control frame; false when it is one too many."""
        self._count_until(trio.current_time())
        self._left -= 1
        return self._left >= 0

    def reading_resumed(self, paused_at: float) -> None:
        """Reading, which stopped at *paused_at*, goes on."""
        now = trio.current_time()
        self._count_until(paused_at)
        self._left += (now - paused_at) * self._rate
        self._counted_at = now

    def _count_until(self, now: float) -> None:
        earned = (now - self._counted_at) * self._rate
        self._left = max(self._left, min(self._left + earned, self._burst))
        self._counted_at = now
