"""A terminal, for `Interactive`: a prompt that stays whole while messages come in.

prompt_toolkit blocks and has an event loop of its own, so it runs in a thread, one line at a time.
When the server ends, the prompt is told to return, which gives the terminal back as it was.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final

import trio
from prompt_toolkit import PromptSession
from prompt_toolkit.application import run_in_terminal
from prompt_toolkit.patch_stdout import StdoutProxy

from ..failures import cleared

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from prompt_toolkit.input import Input
    from prompt_toolkit.output import Output

_PROMPT: Final = "> "
#: Seconds that the prompt gets to give the terminal back.
_LEAVING: Final = 1.0
#: Seconds between looks at whether the prompt is still there to be drawn above.
_GLANCE: Final = 1.0


class Prompt:
    """Somebody at a terminal.

    Args:
      keys: where they come from; by default standard input.
      screen: what is drawn on; by default standard output.
    """

    takes_commands: Final = True

    def __init__(self, keys: Input | None = None, screen: Output | None = None) -> None:
        self._session: PromptSession[str] = PromptSession(input=keys, output=screen)
        self._drawing = trio.Lock()
        self._leaving = False
        self._left = threading.Event()

    async def lines(self) -> AsyncIterator[str]:
        """What is typed, to Ctrl-D or Ctrl-C, which is a key here and no signal."""
        with _log_above_prompt(), suppress(EOFError, KeyboardInterrupt):
            while True:
                line = await self._ask()
                if line:
                    yield line

    async def show(self, line: str) -> None:
        """Draw *line* above the prompt."""
        async with self._drawing:
            await trio.to_thread.run_sync(self._draw, line)

    async def note(self, line: str) -> None:
        """The same, for what comes from the program itself."""
        await self.show(f"* {cleared(line)}")

    async def _ask(self) -> str:
        try:
            return await trio.to_thread.run_sync(self._prompt, abandon_on_cancel=True)
        except trio.Cancelled:
            self._leave()
            with trio.CancelScope(deadline=trio.current_time() + _LEAVING, shield=True):
                await trio.to_thread.run_sync(self._left.wait, _LEAVING)
            raise

    def _prompt(self) -> str:
        self._left.clear()
        try:
            return self._session.prompt(_PROMPT, pre_run=self._look_whether_to_leave)
        finally:
            self._left.set()

    def _leave(self) -> None:
        self._leaving = True
        loop = self._session.app.loop
        if loop is not None:
            # The loop is closed when somebody pressed Enter this moment.
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(self._look_whether_to_leave)

    def _look_whether_to_leave(self) -> None:
        app = self._session.app
        if self._leaving and app.future is not None and not app.future.done():
            app.exit(exception=EOFError())

    def _draw(self, line: str) -> None:
        app = self._session.app
        while app.is_running and app.loop is not None:
            drawing = self._draw_above(line)
            try:
                drawn = asyncio.run_coroutine_threadsafe(drawing, app.loop)
            except RuntimeError:
                # Its loop has been closed this moment.
                drawing.close()
                break
            with suppress(TimeoutError):
                drawn.result(_GLANCE)
                return
            drawn.cancel()
        self._write(line)

    async def _draw_above(self, line: str) -> None:
        await run_in_terminal(lambda: self._write(line))

    def _write(self, line: str) -> None:
        self._session.output.write(f"{line}\n")
        self._session.output.flush()


@contextmanager
def _log_above_prompt() -> Iterator[None]:
    """Let what is logged leave the prompt whole."""
    handlers = [one for one in logging.getLogger().handlers if type(one) is logging.StreamHandler]
    with StdoutProxy() as proxy:
        streams = [one.setStream(proxy) for one in handlers]
        try:
            yield
        finally:
            for handler, stream in zip(handlers, streams, strict=True):
                if stream is not None:
                    handler.setStream(stream)
