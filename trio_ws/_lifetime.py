"""`Lifetime`: how a connection is read, and how it ends.

Two tasks serve a connection, in a nursery that belongs to whoever opened it::

    transport -> receive task -> machine -> inbox   -> receive()
    transport <- send task    <- outbox  <- machine <- send()

Each is started when it is first needed, and stays: an idle connection over a socket has neither.
Sockets are read by a task for all connections (see `_poller`), until one has to wait: for room,
for the rest of a message, for the end. The receive task alone completes a close, closes the
transport, and sets ``_ended``; everybody else only begins a close, or aborts, and waits. The send
task is needed once the transport makes somebody wait (see `_outbox`).

How a connection ends:

1. `_settle` fixes the reason, and which exception it means, once and for all. From then on no
   message is accepted, and everybody who waits is woken.
2. What is left of the closing handshake runs, within a deadline.
3. The transport is closed and ``_ended`` is set.
"""

from __future__ import annotations

import itertools
import logging
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import outcome
import trio

from ._allowance import ControlAllowance
from ._close import CLEAN_CODES, ClosedBy, CloseReason
from ._errors import (
    ClosedHere,
    ConnectionClosed,
    ConnectionClosedError,
    ConnectionClosedOK,
    MessageTooBig,
    ProtocolViolation,
    another,
)
from ._inbox import Inbox
from ._outbox import Outbox, WriteStalled
from ._pings import Pings
from ._poller import poller_of_this_run
from ._standstill import stood_still
from ._transport import SMALL_READ_SIZE, make_transport
from ._websocket import WebSocket
from .instrumentation import (
    NO_HOOKS,
    ConnectionEnded,
    ConnectionOpened,
    Hooks,
    PingReceived,
    PongReceived,
    Received,
)
from .protocol.machine import Close, Failure, Machine, Part, Pong, encode_close

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from typing import Self

    from ._settings import Limits, Timeouts
    from .protocol.handshake import Negotiated
    from .protocol.http import Request
    from .protocol.machine import Event, Ping
    from .protocol.masking import Buffer

    #: What ends a connection, where it is to end.
    Ending: TypeAlias = Close | Failure | None

#: As many full reads go without a wait in between, before the other connections have their turn.
_READS_IN_A_ROW: Final = 4

_CUT: Final = CloseReason(1006, "", ClosedBy.NETWORK, clean=False)
_ABORTED: Final = CloseReason(1006, "", ClosedBy.LOCAL, clean=False)
_STALLED: Final = CloseReason(1006, "the peer stopped reading", ClosedBy.LOCAL, clean=False)
TOO_MANY_CONTROL_FRAMES: Final = Failure(1008, "too many control frames")

_END_OF_TRANSPORT: Final = (trio.BrokenResourceError, trio.ClosedResourceError)

_logger: Final = logging.getLogger("trio_ws")
_ids: Final = itertools.count(1)


