"""``--exec --shared``: one process for all clients."""

from __future__ import annotations

import logging
import math
from collections import deque
from typing import TYPE_CHECKING, Final

import trio

from ...protocol.http import Response
from .crowd import Crowd
from .environment import own_environment
from .mode import Mode
from .process import Process
from .relay import Outcome, feed, probe, relay

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..._websocket import WebSocket
    from ...protocol.http import Request
    from .coding import Coding

_logger: Final = logging.getLogger("trio_ws.cli")

#: At most so many starts in so many seconds; a command that exits again and again is at fault.
MAX_STARTS: Final = 5
WITHIN: Final = 60.0
#: Seconds that the process gets to read what a client had said when it left.
PATIENCE: Final = 1.0
#: Seconds that clients get to take the last words of a process.
_LAST_WORDS: Final = 5.0
_CANNOT_START: Final = Outcome(1011, "the command cannot be started")


class _Life:
    """One process from its first client to its end.

    Attributes:
      crowd: its clients.
      wanted: set by the first of them.
      started: set when the process runs.
    """

    def __init__(self) -> None:
        self.crowd = Crowd()
        self.wanted = trio.Event()
        self.started = trio.Event()
        self.process: Process | None = None
        self.coding: Coding | None = None
        self._input = trio.Lock()

    async def attend(self, ws: WebSocket) -> None:
        """Let *ws* talk to the process until either has left."""
        self.wanted.set()
        async with self.crowd.joined(ws):
            await self.started.wait()
            assert self.process is not None
            assert self.coding is not None
            async with trio.open_nursery() as nursery:
                nursery.start_soon(probe, ws)
                nursery.start_soon(_part, ws, nursery.cancel_scope)
                await feed(ws, self.coding, self.write)
                nursery.cancel_scope.cancel()

    async def write(self, data: bytes) -> None:
        """Let the process read *data* in one piece, whoever else writes."""
        assert self.process is not None
        async with self._input:
            await self.process.write(data)


async def _part(ws: WebSocket, feeding: trio.CancelScope) -> None:
    """Once the client has left, wait no longer for a process that does not read."""
    await ws.wait_closed()
    await trio.sleep(PATIENCE)
    feeding.cancel()


class Shared(Mode):
    """Runs a shell command for all clients: each hears all of its output, and all may write to it.

    It starts with the first client and goes on without any. When it exits, every client is
    closed with what that means, and the next client starts it again.

    Args:
      command: for ``/bin/sh``.
      coding: makes what stands between its bytes and messages.
      terminal: whether it gets a terminal.
    """

    def __init__(self, command: str, coding: Callable[[], Coding], *, terminal: bool) -> None:
        super().__init__()
        self._command = command
        self._coding = coding
        self._terminal = terminal
        self._life = _Life()
        self._starts: deque[float] = deque(maxlen=MAX_STARTS)

    def process_request(self, request: Request) -> Response | None:
        if self._life.wanted.is_set() or len(self._starts) < MAX_STARTS:
            return None
        wait = self._starts[0] + WITHIN - trio.current_time()
        if wait <= 0:
            return None
        return Response.text(
            503,
            "The command keeps exiting\n",
            [("Retry-After", str(math.ceil(wait)))],
        )

    async def __call__(self, ws: WebSocket) -> None:
        if not self._life.wanted.is_set():
            self._starts.append(trio.current_time())
        await self._life.attend(ws)

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        task_status.started()
        while True:
            life = self._life
            await life.wanted.wait()
            await self._live(life)

    async def _live(self, life: _Life) -> None:
        try:
            process = await Process.start(self._command, own_environment(), terminal=self._terminal)
        except OSError as error:
            _logger.error("the command cannot be started: %s", error)
            await self._end(life, _CANNOT_START)
            return
        async with process:
            life.process, life.coding = process, self._coding()
            life.started.set()
            outcome = await relay(process, life.coding, life.crowd.tell, "shared")
            _logger.info("the shared command has ended: %s", outcome.reason or "exit status 0")
            await self._end(life, outcome)

    async def _end(self, life: _Life, outcome: Outcome) -> None:
        # Who comes from now on is another's.
        self._life = _Life()
        with trio.move_on_after(_LAST_WORDS):
            await life.crowd.wait_sent()
        life.crowd.dismiss_all(*outcome)
