"""How long everything is measured for."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Pace:
    """Rounds and seconds.

    Attributes:
      rounds: measurements of each peer in each case, in turns.
      seconds: of each measurement, after *warm_up* seconds that do not count.
      settle: from the last idle connection on until memory is looked at.
      hold: for which the CPU time of idle connections is measured.
      most_connections: what cases that ask for more make do with.
    """

    rounds: int = 5
    seconds: float = 0.5
    warm_up: float = 0.1
    settle: float = 20.0
    hold: float = 20.0
    most_connections: int = 5_000


FULL = Pace()
#: For a look: the numbers are not worth quoting.
QUICK = Pace(rounds=1, seconds=0.2, warm_up=0.1, settle=0.5, most_connections=1_000)
