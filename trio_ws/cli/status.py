"""How it stands with the connection, told to a person: in lines, or in one that lives."""

from __future__ import annotations

import shutil
import sys
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Final

import trio

from .failures import cleared

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from ..instrumentation import Waiting

#: Seconds between two states of the line that lives.
_TICK: Final = 0.1
#: Back to the line's beginning, and all of it away.
_CLEAR: Final = "\r\x1b[K"


class Status:
    """Says what happens, and counts down to the next attempt.

    Args:
      say: tells the user a line.
      quiet: whether to say nothing.
      draw: replaces the line that lives; ``None`` where there can be none, and each wait is a
        line of its own.
    """

    def __init__(
        self,
        say: Callable[[str], None],
        *,
        quiet: bool = False,
        draw: Callable[[str], None] | None = None,
    ) -> None:
        self._say = say
        self._quiet = quiet
        self.draw = draw
        self._wait: Waiting | None = None
        self._due = 0.0
        self._changed = trio.Event()

    @asynccontextmanager
    async def kept_up(self) -> AsyncGenerator[None]:
        """A block in which the line that lives is kept up to date; it is gone afterwards."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._count_down)
            try:
                yield
            finally:
                self.no_longer_waiting()
                nursery.cancel_scope.cancel()

    def say(self, text: str) -> None:
        """Say *text*, unless nothing is to be said."""
        if not self._quiet:
            if self.draw is not None and self._wait is not None:
                self.draw("")
            self._say(text)

    def connected(self, text: str) -> None:
        """There is a connection; *text* says so."""
        self.no_longer_waiting()
        self.say(text)

    def waiting(self, wait: Waiting) -> None:
        """There is none, and the next attempt is to come."""
        if self.draw is None:
            self.say(f"attempt {wait.attempt} in {wait.delay:.1f} s: {wait.cause}")
        self._wait = wait
        self._due = trio.current_time() + wait.delay
        self._changed.set()

    def no_longer_waiting(self) -> None:
        """The wait is over."""
        waited = self._wait
        self._wait = None
        if self.draw is not None and waited is not None:
            self.draw("")

    @property
    def line(self) -> str | None:
        """What is waited for, if anything."""
        if self._wait is None:
            return None
        left = max(0.0, self._due - trio.current_time())
        return f"reconnecting in {left:.1f} s (attempt {self._wait.attempt}, {_brief(self._wait)})"

    async def _count_down(self) -> None:
        while True:
            await self._changed.wait()
            self._changed = trio.Event()
            while self.draw is not None and (line := self.line) is not None:
                self.draw(line)
                await trio.sleep(_TICK)


def _brief(wait: Waiting) -> str:
    """Its cause, without the address, which has been said."""
    dialled = wait.cause.startswith("cannot connect to ")
    return wait.cause.rpartition(": ")[2] if dialled else wait.cause


def in_place(text: str) -> str:
    """What shows *text* in place of the line that the terminal's cursor is in."""
    width = max(20, shutil.get_terminal_size().columns - 1)
    return _CLEAR + cleared(text)[:width]


def draw(text: str) -> None:
    """Show *text* in place of the line that the terminal's cursor is in."""
    # Nobody may look any more.
    with suppress(OSError):
        print(in_place(text), end="", file=sys.stderr, flush=True)
