"""Byte streams in memory that fail as networks do: late, slowly, in pieces, cut, stalled."""

from __future__ import annotations

import enum
import math
import operator
from collections import deque
from contextlib import contextmanager
from dataclasses import dataclass, fields
from random import Random
from typing import TYPE_CHECKING, Final

import trio

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

#: Room for what gets lost.
_ENDLESS: Final = 2**62
#: What a read that does not say how much it wants gets.
_MOST_AT_ONCE: Final = 64 * 1024
#: Faults that count bytes or turns.
_WHOLE: Final = frozenset(
    {"segment", "buffer", "extra_turns", "reset_after", "end_after", "stall_after"}
)
#: Faults that cannot be 0.
_POSITIVE: Final = frozenset({"bandwidth", "segment", "buffer"})


class _Mark(enum.Enum):
    """What is under way among the bytes."""

    END = enum.auto()
    RESET = enum.auto()
    STALL = enum.auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class Faults:
    """What one direction of a `Wire` suffers from.

    Attributes:
      latency: seconds that each byte takes.
      jitter: up to so many seconds more, at random. As in TCP, no byte overtakes another.
      bandwidth: bytes a second.
      segment: bytes arrive in pieces of random sizes up to this; ``None``: as they were sent, or
        several writes at once.
      buffer: so many bytes may be under way; then ``send_all`` waits, as with full socket buffers.
      extra_turns: each call takes up to so many more turns of Trio's scheduler, at random, so that
        tasks are woken in another order.
      reset_after: the connection is reset by the byte after so many. Those before it arrive; what
        is under way in the other direction is lost.
      end_after: the reader sees the end after so many bytes, and the writer is not told: what it
        sends is lost. The other direction goes on.
      stall_after: nothing arrives after so many bytes, until `Direction.resume`.

    Raises:
      ValueError: a negative number, or a bandwidth, segment or buffer of nothing.
      TypeError: no number, or half a byte or turn.
    """

    latency: float = 0.0
    jitter: float = 0.0
    bandwidth: float = math.inf
    segment: int | None = None
    buffer: int = 64 * 1024
    extra_turns: int = 0
    reset_after: int | None = None
    end_after: int | None = None
    stall_after: int | None = None

    def __post_init__(self) -> None:
        for field in fields(self):
            name, value = field.name, getattr(self, field.name)
            if value is None and field.default is None:
                continue
            if not isinstance(value, int if name in _WHOLE else int | float):
                kind = "a whole number" if name in _WHOLE else "a number"
                raise TypeError(f"{name} must be {kind}, not {value!r}")
            # Written so that NaN is refused, too.
            if name in _POSITIVE:
                if not value > 0:
                    raise ValueError(f"{name} must be more than 0, not {value!r}")
            elif not 0 <= value < math.inf:
                raise ValueError(f"{name} must be a finite number of at least 0, not {value!r}")

    def _marks(self) -> Iterator[tuple[int, _Mark]]:
        """What happens after how many bytes, in order."""
        after = {
            _Mark.STALL: self.stall_after,
            _Mark.END: self.end_after,
            _Mark.RESET: self.reset_after,
        }
        known = [(count, mark) for mark, count in after.items() if count is not None]
        return iter(sorted(known, key=lambda one: one[0]))


#: What a good network does: nothing.
NO_FAULTS: Final = Faults()


