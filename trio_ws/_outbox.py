"""The outbox: encoded frames on their way to the transport.

A frame is written at once, without blocking, where nothing is queued ahead of it and the
transport can do that. Whatever the transport did not take waits for the send task, which is
started when it is first needed: an idle connection has none. Frames that pile up go out in
one write. Control frames overtake queued data, though never the write under way.

Measured on 64-byte messages: writing inline where waking a task would do halves the time of a
round trip; letting replies wait for their siblings while more input is at hand is worth a
factor of ten in throughput.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import trio

from ._standstill import last_turns, stood_still

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from ._transport import Transport
    from .protocol.masking import MaskedPayload

#: Frames are gathered into writes of about this size; one larger frame goes by itself.
COALESCE_SIZE: Final = 64 * 1024
#: As much of a large payload goes in one write. While the peer takes one, the next is on its way:
#: with writes of 512 KiB, or of all there is, 1 MiB takes half as long again.
_AT_ONCE: Final = 256 * 1024
#: Queued pongs beyond this many make room for the newest (RFC 6455, section 5.5.3): this many
#: answers, and this many that nothing had asked for.
MAX_QUEUED_PONGS: Final = 16
#: How often the progress of a write is looked at within ``write_stall``.
_LOOKS: Final = 4


class WriteStalled(Exception):
    """The peer's system has accepted no byte of a waiting write for ``write_stall`` seconds."""


