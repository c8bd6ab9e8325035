"""How it stands, in lines or in one that lives."""

from __future__ import annotations

import os
import pty
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

from trio_ws.cli.failures import hide
from trio_ws.cli.status import Status, draw
from trio_ws.instrumentation import Waiting

if TYPE_CHECKING:
    from collections.abc import Callable

REFUSED = "cannot connect to 127.0.0.1:1: Connection refused"


def waiting(delay: float = 3.2, cause: str = REFUSED) -> Waiting:
    return Waiting(target="ws://x/", delay=delay, attempt=4, cause=cause)


class Seen(list[str]):
    """What was said, and what was drawn behind a mark."""

    def draw(self, text: str) -> None:
        self.append(f"|{text}")


def living(seen: Seen) -> Status:
    return Status(seen.append, draw=seen.draw)


async def test_without_a_terminal_each_wait_is_a_line() -> None:
    seen = Seen()
    status = Status(seen.append)
    async with status.kept_up():
        status.waiting(waiting())
        await trio.testing.wait_all_tasks_blocked()
        status.connected("connected again")
    assert seen == [f"attempt 4 in 3.2 s: {REFUSED}", "connected again"]


async def test_a_line_counts_down(autojump_clock: trio.testing.MockClock) -> None:
    seen = Seen()
    status = living(seen)
    async with status.kept_up():
        status.waiting(waiting(0.25))
        await trio.sleep(0.35)
        status.connected("connected again")
        await trio.sleep(1)
    line = "|reconnecting in {} s (attempt 4, Connection refused)"
    assert seen[0] in (line.format("0.2"), line.format("0.3"))
    assert seen[3] == line.format("0.0")
    assert seen[-2:] == ["|", "connected again"]
    assert status.line is None


async def test_what_is_said_takes_the_line_away_first(
    autojump_clock: trio.testing.MockClock,
) -> None:
    seen = Seen()
    status = living(seen)
    async with status.kept_up():
        status.waiting(waiting(cause="5 attempts"))
        await trio.testing.wait_all_tasks_blocked()
        status.say("something")
        await trio.sleep(0.15)
    line = "|reconnecting in {} s (attempt 4, 5 attempts)"
    assert seen == [line.format("3.2"), "|", "something", line.format("3.1"), "|"]


async def test_the_line_is_gone_afterwards(autojump_clock: trio.testing.MockClock) -> None:
    seen = Seen()
    status = living(seen)
    with pytest.raises(BaseExceptionGroup):
        async with status.kept_up():
            status.waiting(waiting())
            await trio.sleep(0.01)
            raise ValueError
    assert seen[-1] == "|"
    assert status.line is None


async def test_nobody_is_told_who_does_not_want_to_know() -> None:
    seen = Seen()
    status = Status(seen.append, quiet=True)
    status.say("something")
    status.connected("connected")
    status.waiting(waiting())
    status.no_longer_waiting()
    assert seen == []


# Drawing


def shown_on_terminal(act: Callable[[], None], monkeypatch: pytest.MonkeyPatch) -> bytes:
    ours, theirs = pty.openpty()
    with open(theirs, "w") as stderr:
        monkeypatch.setattr("sys.stderr", stderr)
        act()
        monkeypatch.undo()
        shown = os.read(ours, 1000)
    os.close(ours)
    return shown


def test_a_line_is_drawn_over_the_last(monkeypatch: pytest.MonkeyPatch) -> None:
    hide("pass")
    monkeypatch.setenv("COLUMNS", "30")
    shown = shown_on_terminal(lambda: draw("a pass\x1b word" + "x" * 100), monkeypatch)
    assert shown == b"\r\x1b[Ka ***\\x1b word" + b"x" * 15


def test_nobody_may_look(monkeypatch: pytest.MonkeyPatch) -> None:
    class Gone:
        def write(self, text: str) -> int:
            raise BrokenPipeError

        def flush(self) -> None:
            raise BrokenPipeError

    monkeypatch.setattr("sys.stderr", Gone())
    draw("x")
