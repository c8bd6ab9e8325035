"""A terminal to run a command in: type at it, and look at its screen.

::

    async with Terminal.spawn([*COMMAND, "client", url]) as terminal:
        await terminal.wait_for("connected")
        await terminal.type("hello\\r")
        await terminal.wait_for("< hello")
        assert await terminal.exit_code() == 0
"""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import termios
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import TYPE_CHECKING, Any

import pyte
import trio
import trio.testing

if TYPE_CHECKING:
    import signal
    from collections.abc import AsyncGenerator, Callable, Generator, Mapping, Sequence
    from typing import Self

    import pytest

#: Seconds after which what was waited for will not come any more.
PATIENCE = 30.0

ENTER = "\r"
TAB = "\t"
ALT_ENTER = "\x1b\r"
CTRL_C = "\x03"
CTRL_D = "\x04"
CTRL_R = "\x12"
UP = "\x1b[A"


def pasted(text: str) -> str:
    """What a terminal sends when *text* is pasted."""
    return f"\x1b[200~{text.replace(chr(10), ENTER)}\x1b[201~"


class _Screen(pyte.HistoryScreen):
    """A screen that answers what is asked of a terminal."""

    answer: Callable[[str], None]

    def write_process_input(self, data: str) -> None:
        self.answer(data)

    def select_graphic_rendition(self, *attributes: int, **options: bool) -> None:
        # Faint, which pyte does not know, is grey.
        known = [90 if attribute == 2 else attribute for attribute in attributes]
        super().select_graphic_rendition(*known, **options)


class Window:
    """A pseudo-terminal and its screen.

    Attributes:
      theirs: the side that programs see.
      shown: everything that was written to it, as it was.
    """

    def __init__(self, columns: int, lines: int) -> None:
        self._ours, self.theirs = pty.openpty()
        self.shown = b""
        self._screen = _Screen(columns, lines, history=10_000)
        self._screen.answer = lambda text: _write(self._ours, text.encode())
        self._stream = pyte.ByteStream(self._screen)
        self._changed = trio.Event()
        _resize(self._ours, columns, lines)

    @classmethod
    @asynccontextmanager
    async def open(cls, *, columns: int = 80, lines: int = 24) -> AsyncGenerator[Self]:
        """A window that takes what is written to it."""
        window = cls(columns, lines)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(window._read)
            try:
                yield window
            finally:
                nursery.cancel_scope.cancel()
                window.hang_up()
                os.close(window.theirs)

    async def _read(self) -> None:
        with suppress(trio.ClosedResourceError):
            while True:
                await trio.lowlevel.wait_readable(self._ours)
                if self._ours < 0:
                    break
                data = os.read(self._ours, 65536)
                self.shown += data
                self._stream.feed(data)
                self._changed.set()
                self._changed = trio.Event()

    @contextmanager
    def is_standard(self, monkeypatch: pytest.MonkeyPatch) -> Generator[None]:
        """A block in which this process reads its input from here, and writes its output here."""
        with open(self.theirs, closefd=False) as stdin:
            stdout = open(self.theirs, "w", closefd=False)  # noqa: SIM115
            monkeypatch.setattr("sys.stdin", stdin)
            monkeypatch.setattr("sys.stdout", stdout)
            monkeypatch.setenv("TERM", "xterm")
            try:
                yield
            finally:
                # It may have hung up.
                with suppress(OSError):
                    stdout.close()

    # What a person does

    async def type(self, text: str) -> None:
        """Press keys; see the constants above."""
        _write(self._ours, text.encode())
        await trio.lowlevel.checkpoint()

    async def paste(self, text: str) -> None:
        """Paste *text*."""
        await self.type(pasted(text))

    def resize(self, columns: int, lines: int) -> None:
        """Make the window larger or smaller."""
        _resize(self._ours, columns, lines)
        self._screen.resize(lines, columns)

    def hang_up(self) -> None:
        """Close the window."""
        if self._ours < 0:
            return
        trio.lowlevel.notify_closing(self._ours)
        os.close(self._ours)
        self._ours = -1

    # What a person sees

    @property
    def screen(self) -> list[str]:
        """The lines of the screen, without the blanks at their ends."""
        return [line.rstrip() for line in self._screen.display]

    @property
    def text(self) -> str:
        """All of the screen, without what is empty at its end."""
        return "\n".join(self.screen).rstrip("\n")

    @property
    def scrolled(self) -> list[str]:
        """The lines that have left the screen at its top."""
        rows = self._screen.history.top
        return ["".join(row[x].data for x in range(self._screen.columns)).rstrip() for row in rows]

    @property
    def cells(self) -> _Screen:
        """The screen, cell by cell, with their colours."""
        return self._screen

    @property
    def cursor(self) -> tuple[int, int]:
        """The cursor's column and line."""
        return self._screen.cursor.x, self._screen.cursor.y

    def attributes(self) -> list[Any]:
        """How the terminal is set: what `termios.tcgetattr` says."""
        return termios.tcgetattr(self.theirs)

    async def wait_until(self, condition: Callable[[], bool]) -> None:
        """Wait until *condition*, which is about the screen, is true."""
        with trio.move_on_after(PATIENCE):
            while not condition():
                await self._changed.wait()
        assert condition(), f"the screen shows\n{self.text}"

    async def wait_for(self, text: str) -> None:
        """Wait until *text* is on the screen, within a line."""
        await self.wait_until(lambda: text in self.text)

    async def wait_gone(self, text: str) -> None:
        """Wait until *text* is not on the screen any more."""
        await self.wait_until(lambda: text not in self.text)


class Terminal(Window):
    """A window with a process in it.

    Attributes:
      process: what runs in it.
    """

    process: trio.Process

    @classmethod
    @asynccontextmanager
    async def spawn(
        cls,
        command: Sequence[str],
        *,
        columns: int = 80,
        lines: int = 24,
        env: Mapping[str, str] | None = None,
        **options: Any,
    ) -> AsyncGenerator[Self]:
        """A terminal that *command* runs in; it is killed at the end.

        Args:
          command: what to run.
          columns, lines: the screen's.
          env: added to the environment.
          options: for `trio.lowlevel.open_process`, as ``stderr=``.
        """
        async with cls.open(columns=columns, lines=lines) as terminal:
            theirs = terminal.theirs
            terminal.process = await trio.lowlevel.open_process(
                list(command),
                env={**os.environ, "TERM": "xterm-256color", **(env or {})},
                start_new_session=True,
                preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
                **{"stdin": theirs, "stdout": theirs, "stderr": theirs, **options},
            )
            try:
                yield terminal
            finally:
                if terminal.process.returncode is None:
                    terminal.process.kill()
                with trio.CancelScope(shield=True):
                    await terminal.process.wait()

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to what runs here."""
        self.process.send_signal(number)

    async def exit_code(self) -> int:
        """Wait until the process has ended, and return its exit code."""
        with trio.fail_after(PATIENCE):
            code = await self.process.wait()
        # What it wrote last may have still to be read.
        await trio.testing.wait_all_tasks_blocked()
        return code


def _resize(descriptor: int, columns: int, lines: int) -> None:
    fcntl.ioctl(descriptor, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))


def _write(descriptor: int, data: bytes) -> None:
    # What is typed in a test is short: the terminal always has room for it.
    while data:
        data = data[os.write(descriptor, data) :]
