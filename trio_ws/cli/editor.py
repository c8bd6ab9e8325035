"""A line to type at, at the bottom of a terminal, which stays whole while text is written above.

It runs in a thread of its own, with an event loop that belongs to prompt_toolkit. Whoever writes
waits in another thread, and the rest of the program is in a third. Hence two locks:

1. ``_screen`` says who may touch the terminal. It is held while something is written without the
   line, and to begin and end the line; never by those who must not wait for a terminal.
2. ``_lock`` guards what all threads look at, and is never held for long. The loop is there for
   others exactly as long as ``_loop`` is set, and what they give it in that time is done.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from prompt_toolkit import PromptSession
from prompt_toolkit.application import get_app_session
from prompt_toolkit.completion import Completer, Completion
from prompt_toolkit.enums import DEFAULT_BUFFER
from prompt_toolkit.filters import has_focus
from prompt_toolkit.formatted_text import FormattedText
from prompt_toolkit.history import InMemoryHistory
from prompt_toolkit.key_binding import KeyBindings
from prompt_toolkit.output import ColorDepth
from prompt_toolkit.output.vt100 import Vt100_Output

from .exit_codes import ExitCode
from .failures import cleared

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from prompt_toolkit.completion import CompleteEvent
    from prompt_toolkit.document import Document
    from prompt_toolkit.history import History
    from prompt_toolkit.key_binding import KeyPressEvent
    from prompt_toolkit.output import Output

_PROMPT: Final = "> "
#: In a flood of text, the line is there for so many seconds, and then for so many, or a little
#: longer where the terminal is slow, it is not: keys are seen, and drawing takes little time.
#: What comes meanwhile waits with its writer, and is written in one.
_WRITE_INTERVAL: Final = 1 / 30
#: Bytes, or a little more to the end of a line, between two looks at the clock.
_PIECE: Final = 4096


@dataclass(slots=True)
class _Text:
    """What somebody waits to have written; in the end, what of it they have to write."""

    data: bytes
    start: int = 0
    left: Future[bytes] = field(default_factory=Future)


class Editor:
    """One line editor. What is typed goes into ``entered`` at every Enter.

    Args:
      write: writes to the terminal, and may block.
      history: where lines are remembered; ``None`` for as long as it runs.
      words: what Tab completes at the beginning.
      color: whether there are colours.
    """

    def __init__(
        self,
        write: Callable[[bytes], None],
        *,
        history: History | None = None,
        words: Sequence[str] = (),
        color: bool = True,
    ) -> None:
        self._write_now = write
        self._session: PromptSession[ExitCode] = PromptSession(
            self._message,
            history=history if history is not None else InMemoryHistory(),
            completer=_Words(words),
            complete_while_typing=False,
            multiline=True,
            prompt_continuation=_continuation,
            color_depth=None if color else ColorDepth.DEPTH_1_BIT,
            enable_suspend=True,
            erase_when_done=True,
            output=_output(),
        )
        # What is written leaves no line behind until it is drawn again: do so at once.
        self._session.app.max_render_postpone_time = None
        self._standing = ""
        self._screen = threading.Lock()
        self._lock = threading.Lock()
        self._leaving = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._asking: asyncio.Future[ExitCode] | None = None
        # The rest belongs to the editor's thread, and to writers while they hold ``_screen``.
        self._waiting: deque[_Text] = deque()
        self._next_write = 0.0
        self._crash: BaseException | None = None

    # For other threads

    def write(self, data: bytes) -> None:
        """Write *data*, which ends with a line end, above the line. Blocks until that is done.

        Raises:
          Exception: what ``write`` raises.
        """
        with self._screen:
            with self._lock:
                loop = self._loop
            if loop is None:
                self._write_now(data)
                return
            text = _Text(data)
            self._waiting.append(text)
            loop.call_soon_threadsafe(self._write_soon)
        left = text.left.result()
        if left:
            with self._screen:
                self._write_now(left)

    def stand(self, text: str) -> bool:
        """Show *text* with the line until it changes; return whether there is a line."""
        self._standing = text
        with self._lock:
            if self._loop is None:
                return False
            self._session.app.invalidate()
            return True

    def draw_again(self) -> None:
        """Draw the line from scratch, as where the window has another size."""
        with self._lock:
            if self._loop is not None:
                self._loop.call_soon_threadsafe(self._draw_afresh)

    def leave(self) -> None:
        """Have `run` end, now or as soon as it begins."""
        with self._lock:
            if not self._leaving and self._loop is not None:
                self._loop.call_soon_threadsafe(self._stop)
            self._leaving = True

    @property
    def columns(self) -> int:
        """The terminal's width."""
        return self._session.app.output.get_size().columns

    @property
    def unfinished(self) -> str:
        """What was typed without Enter, when it has ended."""
        return self._session.default_buffer.text

    # In its own thread

    def run(self, entered: Callable[[str], None]) -> ExitCode:
        """Have lines typed until somebody leaves; return what that means.

        Raises:
          Exception: something is wrong with the terminal, or here.
        """
        self._session.key_bindings = _bindings(entered)
        return asyncio.run(self._run())

    async def _run(self) -> ExitCode:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(self._crashed)
        # It begins behind what is being written now.
        with self._screen, self._lock:
            if self._leaving:
                return ExitCode.OK
            self._loop = loop
            self._asking = asyncio.ensure_future(
                self._session.prompt_async(handle_sigint=False, set_exception_handler=False)
            )
        try:
            code = await self._asking
        except asyncio.CancelledError:
            code = ExitCode.OK
        except EOFError:
            # By Ctrl-D; or there is nothing more to read.
            code = ExitCode.HUNG_UP if self._session.app.input.closed else ExitCode.OK
        finally:
            with self._screen, self._lock:
                self._loop = None
            # The terminal may take long: whoever writes waits for it, not the end.
            for text in self._waiting:
                text.left.set_result(text.data[text.start :])
            self._waiting.clear()
            self._restore()
        if self._crash is not None:
            raise self._crash
        return code

    def _stop(self) -> None:
        assert self._asking is not None
        self._asking.cancel()

    def _crashed(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Something raised where nobody catches it: end with that."""
        self._crash = self._crash or context.get("exception")
        if self._crash is not None:
            self._stop()

    def _restore(self) -> None:
        """Undo what `_erase` did, where nothing was drawn after it."""
        output = self._session.app.output
        output.disable_bracketed_paste()
        output.flush()

    # Writing

    def _write_soon(self) -> None:
        asyncio.get_running_loop().call_at(self._next_write, self._write_some)

    def _write_some(self) -> None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + _WRITE_INTERVAL
        self._erase()
        while self._waiting:
            if self._write_piece(self._waiting[0]):
                self._waiting.popleft()
            if loop.time() >= deadline:
                break
        self._session.app.invalidate()
        self._next_write = loop.time() + _WRITE_INTERVAL
        if self._waiting:
            self._write_soon()

    def _write_piece(self, text: _Text) -> bool:
        """Write some lines of *text*; return whether it is done."""
        end = text.data.find(b"\n", text.start + _PIECE) + 1 or len(text.data)
        try:
            self._write_now(text.data[text.start : end])
        except Exception as error:
            text.left.set_exception(error)
            return True
        text.start = end
        if end < len(text.data):
            return False
        text.left.set_result(b"")
        return True

    def _draw_afresh(self) -> None:
        self._erase()
        # From here, so that it comes behind: asked for from elsewhere while the line was about to
        # be drawn anyway, that would be before.
        self._session.app.invalidate()

    def _erase(self) -> None:
        """Take the line away until it is drawn again.

        prompt_toolkit's ``run_in_terminal`` gives the terminal its usual mode meanwhile: keys
        would be echoed into the text, and Ctrl-C would be a signal.
        """
        app = self._session.app
        if not app.is_running:
            return
        app.renderer.erase(leave_alternate_screen=False)
        # That has switched it off: a paste at this moment would be as many messages as lines.
        app.output.enable_bracketed_paste()
        app.output.flush()

    def _message(self) -> FormattedText:
        prompt = [("class:prompt", _PROMPT)]
        if self._standing:
            prompt[:0] = [("reverse", cleared(self._standing)), ("", "\n")]
        return FormattedText(prompt)


def _output() -> Output:
    """The terminal, which is not asked where its cursor is.

    The answers would come between keys, after a text has moved the cursor elsewhere, or after
    the end; what is drawn here needs them only to be at the bottom of the screen.
    """
    output = get_app_session().output
    if isinstance(output, Vt100_Output):
        output.enable_cpr = False
    return output


def _bindings(entered: Callable[[str], None]) -> KeyBindings:
    """Enter sends, Alt-Enter begins a line, Ctrl-C clears the line or leaves an empty one.

    While somebody searches, these keys are about the search.
    """
    bindings = KeyBindings()
    typing = has_focus(DEFAULT_BUFFER)

    @bindings.add("enter", filter=typing)
    def _(event: KeyPressEvent) -> None:
        buffer = event.current_buffer
        entered(buffer.text)
        buffer.append_to_history()
        buffer.reset()

    @bindings.add("escape", "enter", filter=typing)
    def _(event: KeyPressEvent) -> None:
        event.current_buffer.insert_text("\n")

    @bindings.add("c-c", filter=typing)
    def _(event: KeyPressEvent) -> None:
        if event.current_buffer.text:
            event.current_buffer.reset()
        else:
            event.app.exit(result=ExitCode.INTERRUPTED)

    return bindings


def _continuation(width: int, line_number: int, wrap_count: int) -> str:
    """What stands before a line that goes on: a dot where somebody began it."""
    return "  " if wrap_count else ". "


class _Words(Completer):
    """Completes the first word."""

    def __init__(self, words: Sequence[str]) -> None:
        self._words = words

    def get_completions(
        self, document: Document, complete_event: CompleteEvent
    ) -> Iterator[Completion]:
        typed = document.text_before_cursor
        for word in self._words:
            if typed and word.startswith(typed):
                yield Completion(word, start_position=-len(typed))
