"""The prompt: typed lines come out, and it goes when it is told to."""

from __future__ import annotations

import asyncio
import io
import logging
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
import trio
from prompt_toolkit.input import create_pipe_input
from prompt_toolkit.output import DummyOutput
from prompt_toolkit.patch_stdout import StdoutProxy

from trio_ws.cli.handlers import prompt as prompt_module
from trio_ws.cli.handlers.prompt import Prompt

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prompt_toolkit.input import PipeInput


class Screen(DummyOutput):
    """Keeps what is drawn."""

    def __init__(self) -> None:
        self.drawn = ""

    def write(self, data: str) -> None:
        self.drawn += data


@contextmanager
def prompted() -> Iterator[tuple[Prompt, PipeInput, Screen]]:
    screen = Screen()
    with create_pipe_input() as keys:
        yield Prompt(keys, screen), keys, screen


@pytest.mark.parametrize("end", ["\x03", "\x04"])
async def test_lines_are_read_until_ctrl_c_or_ctrl_d(end: str) -> None:
    with prompted() as (prompt, keys, _):
        keys.send_text(f"hello\r\rworld\r{end}")
        assert [line async for line in prompt.lines()] == ["hello", "world"]


async def test_lines_are_drawn_with_and_without_a_prompt() -> None:
    with prompted() as (prompt, keys, screen):
        await prompt.show("<1: before")
        assert "<1: before\n" in screen.drawn
        async with trio.open_nursery() as nursery:

            async def read() -> None:
                async for _ in prompt.lines():
                    pass

            nursery.start_soon(read)
            while not prompt._session.app.is_running:
                await trio.lowlevel.checkpoint()
            await prompt.note("client \x1b left")
            assert "* client \\x1b left\n" in screen.drawn
            keys.send_text("\x04")


async def test_it_goes_when_cancelled_and_leaves_the_log_as_it_was() -> None:
    stream: Any = io.StringIO()
    handler: logging.StreamHandler[Any] = logging.StreamHandler(stream)
    logging.getLogger().addHandler(handler)
    try:
        with prompted() as (prompt, _, _):
            async with trio.open_nursery() as nursery:

                async def read() -> None:
                    async for _ in prompt.lines():
                        pass

                nursery.start_soon(read)
                while not prompt._session.app.is_running:
                    await trio.lowlevel.checkpoint()
                assert isinstance(handler.stream, StdoutProxy)
                nursery.cancel_scope.cancel()
            assert prompt._left.is_set()
    finally:
        logging.getLogger().removeHandler(handler)
    assert handler.stream is stream


async def test_it_goes_when_cancelled_before_it_is_there() -> None:
    with prompted() as (prompt, _, _):
        prompt._leave()
        with pytest.raises(EOFError):
            await trio.to_thread.run_sync(prompt._prompt)


async def test_a_line_that_nobody_draws_is_drawn_when_the_prompt_has_gone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(prompt_module, "_GLANCE", 0.01)
    with prompted() as (prompt, _, screen):
        app = prompt._session.app
        looks = iter([True, False])
        monkeypatch.setattr(type(app), "is_running", property(lambda _: next(looks)))
        loop = asyncio.new_event_loop()
        monkeypatch.setattr(app, "loop", loop)
        await prompt.show("late")
        assert screen.drawn == "late\n"
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()


async def test_a_line_that_cannot_be_drawn_above_is_drawn_when_the_prompt_has_gone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with prompted() as (prompt, _, screen):
        app = prompt._session.app
        loop = asyncio.new_event_loop()
        loop.close()
        monkeypatch.setattr(type(app), "is_running", True)
        monkeypatch.setattr(app, "loop", loop)
        await prompt.show("late")
        assert screen.drawn == "late\n"
