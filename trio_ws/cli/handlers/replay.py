"""``--replay``: what was received once is sent again, at the same pace."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import trio

from ..failures import Usage
from ..jsonlines import decode
from .mode import ENDED, Mode

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from ..._websocket import WebSocket
    from ..jsonlines import Entry
    from .mode import Message


class Cue(NamedTuple):
    """A message, and how many seconds after the beginning it is due."""

    after: float
    message: Message


class Replay(Mode):
    """Sends each client the same messages at the same times, then closes with 1000.

    What clients send is read and dropped.
    """

    def __init__(self, cues: Iterable[Cue]) -> None:
        super().__init__()
        self._cues = tuple(cues)

    async def __call__(self, ws: WebSocket) -> None:
        beginning = trio.current_time()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_read_on, ws, nursery.cancel_scope)
            for after, message in self._cues:
                await trio.sleep_until(beginning + after)
                await ws.send(message)
            nursery.cancel_scope.cancel()


async def _read_on(ws: WebSocket, sending: trio.CancelScope) -> None:
    try:
        async for _ in ws:
            pass
    except ENDED:
        # There is nobody left to send to, and nothing to say about it.
        pass
    sending.cancel()


def read_cues(path: Path) -> tuple[Cue, ...]:
    """What a recording says was received, relative to its first entry.

    Raises:
      Usage: it cannot be read, is no recording, or nothing was received.
    """
    name = f"--replay {path}"
    try:
        with path.open("rb") as file:
            cues = tuple(_cues(decode(file, name)))
    except OSError as error:
        raise Usage(f"{name}: {error.strerror}") from None
    if not cues:
        raise Usage(f'{name}: it has no message that was received ("dir":"in")')
    return cues


def _cues(entries: Iterator[Entry]) -> Iterator[Cue]:
    beginning: float | None = None
    latest = 0.0
    for entry in entries:
        if beginning is None:
            beginning = entry.ts
        if entry.type == "message" and entry.dir == "in" and entry.data is not None:
            # A clock that was set back does not change the order.
            latest = max(latest, entry.ts - beginning)
            yield Cue(latest, entry.data)
