"""A rolling restart under load."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks import rolling

if TYPE_CHECKING:
    import pytest


async def test_nobody_is_refused_and_nothing_is_lost() -> None:
    clients = 500
    figures = await rolling.roll(clients)
    # Each was closed once or twice, in good order: by whom it was with, and by the last to go.
    assert set(figures.lost) == {1001}
    assert clients <= figures.lost[1001] <= 2 * clients
    # Handshakes that were under way are told that this one goes, and are tried again.
    assert all("HTTP 503" in failure for failure in figures.failures)
    assert figures.given_up == 0
    # Everybody went on, asked again where need was, and got no answer but its own.
    assert figures.answered >= 6 * clients
    assert figures.wrong == 0
    assert len(figures.absences) == figures.lost[1001]


def test_the_figures_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    rolling.main(["--clients", "10"])
    printed = capsys.readouterr().out
    assert printed.startswith("10 clients, ")
    assert "attempts that failed: none; gave up: 0" in printed
    assert str(rolling.Figures(1)).startswith("1 clients, 0.0 s")