class Lifetime(WebSocket):
    """One connection, from its opening to its end, over a `trio.abc.Stream`.

    Args:
      stream: the byte stream, after the opening handshake; the connection owns it.
      machine: this side's protocol state.
      request: the opening handshake's request.
      negotiated: what its response agreed upon.
      limits: bounds on what the peer may make this side hold.
      timeouts: bounds on how long things may take.
      hooks: told what happens.
    """

    __slots__ = (
        "_afterwards",
        "_against_time",
        "_bytes_received",
        "_context",
        "_control_allowance",
        "_end_waiters",
        "_ended",
        "_error",
        "_held_back",
        "_hooks",
        "_id",
        "_inbox",
        "_last_received",
        "_limits",
        "_machine",
        "_messages_received",
        "_negotiated",
        "_nursery",
        "_opened_at",
        "_outbox",
        "_pings",
        "_polled",
        "_polled_for",
        "_reading_since",
        "_reason",
        "_request",
        "_skipping",
        "_timeouts",
        "_traffic_hooks",
        "_transport",
        "_uptime",
        "answers_pings",
    )

    def __init__(
        self,
        stream: trio.abc.Stream,
        machine: Machine,
        *,
        request: Request,
        negotiated: Negotiated,
        limits: Limits,
        timeouts: Timeouts,
        hooks: Hooks = NO_HOOKS,
    ) -> None:
        self._id = f"{'c' if machine.client else 's'}{next(_ids)}"
        self._request = request
        self._negotiated = negotiated
        self._machine = machine
        self._limits = limits
        self._timeouts = timeouts
        self._hooks = hooks
        # None where nobody asks for traffic: one comparison per message.
        self._traffic_hooks = hooks if hooks.traffic else None
        self._transport = make_transport(stream)
        self._nursery: trio.Nursery | None = None
        self._afterwards: Callable[[Any, trio.Nursery], Awaitable[None]] | None = None
        self._inbox = Inbox(limits)
        self._outbox = Outbox(
            self._transport,
            high_water=limits.outbox_bytes,
            write_stall=timeouts.write_stall,
            start_task=self._start_task,
            failed=self._write_failed,
        )
        self._pings = Pings(self._closed)
        self._reason: CloseReason | None = None
        # Makes of the reason what callers are told; None: this side closed.
        self._error: Callable[[CloseReason], ConnectionClosed] | None = None
        self._ended = False
        # The descriptor while the poller does the reading, else -1; and the receive task while it
        # waits for that, where there is one.
        self._polled = -1
        self._polled_for: trio.lowlevel.Task | None = None
        # Whether the receive task waits no longer than a message under way may take.
        self._against_time = False
        self._end_waiters: trio.lowlevel.ParkingLot | None = None
        self._skipping = False
        # What came after stop_reading().
        self._held_back = b""
        self._control_allowance = ControlAllowance(limits)
        self._messages_received = 0
        self._bytes_received = 0
        self._opened_at = self._last_received = trio.current_time()
        self._reading_since: float | None = self._opened_at
        self._uptime: float | None = None
        # Cleared to test the peer's heartbeat. Only what handles a ping reads it.
        self.answers_pings = True

    def start(
        self,
        nursery: trio.Nursery,
        leftover: bytes = b"",
        *,
        preamble: bytes = b"",
        afterwards: Callable[[Self, trio.Nursery], Awaitable[None]] | None = None,
    ) -> None:
        """Start to read.

        Args:
          nursery: where the connection's tasks live, until it has ended. Before it is left, the
            connection is to be closed, or `abandon` called.
          leftover: what had arrived behind the opening handshake.
          preamble: what is to be sent before anything else.
          afterwards: what the receive task goes on with once the transport is closed, called
            with the connection and *nursery*; sparing a task per connection spares 2 KiB each.
        """
        self._nursery = nursery
        self._afterwards = afterwards
        self._context = trio.lowlevel.current_task().context
        if preamble:
            # Before a hook is told, which may close the connection at once.
            self._outbox.put(preamble)
        if self._hooks:
            self._hooks.tell(
                ConnectionOpened(
                    id=self._id,
                    client=self._machine.client,
                    target=self._request.target,
                    remote_address=self.remote_address,
                )
            )
        if leftover:
            nursery.start_soon(self._receive_task, outcome.capture(self._take, leftover))
        elif not self._poll():
            nursery.start_soon(self._receive_task, outcome.Value(None))

    def abandon(self) -> None:
        """End the connection as its nursery is left, where nobody else does.

        Nothing is read from now on: a receive task that is cancelled later, with its nursery,
        would otherwise leave the reading to the poller, which has no nursery to start one in.
        """
        self._begin_close(1001, "", error=ConnectionClosedError)
        if self._polled >= 0 and self._polled_for is None:
            self._abort_transport()

    # Closing

    async def aclose(self, code: int = 1000, reason: str = "") -> None:
        encode_close(code, reason)
        self._begin_close(code, reason)
        try:
            with trio.move_on_after(self._timeouts.close_timeout):
                await self.wait_closed()
        finally:
            if not self._ended:
                self.abort()
        await self.wait_closed()

    def abort(self, error: ConnectionClosedError | None = None) -> None:
        if error is None:
            self._settle(_ABORTED, None)
        else:
            # Without its traceback, which would keep alive what it passed through.
            self._settle(error.reason, partial(another, another(error, error.reason)))
            # Told to the peer if it may be, and the transport takes it at once.
            with suppress(ValueError):
                self._send_close(error.reason.code, error.reason.reason)
        self._outbox.discard()
        self._abort_transport()

    def close_soon(self, code: int, reason: str) -> None:
        """Begin to close on the server's behalf, not the handler's.

        The handler sees it as if the peer had closed: what has arrived is still handed out, then
        `ConnectionClosed` says why. The transport is gone after ``Timeouts.close_timeout``.
        """
        if self._reason is None:
            error = ConnectionClosedOK if code in CLEAN_CODES else ConnectionClosedError
            self._begin_close(code, reason, error=error)
            self._start_task(self._abort_after, self._timeouts.close_timeout)

    async def wait_closed(self) -> CloseReason:
        if self._ended:
            await trio.lowlevel.checkpoint()
        else:
            if self._end_waiters is None:
                self._end_waiters = trio.lowlevel.ParkingLot()
            await self._end_waiters.park()
        assert self._reason is not None
        return self._reason

    async def wait_read(self) -> None:
        """Wait, once the connection has ended, until everything that had arrived is received."""
        await self._inbox.wait_empty()

    async def wait_written(self) -> None:
        """Wait until the transport has taken everything that was sent, or never will."""
        await self._outbox.wait_written()

    def stop_reading(self) -> None:
        """Take nothing more from the peer, pings and its close included, until closed here."""
        self._inbox.stop()

    def _begin_close(
        self, code: int, reason: str, *, error: type[ConnectionClosed] | None = None
    ) -> None:
        if self._reason is None:
            self._settle(CloseReason(code, reason, ClosedBy.LOCAL, clean=False), error)
            self._send_close(code, reason)
            if error is MessageTooBig:
                self._start_task(self._abort_after, self._timeouts.violation_timeout)

    def _send_close(self, code: int, reason: str = "") -> None:
        if self._machine.close_sent is None:
            self._outbox.put(self._machine.send_close(code, reason))

    def _settle(
        self, reason: CloseReason, error: Callable[[CloseReason], ConnectionClosed] | None
    ) -> None:
        """Fix why the connection ended, unless that is fixed already, and wake who waits."""
        if self._reason is not None:
            return
        self._reason = reason
        self._error = error
        if error is None:
            self._inbox.clear()
        self._inbox.end()
        self._outbox.wake_waiters()
        self._pings.wake_all()

    def _check_open(self) -> None:
        if self._reason is not None:
            raise self._closed()

    def _closed(self) -> Exception:
        """What a call raises once the connection has ended."""
        assert self._reason is not None
        if self._error is None:
            return ClosedHere(self._reason, self._id)
        error = self._error(self._reason)
        error.connection_id = self._id
        return error

    async def _abort_after(self, seconds: float) -> None:
        with trio.move_on_after(seconds):
            await self.wait_closed()
        # Also for who waits, and for a receive task that waits behind a full inbox.
        self._settle(_CUT, ConnectionClosedError)
        if not self._ended:
            self._abort_transport()

    def _write_failed(self, error: Exception) -> None:
        if isinstance(error, WriteStalled):
            self.abort(ConnectionClosedError(_STALLED))
        else:
            # What the peer said before it went may still be there to be read, and tells more.
            # Until then `send` waits, so that it gives the same reason as everybody else.
            self._start_task(self._abort_after, self._timeouts.violation_timeout)

    def _start_task(self, function: object, *args: object) -> None:
        assert self._nursery is not None
        self._nursery.start_soon(function, *args)  # type: ignore[arg-type]

    # The receive task

    async def _receive_task(self, so_far: outcome.Outcome[Ending]) -> None:
        left_open = False
        try:
            with suppress(*_END_OF_TRANSPORT):
                await self._receive_until_end(so_far.unwrap())
        except trio.Cancelled:
            # Whoever holds the connection is cancelled as well, and will end it. Until then it
            # can be used in a shielded block, as where this task was not needed yet.
            left_open = self._reason is None and not self._reading_must_stop() and self._poll()
            if not left_open:
                self._begin_close(1001, "", error=ConnectionClosedError)
            raise
        finally:
            if not left_open:
                self._settle(_CUT, ConnectionClosedError)
                self._outbox.discard()
                await self._close_transport()
        if self._afterwards is not None:
            assert self._nursery is not None
            await self._afterwards(self, self._nursery)

    async def _receive_until_end(self, ending: Ending) -> None:
        while ending is None:
            if not self._inbox.has_room(self._machine.held_bytes):
                await self._pause_reading()
            if self._held_back:
                data, self._held_back = self._held_back, b""
                ending = self._take(data)
            elif self._machine.mid_message:
                ending = await self._read_against_time()
            else:
                ending = await self._read()
        await self._conclude(ending)

    async def _pause_reading(self) -> None:
        """Wait until there is room in the inbox, or, where it is stopped, for the end."""
        self._reading_since, paused_at = None, trio.current_time()
        await self._inbox.wait_room(self._machine.held_bytes)
        self._reading_since = trio.current_time()
        self._control_allowance.reading_resumed(paused_at)

    async def _read_against_time(self) -> Ending:
        """Read while a message is under way, which must make progress.

        Goes on when there is none any more: soon there may be one again, and a cancel scope for
        each takes as long as reading it. So the deadline may come without need.
        """
        timeout = self._timeouts.assembly_timeout
        due = self._progress_at() + timeout
        self._against_time = True
        with trio.CancelScope(deadline=due) as scope:
            ending = await self._read()
        self._against_time = False
        if not scope.cancelled_caught:
            return ending
        # What came meanwhile may lie unread because this process stood still, or was busy.
        data = self._transport.read_now()
        if data is not None:
            return self._take_or_end(data)
        if stood_still(due, timeout):
            self._reading_since = trio.current_time()
        if self._machine.mid_message and self._progress_at() + timeout <= trio.current_time():
            return Failure(1008, "unfinished message made no progress")
        return None

    def _progress_at(self) -> float:
        """Since when the peer can have made no progress that this side has seen."""
        return max(self._last_received, self._reading_since or self._last_received)

    def _read(self) -> Awaitable[Ending]:
        """Read until this task has something else to wait for, or the connection is to end.

        Raises as `Transport.receive`, and `trio.BrokenResourceError` when the peer has gone. A
        coroutine is handed on rather than awaited: each that stands by takes 220 bytes.
        """
        if not self._poll():
            return self._read_by_itself()
        self._polled_for = trio.lowlevel.current_task()
        return trio.lowlevel.wait_task_rescheduled(self._polling_cancelled)  # noqa: ASYNC105

    async def _read_by_itself(self) -> Ending:
        while True:
            ending = self._take_or_end(await self._transport.receive())
            may_be_polled = self._transport.descriptor is not None
            if ending is not None or may_be_polled or self._reading_must_stop():
                return ending

    def _poll(self) -> bool:
        """Have the poller do the reading, where it can."""
        descriptor = self._transport.descriptor
        if descriptor is None or descriptor < 0 or not poller_of_this_run().add(descriptor, self):
            return False
        self._polled = descriptor
        return True

    def read_ready(self) -> None:
        """The poller says that there is something to read."""
        if self._polled >= 0:
            # In the connection's own context, for the sake of hooks.
            self._context.run(self._read_ready)

    def read_no_more(self) -> None:
        """The poller has come to its end: what is still to be read, this reads by itself."""
        self._stop_polling(outcome.Value(None))

    def _read_ready(self) -> None:
        try:
            for _ in range(_READS_IN_A_ROW):
                asked_for = self._transport.read_size
                data = self._transport.read_now()
                if data is None:
                    return
                ending = self._take_or_end(data)
                if ending is not None or self._reading_must_stop():
                    self._stop_polling(outcome.Value(ending))
                    return
                if len(data) < asked_for or asked_for == SMALL_READ_SIZE:
                    # There is no more as yet, or reading it takes long.
                    return
        except BaseException as error:
            # The receive task's to deal with; here it would end everything.
            self._stop_polling(outcome.Error(error))

    def _stop_polling(self, result: outcome.Outcome[Ending]) -> None:
        """Have the receive task go on with *result*, if it left the reading to the poller."""
        if self._polled < 0:
            if isinstance(result, outcome.Error) and not isinstance(
                result.error, _END_OF_TRANSPORT
            ):
                _logger.error("%s: after its end", self._id, exc_info=result.error)
            return
        poller_of_this_run().discard(self._polled, self)
        self._polled = -1
        task, self._polled_for = self._polled_for, None
        if task is not None:
            trio.lowlevel.reschedule(task, result)
        else:
            self._context.copy().run(self._start_task, self._receive_task, result)

    def _polling_cancelled(self, _: object) -> trio.lowlevel.Abort:
        poller_of_this_run().discard(self._polled, self)
        self._polled = -1
        self._polled_for = None
        return trio.lowlevel.Abort.SUCCEEDED

    def _reading_must_stop(self) -> bool:
        machine = self._machine
        return (
            (machine.mid_message and not self._against_time)
            or bool(self._held_back)
            or not self._inbox.has_room(machine.held_bytes)
        )

    def _take_or_end(self, data: Buffer) -> Ending:
        if not data:
            raise trio.BrokenResourceError("the peer has gone")
        return self._take(data)

    def _abort_transport(self) -> None:
        self._stop_polling(outcome.Error(trio.ClosedResourceError("the transport was closed here")))
        self._transport.abort()

    def _take(self, data: Buffer) -> Ending:
        """Put what *data* brings where it belongs; return what ends the connection, if anything."""
        if self._inbox.stopped and not self._inbox.ended:
            self._held_back = bytes(data)
            return None
        self._bytes_received += len(data)
        self._last_received = trio.current_time()
        before = self._messages_received
        messages: list[str | bytes | Part] = []
        ending: Ending = None
        events = self._machine.receive_data(data)
        if len(data) >= SMALL_READ_SIZE:
            counts = len(data), len(events), self._machine.count_fragments()
            self._transport.choose_read_size(*counts, self._limits.inbox_bytes)
        if self._machine.messages_only:
            messages = events  # type: ignore[assignment]  # it says so
            self._messages_received += len(events)
        else:
            ending = self._sort(events, messages)
        if self._traffic_hooks is not None:
            count = self._messages_received - before
            self._traffic_hooks.tell_traffic(Received(id=self._id, messages=count, bytes=len(data)))
        if messages and self._reason is None:
            self._inbox.put(messages)
        return ending

    def _sort(self, events: list[Event], messages: list[str | bytes | Part]) -> Ending:
        """Append to *messages* what is for the inbox; return what ends the connection, if any."""
        for event in events:
            if isinstance(event, str | bytes):
                messages.append(event)
                self._messages_received += 1
            elif isinstance(event, Close | Failure):
                return event
            elif isinstance(event, Part):
                self._messages_received += event.final
                if not self._skipping:
                    messages.append(event)
                self._skipping = self._skipping and not event.final
            elif not self._take_control(event):
                return TOO_MANY_CONTROL_FRAMES
        return None

    def _take_control(self, event: Ping | Pong) -> bool:
        """Answer a ping, settle a pong; false when there are too many of them."""
        if isinstance(event, Pong):
            round_trip = self._pings.settle(event.payload)
            if self._hooks:
                self._hooks.tell(
                    PongReceived(id=self._id, round_trip=round_trip, payload=event.payload)
                )
            # One that was asked for is not counted: any number of pings may be in flight.
            return round_trip is not None or self._control_allowance.spend()
        if not self._control_allowance.spend():
            return False
        if self.answers_pings and self._machine.close_sent is None:
            self._outbox.put_pong(self._machine.send_pong(event.payload))
            self._outbox.flush()
        if self._hooks:
            self._hooks.tell(PingReceived(id=self._id, payload=event.payload))
        return True

    async def _conclude(self, ending: Close | Failure) -> None:
        # Messages that came before it are owed their answers (RFC 6455 wants events in order).
        if self._inbox.items:
            with trio.move_on_after(self._timeouts.violation_timeout):
                await self._inbox.wait_dry()
        if isinstance(ending, Failure):
            await self._fail(ending)
        else:
            await self._complete_close(ending)

    async def _complete_close(self, close: Close) -> None:
        """The peer's close frame has come: answer it and part (section 7.1.2)."""
        error = ConnectionClosedOK if close.code in CLEAN_CODES else ConnectionClosedError
        self._settle(CloseReason(close.code, close.reason, ClosedBy.REMOTE), error)
        with trio.move_on_after(self._timeouts.close_timeout):
            self._send_close(close.code, close.reason)
            await self._outbox.wait_written()
            if self._machine.client:
                # The server closes TCP first, so that it, not the client, is rid of TIME_WAIT.
                await self._discard_input()
            else:
                await self._transport.linger()

    async def _fail(self, failure: Failure) -> None:
        """Fail the connection (section 7.1.7): say why, then part without waiting for long."""
        error = MessageTooBig if failure.code == 1009 else ProtocolViolation
        reason = CloseReason(failure.code, failure.reason, ClosedBy.LOCAL, clean=False)
        self._settle(reason, error)
        with trio.move_on_after(self._timeouts.violation_timeout):
            self._send_close(failure.code, failure.reason)
            await self._outbox.wait_written()
            # Closing with input unread would reset TCP, and the close frame might be lost.
            await self._transport.send_eof()
            await self._discard_input()

    async def _discard_input(self) -> None:
        while await self._transport.receive():
            pass

    async def _close_transport(self) -> None:
        assert self._reason is not None
        machine = self._machine
        if machine.close_sent is not None and machine.close_received is not None:
            self._reason = replace(self._reason, clean=True)
        try:
            with (
                trio.move_on_after(self._timeouts.close_timeout),
                suppress(trio.BrokenResourceError),
            ):
                await self._transport.aclose()
        finally:
            self._ended = True
            self._uptime = trio.current_time() - self._opened_at
            if self._hooks:
                self._hooks.tell(
                    ConnectionEnded(
                        id=self._id,
                        client=machine.client,
                        remote_address=self.remote_address,
                        reason=self._reason,
                        uptime=self._uptime,
                        statistics=self.statistics(),
                    )
                )
            if self._end_waiters is not None:
                self._end_waiters.unpark_all()
