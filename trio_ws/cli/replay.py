"""``trio-ws replay``: what was recorded is sent again, when it was sent.

The recording is read twice, a line at a time: once before the connection is made, to see that it
is whole, and once while it is sent. So it may be larger than memory, and nothing is sent of one
that is broken. What cannot be read twice, as a pipe, is kept in a temporary file meanwhile.
"""

from __future__ import annotations

import os
import shutil
import stat
import sys
import tempfile
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, Final

import trio

from .._client import connect
from .._errors import ConnectionClosed
from .connecting import destination_of
from .failures import Unmet, Usage
from .jsonlines import decode
from .options.replay import Side
from .signals import interruptible
from .writer import write_stdout

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from .._websocket import WebSocket
    from .connecting import Destination
    from .options.replay import ReplayOptions

#: Characters or bytes that are shown of a message, from a little before where it differs.
_SHOWN: Final = 60
_BEFORE: Final = 20


@dataclass(frozen=True, slots=True)
class Message:
    """One recorded message, and when it was, in seconds since 1970."""

    at: float
    data: str | bytes


@dataclass(frozen=True, slots=True)
class Recording:
    """A file of JSON lines.

    Attributes:
      path: where it can be read, as often as need be.
      name: how the user calls it.
    """

    path: str
    name: str

    def messages(self, side: Side) -> Iterator[Message]:
        """The messages of one side, of every connection in the file, in the file's order.

        Raises:
          Usage: it cannot be read, or a line is not an entry; the message says which.
        """
        with self._open() as file:
            for entry in decode(file, self.name):
                if entry.type == "message" and entry.dir == side and entry.data is not None:
                    yield Message(entry.ts, entry.data)

    def _open(self) -> BinaryIO:
        with _explaining(self.name):
            return open(self.path, "rb")

    def repeated(self, side: Side, times: int) -> Iterator[str | bytes]:
        """What the messages of one side hold, all of them so many times."""
        for _ in range(times):
            for message in self.messages(side):
                yield message.data


@contextmanager
def opened(given: str) -> Generator[Recording]:
    """The recording that *given* names; ``-`` is standard input.

    Raises:
      Usage: it cannot be read.
    """
    name = "standard input" if given == "-" else given
    if given != "-" and _can_be_read_again(given):
        yield Recording(given, name)
        return
    with tempfile.NamedTemporaryFile(prefix="trio-ws-replay-") as kept:
        with _explaining(name):
            if given == "-":
                shutil.copyfileobj(sys.stdin.buffer, kept)
            else:
                with open(given, "rb") as pipe:
                    shutil.copyfileobj(pipe, kept)
            kept.flush()
        yield Recording(kept.name, name)


def _can_be_read_again(path: str) -> bool:
    # Not by opening it: whoever writes to a pipe would see its reader go.
    with _explaining(path):
        return stat.S_ISREG(os.stat(path).st_mode)


@contextmanager
def _explaining(name: str) -> Generator[None]:
    try:
        yield
    except OSError as error:
        raise Usage(f"cannot read {name}: {error.strerror}") from None


def run(options: ReplayOptions) -> None:
    """Send the recording, and print what comes.

    Raises:
      Usage: the recording is broken, or there is nothing in it to send.
      Unmet: something else came than was expected, or the peer closed before all was sent.
      ConnectionClosed: the connection ended too soon, and not in good order.
    """
    destination = destination_of(options)
    with opened(options.file) as recording:
        count = sum(1 for _ in recording.messages(options.direction))
        if not count:
            raise Usage(f"{recording.name}: there is no message with dir {options.direction!s}")
        replay = _Replay(options, recording, count * options.loop)
        trio.run(replay.run, destination)


