"""The prompt: messages and commands are typed below what comes.

The line itself is an `Editor`; here is what a conversation makes of it.
"""

from __future__ import annotations

import math
import os
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

import trio

from .commands import NAMES, Typed
from .editing import edit, wait_hung_up, write_terminal
from .editor import Editor
from .exit_codes import ExitCode
from .failures import Interrupted
from .history import open_history
from .output import open_output
from .render import wants_color

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping

    from .._url import Target
    from .._websocket import WebSocket
    from .options.client import ClientOptions
    from .output import Output

_HINT: Final = "; Enter = now"


class Prompt:
    """A prompt for one conversation, and the screen above it.

    Args:
      options: the command's.
      target: whom it talks to; there is one history for each.
      environment: where it is kept, and whether there are colours.
    """

    def __init__(
        self, options: ClientOptions, target: Target, environment: Mapping[str, str] = os.environ
    ) -> None:
        self._options = options
        self._editor = Editor(
            write_terminal,
            history=open_history(target, environment) if options.history else None,
            words=NAMES,
            color=wants_color(options.color, terminal=True, environment=environment),
        )
        self._output: Output | None = None
        self._nursery: trio.Nursery | None = None

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[Output]:
        """The output, above the prompt where there is one.

        Raises:
          Interrupted: by Ctrl-C, or when the terminal hangs up; nothing else is waited for.
        """
        async with trio.open_nursery() as self._nursery:
            async with open_output(self._options, screen=self) as self._output:
                yield self._output
            self._nursery.cancel_scope.cancel()

    # The screen

    def write(self, data: bytes) -> None:
        """Write *data* above the prompt. Blocks until that is done."""
        self._editor.write(data)

    def draw(self, text: str) -> bool:
        """Say with the prompt how it stands; return whether there is a prompt."""
        if text:
            text = _with_hint(text, self._editor.columns)
        return self._editor.stand(text)

    # Talking

    async def talk(self, ws: WebSocket) -> None:
        """Send what is typed, and do what commands say, until somebody has had enough.

        Raises:
          LocalFailure: there is something wrong with the terminal.

        Cancellation: the prompt goes away, and the terminal is put back into order, before this
        ends.
        """
        assert self._output is not None
        assert self._nursery is not None
        lines, typed = trio.open_memory_channel[str](math.inf)
        obeying = Typed(ws, self._output, self._options)
        greeting = "/help lists what can be typed besides messages"
        # A connection that is kept up says by itself when it is there.
        self._output.status.say(greeting if self._options.reconnect else f"connected; {greeting}")
        async with trio.open_nursery() as nursery:

            async def obey() -> None:
                await obeying.run(typed)
                nursery.cancel_scope.cancel()

            nursery.start_soon(obey)
            # Before anything shows that somebody may hang up.
            await self._nursery.start(_watch_hang_up)
            try:
                code = await edit(self._editor, lines.send_nowait)
            finally:
                self._say_unfinished()
            if code is not ExitCode.OK:
                self._nursery.start_soon(_interrupt, code)
                await trio.sleep_forever()
            # What was typed before is done first.
            lines.close()

    def _say_unfinished(self) -> None:
        """What is not finished when the connection ends is not lost, at least."""
        assert self._output is not None
        if self._editor.unfinished:
            self._output.say(f"not sent: {self._editor.unfinished}")


async def _interrupt(code: ExitCode) -> None:
    raise Interrupted(code)


async def _watch_hang_up(*, task_status: trio.TaskStatus[None]) -> None:
    await wait_hung_up(task_status=task_status)
    raise Interrupted(ExitCode.HUNG_UP)


def _with_hint(text: str, columns: int) -> str:
    """How it stands and what can be done about it, in one line of a terminal."""
    room = columns - len(_HINT)
    if len(text) > room:
        text = f"{text[: max(0, room - 2)]}…)"
    return text + _HINT
