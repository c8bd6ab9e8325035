"""The prompt: a line to type at, which stays whole while messages pour in above it.

It runs in a thread of its own, with an event loop that belongs to prompt_toolkit. What is typed
comes to Trio's side as lines; what is shown goes to the thread's side, which takes the prompt
away, writes, and draws it again.
"""

from __future__ import annotations

import asyncio
import math
import os
import re
import threading
from concurrent.futures import CancelledError
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import trio
from prompt_toolkit import PromptSession
from prompt_toolkit.application import run_in_terminal
from prompt_toolkit.completion import Completer, Completion
from prompt_toolkit.formatted_text import FormattedText
from prompt_toolkit.history import FileHistory, History, InMemoryHistory
from prompt_toolkit.key_binding import KeyBindings

from .commands import NAMES, Typed
from .exit_codes import ExitCode
from .failures import Interrupted, cleared
from .output import open_output
from .writer import write_to

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterator, Mapping

    from prompt_toolkit.completion import CompleteEvent
    from prompt_toolkit.document import Document
    from prompt_toolkit.key_binding import KeyPressEvent

    from .._url import Target
    from .._websocket import WebSocket
    from .options.client import ClientOptions
    from .output import Output

_PROMPT: Final = "> "
_STDOUT: Final = 1
#: Seconds that the thread gets to put the terminal back into order.
_RESTORE_TIMEOUT: Final = 2.0


class Prompt:
    """A prompt for one conversation.

    Args:
      options: the command's.
      target: whom it talks to; there is one history for each.
      environment: where it is kept, by ``XDG_STATE_HOME`` or ``HOME``.
    """

    def __init__(
        self, options: ClientOptions, target: Target, environment: Mapping[str, str] = os.environ
    ) -> None:
        self._options = options
        self._history = _open_history(target, environment) if options.history else None
        self._write_now = write_to(_STDOUT, "the terminal")
        self._output: Output | None = None
        self._session: PromptSession[str] | None = None
        #: Guards what is below, which both sides look at.
        self._lock = threading.Lock()
        self._standing = ""
        self._is_shown = False
        self._ending = False
        self._writes: set[Any] = set()

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[Output]:
        """The output, above the prompt where there is one."""
        async with open_output(self._options, screen=self) as self._output:
            yield self._output

    # The screen

    def write(self, data: bytes) -> None:
        """Write *data* above the prompt. Blocks until that is done."""
        with self._lock:
            if not self._is_shown or self._session is None or self._session.app.loop is None:
                writing = None
            else:
                writing = asyncio.run_coroutine_threadsafe(
                    self._write_above(data), self._session.app.loop
                )
                self._writes.add(writing)
        if writing is None:
            self._write_now(data)
            return
        try:
            writing.result()
        except CancelledError:
            # The prompt went away before its turn came.
            self._write_now(data)
        finally:
            self._writes.discard(writing)

    async def _write_above(self, data: bytes) -> None:
        await run_in_terminal(lambda: self._write_now(data))

    def draw(self, text: str) -> None:
        """Draw the prompt again, with the line that says how it stands."""
        with self._lock:
            self._standing = text
            if self._is_shown and self._session is not None:
                self._session.app.invalidate()

    # Talking

    async def talk(self, ws: WebSocket) -> None:
        """Send what is typed, and do what commands say, until somebody has had enough.

        Raises:
          Interrupted: by Ctrl-C.

        Cancellation: the prompt goes away, and the terminal is put back into order, before this
        ends.
        """
        assert self._output is not None
        lines, typed = trio.open_memory_channel[str](math.inf)
        obeying = Typed(ws, self._output, self._options)
        connected = "" if self._options.reconnect else "connected; "
        self._output.say(f"{connected}/help lists what can be typed besides messages")
        async with trio.open_nursery() as nursery:

            async def obey() -> None:
                await obeying.run(typed)
                nursery.cancel_scope.cancel()

            nursery.start_soon(obey)
            await self._ask(lines.send_nowait)
            nursery.cancel_scope.cancel()

    async def _ask(self, line_typed: Callable[[str], None]) -> None:
        token = trio.lowlevel.current_trio_token()
        finished = trio.Event()

        def in_thread() -> BaseException | None:
            try:
                return self._show(lambda text: token.run_sync_soon(line_typed, text))
            finally:
                with suppress(trio.RunFinishedError):
                    token.run_sync_soon(finished.set)

        try:
            ending = await trio.to_thread.run_sync(in_thread, abandon_on_cancel=True)
        except trio.Cancelled:
            self._take_away()
            with trio.CancelScope(shield=True, deadline=trio.current_time() + _RESTORE_TIMEOUT):
                await finished.wait()
            raise
        if isinstance(ending, KeyboardInterrupt):
            raise Interrupted(ExitCode.INTERRUPTED)

    # The thread's side

    def _show(self, line_typed: Callable[[str], None]) -> BaseException | None:
        """Show the prompt until it is taken away, or left by Ctrl-D or Ctrl-C; return that."""
        self._session = PromptSession(
            FormattedText([("class:prompt", _PROMPT)]),
            history=self._history or InMemoryHistory(),
            key_bindings=_bindings(line_typed),
            completer=_Commands(),
            complete_while_typing=False,
            multiline=True,
            prompt_continuation=_continuation,
            bottom_toolbar=self._toolbar,
            enable_history_search=False,
            erase_when_done=True,
        )
        try:
            self._session.prompt(handle_sigint=False, pre_run=self._began)
        except (EOFError, KeyboardInterrupt) as ending:
            return ending
        finally:
            self._ended()
        return None

    def _began(self) -> None:
        assert self._session is not None
        with self._lock:
            self._is_shown = True
            ending = self._ending
        if ending:
            self._session.app.exit(exception=EOFError)

    def _ended(self) -> None:
        with self._lock:
            self._is_shown = False
            for writing in self._writes:
                writing.cancel()

    def _toolbar(self) -> FormattedText | None:
        if not self._standing:
            return None
        return FormattedText([("", f"{cleared(self._standing)}; Enter = now")])

    def _take_away(self) -> None:
        """Have the prompt end; called on Trio's side."""
        with self._lock:
            self._ending = True
            if self._is_shown and self._session is not None:
                app = self._session.app
                assert app.loop is not None
                app.loop.call_soon_threadsafe(_exit, app)


