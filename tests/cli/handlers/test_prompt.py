"""Somebody at a terminal: what is typed is taken, and everything goes above the prompt."""

from __future__ import annotations

import io
import logging
import signal
import sys
import threading
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

from trio_ws.cli.failures import say
from trio_ws.cli.handlers.prompt import Prompt

from ...terminal import ALT_ENTER, CTRL_C, CTRL_D, ENTER, Window
from ..helpers import open_window

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator


class Sitting:
    """Somebody at a prompt in a window, until they leave."""

    def __init__(self, window: Window) -> None:
        self.window = window
        self.prompt = Prompt()
        self.taken: list[str] = []
        self.may_take = trio.Event()
        self.may_take.set()
        self.scope = trio.CancelScope()
        self.ended = trio.Event()

    async def take(self, line: str) -> None:
        await self.may_take.wait()
        self.taken.append(line)

    async def run(self) -> None:
        with self.scope:
            await self.prompt.attend(self.take)
        self.ended.set()

    async def see(self, *lines: str) -> None:
        """Wait until the screen shows *lines*, and nothing else."""
        await self.window.wait_until(lambda: self.window.text == "\n".join(lines))


@asynccontextmanager
async def sitting(monkeypatch: pytest.MonkeyPatch) -> AsyncGenerator[Sitting]:
    async with open_window(monkeypatch) as window, trio.open_nursery() as nursery:
        before = window.attributes()
        one = Sitting(window)
        nursery.start_soon(one.run)
        await one.see(">")
        assert window.attributes() != before
        yield one
        await one.ended.wait()
        assert window.attributes() == before


@contextmanager
def logging_to(handler: logging.Handler) -> Iterator[logging.Logger]:
    logger = logging.getLogger()
    logger.addHandler(handler)
    try:
        yield logger
    finally:
        logger.removeHandler(handler)


# Typing


@pytest.mark.parametrize("end", [CTRL_C, CTRL_D])
async def test_lines_are_taken_until_ctrl_c_or_ctrl_d(
    monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    async with sitting(monkeypatch) as one:
        await one.window.type(f"hello{ENTER}{ENTER}one{ALT_ENTER}two{ENTER}{end}")
        await one.ended.wait()
        assert one.taken == ["hello", "one\ntwo"]
        await one.see("> hello", "> one", ". two")


async def test_what_was_typed_before_the_end_is_taken_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with sitting(monkeypatch) as one:
        one.may_take = trio.Event()
        await one.window.type(f"a{ENTER}b{ENTER}{CTRL_D}")
        await one.see("> a", "> b")
        assert not one.ended.is_set()
        one.may_take.set()
        await one.ended.wait()
        assert one.taken == ["a", "b"]


async def test_it_goes_when_cancelled_and_shows_what_was_not_finished(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with sitting(monkeypatch) as one:
        await one.window.type("half")
        await one.see("> half")
        one.scope.cancel()
        await one.see("* not sent: half")


async def test_a_hang_up_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    async with sitting(monkeypatch):
        signal.raise_signal(signal.SIGHUP)


async def test_a_terminal_that_is_gone_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_window(monkeypatch) as window, trio.open_nursery() as nursery:
        one = Sitting(window)
        nursery.start_soon(one.run)
        await one.see(">")
        window.hang_up()
        await one.ended.wait()
        await one.prompt.show("nobody looks any more")


# Showing


async def test_lines_are_shown_before_above_and_after_the_prompt(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with open_window(monkeypatch) as window, trio.open_nursery() as nursery:
        one = Sitting(window)
        await one.prompt.show("<1: before")
        await one.see("<1: before")
        nursery.start_soon(one.run)
        await one.see("<1: before", ">")
        await window.type("half")
        await one.prompt.show("<1: while")
        await one.prompt.note("client \x1b left")
        await one.see("<1: before", "<1: while", r"* client \x1b left", "> half")
        await window.type(CTRL_C + CTRL_D)
        await one.ended.wait()
        await one.prompt.show("<1: after")
        await one.see("<1: before", "<1: while", r"* client \x1b left", "<1: after")


async def test_what_is_shown_last_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    async with sitting(monkeypatch) as one:
        one.scope.cancel()
        for number in range(3):
            await one.prompt.show(f"{number}")
        await one.see("0", "1", "2")


async def test_what_is_printed_and_logged_goes_above_the_prompt(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with open_window(monkeypatch) as window, trio.open_nursery() as nursery:
        handler = logging.StreamHandler(sys.stderr)
        elsewhere = logging.StreamHandler(io.StringIO())
        streams = sys.stdout, sys.stderr, handler.stream, elsewhere.stream
        one = Sitting(window)
        with logging_to(handler) as logger, logging_to(elsewhere):
            nursery.start_soon(one.run)
            await one.see(">")
            await window.type("half")
            logger.warning("logged \x1b[2J")
            print("printed", flush=True)
            say("said")
            above = [r"logged \x1b[2J", "printed", "trio-ws: said"]
            await one.see(*above, "> half")
            await trio.to_thread.run_sync(logger.error, "from a thread")
            above.append("from a thread")
            await one.see(*above, "> half")
            one.scope.cancel()
            await one.ended.wait()
            assert streams == (sys.stdout, sys.stderr, handler.stream, elsewhere.stream)
        await one.see(*above, "* not sent: half")
        assert isinstance(elsewhere.stream, io.StringIO)
        assert elsewhere.stream.getvalue() == "logged \x1b[2J\nfrom a thread\n"


@pytest.mark.parametrize("stderr", [None, io.StringIO()])
async def test_what_is_said_elsewhere_stays_there(
    monkeypatch: pytest.MonkeyPatch, stderr: io.StringIO | None
) -> None:
    async with open_window(monkeypatch) as window, trio.open_nursery() as nursery:
        monkeypatch.setattr("sys.stderr", stderr)
        one = Sitting(window)
        nursery.start_soon(one.run)
        await one.see(">")
        assert sys.stderr is stderr
        await window.type(CTRL_D)


async def test_a_log_does_not_wait_for_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    go_on = threading.Event()
    shown: list[bytes] = []

    def write(data: bytes) -> None:
        go_on.wait()
        shown.append(data)

    monkeypatch.setattr("trio_ws.cli.handlers.prompt.write_terminal", write)
    async with sitting(monkeypatch) as one:
        for number in range(3):
            print(number)
        await trio.testing.wait_all_tasks_blocked()
        assert shown == []
        go_on.set()
        await one.window.type(CTRL_D)
    assert b"".join(shown) == b"0\n1\n2\n"
