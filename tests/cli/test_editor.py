"""The line at the bottom of a terminal, and what is written above it."""

from __future__ import annotations

import os
import threading
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
import trio
import trio.testing
from prompt_toolkit.application import create_app_session
from prompt_toolkit.history import InMemoryHistory

from trio_ws.cli import editor as editor_module
from trio_ws.cli.editor import Editor
from trio_ws.cli.exit_codes import ExitCode

from ..terminal import ALT_ENTER, CTRL_C, CTRL_D, CTRL_R, ENTER, TAB, UP, Window
from .helpers import own_app_session

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable


class Session:
    """An editor that runs in a window.

    Attributes:
      entered: the lines so far.
      code: what it ended with.
    """

    def __init__(self, window: Window, editor: Editor) -> None:
        self.window = window
        self.editor = editor
        self.entered: list[str] = []
        self.code: ExitCode | None = None
        self._ended = trio.Event()

    async def run(self) -> None:
        self.code = await trio.to_thread.run_sync(self.editor.run, self.entered.append)
        self._ended.set()

    async def end(self) -> ExitCode:
        await self._ended.wait()
        assert self.code is not None
        return self.code

    async def begun(self) -> None:
        await self.window.wait_for(">")

    async def write(self, text: str) -> None:
        await trio.to_thread.run_sync(self.editor.write, text.encode())


@asynccontextmanager
async def session(
    monkeypatch: pytest.MonkeyPatch,
    write: Callable[[bytes], None] | None = None,
    *,
    columns: int = 80,
    **options: Any,
) -> AsyncGenerator[Session]:
    """A session that has not begun."""
    async with Window.open(columns=columns) as window:
        with window.is_standard(monkeypatch), own_app_session():
            editor = Editor(write or partial(write_all, window.theirs), **options)
            try:
                yield Session(window, editor)
            finally:
                editor.leave()


@asynccontextmanager
async def running(monkeypatch: pytest.MonkeyPatch, **options: Any) -> AsyncGenerator[Session]:
    """A session that has, and that ends at the end of the block."""
    async with session(monkeypatch, **options) as running, trio.open_nursery() as nursery:
        nursery.start_soon(running.run)
        await running.begun()
        try:
            yield running
        finally:
            running.editor.leave()


def write_all(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]


# Typing


async def test_lines_are_entered(monkeypatch: pytest.MonkeyPatch) -> None:
    async with running(monkeypatch) as one:
        await one.window.type(f"a{ENTER}b{ALT_ENTER}c{ENTER}{ENTER}" + CTRL_D)
        assert await one.end() is ExitCode.OK
        assert one.entered == ["a", "b\nc", ""]
        assert one.editor.unfinished == ""


async def test_a_paste_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    async with running(monkeypatch) as one:
        await one.window.paste("a\nb")
        await one.window.type(ENTER + CTRL_D)
        await one.end()
        assert one.entered == ["a\nb"]


async def test_ctrl_c_clears_the_line_or_leaves(monkeypatch: pytest.MonkeyPatch) -> None:
    async with running(monkeypatch) as one:
        await one.window.type("abc" + CTRL_C + CTRL_C)
        assert await one.end() is ExitCode.INTERRUPTED
        assert one.entered == []


async def test_tab_completes_words(monkeypatch: pytest.MonkeyPatch) -> None:
    async with running(monkeypatch, words=["/ping", "/pong", "/stats"]) as one:
        await one.window.type("/s" + TAB)
        await one.window.wait_for("> /stats")
        await one.window.type(CTRL_C + "/p" + TAB)
        await one.window.wait_for("/pong")
        await one.window.type(CTRL_C)
        await one.window.wait_gone("/pong")
        await one.window.type(TAB + "x" + TAB + ENTER + CTRL_D)
        await one.end()
        assert one.entered[0].strip() == "x"


async def test_keys_in_a_search_are_about_the_search(monkeypatch: pytest.MonkeyPatch) -> None:
    history = InMemoryHistory(["the first", "second"])
    async with running(monkeypatch, history=history) as one:
        await one.window.type(UP)
        await one.window.wait_for("> second")
        await one.window.type(CTRL_R + "fir")
        await one.window.wait_for("> the first")
        await one.window.type(ENTER)
        await one.window.wait_gone("I-search")
        await one.window.type(CTRL_R + "sec" + CTRL_C)
        await one.window.wait_gone("I-search")
        assert one.entered == []
        await one.window.type(ENTER + CTRL_D)
        await one.end()
        assert one.entered == ["the first"]
        assert history.get_strings()[-1] == "the first"


