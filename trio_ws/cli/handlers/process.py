"""A shell command as a process that is sure to end, and all that it has started with it.

It leads a session and a process group of its own, so that signals reach its offspring as well,
and a Ctrl-C meant for the server reaches none of them.
"""

from __future__ import annotations

import logging
import math
import os
import signal
import subprocess
import termios
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import trio

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType
    from typing import Self

_logger: Final = logging.getLogger("trio_ws.cli")

#: Seconds from the signal that asks a group to end to the one that ends it.
GRACE: Final = 3.0
#: Seconds that the kernel gets to do the latter.
_REAPING: Final = 2.0
#: Seconds of them that its offspring gets, which init has to reap; in some containers nobody does.
_DYING: Final = 0.5
#: Seconds between looks at whether a group still has members.
_POLL: Final = 0.02
#: Seconds of silence after which the output of a process that has exited is at its end, although
#: what it has left behind could still write there.
_SILENCE: Final = 0.5
_READ_SIZE: Final = 64 * 1024
#: Rows and columns of a terminal whose size nobody told us.
_TERMINAL_SIZE: Final = (24, 80)
#: Opening a terminal makes it the controlling one of a session that has none; so it is opened
#: again, by the shell, which leads a session by then.
_IN_TERMINAL: Final = 'exec /bin/sh -c "$0" <"$1" >"$1" 2>&1'


class Output:
    """What a process writes, to its end."""

    def __init__(self, stream: trio.abc.ReceiveStream) -> None:
        self._stream = stream
        self._patience = math.inf
        self._reading: trio.CancelScope | None = None

    async def read(self) -> bytes:
        """What was written; ``b""`` at the end. Cancellation: nothing is lost."""
        with trio.move_on_after(self._patience) as self._reading:
            try:
                return bytes(await self._stream.receive_some(_READ_SIZE))
            except trio.BrokenResourceError:
                # So a terminal says that nobody has it open any more.
                return b""
        return b""

    def hurry(self) -> None:
        """From now on, silence is the end."""
        self._patience = _SILENCE
        if self._reading is not None:
            self._reading.deadline = trio.current_time() + _SILENCE


class Process:
    """A shell command that runs. Use it as an async context manager: leaving it ends it.

    Attributes:
      output: what it writes.
      errors: what it writes beside that; ``None`` with a terminal, which shows both.
      has_terminal: whether it runs in a terminal of its own.
    """

    def __init__(
        self,
        process: trio.Process,
        stdin: trio.abc.SendStream,
        output: trio.abc.ReceiveStream,
        errors: trio.abc.ReceiveStream | None,
    ) -> None:
        self.output = Output(output)
        self.errors = None if errors is None else Output(errors)
        self.has_terminal = errors is None
        self._process = process
        self._stdin = stdin
        self._streams = [one for one in (stdin, output, errors) if one is not None]
        self._deaf = False

    @classmethod
    async def start(
        cls, command: str, environment: Mapping[str, str], *, terminal: bool = False
    ) -> Self:
        """Start *command*, for ``/bin/sh``.

        Args:
          command: the command.
          environment: its variables.
          terminal: whether to give it a terminal instead of pipes.

        Raises:
          OSError: this machine has no process, descriptor or terminal to spare.

        Cancellation: it runs and is returned, or never ran.
        """
        if terminal:
            return await cls._start_in_terminal(command, environment)
        process = await trio.lowlevel.open_process(
            command,
            shell=True,
            start_new_session=True,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert process.stdin is not None
        assert process.stdout is not None
        return cls(process, process.stdin, process.stdout, process.stderr)

    @classmethod
    async def _start_in_terminal(cls, command: str, environment: Mapping[str, str]) -> Self:
        master, slave = os.openpty()
        try:
            termios.tcsetwinsize(slave, _TERMINAL_SIZE)
            process = await trio.lowlevel.open_process(
                ["/bin/sh", "-c", _IN_TERMINAL, command, os.ttyname(slave)],
                start_new_session=True,
                env={"TERM": "xterm", **environment},
                stdin=slave,
                stdout=slave,
                stderr=slave,
            )
        except BaseException:
            os.close(master)
            raise
        finally:
            os.close(slave)
        stream = trio.lowlevel.FdStream(master)
        return cls(process, stream, stream, None)

    async def write(self, data: bytes) -> None:
        """Let it read *data*; nothing happens where it reads no longer.

        Cancellation: part of *data* may have been read.
        """
        if self._deaf:
            await trio.lowlevel.checkpoint()
            return
        try:
            await self._stdin.send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self._deaf = True

    async def end_input(self) -> None:
        """Let it read to the end; a terminal has none, and stays as it is."""
        if self.has_terminal:
            await trio.lowlevel.checkpoint()
        else:
            self._deaf = True
            await self._stdin.aclose()

    async def wait(self) -> int:
        """Wait until it exits; return its status, or the negative of a signal's number."""
        status = await self._process.wait()
        self.output.hurry()
        if self.errors is not None:
            self.errors.hurry()
        return status

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.end()

    async def end(self) -> None:
        """End it, and all that is left of its group.

        They are asked with SIGTERM, or SIGHUP where they have a terminal; after `GRACE` seconds
        they get SIGKILL. Cancelled or not, this takes no longer than that, and two seconds more
        for a process that not even SIGKILL ends at once.
        """
        bound = trio.current_time() + GRACE + _REAPING
        with trio.CancelScope(deadline=bound, shield=True) as bounded:
            for stream in self._streams:
                await stream.aclose()
            if self._signal(signal.SIGHUP if self.has_terminal else signal.SIGTERM):
                with trio.move_on_after(GRACE):
                    await self._wait_group_gone()
                if self._signal(signal.SIGKILL):
                    await self._process.wait()
                    with trio.move_on_after(_DYING):
                        await self._wait_group_gone()
            await self._process.wait()
        if bounded.cancelled_caught:
            _logger.error("process %d does not end, not even when killed", self._process.pid)

    def _signal(self, number: int) -> bool:
        """Send a signal to the group; whether there is one."""
        with suppress(PermissionError):
            # Some of it may have become somebody else's; that is for them to end.
            try:
                os.killpg(self._process.pid, number)
            except ProcessLookupError:
                return False
        return True

    async def _wait_group_gone(self) -> None:
        await self._process.wait()
        while self._signal(0):  # noqa: ASYNC110  # the kernel tells nobody of groups
            await trio.sleep(_POLL)


def describe_status(status: int) -> str:
    """What a process's exit status says, for people."""
    if status >= 0:
        return f"exit status {status}"
    try:
        return f"killed by {signal.Signals(-status).name}"
    except ValueError:
        return f"killed by signal {-status}"
