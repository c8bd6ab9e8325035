"""What ``--ping-interval`` and ``--ping-timeout`` mean."""

from __future__ import annotations

from .._heartbeat import Heartbeat


def heartbeat_of(interval: float, timeout: float) -> Heartbeat | None:
    """The heartbeat, or none where either is 0."""
    if not (interval and timeout):
        return None
    return Heartbeat(interval=interval, timeout=timeout)
