"""Writing to stdout or a file without holding up anything else."""

from __future__ import annotations

import os
import select
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

import trio

from .failures import LocalFailure

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

#: Bytes that wait to be written; beyond, whoever asks for room waits.
_HIGH_WATER: Final = 256 * 1024
#: Seconds for what is left when the block was not left in peace: nobody may read it.
_LAST_WRITE_TIMEOUT: Final = 0.5
_STDOUT: Final = 1


class Writer:
    """Writes what it is given, in order, in a thread: whoever reads it may be slow.

    What comes while a write is under way goes out in the next one.

    Args:
      write: writes all of its argument, and may block.
    """

    def __init__(self, write: Callable[[bytes], object]) -> None:
        self._write = write
        self._waiting = bytearray()
        self._writing = False
        self._ended = False
        self._changed = trio.Event()

    def put(self, data: bytes) -> None:
        """Have *data* written. Never blocks; see `room`."""
        self._waiting += data
        self._notify()

    async def room(self) -> None:
        """Wait until little enough waits to be written."""
        while len(self._waiting) > _HIGH_WATER:
            await self._changed.wait()

    async def flush(self) -> None:
        """Wait until everything is written, or nothing more will be."""
        while (self._waiting or self._writing) and not self._ended:
            await self._changed.wait()

    async def run(self) -> None:
        """Write, until cancelled. A write under way then is left to itself.

        Raises:
          BrokenPipeError: nobody reads any more.
          LocalFailure: it cannot be written.
        """
        try:
            while True:
                while not self._waiting:
                    await self._changed.wait()
                data = bytes(self._waiting)
                self._waiting.clear()
                self._writing = True
                self._notify()
                await trio.to_thread.run_sync(self._write, data, abandon_on_cancel=True)
                self._writing = False
                self._notify()
        finally:
            self._ended = True
            self._notify()

    def _notify(self) -> None:
        self._changed.set()
        self._changed = trio.Event()


@asynccontextmanager
async def open_writer(write: Callable[[bytes], object]) -> AsyncGenerator[Writer]:
    """A `Writer` at work; what it was given is written when the block ends.

    When an exception or a cancellation leaves the block, what came before it is written as well,
    unless that takes longer than a moment.
    """
    writer = Writer(write)
    working = trio.CancelScope(shield=True)

    async def work() -> None:
        with working:
            await writer.run()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(work)
        try:
            yield writer
            await writer.flush()
        except BaseException:
            with trio.move_on_after(_LAST_WRITE_TIMEOUT, shield=True):
                await writer.flush()
            raise
        finally:
            working.cancel()


def write_to(descriptor: int, name: str) -> Callable[[bytes], None]:
    """A function that writes all it is given to *descriptor*.

    Raises:
      BrokenPipeError: nobody reads any more.
      LocalFailure: it cannot be written; *name* says where.
    """

    def write(data: bytes) -> None:
        view = memoryview(data)
        try:
            while view:
                view = view[_write_some(descriptor, view) :]
        except BrokenPipeError:
            raise
        except OSError as error:
            raise LocalFailure(f"cannot write to {name}: {error.strerror}") from None

    return write


async def write_stdout(data: bytes) -> None:
    """Write *data* to standard output, where whoever has it is to know. One caller at a time.

    Raises:
      BrokenPipeError: nobody reads it any more.
      LocalFailure: it cannot be written.

    Cancellation: some of it may have been written, or still be.
    """
    # Abandoned: Ctrl-C must not wait for a reader that has stopped.
    await trio.to_thread.run_sync(write_to(_STDOUT, "stdout"), data, abandon_on_cancel=True)


def _write_some(descriptor: int, data: memoryview) -> int:
    try:
        return os.write(descriptor, data)
    except BlockingIOError:
        # Whoever shares the pipe or terminal with us may have made it so.
        select.select([], [descriptor], [])
        return 0
