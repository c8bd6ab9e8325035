"""Trio's side of the line that is typed at."""

from __future__ import annotations

import os
import signal
import sys
import threading
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing
from outcome import Value

from trio_ws.cli import editing
from trio_ws.cli.editing import edit, wait_hung_up, write_terminal
from trio_ws.cli.editor import Editor
from trio_ws.cli.exit_codes import ExitCode
from trio_ws.cli.failures import LocalFailure, innermost

from ..terminal import CTRL_C, CTRL_D, ENTER, Window
from .helpers import open_window

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from outcome import Outcome


class Session:
    """An editor in a window, and how it ended."""

    def __init__(self, window: Window) -> None:
        self.window = window
        self.editor = Editor(write_terminal)
        self.entered: list[str] = []
        self.scope = trio.CancelScope()
        self._result: ExitCode | BaseException | None = None
        self._ended = trio.Event()

    async def run(self) -> None:
        try:
            with self.scope:
                self._result = await edit(self.editor, self.entered.append)
        except Exception as error:
            self._result = innermost(error)
        finally:
            self._ended.set()

    async def end(self) -> ExitCode | BaseException | None:
        await self._ended.wait()
        return self._result


@asynccontextmanager
async def session(
    monkeypatch: pytest.MonkeyPatch, *, ready: bool = True
) -> AsyncGenerator[Session]:
    async with open_window(monkeypatch) as window, trio.open_nursery() as nursery:
        one = Session(window)
        nursery.start_soon(one.run)
        if ready:
            await window.wait_for(">")
        yield one
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(("key", "code"), [(CTRL_D, ExitCode.OK), (CTRL_C, ExitCode.INTERRUPTED)])
async def test_lines_are_passed_on_to_the_end(
    monkeypatch: pytest.MonkeyPatch, key: str, code: ExitCode
) -> None:
    async with session(monkeypatch, ready=False) as one:
        before = one.window.attributes()
        await one.window.wait_for(">")
        assert one.window.attributes() != before
        await one.window.type(f"a{ENTER}b{ENTER}{key}")
        assert await one.end() is code
        assert one.entered == ["a", "b"]
        assert one.window.attributes() == before


async def test_what_is_entered_comes_in_trios_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    threads: list[threading.Thread] = []
    async with open_window(monkeypatch) as window, trio.open_nursery() as nursery:
        editor = Editor(write_terminal)
        nursery.start_soon(edit, editor, lambda _: threads.append(threading.current_thread()))
        await window.wait_for(">")
        await window.type("a" + ENTER + CTRL_D)
    assert threads == [threading.current_thread()]


async def test_another_size(monkeypatch: pytest.MonkeyPatch) -> None:
    async with session(monkeypatch) as one:
        await one.window.type("x" * 100)
        await one.window.wait_for("> xxx")
        one.window.resize(120, 24)
        signal.raise_signal(signal.SIGWINCH)
        await one.window.wait_for("> " + "x" * 100)


# Being cancelled


async def test_cancelled_it_leaves_the_terminal_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    async with session(monkeypatch, ready=False) as one:
        before = one.window.attributes()
        await one.window.type("sent" + ENTER + "half")
        await one.window.wait_for("> half")
        one.scope.cancel()
        assert await one.end() is None
        assert one.window.attributes() == before
        assert one.entered == ["sent"]
        assert one.editor.unfinished == "half"
        await one.window.wait_gone(">")


async def test_cancelled_before_it_has_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    async with session(monkeypatch, ready=False) as one:
        before = one.window.attributes()
        one.scope.cancel()
        assert await one.end() is None
        assert one.window.attributes() == before
        assert one.scope.cancelled_caught


async def test_a_terminal_that_does_not_let_the_line_end_is_put_right_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    go_on = threading.Event()
    monkeypatch.setattr(editing, "_RESTORE_TIMEOUT", 0.001)
    monkeypatch.setattr(Editor, "_restore", lambda _: go_on.wait())
    async with session(monkeypatch, ready=False) as one:
        before = one.window.attributes()
        await one.window.wait_for(">")
        one.scope.cancel()
        assert await one.end() is None
        assert one.window.attributes() == before
        go_on.set()


def test_an_editor_that_was_abandoned_may_end_when_trio_has(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ends: list[Callable[[Outcome[ExitCode]], None]] = []

    async def abandon() -> None:
        async with session(monkeypatch, ready=False) as one:
            one.scope.cancel()
            assert await one.end() is None

    monkeypatch.setattr(editing, "_RESTORE_TIMEOUT", 0.001)
    monkeypatch.setattr("trio.lowlevel.start_thread_soon", lambda run, end, name: ends.append(end))
    trio.run(abandon)
    (end,) = ends
    end(Value(ExitCode.OK))


# What goes wrong


@pytest.mark.parametrize("failure", [RuntimeError("a bug"), OSError(5, "Input/output error")])
async def test_what_goes_wrong_in_the_line_is_an_error(
    monkeypatch: pytest.MonkeyPatch, failure: Exception
) -> None:
    def run(*_: object) -> ExitCode:
        raise failure

    monkeypatch.setattr(Editor, "run", run)
    async with session(monkeypatch, ready=False) as one:
        error = await one.end()
    if isinstance(failure, OSError):
        assert isinstance(error, LocalFailure)
        assert str(error) == "the terminal: Input/output error"
    else:
        assert error is failure


async def test_an_error_of_a_terminal_that_is_gone_is_a_hang_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def run(*_: object) -> ExitCode:
        monkeypatch.setattr("sys.stdin.isatty", lambda: False)
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(Editor, "run", run)
    async with session(monkeypatch, ready=False) as one:
        assert await one.end() is ExitCode.HUNG_UP


async def test_the_terminal_hangs_up(monkeypatch: pytest.MonkeyPatch) -> None:
    async with session(monkeypatch) as one:
        one.window.hang_up()
        assert await one.end() is ExitCode.HUNG_UP


async def test_a_hang_up_that_comes_as_a_signal() -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait_hung_up)
        await trio.testing.wait_all_tasks_blocked()
        signal.raise_signal(signal.SIGHUP)


async def test_a_signal_that_comes_when_somebody_is_leaving_changes_nothing() -> None:
    async with trio.open_nursery() as nursery:
        await nursery.start(wait_hung_up)
        nursery.cancel_scope.cancel()
        # The receiver is cancelled, and has yet to see to what comes.
        signal.raise_signal(signal.SIGHUP)
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN


async def test_a_hang_up_that_is_to_be_ignored() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait_hung_up)
        await trio.testing.wait_all_tasks_blocked()
        signal.raise_signal(signal.SIGHUP)
        await trio.testing.wait_all_tasks_blocked()
        assert nursery.child_tasks
        nursery.cancel_scope.cancel()


async def test_what_cannot_be_written(monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_window(monkeypatch) as window:
        write_terminal(b"fine\n")
        await window.wait_for("fine")
        read_only = os.open(os.ttyname(window.theirs), os.O_RDONLY | os.O_NOCTTY)
        monkeypatch.setattr(editing, "_STDOUT", read_only)
        with pytest.raises(LocalFailure, match="cannot write to the terminal"):
            write_terminal(b"text\n")
        os.close(read_only)
        monkeypatch.setattr(editing, "_STDOUT", window.theirs)
        window.hang_up()
        assert not sys.stdout.isatty()
        write_terminal(b"nobody looks any more\n")
