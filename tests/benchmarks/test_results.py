"""Medians, ratios and verdicts, of results that nobody measured."""

from __future__ import annotations

import dataclasses
import json

import pytest

from benchmarks.bars import BAR_PEERS, BARS, Bar
from benchmarks.cases import CASES
from benchmarks.peers import AIOHTTP_UVLOOP, OURS, PICOWS_UVLOOP, RAW_TRIO, TRIO_WEBSOCKET
from benchmarks.results import Verdict, case_named

from .made_up import RESULTS, cell


def test_median_and_ratio() -> None:
    assert RESULTS.median("round-trips-100", OURS) == 12_345
    assert RESULTS.ratio("round-trips-100", TRIO_WEBSOCKET) == pytest.approx(6.1725)
    assert RESULTS.ratio("round-trips-100", PICOWS_UVLOOP) is None
    assert RESULTS.ratio("pipelined-1x500", AIOHTTP_UVLOOP) is None


@pytest.mark.parametrize(
    ("bar", "met"),
    [
        (Bar("round-trips-100", TRIO_WEBSOCKET, 6.0), True),
        (Bar("round-trips-100", TRIO_WEBSOCKET, 6.2), False),
        (Bar("round-trips-100", PICOWS_UVLOOP, 1.0), None),
        (Bar("idle", TRIO_WEBSOCKET, 0.4), True),
        (Bar("idle", AIOHTTP_UVLOOP, 0.9), False),
    ],
)
def test_verdicts(bar: Bar, met: bool | None) -> None:
    (verdict,) = RESULTS.verdicts([bar])
    assert verdict.met is met


def test_a_bar_that_is_just_reached_is_met() -> None:
    for case in ("round-trips-100", "idle"):
        assert Verdict(Bar(case, OURS, 1.5), 1.5).met


def test_growth() -> None:
    assert RESULTS.rise(OURS, 100) == pytest.approx(10 / 9)
    assert RESULTS.growth_met() is None
    assert RESULTS.growth_met(RAW_TRIO) is None
    more = (*RESULTS.cells, cell("growth-1000", OURS, 9_500), cell("growth-5000", OURS, 8_100))
    assert dataclasses.replace(RESULTS, cells=more).growth_met() is True
    steep = (*RESULTS.cells, cell("growth-1000", OURS, 7_900))
    assert dataclasses.replace(RESULTS, cells=steep).growth_met() is False


def test_doubtful_and_disturbed() -> None:
    doubtful = [one.peer for one in RESULTS.cells if one.doubtful]
    disturbed = [one.peer for one in RESULTS.cells if one.disturbed]
    assert (doubtful, disturbed) == ([AIOHTTP_UVLOOP], [RAW_TRIO])


def test_json_has_everything() -> None:
    data = json.loads(json.dumps(RESULTS.as_json()))
    ours = data["cells"][0]
    assert ours["median"] == 12_345
    assert ours["spread"] == [9_000, 15_000]
    assert [one["messages"] for one in ours["measurements"]] == [9_000, 12_345, 15_000]
    assert data["cells"][6]["note"] == "failed: it was tired"
    assert len(data["bars"]) == len(BARS)


def test_cases_have_names_of_their_own_and_bars_are_about_cases() -> None:
    assert len({case.name for case in CASES}) == len(CASES)
    assert {case_named(bar.case).name for bar in BARS} <= {case.name for case in CASES}
    assert {bar.peer for bar in BARS} == set(BAR_PEERS)


def test_units() -> None:
    bulk = cell("4k-text", OURS, 1_000)
    assert bulk.median == pytest.approx(4.096)
    assert cell("growth-10", OURS, 10_000, peer_cpu=0.5).median == pytest.approx(50.0)
    beats = cell("heartbeats", OURS, 0, peer_cpu=0.01)
    assert beats.median == pytest.approx(10_000)  # of a single connection
