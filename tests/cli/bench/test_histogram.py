"""Percentiles out of few buckets, held against the exact ones."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_ws.cli.bench.histogram import Histogram

DURATIONS = st.floats(min_value=1e-9, max_value=900.0)
PERCENTS = st.floats(min_value=0.01, max_value=100.0)


def histogram_of(durations: list[float]) -> Histogram:
    histogram = Histogram()
    for duration in durations:
        histogram.record(duration)
    return histogram


def exact_percentile(durations: list[float], percent: float) -> float:
    rank = max(1, math.ceil(len(durations) * percent / 100))
    return sorted(durations)[rank - 1]


@given(st.lists(DURATIONS, min_size=1), PERCENTS)
def test_a_percentile_is_wrong_by_less_than_a_percent(
    durations: list[float], percent: float
) -> None:
    histogram = histogram_of(durations)
    exact = exact_percentile(durations, percent)
    assert histogram.percentile(percent) == pytest.approx(exact, rel=0.008)


@given(st.lists(DURATIONS, min_size=1))
def test_the_ends_and_the_mean_are_exact(durations: list[float]) -> None:
    histogram = histogram_of(durations)
    assert histogram.minimum == min(durations)
    assert histogram.maximum == histogram.percentile(100) == max(durations)
    assert histogram.mean == pytest.approx(sum(durations) / len(durations))


@given(st.lists(DURATIONS), st.lists(DURATIONS), PERCENTS)
def test_merged_is_as_if_recorded_in_one(
    here: list[float], there: list[float], percent: float
) -> None:
    merged = histogram_of(here)
    merged.merge(histogram_of(there))
    together = histogram_of(here + there)
    assert merged.percentile(percent) == together.percentile(percent)
    assert list(merged.buckets()) == list(together.buckets())
    assert (merged.minimum, merged.maximum) == (together.minimum, together.maximum)


@given(st.lists(DURATIONS))
def test_it_travels_as_json(durations: list[float]) -> None:
    histogram = histogram_of(durations)
    travelled = Histogram.from_json(json.loads(json.dumps(histogram.to_json())))
    assert list(travelled.buckets()) == list(histogram.buckets())
    assert travelled.count == len(durations)
    assert travelled.minimum == histogram.minimum
    assert travelled.maximum == histogram.maximum


@given(st.lists(DURATIONS))
def test_buckets_are_in_order_and_hold_everything(durations: list[float]) -> None:
    buckets = list(histogram_of(durations).buckets())
    assert [value for value, _ in buckets] == sorted({value for value, _ in buckets})
    assert sum(count for _, count in buckets) == len(durations)


def test_nothing_has_no_percentiles() -> None:
    assert Histogram().percentile(50) is None
    assert Histogram().mean is None


def test_what_is_out_of_bounds_takes_no_further_memory() -> None:
    histogram = histogram_of([-1.0, 0.0, 1e-12, 1e9, 1e12])
    assert len(list(histogram.buckets())) == 2
    assert (histogram.minimum, histogram.maximum) == (0.0, 1e12)
