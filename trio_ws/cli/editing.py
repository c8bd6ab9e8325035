"""Trio's side of an `Editor`, which runs in a thread of its own, and of the terminal it is on."""

from __future__ import annotations

import os
import signal
import sys
import termios
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Final

import trio

from .exit_codes import ExitCode
from .failures import LocalFailure
from .writer import write_to

if TYPE_CHECKING:
    from collections.abc import Callable

    from outcome import Outcome

    from .editor import Editor

_STDOUT: Final = 1
#: Seconds that the editor gets to put the terminal back into order.
_RESTORE_TIMEOUT: Final = 2.0


async def edit(editor: Editor, entered: Callable[[str], None]) -> ExitCode:
    """Have lines typed in *editor* until somebody leaves; return what that means.

    Args:
      editor: one that has not run yet.
      entered: called with each line, in Trio's thread; it must not raise.

    Raises:
      LocalFailure: there is something wrong with the terminal.

    Cancellation: the editor goes away, and the terminal is put back into order, before this ends;
    what was entered by then has been passed on.
    """
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_watch_window, editor)
        outcome = await _run(editor, entered)
        nursery.cancel_scope.cancel()
    try:
        return outcome.unwrap()
    except OSError as error:
        if sys.stdin.isatty():
            raise LocalFailure(f"the terminal: {error.strerror}") from error
        return ExitCode.HUNG_UP


async def _run(editor: Editor, entered: Callable[[str], None]) -> Outcome[ExitCode]:
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

    run = partial(editor.run, partial(call_soon, entered))
    attributes = termios.tcgetattr(sys.stdin)
    trio.lowlevel.start_thread_soon(run, deliver, "trio-ws prompt")
    try:
        await ended.wait()
    except trio.Cancelled:
        editor.leave()
        with trio.CancelScope(shield=True, deadline=trio.current_time() + _RESTORE_TIMEOUT):
            await ended.wait()
        if not ended.is_set():
            # As where it waits for a terminal that takes no more output.
            termios.tcsetattr(sys.stdin, termios.TCSANOW, attributes)
        raise
    return outcomes[0]


async def _watch_window(editor: Editor) -> None:
    with trio.open_signal_receiver(signal.SIGWINCH) as signals:
        async for _ in signals:
            editor.draw_again()


async def wait_hung_up(*, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
    """Wait until a signal says that the terminal hangs up, unless that is to be ignored.

    Nobody may look any more, but the terminal may be there for others: leave it in order.
    *task_status* tells when the signal does not end this process any more. It never does from then
    on: one who reads from a terminal that is gone may know it, and be leaving, before the signal
    comes.
    """
    # Whoever is told to ignore it, as by nohup, goes on doing so.
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_DFL:
        task_status.started()
        await trio.sleep_forever()
    # What the receiver puts back when it ends.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with trio.open_signal_receiver(signal.SIGHUP) as signals:
        task_status.started()
        await anext(signals)


def write_terminal(data: bytes) -> None:
    """Write *data* to the terminal. Blocks until that is done.

    Raises:
      LocalFailure: it cannot be written.
    """
    try:
        write_to(_STDOUT, "the terminal")(data)
    except LocalFailure:
        # Where it has hung up, nobody looks any more, and that ends it soon enough.
        if os.isatty(_STDOUT):
            raise
