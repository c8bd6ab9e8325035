"""Standard input and output, for `Interactive`: pipes here, a terminal in `prompt`."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Final

import trio

from ..failures import Usage, say

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from .interactive import Desk

_READ_SIZE: Final = 64 * 1024


class Pipes:
    """Lines from one program, and lines to another."""

    takes_commands: Final = False

    def __init__(self) -> None:
        self._output = trio.Lock()

    async def lines(self) -> AsyncIterator[str]:
        number = 0
        pieces: list[bytes] = []
        while data := await trio.to_thread.run_sync(_read_input, abandon_on_cancel=True):
            *lines, rest = data.split(b"\n")
            for line in lines:
                number += 1
                yield _decoded(b"".join([*pieces, line]), number)
                pieces.clear()
            pieces.append(rest)
        if any(pieces):
            yield _decoded(b"".join(pieces), number + 1)

    async def show(self, line: str) -> None:
        async with self._output:
            # In a thread: whoever reads it may be slow.
            await trio.to_thread.run_sync(_write_output, f"{line}\n".encode())

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


def _write_output(data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(1, view) :]
