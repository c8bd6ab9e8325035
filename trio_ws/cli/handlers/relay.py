"""What processes say becomes messages, and what clients say their input."""

from __future__ import annotations

import logging
from contextlib import suppress
from typing import TYPE_CHECKING, Final, NamedTuple

import trio

from ..failures import cleared
from .coding import Undecodable
from .mode import ENDED
from .process import describe_status

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from ..._websocket import WebSocket
    from .coding import Coding
    from .mode import Message
    from .process import Output, Process

_logger: Final = logging.getLogger("trio_ws.cli")

#: Bytes of a process's error output that make one line of the log at most.
_MAX_LOGGED: Final = 4096


#: Seconds between looks at whether a client that is not read is still there.
PROBING: Final = 15.0


class Outcome(NamedTuple):
    """What the end of a process means for its clients: how they are closed."""

    code: int
    reason: str


async def feed(ws: WebSocket, coding: Coding, write: Callable[[bytes], Awaitable[None]]) -> None:
    """Write what *ws* receives, until the connection has ended.

    While writing waits, nothing is received, and so TCP pushes back on the client.
    """
    try:
        async for message in ws:
            await write(coding.encode(message))
    except ENDED:
        # Whoever holds the connection sees it as well.
        return


async def probe(ws: WebSocket) -> None:
    """Write something now and then while nothing is read, for nothing else shows who has gone.

    A heartbeat gives no verdict meanwhile, rightly: an answer would lie unread.
    """
    with suppress(*ENDED):
        while True:
            await trio.sleep(PROBING)
            if ws.reading_since is None:
                ws.start_ping().forget()


async def relay(
    process: Process, coding: Coding, deliver: Callable[[Message], Awaitable[None]], name: str
) -> Outcome:
    """Deliver what *process* writes until it has exited.

    Args:
      process: the process.
      coding: what makes messages of its output.
      deliver: called with each message. While it waits, the process's output is not read.
      name: of its client, for the log.
    """
    outcome: Outcome | None = None
    async with trio.open_nursery() as nursery:
        nursery.start_soon(process.wait)
        if process.errors is not None:
            nursery.start_soon(_log, process.errors, name)
        try:
            await _deliver_all(process.output, coding, deliver)
        except Undecodable as error:
            _logger.error("%s: %s", name, error)
            outcome = Outcome(1011, str(error))
            nursery.cancel_scope.cancel()
    return outcome or _outcome_of(await process.wait())


def _outcome_of(status: int) -> Outcome:
    return Outcome(1000, "") if status == 0 else Outcome(1011, describe_status(status))


async def _deliver_all(
    output: Output, coding: Coding, deliver: Callable[[Message], Awaitable[None]]
) -> None:
    data = b"not the end"
    while data:
        data = await output.read()
        for message in coding.decode(data):
            await deliver(message)


async def _log(errors: Output, name: str) -> None:
    """Write what a process has to say besides its output to the log, line by line."""
    rest = b""
    while data := await errors.read():
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            _log_line(name, line)
        if len(rest) > _MAX_LOGGED:
            _log_line(name, rest)
            rest = b""
    if rest:
        _log_line(name, rest)


def _log_line(name: str, line: bytes) -> None:
    for start in range(0, max(len(line), 1), _MAX_LOGGED):
        text = line[start : start + _MAX_LOGGED].decode(errors="backslashreplace")
        _logger.info("%s: %s", name, cleared(text.rstrip("\r")))
