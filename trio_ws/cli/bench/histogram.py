"""Durations by the million in a few kilobytes: a histogram with log-linear buckets.

Each power of two is cut into 64 buckets of the same width, as in HDR histograms. A bucket is at
most 1/64 of its value wide and is taken for its middle, so what a percentile says is wrong by
less than 0.8 %. Two histograms merge into exactly the one that all their values would have made,
which is why percentiles of several processes can be had, although percentiles cannot be averaged.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

_PER_OCTAVE: Final = 64
#: Bounds on what is told apart, and so on memory: 2,500 buckets.
_SHORTEST: Final = 1e-9
_LONGEST: Final = 1e3


class Histogram:
    """How often which duration was seen, in seconds.

    Attributes:
      count: how many durations.
      total: their sum.
      minimum: the shortest, exactly; infinite where there is none.
      maximum: the longest, exactly; 0 where there is none.
    """

    __slots__ = ("_counts", "count", "maximum", "minimum", "total")

    def __init__(self) -> None:
        self._counts: dict[int, int] = {}
        self.count = 0
        self.total = 0.0
        self.minimum = math.inf
        self.maximum = 0.0

    def record(self, seconds: float) -> None:
        """One more duration. What is negative counts as 0."""
        mantissa, exponent = math.frexp(min(max(seconds, _SHORTEST), _LONGEST))
        bucket = exponent * _PER_OCTAVE + int(mantissa * 2 * _PER_OCTAVE)
        self._counts[bucket] = self._counts.get(bucket, 0) + 1
        self.count += 1
        self.total += seconds
        if seconds < self.minimum:
            self.minimum = max(seconds, 0.0)
        if seconds > self.maximum:
            self.maximum = seconds

    @property
    def mean(self) -> float | None:
        """The average; ``None`` where there is nothing."""
        return self.total / self.count if self.count else None

    def percentile(self, percent: float) -> float | None:
        """The shortest duration that *percent* of all do not exceed; ``None`` of nothing."""
        if not self.count:
            return None
        rank = max(1, math.ceil(self.count * percent / 100))
        if rank == self.count:
            return self.maximum
        buckets = self.buckets()
        value = self.minimum
        while rank > 0:
            value, count = next(buckets)
            rank -= count
        return min(max(value, self.minimum), self.maximum)

    def buckets(self) -> Iterator[tuple[float, int]]:
        """The middle of each bucket that is not empty, and how often it was met; in order."""
        for bucket in sorted(self._counts):
            yield _middle(bucket), self._counts[bucket]

    def merge(self, other: Histogram) -> None:
        """Count everything in *other* here as well."""
        for bucket, count in other._counts.items():
            self._counts[bucket] = self._counts.get(bucket, 0) + count
        self.count += other.count
        self.total += other.total
        self.minimum = min(self.minimum, other.minimum)
        self.maximum = max(self.maximum, other.maximum)

    def to_json(self) -> dict[str, Any]:
        """All of it, for another process."""
        return {
            "counts": list(self._counts.items()),
            "total": self.total,
            "minimum": self.minimum if self.count else None,
            "maximum": self.maximum,
        }

    @classmethod
    def from_json(cls, members: dict[str, Any]) -> Histogram:
        """What `to_json` was called on."""
        histogram = cls()
        histogram._counts = dict(members["counts"])
        histogram.count = sum(histogram._counts.values())
        histogram.total = members["total"]
        histogram.minimum = math.inf if members["minimum"] is None else members["minimum"]
        histogram.maximum = members["maximum"]
        return histogram


def _middle(bucket: int) -> float:
    # The mantissa is in [1/2, 1), so its bucket begins at _PER_OCTAVE.
    exponent, step = divmod(bucket - _PER_OCTAVE, _PER_OCTAVE)
    return math.ldexp((step + _PER_OCTAVE + 0.5) / (2 * _PER_OCTAVE), exponent)
