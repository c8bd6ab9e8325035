"""The prompt: Trio's side of the line that is typed at; on real screens in tests/e2e."""

from __future__ import annotations

import os
import signal
import sys
import threading
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
import trio
import trio.testing
from prompt_toolkit.application import create_app_session

from trio_ws import ConnectionClosedError
from trio_ws._url import parse_url
from trio_ws.cli import prompt as prompt_module
from trio_ws.cli.exit_codes import ExitCode
from trio_ws.cli.failures import Interrupted, LocalFailure, innermost
from trio_ws.cli.options.client import ClientOptions
from trio_ws.cli.prompt import Prompt
from trio_ws.testing import open_pair

from ..terminal import CTRL_C, CTRL_D, ENTER, UP, Window

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path

    from trio_ws import WebSocket

URL = "ws://example.com"


@asynccontextmanager
async def open_window(monkeypatch: pytest.MonkeyPatch, **size: int) -> AsyncGenerator[Window]:
    async with Window.open(**size) as window:
        with window.is_standard(monkeypatch), create_app_session():
            monkeypatch.setattr("sys.stderr", sys.stdout)
            monkeypatch.setattr(prompt_module, "_STDOUT", window.theirs)
            yield window


def make_prompt(**options: Any) -> Prompt:
    options.setdefault("history", False)
    return Prompt(ClientOptions(url=URL, **options), parse_url(URL))


class Talk:
    """A conversation in a window, and how it ended."""

    def __init__(self, window: Window, server: WebSocket) -> None:
        self.window = window
        self.server = server
        self.ended = trio.Event()
        self.error: BaseException | None = None
        self.scope = trio.CancelScope()

    async def run(self, prompt: Prompt, ws: WebSocket) -> None:
        try:
            async with prompt.open():
                with self.scope:
                    await prompt.talk(ws)
        except BaseException as error:
            self.error = innermost(error)
            if isinstance(self.error, trio.Cancelled):
                raise
        finally:
            self.ended.set()

    async def end(self) -> BaseException | None:
        await self.ended.wait()
        return self.error


@asynccontextmanager
async def talking(
    monkeypatch: pytest.MonkeyPatch, *, ready: bool = True, **options: Any
) -> AsyncGenerator[Talk]:
    async with open_window(monkeypatch) as window, open_pair() as (client, server):
        talk = Talk(window, server)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(talk.run, make_prompt(**options), client)
            if ready:
                await window.wait_for("/help lists")
                await window.wait_until(lambda: ">" in window.screen)
            yield talk
            nursery.cancel_scope.cancel()


async def test_a_message_is_typed_and_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    async with talking(monkeypatch) as talk:
        before = talk.window.attributes()
        await talk.window.type("hello" + ENTER)
        assert await talk.server.receive() == "hello"
        await talk.window.wait_for("> hello")
        await talk.window.type(CTRL_D)
        assert await talk.end() is None
        assert talk.window.attributes() != before
        assert talk.window.screen[:2] == [
            "connected; /help lists what can be typed besides messages",
            "> hello",
        ]


