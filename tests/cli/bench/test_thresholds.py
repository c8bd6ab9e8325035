"""``--fail-if``: how it is written, and when it holds."""

from __future__ import annotations

import pytest

from trio_ws.cli.bench.tally import Tally
from trio_ws.cli.bench.thresholds import parse_threshold
from trio_ws.cli.failures import Usage


def measured() -> Tally:
    tally = Tally(opened=1, answered=100, window=2.0)
    for milliseconds in range(1, 101):
        tally.round_trips.record(milliseconds / 1000)
    tally.connecting.record(0.5)
    tally.count("refused", 3)
    return tally


@pytest.mark.parametrize(
    ("text", "failure"),
    [
        ("p100>99ms", "p100>99ms: p100 is 100 ms"),
        ("p100 > 0.1s", None),
        ("max>=100ms", "max>=100ms: max is 100 ms"),
        ("min<2ms", "min<2ms: min is 1.00 ms"),
        ("min<1000us", None),
        ("mean>50ms", "mean>50ms: mean is 50.5 ms"),
        ("connect_p99.9<=1s", "connect_p99.9<=1s: connect_p99.9 is 500 ms"),
        ("connect_max>1s", None),
        ("rate<51", "rate<51: rate is 50"),
        ("rate<50", None),
        ("errors>0", "errors>0: errors is 3"),
    ],
)
def test_thresholds(text: str, failure: str | None) -> None:
    assert parse_threshold(text).failure(measured()) == failure


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "it is written METRIC>VALUE"),
        ("p99", "it is written METRIC>VALUE"),
        ("p99=5ms", "it is written METRIC>VALUE"),
        ("p99>-5ms", "it is written METRIC>VALUE"),
        ("p99>5", "p99 needs a unit: us, ms or s"),
        ("p99>5min", "p99 needs a unit: us, ms or s"),
        ("rate>5ms", "rate is a number, and has no unit"),
        ("p101>5ms", "there is no p101"),
        ("median>5ms", "there is no median"),
        ("p9.9.9>5ms", "there is no p9.9.9"),
    ],
)
def test_what_makes_no_sense_is_refused(text: str, complaint: str) -> None:
    with pytest.raises(Usage, match="--fail-if") as caught:
        parse_threshold(text)
    assert complaint in str(caught.value)


def test_nothing_measured_meets_no_threshold() -> None:
    assert parse_threshold("p99>5ms").failure(Tally()) == (
        "p99>5ms: there is no p99, as nothing was measured"
    )
    assert parse_threshold("rate<1").failure(Tally()) == "rate<1: rate is 0"