class Outbox:
    """The queue in front of one transport.

    Args:
      transport: where the bytes go.
      high_water: bytes queued beyond which `wait_room` waits.
      write_stall: seconds after which a write that makes no progress has failed.
      start_task: starts the send task in the connection's nursery.
      failed: called once, with the reason, when writing has failed.

    Attributes:
      size: bytes accepted and not taken by the transport yet.
      high_water: as given; below any size once nothing can be written any more.
      bytes_sent: bytes that the transport has taken.
      last_written: when it last took some.
      broken: whether writing has failed, or was ended by `discard`.
      burst: frames put in a row without a trip through the scheduler; the connection counts.
    """

    __slots__ = (
        "_control",
        "_data",
        "_failed",
        "_on_written",
        "_partial",
        "_pongs",
        "_start_task",
        "_task",
        "_task_started",
        "_transport",
        "_under_way",
        "_under_way_end",
        "_waiters",
        "_watched",
        "_write_stall",
        "_writing_since",
        "broken",
        "burst",
        "bytes_sent",
        "high_water",
        "last_written",
        "size",
    )

    def __init__(
        self,
        transport: Transport,
        *,
        high_water: int,
        write_stall: float,
        start_task: Callable[[Callable[[], Awaitable[None]]], None],
        failed: Callable[[Exception], None],
    ) -> None:
        self.size = 0
        self.bytes_sent = 0
        self.last_written = trio.current_time()
        self.broken = False
        self.burst = 0
        self._transport = transport
        self.high_water = high_water
        self._write_stall = write_stall
        self._start_task = start_task
        self._failed = failed
        self._control: list[bytes] = []
        self._data: list[bytes] = []
        # The pongs among the control frames: answers, and those that nothing had asked for.
        self._pongs: tuple[list[bytes], list[bytes]] | None = None
        # Whom to tell when the control frames that are queued have been written,
        self._on_written: list[Callable[[], None]] | None = None
        # and those in the write under way, which are its first bytes.
        self._under_way: list[Callable[[], None]] | None = None
        self._under_way_end = 0
        # The rest of the write under way, which the send task finishes before anything else.
        self._partial: memoryview | None = None
        self._task_started = False
        # The send task while it has nothing to do.
        self._task: trio.lowlevel.Task | None = None
        self._waiters: trio.lowlevel.ParkingLot | None = None
        # Since when the send task waits for the transport to take something.
        self._writing_since: float | None = None
        self._watched = False

    @property
    def tasks_waiting(self) -> int:
        """How many tasks wait for room."""
        return 0 if self._waiters is None else len(self._waiters)

    @property
    def is_blocked(self) -> bool:
        """Whether `wait_change` is to be waited for before the next frame of data.

        Over the high-water mark; or broken, and then the next change is the connection's end.
        """
        return self.size > self.high_water

    def put(self, frame: bytes) -> None:
        """Queue a frame, behind everything queued before, and write what can be written."""
        if self.size or self.broken or not self._transport.writes_inline:
            self._data.append(frame)
            self.size += len(frame)
            self.flush()
            return
        # A lone reply: what flush() would do, without what it would ask.
        self.size = len(frame)
        try:
            self._written(self._transport.write_now(frame))
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            self._fail(error)
        else:
            if self.size:
                self._leave_to_task(frame)

    def put_pieces(self, header: bytes, payload: memoryview | MaskedPayload) -> None:
        """As `put`, of a frame in two pieces, which are not joined where they go at once.

        Joining 1 MiB takes as long as writing it: the memory is new each time.
        """
        if self.size or self.broken or not self._transport.writes_inline:
            self.put(header + payload[:])
            return
        self.size = len(header) + len(payload)
        write_now = self._transport.write_now
        try:
            given = _AT_ONCE
            self._written(self._transport.write_pieces_now(header, payload[:given]))
            while 0 < self.size == len(payload) - given:
                given += _AT_ONCE
                self._written(write_now(payload[given - _AT_ONCE : given]))
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            self._fail(error)
        else:
            if self.size > len(payload):
                self._leave_to_task(header + payload[:])
            elif self.size:
                self._leave_to_task(payload[-self.size :])

    def _leave_to_task(self, frame: bytes | memoryview) -> None:
        """The last `size` bytes of *frame* have still to be written."""
        self._partial = memoryview(frame)[-self.size :]
        self._wake_task()

    def put_soon(self, frame: bytes) -> None:
        """The same, where more frames are likely to follow before the scheduler's next turn.

        They may share a write. It never waits longer than that turn.
        """
        self._data.append(frame)
        self.size += len(frame)
        if self.size >= COALESCE_SIZE:
            self.flush()
        elif self._task is not None or not self._task_started:
            self._wake_task()

    def put_control(self, frame: bytes, written: Callable[[], None] | None = None) -> None:
        """Queue a frame in front of queued data. It goes with the next `flush`.

        *written* is called when the transport has taken all of it.
        """
        self._control.append(frame)
        self.size += len(frame)
        if written is not None:
            self._on_written = [*(self._on_written or ()), written]

    def put_pong(self, frame: bytes, *, unsolicited: bool = False) -> None:
        """`put_control` for a pong: when many of its kind are queued, only the newest are kept."""
        if self._pongs is None:
            self._pongs = ([], [])
        pongs = self._pongs[unsolicited]
        if len(pongs) == MAX_QUEUED_PONGS:
            oldest = pongs.pop(0)
            self._control.remove(oldest)
            self.size -= len(oldest)
        pongs.append(frame)
        self.put_control(frame)

    def flush(self) -> None:
        """Write what can be written without blocking; the send task does the rest."""
        if self.broken:
            self._drop_queue()
            return
        if not self._transport.writes_inline:
            self._wake_task()
            return
        try:
            while self._partial is None and (self._data or self._control):
                chunk = self._take_chunk()
                written = self._transport.write_now(chunk)
                self._written(written)
                if written < len(chunk):
                    self._partial = memoryview(chunk)[written:]
                    self._wake_task()
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            self._fail(error)

    async def wait_change(self) -> None:
        """Wait until the transport has taken more, or `discard`. Cancelled: nothing happened."""
        if self._waiters is None:
            self._waiters = trio.lowlevel.ParkingLot()
        await self._waiters.park()

    async def wait_written(self) -> None:
        """Wait until the transport has taken everything, or never will."""
        while self.size and not self.broken:
            await self.wait_change()

    def wake_waiters(self) -> None:
        """Let every task in `wait_change` look again."""
        if self._waiters is not None:
            self._waiters.unpark_all()

    def discard(self) -> None:
        """Throw away what is queued; nothing is written any more."""
        self.broken = True
        self.high_water = -1
        self._drop_queue()
        self._wake_task()
        self.wake_waiters()

    def _drop_queue(self) -> None:
        self._data.clear()
        self._control.clear()
        self._pongs = None
        self._partial = None
        self.size = 0

    def _fail(self, error: Exception) -> None:
        if not self.broken:
            self.discard()
            self._failed(error)

    def _take_chunk(self) -> bytes:
        frames, self._control, self._pongs = self._control, [], None
        if self._on_written is not None:
            self._under_way, self._on_written = self._on_written, None
            self._under_way_end = self.bytes_sent + sum(map(len, frames))
        if not frames and len(self._data) == 1:
            return self._data.pop()
        if self.size <= 2 * COALESCE_SIZE:
            frames += self._data
            self._data.clear()
        else:
            size = count = 0
            while count < len(self._data) and size < COALESCE_SIZE:
                size += len(self._data[count])
                count += 1
            frames += self._data[:count]
            del self._data[:count]
        return frames[0] if len(frames) == 1 else b"".join(frames)

    def _written(self, count: int) -> None:
        self.size -= count
        self.bytes_sent += count
        if count:
            self.last_written = trio.current_time()
        if self._under_way is not None and self.bytes_sent >= self._under_way_end:
            under_way, self._under_way = self._under_way, None
            for written in under_way:
                written()
        if self._waiters is not None and self.size <= self.high_water:
            self._waiters.unpark_all()

    def _wake_task(self) -> None:
        if self._task is not None:
            task, self._task = self._task, None
            trio.lowlevel.reschedule(task)
        elif not self._task_started and not self.broken:
            self._task_started = True
            self._start_task(self._send_task)

    async def _send_task(self) -> None:
        while not self.broken:
            self.burst = 0
            self.flush()
            if self._partial is None and self.size:
                self._partial = memoryview(self._take_chunk())
            if self._partial is not None:
                await self._write_partial(self._partial)
            elif not self.broken:
                self._task = trio.lowlevel.current_task()
                await trio.lowlevel.wait_task_rescheduled(self._parking_cancelled)

    async def _write_partial(self, partial: memoryview) -> None:
        self._writing_since = trio.current_time()
        if not self._watched:
            self._watched = True
            self._start_task(self._watch_task)
        try:
            written = await self._transport.write_some(partial)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            self._fail(error)
            return
        finally:
            self._writing_since = None
        if not self.broken:
            self._partial = partial[written:] if written < len(partial) else None
            self._written(written)

    async def _watch_task(self) -> None:
        """Give a write up that makes no progress. Runs while there are any that have to wait.

        Not a timeout around each write: one that is cancelled cannot go on, even where it turns
        out that it was this process that stood still.
        """
        since = -math.inf
        acknowledged = self._transport.acknowledged()
        while self._writing_since is not None and not self.broken:
            since = max(since, self._writing_since)
            look = trio.current_time() + self._write_stall / _LOOKS
            due = min(since + self._write_stall, look)
            await trio.sleep_until(due)
            await last_turns()
            before, acknowledged = acknowledged, self._transport.acknowledged()
            if acknowledged != before or stood_still(due, self._write_stall):
                since = trio.current_time()
            elif (
                self._writing_since is not None
                and max(since, self._writing_since) + self._write_stall <= trio.current_time()
            ):
                self._fail(WriteStalled())
        self._watched = False

    def _parking_cancelled(self, _: object) -> trio.lowlevel.Abort:
        self._task = None
        return trio.lowlevel.Abort.SUCCEEDED
