"""What the result looks like, on a terminal, without one, and to programs."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from trio_ws.cli.bench.histogram import Histogram
from trio_ws.cli.bench.report import bar, report, rows_of, to_json
from trio_ws.cli.bench.tally import Tally
from trio_ws.cli.options.bench import BenchOptions

URL = "ws://x/"


def measured() -> Tally:
    tally = Tally(opened=10, answered=1000, window=2.0)
    for number in range(1, 1001):
        tally.round_trips.record(number / 1e5)
    tally.connecting.record(0.02)
    return tally


def options_of(**changes: Any) -> BenchOptions:
    return BenchOptions(**{"url": URL, "rate": 500.0, **changes})


def printed(
    tally: Tally, options: BenchOptions, *, encoding: str = "utf-8", width: int = 80
) -> str:
    written = io.BytesIO()
    file = io.TextIOWrapper(written, encoding=encoding, newline="")
    report(tally, options, URL, Console(file=file, width=width, highlight=False))
    file.flush()
    lines = written.getvalue().decode(encoding).splitlines()
    return "\n".join(line.rstrip() for line in lines)


def test_it_says_what_was_asked_and_what_came() -> None:
    text = printed(measured(), options_of())
    assert "ws://x/: 10 connections, 500 messages/s, text of 64 bytes" in text
    assert "500 messages/s, 0.032 MB/s each way: 1,000 replies in 2 s" in text
    assert "10 connections opened\nno errors\n" in text
    lines = text.splitlines()
    assert lines[2].split() == ["p50", "p90", "p95", "p99", "p99.9", "max", "mean"]
    assert lines[3].split()[:4] == ["connect", "20.0", "ms", "20.0"]
    assert lines[4].startswith("round trip  ")
    assert lines[4].split()[-4:] == ["10.0", "ms", "5.00", "ms"]
    assert "corrected for coordinated omission" in text
    assert all(len(line) <= 80 for line in lines)


def test_the_picture_marks_percentiles() -> None:
    rows = [line.split() for line in printed(measured(), options_of()).splitlines() if "█" in line]
    assert next(row for row in rows if row[:2] == ["5.00", "ms"])[-1:] == ["p50"]
    assert rows[-1][-4:] == ["p90", "p95", "p99", "p99.9"]


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_where_blocks_cannot_be_written(encoding: str) -> None:
    text = printed(measured(), options_of(), encoding=encoding)
    assert text.isascii()
    assert "####" in text


@pytest.mark.parametrize("width", [40, 60, 80, 200])
def test_it_fits_the_terminal(width: int) -> None:
    tally = measured()
    tally.round_trips.record(500.0)
    text = printed(tally, options_of(), width=width)
    assert all(len(line) <= width for line in text.splitlines())
    assert "█" in text


def test_a_closed_loop_says_what_it_hides() -> None:
    text = printed(measured(), options_of(rate=None, pipeline=3, binary=True))
    assert "10 connections, 3 on the way on each, binary of 64 bytes" in text
    assert "Closed loop" in text
    assert "coordinated omission" not in text


def test_errors_are_counted_by_kind_and_safe_for_a_terminal() -> None:
    tally = measured()
    tally.opened = 7
    tally.count("closed: \x1b[2J", 3)
    tally.unanswered = 2
    text = printed(tally, options_of())
    assert "7 of 10 connections opened" in text
    assert "5 errors\n3  closed: \\x1b[2J\n2  a message had no reply at the end" in text
    assert "counts with the time that it has waited" in text


@pytest.mark.parametrize(("late", "warned"), [(0.001, False), (0.01, True)])
def test_a_machine_that_is_too_slow_says_so(late: float, warned: bool) -> None:
    tally = measured()
    tally.late.record(late)
    assert ("late or later" in printed(tally, options_of())) is warned


def test_nothing_measured_is_no_picture() -> None:
    text = printed(Tally(opened=1), options_of(connections=1))
    assert "0 messages/s" in text
    assert "█" not in text
    assert "up to" not in text


@given(st.lists(st.floats(min_value=1e-8, max_value=500), min_size=1))
def test_the_rows_hold_everything_in_order(durations: list[float]) -> None:
    histogram = Histogram()
    for duration in durations:
        histogram.record(duration)
    rows = rows_of(histogram)
    bounds = [bound for bound, _ in rows]
    assert sum(count for _, count in rows) == len(durations)
    assert bounds == sorted(set(bounds))
    assert len(rows) <= 16
    assert bounds[-1] >= max(durations)


@pytest.mark.parametrize(
    ("share", "blocks", "signs"),
    [(0.0, "", ""), (1e-9, "▏", "#"), (0.3, "██▌", "###"), (1.0, "████████", "########")],
)
def test_bars(share: float, blocks: str, signs: str) -> None:
    assert bar(share, 8, ascii_only=False) == blocks
    assert bar(share, 8, ascii_only=True) == signs


def test_the_result_for_programs() -> None:
    tally = measured()
    tally.count("refused", 2)
    result = json.loads(json.dumps(to_json(tally, options_of(), URL, ["p50>1ms: ..."])))
    assert result["messages_per_second"] == 500
    assert result["bytes_per_second"] == 32_000
    assert result["round_trip"]["p50"] == pytest.approx(0.005, rel=0.008)
    assert result["round_trip"]["max"] == 0.01
    assert result["late"]["count"] == 0
    assert result["late"]["min"] is None
    assert result["corrected_for_coordinated_omission"] is True
    assert result["pipeline"] is None
    assert result["errors"] == 2
    assert result["errors_by_kind"] == {"refused": 2}
    assert result["failed"] == ["p50>1ms: ..."]
    assert sum(count for _, count in result["histogram"]) == 1000
    assert to_json(tally, options_of(rate=None), URL, [])["pipeline"] == 1
