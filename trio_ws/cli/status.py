"""How it stands with the connection, told to a person: in lines, or in one that lives."""

from __future__ import annotations

import shutil
import sys
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Final, Self

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

    @classmethod
    @asynccontextmanager
    async def open(cls, say: Callable[[str], None], *, quiet: bool) -> AsyncGenerator[Self]:
        """One that keeps its line up to date, where stderr is a terminal."""
        lives = sys.stderr.isatty() and not quiet
        status = cls(say, quiet=quiet, draw=_draw if lives else None)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(status.run)
            try:
                yield status
            finally:
                status.no_longer_waiting()
                nursery.cancel_scope.cancel()

    def say(self, text: str) -> None:
        """Say *text*, unless nothing is to be said."""
        if not self._quiet:
            self._erase()
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
        self._erase()
        self._wait = None

    @property
    def line(self) -> str | None:
        """What is waited for, if anything."""
        if self._wait is None:
            return None
        left = max(0.0, self._due - trio.current_time())
        return f"reconnecting in {left:.1f} s (attempt {self._wait.attempt}, {self._wait.cause})"

    def _erase(self) -> None:
        if self.draw is not None and self._wait is not None:
            self.draw("")

    async def run(self) -> None:
        """Keep the line that lives up to date, until cancelled."""
        while True:
            await self._changed.wait()
            self._changed = trio.Event()
            while self.draw is not None and (line := self.line) is not None:
                self.draw(line)
                await trio.sleep(_TICK)


def _draw(text: str) -> None:
    width = max(20, shutil.get_terminal_size().columns - 1)
    # Nobody may look any more.
    with suppress(OSError):
        print(_CLEAR + cleared(text)[:width], end="", file=sys.stderr, flush=True)