class Direction:
    """One way of a `Wire`.

    Attributes:
      faults: what bytes that are sent from now on suffer from.
      sent: how many bytes the writer has sent.
      received: how many of them the reader has received.
    """

    def __init__(self, faults: Faults, random: Random) -> None:
        self.faults = faults
        self.sent = 0
        self.received = 0
        self._random = random
        self._pieces: deque[tuple[float, bytes | _Mark]] = deque()
        self._under_way = 0
        self._stalled = False
        # When the bytes that were sent have left, and when the last of them arrives.
        self._free_at = self._last_due = -math.inf
        # Whether what is sent gets lost; whether the writer knows that nothing can be sent.
        self._lossy = False
        self._broken = False
        self._reader = trio.lowlevel.ParkingLot()
        self._writer = trio.lowlevel.ParkingLot()
        self._when_reset: Callable[[], None] = lambda: None

    def __repr__(self) -> str:
        return f"<Direction: {self.sent} bytes sent, {self.received} received>"

    def stall(self) -> None:
        """Let nothing arrive any more, not even what is under way."""
        self._stalled = True

    def resume(self) -> None:
        """Go on after `stall`, or ``Faults.stall_after``."""
        self._stalled = False
        self._pieces = deque(piece for piece in self._pieces if piece[1] is not _Mark.STALL)
        self._reader.unpark_all()

    def end(self) -> None:
        """Half-close behind what is under way; the writer is not told: what it sends is lost."""
        self._put_mark(_Mark.END)
        self._lossy = True
        self._writer.unpark_all()

    def _put_mark(self, mark: _Mark) -> None:
        if not self._lossy:
            due = max(self._last_due, trio.current_time() + self.faults.latency)
            self._pieces.append((due, mark))
            self._reader.unpark_all()

    def _lose(self) -> None:
        """Reset: what is under way is lost, and the reader is told now."""
        self._pieces = deque([(-math.inf, _Mark.RESET)])
        self._under_way = 0
        self._stalled = False
        self._lossy = True
        self._reader.unpark_all()
        self._writer.unpark_all()

    def _break(self) -> None:
        """The writer cannot send any more."""
        self._broken = True
        self._writer.unpark_all()

    # The writer's side

    def _room(self) -> int:
        return _ENDLESS if self._lossy else self.faults.buffer - self._under_way

    def _put(self, data: bytes) -> None:
        start, self.sent = self.sent, self.sent + len(data)
        done = start
        for count, mark in self.faults._marks():
            if self._lossy or not start <= count < self.sent:
                continue
            self._put_pieces(data[done - start : count - start])
            done = count
            self._put_mark(mark)
            if mark is not _Mark.STALL:
                self._lossy = True
            if mark is _Mark.RESET:
                self._break()
                self._when_reset()
        if not self._lossy:
            self._put_pieces(data[done - start :])

    def _put_pieces(self, data: bytes) -> None:
        faults, random, now = self.faults, self._random, trio.current_time()
        start = 0
        while start < len(data):
            size = len(data) if faults.segment is None else random.randint(1, faults.segment)
            piece = data[start : start + size]
            start += size
            self._free_at = max(self._free_at, now) + len(piece) / faults.bandwidth
            late = faults.latency + random.uniform(0, faults.jitter)
            self._last_due = max(self._last_due, self._free_at + late)
            self._pieces.append((self._last_due, piece))
            self._under_way += len(piece)
        self._reader.unpark_all()

    # The reader's side

    def _due(self) -> float:
        """When there is something for the reader."""
        if self._stalled or not self._pieces or self._pieces[0][1] is _Mark.STALL:
            return math.inf
        return self._pieces[0][0]

    def _take(self, max_bytes: int) -> bytes | _Mark:
        """What is due, which there must be. A mark stays where it is."""
        taken = b""
        while not taken or self.faults.segment is None:
            if not self._pieces or self._due() > trio.current_time() or len(taken) == max_bytes:
                break
            due, piece = self._pieces[0]
            if isinstance(piece, _Mark):
                if not taken:
                    return piece
                break
            room = max_bytes - len(taken)
            taken += piece[:room]
            self._pieces.popleft()
            if len(piece) > room:
                self._pieces.appendleft((due, piece[room:]))
        self.received += len(taken)
        self._under_way -= len(taken)
        self._writer.unpark_all()
        return taken

    async def _turns(self) -> None:
        """Pass through the scheduler, at least once."""
        for _ in range(1 + self._random.randint(0, self.faults.extra_turns)):
            await trio.lowlevel.checkpoint()


