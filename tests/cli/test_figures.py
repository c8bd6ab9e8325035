"""Durations and counts as people read them."""

from __future__ import annotations

import pytest

from trio_ws.cli.figures import counted, milliseconds, shown


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0.000 us"),
        (87e-6, "87.0 us"),
        (0.9994e-3, "999 us"),
        (0.9996e-3, "1.00 ms"),
        (1.25e-3, "1.25 ms"),
        (99.96e-3, "100 ms"),
        (9.996, "10.0 s"),
        (1234.0, "1234 s"),
    ],
)
def test_durations_have_three_digits_and_a_unit(seconds: float, text: str) -> None:
    assert shown(seconds) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.000351, "0.351"), (0.0012, "1.20"), (0.0125, "12.5"), (0.15, "150"), (12.0, "12000")],
)
def test_milliseconds(seconds: float, text: str) -> None:
    assert milliseconds(seconds) == text


def test_counts() -> None:
    assert counted(1, "ping") == "1 ping"
    assert counted(12_000, "ping") == "12,000 pings"
    assert counted(0, "reply", "replies") == "0 replies"
