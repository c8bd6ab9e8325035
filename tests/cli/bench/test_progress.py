"""How it stands, on a terminal and without one."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import trio
from rich.console import Console

from trio_ws.cli.bench.progress import Progress
from trio_ws.cli.bench.tally import Tally
from trio_ws.cli.options.bench import BenchOptions

if TYPE_CHECKING:
    import pytest
    from trio.testing import MockClock

OPTIONS = BenchOptions(url="ws://x", connections=10)


async def test_the_line(mock_clock: MockClock) -> None:
    tally = Tally()
    progress = Progress(OPTIONS, lambda: tally)
    assert progress.line() == "0 s, 0 of 10 connections open, 0 messages/s, 0 errors"
    mock_clock.jump(2.0)
    tally.open, tally.replies = 9, 4000
    tally.count("refused")
    tally.round_trips.record(0.0125)
    assert progress.line() == (
        "2 s, 9 of 10 connections open, 2,000 messages/s, p50 12.5 ms, p99 12.5 ms, 1 error"
    )


async def test_the_rate_is_of_late(mock_clock: MockClock) -> None:
    tally = Tally()
    progress = Progress(OPTIONS, lambda: tally)
    for _ in range(10):
        mock_clock.jump(0.5)
        tally.replies += 1000
        progress.line()
    for _ in range(3):
        mock_clock.jump(0.5)
        progress.line()
    mock_clock.jump(0.5)
    assert ", 0 messages/s" in progress.line()


async def test_without_a_terminal_it_is_a_line_now_and_then(
    autojump_clock: MockClock, capsys: pytest.CaptureFixture[str]
) -> None:
    with trio.move_on_after(12):
        await Progress(OPTIONS, Tally).show(None)
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(",")[0] for line in lines] == ["trio-ws: 5 s", "trio-ws: 10 s"]


async def test_on_a_terminal_it_is_one_line_that_goes_away(autojump_clock: MockClock) -> None:
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=40)
    with trio.move_on_after(1.2):
        await Progress(OPTIONS, Tally).show(console)
    written = screen.getvalue()
    assert "1 s, 0 of 10 connections open" in written
    # Cut rather than wrapped, and the cursor is back.
    assert "…" in written
    assert written.endswith("\x1b[?25h\r\x1b[1A\x1b[2K")