async def test_a_connection_that_is_kept_up_says_so_itself(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with talking(monkeypatch, reconnect=True) as talk:
        assert talk.window.text.startswith("/help lists")


async def test_closing_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    async with talking(monkeypatch) as talk:
        await talk.window.type("/close 4000" + ENTER)
        with pytest.raises(ConnectionClosedError, match="4000"):
            await talk.server.receive()
        assert await talk.end() is None


async def test_ctrl_c(monkeypatch: pytest.MonkeyPatch) -> None:
    async with talking(monkeypatch) as talk:
        await talk.window.type(CTRL_C)
        error = await talk.end()
        assert isinstance(error, Interrupted)
        assert error.code is ExitCode.INTERRUPTED


async def test_the_terminal_hangs_up(monkeypatch: pytest.MonkeyPatch) -> None:
    async with talking(monkeypatch) as talk:
        talk.window.hang_up()
        error = await talk.end()
        assert isinstance(error, Interrupted)
        assert error.code is ExitCode.HUNG_UP


async def test_a_hang_up_that_comes_as_a_signal(monkeypatch: pytest.MonkeyPatch) -> None:
    async with talking(monkeypatch) as talk:
        signal.raise_signal(signal.SIGHUP)
        error = await talk.end()
        assert isinstance(error, Interrupted)
        assert error.code is ExitCode.HUNG_UP


async def test_a_hang_up_that_is_to_be_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        async with talking(monkeypatch) as talk:
            signal.raise_signal(signal.SIGHUP)
            await talk.window.type("hello" + ENTER)
            assert await talk.server.receive() == "hello"
    finally:
        signal.signal(signal.SIGHUP, before)


async def test_the_connection_ends_and_what_was_not_finished_is_shown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with talking(monkeypatch) as talk:
        await talk.window.type("half")
        await talk.window.wait_for("> half")
        talk.scope.cancel()
        await talk.end()
        await talk.window.wait_for("not sent: half")
        assert ">" not in talk.window.text


async def test_cancelled_before_it_has_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    async with talking(monkeypatch, ready=False) as talk:
        before = talk.window.attributes()
        talk.scope.cancel()
        began = trio.current_time()
        await talk.end()
        assert talk.window.attributes() == before
        assert trio.current_time() - began < prompt_module._RESTORE_TIMEOUT


async def test_another_size(monkeypatch: pytest.MonkeyPatch) -> None:
    async with talking(monkeypatch) as talk:
        await talk.window.type("x" * 100)
        await talk.window.wait_for("> xxx")
        talk.window.resize(120, 24)
        signal.raise_signal(signal.SIGWINCH)
        await talk.window.wait_for("> " + "x" * 100)


async def test_a_terminal_that_does_not_let_the_line_end_is_put_right_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    go_on = threading.Event()
    monkeypatch.setattr(prompt_module, "_RESTORE_TIMEOUT", 0.001)
    monkeypatch.setattr("trio_ws.cli.editor.Editor._restore", lambda _: go_on.wait())
    async with open_window(monkeypatch) as window, open_pair() as (client, _):
        before = window.attributes()
        talk = Talk(window, client)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(talk.run, make_prompt(), client)
            await window.wait_until(lambda: ">" in window.screen)
            talk.scope.cancel()
            await talk.end()
        assert window.attributes() == before
        go_on.set()


async def test_what_goes_wrong_in_the_line_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(*_: object) -> ExitCode:
        raise failure

    monkeypatch.setattr("trio_ws.cli.editor.Editor.run", run)
    for failure in (RuntimeError("a bug"), OSError(5, "Input/output error")):
        async with talking(monkeypatch, ready=False) as talk:
            error = await talk.end()
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

    monkeypatch.setattr("trio_ws.cli.editor.Editor.run", run)
    async with talking(monkeypatch, ready=False) as talk:
        error = await talk.end()
    assert isinstance(error, Interrupted)
    assert error.code is ExitCode.HUNG_UP


# The screen


async def test_how_it_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_window(monkeypatch, columns=40) as window, open_pair() as (client, _):
        prompt = make_prompt()
        assert not prompt.draw("reconnecting in 3.2 s")
        talk = Talk(window, client)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(talk.run, prompt, client)
            await window.wait_until(lambda: ">" in window.screen)
            await window.wait_for("reconnecting in 3.2 s; Enter = now")
            assert prompt.draw("reconnecting in 3.1 s (attempt 2, unreachable)")
            await window.wait_for("reconnecting in 3.1 s (at…); Enter = now")
            assert prompt.draw("")
            await window.wait_gone("Enter = now")
            nursery.cancel_scope.cancel()


async def test_what_cannot_be_written(monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_window(monkeypatch) as window:
        prompt = make_prompt()
        prompt.write(b"fine\n")
        await window.wait_for("fine")
        monkeypatch.setattr(prompt_module, "_STDOUT", -1)
        with pytest.raises(LocalFailure, match="cannot write to the terminal"):
            prompt.write(b"text\n")
        monkeypatch.setattr("sys.stdout.isatty", lambda: False)
        prompt.write(b"nobody looks any more\n")


def shows(window: Window, line: str) -> bool:
    return line in window.screen


async def test_lines_are_remembered_for_each_host(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    for expected in (">", "> hello"):
        async with talking(monkeypatch, history=True) as talk:
            await talk.window.type(UP)
            await talk.window.wait_until(partial(shows, talk.window, expected))
            await talk.window.type(CTRL_C if expected != ">" else "hello" + ENTER)
            await talk.window.type(CTRL_D)
            await talk.end()
    assert os.listdir(tmp_path / "trio-ws" / "history") == ["example.com_80"]
