"""``--fail-if``: what must not hold of the result."""

from __future__ import annotations

import operator
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from ..failures import Usage
from ..figures import shown

if TYPE_CHECKING:
    from collections.abc import Callable

    from .tally import Tally

_WRITTEN: Final = re.compile(
    r"(?P<metric>[a-z0-9_.]+)\s*(?P<sign><=|>=|<|>)\s*(?P<value>\d+(?:\.\d+)?)\s*(?P<unit>[a-z]*)"
)
_DURATION: Final = re.compile(
    r"(?P<connect>connect_)?(?:p(?P<percent>\d+(?:\.\d+)?)|(?P<name>\w+))"
)
_UNITS: Final = {"us": 1e-6, "ms": 1e-3, "s": 1.0}
_SIGNS: Final[dict[str, Callable[[float, float], bool]]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_NAMES: Final = ("min", "mean", "max")
_NUMBERS: Final = ("rate", "errors")
_KNOWN: Final = (
    "p50, p90, p99.9 or any other, min, mean, max, each also with connect_, rate, errors"
)


@dataclass(frozen=True, slots=True)
class Threshold:
    """One of them.

    Attributes:
      text: as the user wrote it.
      metric: what is looked at.
      sign: how it is compared.
      bound: with what, in seconds where it is a duration.
    """

    text: str
    metric: str
    sign: str
    bound: float

    def failure(self, tally: Tally) -> str | None:
        """What is wrong with the result; ``None`` where this does not hold."""
        value = metric_of(tally, self.metric)
        if value is None:
            return f"{self.text}: there is no {self.metric}, as nothing was measured"
        if not _SIGNS[self.sign](value, self.bound):
            return None
        told = f"{value:.6g}" if self.metric in _NUMBERS else shown(value)
        return f"{self.text}: {self.metric} is {told}"


def parse_threshold(text: str) -> Threshold:
    """Read ``p99>50ms`` and the like.

    Raises:
      Usage: it makes no sense; the message says why.
    """
    written = _WRITTEN.fullmatch(text.strip())
    if written is None:
        raise Usage(f"--fail-if {text!r}: it is written METRIC>VALUE, as in 'p99>50ms'")
    metric, unit, value = written["metric"], written["unit"], float(written["value"])
    if metric in _NUMBERS:
        if unit:
            raise Usage(f"--fail-if {text!r}: {metric} is a number, and has no unit")
    else:
        if not _is_duration(metric):
            raise Usage(f"--fail-if {text!r}: there is no {metric}, but {_KNOWN}")
        if unit not in _UNITS:
            raise Usage(f"--fail-if {text!r}: {metric} needs a unit: us, ms or s")
        value *= _UNITS[unit]
    return Threshold(text, metric, written["sign"], value)


def _is_duration(metric: str) -> bool:
    parts = _DURATION.fullmatch(metric)
    if parts is None:
        return False
    if parts["percent"] is not None:
        return float(parts["percent"]) <= 100
    return parts["name"] in _NAMES


def metric_of(tally: Tally, metric: str) -> float | None:
    """The value of *metric*, durations in seconds; ``None`` where there is none."""
    if metric == "rate":
        return tally.rate
    if metric == "errors":
        return tally.errors
    parts = _DURATION.fullmatch(metric)
    assert parts is not None
    histogram = tally.connecting if parts["connect"] else tally.round_trips
    if not histogram.count:
        return None
    if parts["percent"] is not None:
        return histogram.percentile(float(parts["percent"]))
    return {"min": histogram.minimum, "mean": histogram.mean, "max": histogram.maximum}[
        parts["name"]
    ]
