"""The prompt: messages and commands are typed below what comes.

The line itself is an `Editor`, in a thread of its own; here is Trio's side of it.
"""

from __future__ import annotations

import math
import os
import signal
import sys
import termios
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Final

import trio

from .commands import NAMES, Typed
from .editor import Editor
from .exit_codes import ExitCode
from .failures import Interrupted, LocalFailure
from .history import open_history
from .output import open_output
from .render import wants_color
from .writer import write_to

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Mapping

    from outcome import Outcome

    from .._url import Target
    from .._websocket import WebSocket
    from .options.client import ClientOptions
    from .output import Output

_STDOUT: Final = 1
_HINT: Final = "; Enter = now"
#: Seconds that the editor gets to put the terminal back into order.
_RESTORE_TIMEOUT: Final = 2.0


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
            _write,
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
            # Whoever is told to ignore it, as by nohup, goes on doing so.
            if signal.getsignal(signal.SIGHUP) is signal.SIG_DFL:
                self._nursery.start_soon(_watch_hang_up)
            nursery.start_soon(self._watch_window)
            await self._ask(lines.send_nowait)
            # What was typed before is done first.
            lines.close()

    async def _ask(self, entered: Callable[[str], None]) -> None:
        """Have lines typed until Ctrl-D."""
        token = trio.lowlevel.current_trio_token()
        ended = trio.Event()
        outcomes: list[Outcome[ExitCode]] = []

        def call_soon(function: Callable[..., object], *arguments: object) -> None:
            # Where the editor had to be abandoned, Trio may be gone.
            with suppress(trio.RunFinishedError):
                token.run_sync_soon(function, *arguments)

        def deliver(outcome: Outcome[ExitCode]) -> None:
            outcomes.append(outcome)
            call_soon(ended.set)

        run = partial(self._editor.run, partial(call_soon, entered))
        attributes = termios.tcgetattr(sys.stdin)
        trio.lowlevel.start_thread_soon(run, deliver, "trio-ws prompt")
        try:
            await ended.wait()
        except trio.Cancelled:
            self._editor.leave()
            with trio.CancelScope(shield=True, deadline=trio.current_time() + _RESTORE_TIMEOUT):
                await ended.wait()
            if not ended.is_set():
                # As where it waits for a terminal that takes no more output.
                termios.tcsetattr(sys.stdin, termios.TCSANOW, attributes)
            self._say_unfinished()
            raise
        try:
            code = outcomes[0].unwrap()
        except OSError as error:
            if sys.stdin.isatty():
                raise LocalFailure(f"the terminal: {error.strerror}") from error
            code = ExitCode.HUNG_UP
        if code is not ExitCode.OK:
            assert self._nursery is not None
            self._nursery.start_soon(_interrupt, code)
            await trio.sleep_forever()

    async def _watch_window(self) -> None:
        with trio.open_signal_receiver(signal.SIGWINCH) as signals:
            async for _ in signals:
                self._editor.draw_again()

    def _say_unfinished(self) -> None:
        """What is not finished when the connection ends is not lost, at least."""
        assert self._output is not None
        if self._editor.unfinished:
            self._output.say(f"not sent: {self._editor.unfinished}")


def _write(data: bytes) -> None:
    try:
        write_to(_STDOUT, "the terminal")(data)
    except LocalFailure:
        # Where it has hung up, nobody looks any more, and that ends it soon enough.
        if sys.stdout.isatty():
            raise


async def _interrupt(code: ExitCode) -> None:
    raise Interrupted(code)


async def _watch_hang_up() -> None:
    """Nobody may look any more, but the terminal may be there for others: leave it in order."""
    with trio.open_signal_receiver(signal.SIGHUP) as signals:
        await anext(signals)
        raise Interrupted(ExitCode.HUNG_UP)


def _with_hint(text: str, columns: int) -> str:
    """How it stands and what can be done about it, in one line of a terminal."""
    room = columns - len(_HINT)
    if len(text) > room:
        text = f"{text[: max(0, room - 2)]}…)"
    return text + _HINT
