"""Help for tests: connected pairs in memory, a network that fails on demand, and a contract.

A `Network` is made of `Wire`\\ s, which suffer from `Faults`: latency, little bandwidth, cuts at a
byte, stalls, half-closes. Nothing in it touches a socket, and time is the Trio clock's, so that
with `trio.testing.MockClock` a minute of a bad network takes milliseconds. What is left to chance
comes from a seed.
"""

from __future__ import annotations

from .._contract import check_websocket
from ._faults import NO_FAULTS, Direction, Faults, Wire, WireStream
from ._network import Network
from ._pairs import Pair, open_pair
from ._scheduling import shuffled_tasks

__all__ = [
    "NO_FAULTS",
    "Direction",
    "Faults",
    "Network",
    "Pair",
    "Wire",
    "WireStream",
    "check_websocket",
    "open_pair",
    "shuffled_tasks",
]
