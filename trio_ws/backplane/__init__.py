"""Backplanes: what joins the hubs of several processes into one.

A `trio_ws.Hub` is given one as ``backplane=``. `MemoryBackplane`, which it has by default, joins
hubs of one process. A backplane of one's own is a `Backplane`, its `Link`, and what they tell a
`Receiver`.
"""

from ._interface import (
    Backplane,
    Envelope,
    Gap,
    History,
    Link,
    Position,
    Presence,
    PresenceChange,
    Receiver,
    Replay,
)
from .memory import MemoryBackplane

__all__ = [
    "Backplane",
    "Envelope",
    "Gap",
    "History",
    "Link",
    "MemoryBackplane",
    "Position",
    "Presence",
    "PresenceChange",
    "Receiver",
    "Replay",
]