class _Replay:
    """One connection's worth of it.

    Attributes:
      sent: messages sent.
      quiet: ends the receiving; its deadline is set once all is sent.
    """

    def __init__(self, options: ReplayOptions, recording: Recording, total: int) -> None:
        self.sent = 0
        self.quiet = trio.CancelScope()
        self._options = options
        self._recording = recording
        self._total = total

    async def run(self, destination: Destination) -> None:
        """Connect, send, receive."""
        async with (
            interruptible(),
            connect(destination.url, hooks=(), **destination.options) as ws,
            trio.open_nursery() as nursery,
        ):
            nursery.start_soon(self._send, ws)
            await self._receive(ws)
            nursery.cancel_scope.cancel()

    async def _send(self, ws: WebSocket) -> None:
        # Whoever receives says why the connection has ended.
        with suppress(ConnectionClosed):
            for _ in range(self._options.loop):
                await self._send_once(ws)
            self._rest()

    async def _send_once(self, ws: WebSocket) -> None:
        began = trio.current_time()
        first: float | None = None
        for message in self._recording.messages(self._options.direction):
            first = message.at if first is None else first
            if self._options.speed:
                # Due by the first, so that waiting for the peer is made up for. What the clock
                # was set back over is due at once.
                await trio.sleep_until(began + (message.at - first) / self._options.speed)
            await ws.send(message.data)
            self.sent += 1

    def _rest(self) -> None:
        """Something happened: the quiet begins anew, if all is sent."""
        if self.sent == self._total:
            self.quiet.deadline = trio.current_time() + self._options.linger

    async def _receive(self, ws: WebSocket) -> None:
        comparison = self._comparison()
        with self.quiet:
            async for message in ws:
                await write_stdout(_line(message))
                comparison.came(message)
                self._rest()
        if self.sent < self._total:
            raise Unmet(
                f"{self.sent} of {self._total} messages were sent when the connection ended: "
                f"{ws.close_reason}"
            )
        comparison.ended()

    def _comparison(self) -> Comparison:
        if not self._options.expect_same:
            return Comparison(None)
        other = Side.IN if self._options.direction is Side.OUT else Side.OUT
        return Comparison(self._recording.repeated(other, self._options.loop))


class Comparison:
    """What comes, held against what is expected.

    Args:
      expected: what should come; ``None``: anything will do.
    """

    def __init__(self, expected: Iterator[str | bytes] | None) -> None:
        self._expected = expected
        self._count = 0

    def came(self, message: str | bytes) -> None:
        """The next message has come.

        Raises:
          Unmet: it is not what is expected.
        """
        if self._expected is None:
            return
        self._count += 1
        expected = next(self._expected, None)
        if expected is None:
            raise Unmet(f"message {self._count} is one too many: {_shown(message)}")
        if message != expected:
            raise Unmet(f"message {self._count} differs: {_difference(expected, message)}")

    def ended(self) -> None:
        """Nothing more comes.

        Raises:
          Unmet: something more is expected.
        """
        expected = next(self._expected, None) if self._expected is not None else None
        if expected is not None:
            raise Unmet(f"message {self._count + 1} did not come: {_shown(expected)}")


def _difference(expected: str | bytes, message: str | bytes) -> str:
    if type(expected) is not type(message):
        return (
            f"expected {_kind(expected)} {_shown(expected)}, got {_kind(message)} {_shown(message)}"
        )
    at = next(
        (at for at, (a, b) in enumerate(zip(expected, message, strict=False)) if a != b),
        min(len(expected), len(message)),
    )
    unit = "byte" if isinstance(message, bytes) else "character"
    where = f"; they differ from {unit} {at + 1}" if at else ""
    return f"expected {_shown(expected, at)}, got {_shown(message, at)}{where}"


def _kind(message: str | bytes) -> str:
    return "text" if isinstance(message, str) else "binary"


def _shown(message: str | bytes, at: int = 0) -> str:
    """The part of *message* around *at*, as a literal."""
    begin = max(0, at - _BEFORE)
    part = message[begin : begin + _SHOWN]
    return f"{'...' if begin else ''}{part!r}{'...' if begin + _SHOWN < len(message) else ''}"


def _line(message: str | bytes) -> bytes:
    return (message if isinstance(message, bytes) else message.encode()) + b"\n"
