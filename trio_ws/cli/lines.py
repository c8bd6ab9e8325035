"""Lines to stdout from within the event loop, which must not wait for whoever reads them."""

from __future__ import annotations

import os

import trio

_STDOUT = 1


async def put(data: bytes) -> None:
    """Write *data* to standard output. One caller at a time.

    Raises:
      BrokenPipeError: nobody reads it any more.

    Cancellation: some of it may have been written, or still be.
    """
    # Abandoned: Ctrl-C must not wait for a reader that has stopped.
    await trio.to_thread.run_sync(_write, data, abandon_on_cancel=True)


def _write(data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(_STDOUT, view) :]
