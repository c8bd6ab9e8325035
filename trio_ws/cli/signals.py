"""SIGINT and SIGTERM: the work is cancelled, and what it has to show can still be shown."""

from __future__ import annotations

import signal
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import trio

from .exit_codes import ExitCode
from .failures import Interrupted

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator

_CODES = {signal.SIGINT: ExitCode.INTERRUPTED, signal.SIGTERM: ExitCode.TERMINATED}


@asynccontextmanager
async def interruptible() -> AsyncGenerator[None]:
    """Cancel the block when a signal asks this program to end.

    Raises:
      Interrupted: it was so; raised where the block is left.
    """
    code: ExitCode | None = None

    async def watch(signals: AsyncIterator[int]) -> None:
        nonlocal code
        async for number in signals:
            code = _CODES[signal.Signals(number)]
            nursery.cancel_scope.cancel()

    with trio.open_signal_receiver(*_CODES) as signals:
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(watch, signals)
                yield
                nursery.cancel_scope.cancel()
        except BaseExceptionGroup as error:
            # What fails while everything is being cancelled is not the reason.
            if code is None:
                raise
            raise Interrupted(code) from error
    if code is not None:
        raise Interrupted(code)
