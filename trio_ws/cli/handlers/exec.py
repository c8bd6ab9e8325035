"""``--exec``: a process for each client."""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING, Final

import trio

from ...protocol.http import Response
from .environment import environment_of
from .mode import ENDED, Mode
from .process import Process
from .relay import Outcome, feed, probe, relay

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..._websocket import WebSocket
    from ...protocol.http import Request
    from .coding import Coding
    from .mode import Message

_logger: Final = logging.getLogger("trio_ws.cli")

#: Seconds that a process without a client gets to exit by itself, its input being at its end.
PATIENCE: Final = 1.0
_NO_ROOM: Final = Response.text(503, "As many processes run here as may\n", [("Retry-After", "5")])


class Exec(Mode):
    """Runs a shell command for each client.

    Args:
      command: for ``/bin/sh``.
      coding: makes what stands between its bytes and messages.
      terminal: whether each process gets a terminal.
      max_processes: how many run at once; further clients are answered 503.
    """

    def __init__(
        self, command: str, coding: Callable[[], Coding], *, terminal: bool, max_processes: int
    ) -> None:
        super().__init__()
        self._command = command
        self._coding = coding
        self._terminal = terminal
        self._max_processes = max_processes
        self._running = 0

    def process_request(self, request: Request) -> Response | None:
        return None if self._running < self._max_processes else _NO_ROOM

    async def __call__(self, ws: WebSocket) -> None:
        self._running += 1
        try:
            await self._serve(ws)
        finally:
            self._running -= 1

    async def _serve(self, ws: WebSocket) -> None:
        try:
            process = await Process.start(
                self._command, environment_of(ws), terminal=self._terminal
            )
        except OSError as error:
            _logger.error("%s: the command cannot be started: %s", ws.id, error)
            await ws.aclose(1011, "the command cannot be started")
            return
        async with process:
            outcome = await _converse(ws, process, self._coding())
            if outcome is not None:
                await ws.aclose(*outcome)


async def _converse(ws: WebSocket, process: Process, coding: Coding) -> Outcome | None:
    """Let both talk until one has left; ``None`` if it is the process that is still there."""
    outcome: Outcome | None = None
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_feed_to_the_end, ws, process, coding)
        nursery.start_soon(probe, ws)
        nursery.start_soon(_part, ws, process, nursery.cancel_scope)
        outcome = await relay(process, coding, partial(_send, ws), ws.id)
        nursery.cancel_scope.cancel()
    return outcome


async def _feed_to_the_end(ws: WebSocket, process: Process, coding: Coding) -> None:
    await feed(ws, coding, process.write)
    await process.end_input()


async def _part(ws: WebSocket, process: Process, talk: trio.CancelScope) -> None:
    """Once the client has left, give the process a moment to follow, and have its last words."""
    await ws.wait_closed()
    await trio.sleep(0 if process.has_terminal else PATIENCE)
    talk.cancel()


async def _send(ws: WebSocket, message: Message) -> None:
    """Send *message*, or throw it away where nobody is left to have it."""
    try:
        await ws.send(message)
    except ENDED:
        await trio.lowlevel.checkpoint()
