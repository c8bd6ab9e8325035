"""The prompt of a conversation; on real screens in tests/e2e."""

from __future__ import annotations

import os
import signal
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
import trio
import trio.testing

from trio_ws import ConnectionClosedError
from trio_ws._url import parse_url
from trio_ws.cli.exit_codes import ExitCode
from trio_ws.cli.failures import Interrupted, innermost
from trio_ws.cli.options.client import ClientOptions
from trio_ws.cli.prompt import Prompt
from trio_ws.testing import open_pair

from ..terminal import CTRL_C, CTRL_D, ENTER, UP, Window
from .helpers import open_window

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path

    from trio_ws import WebSocket

URL = "ws://example.com"


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


async def test_hang_ups_are_seen_to_before_the_prompt_is_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def edit(*_: object) -> ExitCode:
        assert signal.getsignal(signal.SIGHUP) is not signal.SIG_DFL
        return ExitCode.OK

    monkeypatch.setattr("trio_ws.cli.prompt.edit", edit)
    async with talking(monkeypatch, ready=False) as talk:
        assert await talk.end() is None


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


# The screen


async def test_what_is_shown_while_nobody_can_type(monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_window(monkeypatch) as window:
        make_prompt().write(b"fine\n")
        await window.wait_for("fine")


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