class WireStream(trio.abc.HalfCloseableStream):
    """One end of a `Wire`: to who uses it, a connection like any other."""

    def __init__(self, outgoing: Direction, incoming: Direction) -> None:
        self._outgoing = outgoing
        self._incoming = incoming
        self._closed = False
        self._ended = False
        self._busy: set[str] = set()

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """As `trio.abc.SendStream`; waits for room in ``Faults.buffer``.

        Cancelled: some of *data* may have been sent.
        """
        with self._alone("sending"):
            self._check_writable()
            await self._outgoing._turns()
            rest = bytes(data)
            while True:
                self._check_writable()
                room = self._outgoing._room()
                if room > 0:
                    self._outgoing._put(rest[:room])
                    rest = rest[room:]
                if not rest:
                    return
                if self._outgoing._room() <= 0:
                    await self._outgoing._writer.park()

    async def wait_send_all_might_not_block(self) -> None:
        """As `trio.abc.SendStream`."""
        with self._alone("sending"):
            self._check_writable()
            await trio.lowlevel.checkpoint()
            while self._outgoing._room() <= 0:
                await self._outgoing._writer.park()
                self._check_writable()

    def _check_writable(self) -> None:
        if self._closed:
            raise trio.ClosedResourceError("this end of the wire was closed here")
        if self._ended:
            raise trio.ClosedResourceError("nothing can be sent behind an end")
        if self._outgoing._broken:
            raise trio.BrokenResourceError("the wire was cut, or closed at its other end")

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """As `trio.abc.ReceiveStream`. Cancelled: nothing was received."""
        max_bytes = _MOST_AT_ONCE if max_bytes is None else operator.index(max_bytes)
        if max_bytes < 1:
            raise ValueError("max_bytes must be at least 1")
        incoming = self._incoming
        with self._alone("receiving"):
            await incoming._turns()
            while True:
                if self._closed:
                    raise trio.ClosedResourceError("this end of the wire was closed here")
                due = incoming._due()
                if due <= trio.current_time():
                    break
                with trio.CancelScope(deadline=due):
                    await incoming._reader.park()
            taken = incoming._take(max_bytes)
        if taken is _Mark.RESET:
            self._outgoing._break()
            raise trio.BrokenResourceError("the wire was cut")
        return b"" if isinstance(taken, _Mark) else taken

    async def send_eof(self) -> None:
        """As `trio.abc.HalfCloseableStream`."""
        with self._alone("sending"):
            if not self._ended:
                self._check_writable()
            self._ended = True
            self._outgoing.end()
            await trio.lowlevel.checkpoint()

    async def aclose(self) -> None:
        """As `trio.abc.AsyncResource`: what was sent goes on its way, and the peer's sends fail."""
        self.close()
        await trio.lowlevel.checkpoint()

    def close(self) -> None:
        """As `aclose`, at once."""
        if not self._closed:
            self._closed = True
            self._outgoing.end()
            self._outgoing._break()
            # Whoever reads here learns of it.
            self._incoming._reader.unpark_all()
            self._incoming._lossy = True
            self._incoming._break()

    @contextmanager
    def _alone(self, what: str) -> Generator[None]:
        if what in self._busy:
            raise trio.BusyResourceError(f"another task is {what} on this end of the wire")
        self._busy.add(what)
        try:
            yield
        finally:
            self._busy.discard(what)


class Wire:
    """A connection in memory that suffers from `Faults`.

    ::

        wire = Wire(down=Faults(latency=0.2, reset_after=1000))
        async with open_pair(streams=(wire.client, wire.server)) as (client, server):
            ...

    Args:
      up: what the bytes from the client to the server suffer from.
      down: what those from the server to the client do.
      random: where chance comes from; by default always the same.

    Attributes:
      client: the client's end, a `trio.abc.HalfCloseableStream`.
      server: the server's.
      up: the direction from client to server.
      down: the direction from server to client.
    """

    def __init__(
        self, *, up: Faults = NO_FAULTS, down: Faults = NO_FAULTS, random: Random | None = None
    ) -> None:
        random = random or Random(0)
        self.up = Direction(up, random)
        self.down = Direction(down, random)
        self.up._when_reset = self.down._lose
        self.down._when_reset = self.up._lose
        self.client = WireStream(self.up, self.down)
        self.server = WireStream(self.down, self.up)

    def __repr__(self) -> str:
        return f"<Wire: {self.up.sent} bytes up, {self.down.sent} down>"

    @property
    def closed(self) -> bool:
        """Whether both ends are closed."""
        return self.client._closed and self.server._closed

    def cut(self) -> None:
        """Reset the connection now: both ends fail, and what is under way is lost."""
        for direction in (self.up, self.down):
            direction._lose()
            direction._break()
