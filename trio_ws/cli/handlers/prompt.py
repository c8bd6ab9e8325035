"""A terminal, for `Interactive`: a prompt that stays whole while messages come in.

While it is there, everything goes above it: what is shown, and what the program prints and logs.
"""

from __future__ import annotations

import io
import logging
import math
import sys
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from typing import TYPE_CHECKING, Final

import trio

from ..editing import edit, wait_hung_up, write_terminal
from ..editor import Editor
from ..failures import cleared
from ..render import escaped
from ..writer import open_writer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Generator

    from ..writer import Writer


class Prompt:
    """Somebody at a terminal: standard input and output."""

    takes_commands: Final = True

    def __init__(self) -> None:
        self._editor = Editor(write_terminal)
        # There while the prompt is.
        self._writer: Writer | None = None
        self._showing = trio.Lock()

    async def attend(self, take: Callable[[str], Awaitable[None]]) -> None:
        """Have *take* called with what is typed, to Ctrl-D or Ctrl-C, or until it hangs up.

        Raises:
          LocalFailure: there is something wrong with the terminal.

        Cancellation: the prompt goes away, and the terminal is put back into order, before this
        ends.
        """
        async with open_writer(self._editor.write) as self._writer:
            try:
                with _printing_to(self._writer):
                    await self._ask(self._writer, take)
                await self._writer.flush()
            finally:
                self._writer = None

    async def _ask(self, writer: Writer, take: Callable[[str], Awaitable[None]]) -> None:
        lines, typed = trio.open_memory_channel[str](math.inf)

        def enter(line: str) -> None:
            if line:
                writer.put(_echoed(line))
                lines.send_nowait(line)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(_take_all, typed, take)
            try:
                await self._edit(enter)
            finally:
                if self._editor.unfinished:
                    writer.put(f"* not sent: {cleared(self._editor.unfinished)}\n".encode())
            # What was typed before is done first.
            lines.close()

    async def _edit(self, enter: Callable[[str], None]) -> None:
        async with trio.open_nursery() as nursery:

            async def leave(*, task_status: trio.TaskStatus[None]) -> None:
                await wait_hung_up(task_status=task_status)
                nursery.cancel_scope.cancel()

            await nursery.start(leave)
            await edit(self._editor, enter)
            nursery.cancel_scope.cancel()

    async def show(self, line: str) -> None:
        """Show *line* above the prompt."""
        data = f"{line}\n".encode()
        if self._writer is not None:
            self._writer.put(data)
            await self._writer.room()
            await trio.lowlevel.checkpoint()
        else:
            async with self._showing:
                # Abandoned: nobody may look at a terminal that takes no more output.
                await trio.to_thread.run_sync(self._editor.write, data, abandon_on_cancel=True)

    async def note(self, line: str) -> None:
        """The same, for what comes from the program itself."""
        await self.show(f"* {cleared(line)}")


async def _take_all(
    typed: trio.MemoryReceiveChannel[str], take: Callable[[str], Awaitable[None]]
) -> None:
    async for line in typed:
        await take(line)


def _echoed(line: str) -> bytes:
    """What was typed, as it stood there."""
    first, *others = map(cleared, line.split("\n"))
    return "".join([f"> {first}\n", *(f". {one}\n" for one in others)]).encode()


class _Above(io.TextIOBase):
    """Text that goes above the prompt: whole lines, from any thread, safe for a terminal."""

    def __init__(self, writer: Writer) -> None:
        self._put = writer.put
        self._token = trio.lowlevel.current_trio_token()
        self._begun = ""

    def write(self, text: str) -> int:
        whole, end, self._begun = (self._begun + text).rpartition("\n")
        if end:
            data = f"{escaped(whole)}\n".encode()
            if trio.lowlevel.in_trio_run():
                self._put(data)
            else:
                self._token.run_sync_soon(self._put, data)
        return len(text)


@contextmanager
def _printing_to(writer: Writer) -> Generator[None]:
    """Have what is printed and logged on the terminal leave the prompt whole."""
    with ExitStack() as stack:
        for one in logging.getLogger().handlers:
            if type(one) is logging.StreamHandler and one.stream.isatty():
                stream = one.setStream(_Above(writer))
                stack.callback(one.setStream, stream)
        stack.enter_context(redirect_stdout(_Above(writer)))
        if sys.stderr is not None and sys.stderr.isatty():
            stack.enter_context(redirect_stderr(_Above(writer)))
        yield
