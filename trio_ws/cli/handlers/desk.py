"""Standard input and output, for `Interactive`: pipes here, a terminal in `prompt`."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Final

import trio

from ..failures import Usage, say
from ..writer import write_to

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from .interactive import Desk

_READ_SIZE: Final = 64 * 1024
_STDOUT: Final = 1


class Pipes:
    """Lines from one program, and lines to another."""

    takes_commands: Final = False

    def __init__(self) -> None:
        self._output = trio.Lock()

    async def attend(self, take: Callable[[str], Awaitable[None]]) -> None:
        """Have *take* called with each line of the input.

        Raises:
          Usage: it is not UTF-8 text.
        """
        number = 0
        pieces: list[bytes] = []
        while data := await trio.to_thread.run_sync(_read_input, abandon_on_cancel=True):
            *lines, rest = data.split(b"\n")
            for line in lines:
                number += 1
                whole = b"".join([*pieces, line])
                pieces.clear()
                await take(_decoded(whole, number))
            pieces.append(rest)
        if any(pieces):
            await take(_decoded(b"".join(pieces), number + 1))

    async def show(self, line: str) -> None:
        async with self._output:
            # In a thread: whoever reads it may be slow.
            await trio.to_thread.run_sync(write_to(_STDOUT, "stdout"), f"{line}\n".encode())

    async def note(self, line: str) -> None:
        await trio.lowlevel.checkpoint()
        say(line)


def open_desk() -> Desk:
    """What there is to type at and to look at."""
    if sys.stdin is not None and sys.stdin.isatty() and sys.stdout.isatty():
        from .prompt import Prompt

        return Prompt()
    return Pipes()


def _read_input() -> bytes:
    try:
        # Past Python's buffer, whose lock an abandoned read would hold.
        return os.read(0, _READ_SIZE)
    except OSError:
        # Standard input was closed before we began.
        return b""


def _decoded(line: bytes, number: int) -> str:
    try:
        return line.removesuffix(b"\r").decode()
    except UnicodeDecodeError:
        raise Usage(f"line {number} of the input is not UTF-8 text") from None
