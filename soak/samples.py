"""What was measured once a second, and what it says."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """The server at one moment.

    Attributes:
      at: seconds since the clients began.
      resident: bytes of memory (RSS).
      tasks: Trio's tasks.
      descriptors: open files.
      connections: connections that its servers hold.
      p50, p99: seconds from a message to its echo, of clients whose network is good, since the
        sample before; 0 where there were none.
    """

    at: float
    resident: int
    tasks: int
    descriptors: int
    connections: int
    p50: float
    p99: float


@dataclass(frozen=True, slots=True)
class Slope:
    """How something grew.

    Attributes:
      per_hour: the share of its mean by which it grows in an hour.
      error: by how much that may be wrong: two standard errors.
    """

    per_hour: float
    error: float

    def __str__(self) -> str:
        return f"{self.per_hour:+.2%} ± {self.error:.2%} an hour"


def second_half(samples: Sequence[Sample]) -> Sequence[Sample]:
    return samples[len(samples) // 2 :]


def slope(samples: Sequence[Sample], blocks: int = 30) -> Slope:
    """How the memory grew over *samples*.

    Neighbouring samples tell much the same, so that the means of *blocks* blocks are what the line
    is drawn through; its error would come out far too small otherwise.
    """
    size = max(1, len(samples) // blocks)
    means = [
        (
            statistics.fmean(sample.at for sample in block),
            statistics.fmean(sample.resident for sample in block),
        )
        for block in (samples[start : start + size] for start in range(0, len(samples), size))
    ]
    if len(means) < 2:
        return Slope(0.0, math.inf)
    times, values = zip(*means, strict=True)
    line = statistics.linear_regression(times, values)
    mean = statistics.fmean(values)
    off = [value - (line.slope * at + line.intercept) for at, value in means]
    spread = sum((at - statistics.fmean(times)) ** 2 for at in times)
    error = (sum(one * one for one in off) / max(1, len(off) - 2) / spread) ** 0.5
    return Slope(line.slope * 3600 / mean, 2 * error * 3600 / mean)


def steadiness(samples: Sequence[Sample]) -> float:
    """The p99 of the second half beside that of the first: the medians over each.

    Infinite, where there was no echo in one of them.
    """
    half = len(samples) // 2
    first, second = (
        [sample.p99 for sample in part if sample.p99] for part in (samples[:half], samples[half:])
    )
    return statistics.median(second) / statistics.median(first) if first and second else math.inf