def _exit(app: Any) -> None:
    # It may have been left at the same moment.
    if app.is_running and not app.is_done:
        app.exit(exception=EOFError)


def _bindings(line_typed: Callable[[str], None]) -> KeyBindings:
    """Enter sends, Alt-Enter begins a line, Ctrl-C clears the line or leaves an empty one."""
    bindings = KeyBindings()

    @bindings.add("enter")
    def _(event: KeyPressEvent) -> None:
        buffer = event.current_buffer
        line_typed(buffer.text)
        buffer.append_to_history()
        buffer.reset()

    @bindings.add("escape", "enter")
    def _(event: KeyPressEvent) -> None:
        event.current_buffer.insert_text("\n")

    @bindings.add("c-c")
    def _(event: KeyPressEvent) -> None:
        if event.current_buffer.text:
            event.current_buffer.reset()
        else:
            event.app.exit(exception=KeyboardInterrupt)

    return bindings


def _continuation(width: int, line_number: int, wrap_count: int) -> str:
    """What stands before a line that goes on: a dot where somebody began it."""
    return "  " if wrap_count else ". "


class _Commands(Completer):
    """Completes the names of commands, and nothing else."""

    def get_completions(
        self, document: Document, complete_event: CompleteEvent
    ) -> Iterator[Completion]:
        typed = document.text
        if typed.startswith("/"):
            for name in NAMES:
                if name.startswith(typed):
                    yield Completion(name, start_position=-len(typed))


# History


class _CarefulHistory(FileHistory):
    """A history that a full disk does not take the prompt down with."""

    def store_string(self, string: str) -> None:
        with suppress(OSError):
            super().store_string(string)


def _open_history(target: Target, environment: Mapping[str, str]) -> History | None:
    """What was typed to *target* before, in a file that nobody else can read."""
    home = environment.get("XDG_STATE_HOME") or os.path.join(
        environment.get("HOME") or os.path.expanduser("~"), ".local", "state"
    )
    name = re.sub(r"[^A-Za-z0-9._-]", "_", target.unix_path or f"{target.host}_{target.port}")
    path = Path(home, "trio-ws", "history", name)
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600))
    except OSError:
        # A home that cannot be written to costs the history, not the conversation.
        return None
    return _CarefulHistory(path)