async def test_a_line_that_wraps_and_one_that_somebody_began(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with running(monkeypatch, columns=10) as one:
        await one.window.type("123456789" + ALT_ENTER + "x")
        await one.window.wait_until(lambda: one.window.screen[:3] == ["> 12345678", "  9", ". x"])


async def test_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    for color in (True, False):
        async with running(monkeypatch, color=color, words=["/a", "/b"]) as one:
            await one.window.type("/" + TAB)
            await one.window.wait_for("/b")
            assert (b"[0;38;5;" in one.window.shown or b";48;5;" in one.window.shown) == color


# Writing


async def test_text_goes_above_the_line(monkeypatch: pytest.MonkeyPatch) -> None:
    async with session(monkeypatch) as one, trio.open_nursery() as nursery:
        await one.write("before\n")
        await one.window.wait_for("before")
        nursery.start_soon(one.run)
        await one.begun()
        await one.window.type("half")
        await one.window.wait_for("> half")
        await one.write("while\n")
        await one.window.wait_until(lambda: one.window.screen[:3] == ["before", "while", "> half"])
        one.editor.leave()
        one.editor.leave()
        assert await one.end() is ExitCode.OK
        assert one.editor.unfinished == "half"
        await one.write("after\n")
        await one.window.wait_until(lambda: one.window.screen[:3] == ["before", "while", "after"])


async def test_much_text_is_written_in_turns_with_the_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(editor_module, "_WRITE_INTERVAL", 0.0001)
    monkeypatch.setattr(editor_module, "_PIECE", 10)
    lines = [f"line {number}" for number in range(100)]
    async with running(monkeypatch) as one:
        await one.window.type("typed")
        await one.window.wait_for("typed")
        await one.write("".join(f"{line}\n" for line in lines))
        await one.window.wait_for("line 99")
        await one.window.wait_until(lambda: "> typed" in one.window.screen)
        assert [*one.window.scrolled, *one.window.screen][: len(lines)] == lines


async def test_what_is_left_in_the_end_is_written_by_whoever_waits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    written: list[bytes] = []
    async with running(monkeypatch, write=written.append) as one:
        # The next turn is never.
        monkeypatch.setattr(editor_module, "_WRITE_INTERVAL", 1_000_000)
        await one.write("a\n")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(one.write, "b\nc\n")
            while not one.editor._waiting:
                await trio.lowlevel.checkpoint()
            one.editor.leave()
            assert await one.end() is ExitCode.OK
    assert written == [b"a\n", b"b\nc\n"]


async def test_the_line_begins_behind_what_is_being_written(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def write(data: bytes) -> None:
        begun.set()
        go_on.wait()

    async with session(monkeypatch, write) as one, trio.open_nursery() as nursery:
        nursery.start_soon(one.write, "slow\n")
        await trio.to_thread.run_sync(begun.wait)
        nursery.start_soon(one.run)
        await trio.testing.wait_all_tasks_blocked()
        is_drawn = ">" in one.window.text
        go_on.set()
        assert not is_drawn
        await one.begun()
        one.editor.leave()


async def test_what_cannot_be_written_is_the_writers_affair(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def write(data: bytes) -> None:
        raise OSError(28, "No space left on device")

    async with running(monkeypatch, write=write) as one:
        with pytest.raises(OSError, match="No space"):
            await one.write("text\n")
        await one.window.type("still here" + ENTER + CTRL_D)
        await one.end()
        assert one.entered == ["still here"]


async def test_the_standing_line(monkeypatch: pytest.MonkeyPatch) -> None:
    async with session(monkeypatch) as one, trio.open_nursery() as nursery:
        assert not one.editor.stand("waiting")
        nursery.start_soon(one.run)
        await one.window.wait_until(lambda: one.window.screen[:2] == ["waiting", ">"])
        assert one.editor.stand("evil \x1b[2J")
        await one.window.wait_until(lambda: one.window.screen[:2] == [r"evil \x1b[2J", ">"])
        assert one.editor.stand("")
        await one.window.wait_until(lambda: one.window.screen[:2] == [">", ""])
        one.editor.leave()


async def test_another_size(monkeypatch: pytest.MonkeyPatch) -> None:
    async with running(monkeypatch, columns=10) as one:
        await one.window.type("123456789")
        await one.window.wait_for("  9")
        one.window.resize(40, 10)
        one.editor.draw_again()
        await one.window.wait_for("> 123456789")
        one.editor.leave()
        await one.end()
        shown = one.window.shown
        one.editor.draw_again()
        one.editor._erase()
        assert one.window.shown == shown, "there is nothing to be drawn any more"


async def test_it_is_drawn_again_also_where_it_was_about_to_be_drawn(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with running(monkeypatch) as one:
        await one.window.type("typed")
        await one.window.wait_for("> typed")
        go_on = threading.Event()
        assert one.editor._loop is not None
        one.editor._loop.call_soon_threadsafe(go_on.wait, 20)
        one.editor._session.app.invalidate()
        one.editor.draw_again()
        shown = len(one.window.shown)
        go_on.set()
        await one.window.wait_until(
            lambda: b"> " in one.window.shown[shown:] and "> typed" in one.window.text
        )
        one.editor.leave()
        await one.end()


# Ending


async def test_it_can_be_left_before_it_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    async with session(monkeypatch) as one:
        one.editor.leave()
        await one.run()
        assert await one.end() is ExitCode.OK
        assert one.window.text == ""


async def test_the_terminal_is_left_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    async with session(monkeypatch) as one, trio.open_nursery() as nursery:
        before = one.window.attributes()
        nursery.start_soon(one.run)
        await one.begun()
        assert one.window.attributes() != before
        one.editor.leave()
        await one.end()
        assert one.window.attributes() == before
        await one.window.wait_gone(">")


async def test_a_terminal_that_hangs_up(monkeypatch: pytest.MonkeyPatch) -> None:
    async with session(monkeypatch) as one, trio.open_nursery() as nursery:
        codes: list[object] = []

        async def run() -> None:
            try:
                await one.run()
            except OSError as error:
                codes.append(error)

        nursery.start_soon(run)
        await one.begun()
        one.window.hang_up()
    assert one.code is ExitCode.HUNG_UP or len(codes) == 1


async def test_what_goes_wrong_here_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    def entered(line: str) -> None:
        raise RuntimeError("a bug")

    async with session(monkeypatch) as one:
        monkeypatch.setattr(one, "entered", type("Broken", (), {"append": staticmethod(entered)}))
        with pytest.RaisesGroup(pytest.RaisesExc(RuntimeError, match="a bug")):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(one.run)
                await one.begun()
                await one.window.type("x" + ENTER + "y" + ENTER)


def test_what_asyncio_only_remarks_on_is_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    with create_app_session():
        editor = Editor(lambda data: None)
    editor._crashed(None, {"message": "slow"})  # type: ignore[arg-type]
    assert editor._crash is None
