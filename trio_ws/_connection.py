"""`Connection`: the built-in engine, as its user calls it. `_lifetime` is the rest of it."""

from __future__ import annotations

from contextlib import aclosing
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final, cast

import trio

from ._cancellation import is_cancelled
from ._errors import MessageTooBig
from ._fragments import IncomingMessage, as_async, concatenated, normalized
from ._lifetime import Lifetime
from ._websocket import WebSocketStatistics
from .instrumentation import NO_HOOKS, Hooks, PingSent, Sent
from .protocol.deflate import PerMessageDeflate
from .protocol.machine import Machine, Part

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from ._close import CloseReason
    from ._errors import ConnectionClosed
    from ._settings import Compression, Limits, Timeouts
    from ._websocket import BytesLike, MessageStream, PendingPing, Sendable
    from .protocol.extensions import Extension
    from .protocol.handshake import Negotiated
    from .protocol.http import Request, Response
    from .protocol.masking import MaskedPayload
    from .protocol.prepared import Prepared, PreparedRun

#: A call that finds its result ready goes through the scheduler after this many in a row,
_TURN_MESSAGES: Final = 64
#: or after this many seconds, so that a flood on one connection does not starve the others.
_TURN_SECONDS: Final = 0.001
#: Sends in a row that are written one by one; those that follow wait for the scheduler's next
#: turn and share a write. A reply and its follower leave at once, a stream of messages is packed.
_EAGER_SENDS: Final = 2
#: Bytes from which on a message is not copied as a whole, to stand behind its header or masked.
_LARGE_MESSAGE: Final = 32 * 1024


class Connection(Lifetime):
    """One open connection. What it is made of is said in `Lifetime`."""

    __slots__ = (
        "_at_end",
        "_fragmenting",
        "_joined",
        "_messages_sent",
        "_turn_ends",
        "_turn_left",
    )

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._messages_sent = 0
        self._turn_left = _TURN_MESSAGES
        self._turn_ends = 0.0
        # While a fragmented message is being sent, no other may be.
        self._fragmenting = False
        # Whom to tell of its end.
        self._at_end: list[Callable[[], None]] | None = None
        # The parts of a message that a receive() is joining.
        self._joined: list[str | bytes] | None = None

    def __repr__(self) -> str:
        state = "open" if self._reason is None else str(self._reason)
        return f"<Connection {self._id} {ascii(self._request.target)[1:-1]}: {state}>"

    # Sending

    async def send(self, message: Sendable, *, compress: bool | None = None) -> None:
        if type(message) is not str and type(message) is not bytes:
            if not isinstance(message, str | bytes | bytearray | memoryview):
                await self._send_fragments(as_async(message), compress)
                return
            message = normalized(message)
        outbox = self._outbox
        if not (
            self._reason is None
            and outbox.size <= outbox.high_water
            and not self._fragmenting
            and outbox.burst < _TURN_MESSAGES
            and perf_counter() < self._turn_ends
            and not is_cancelled()
        ):
            await self._wait_sendable()
        self._put(message, compress)

    def send_nowait(self, message: str | BytesLike, *, compress: bool | None = None) -> None:
        message = normalized(message)
        self._check_open()
        if self._outbox.is_blocked or self._fragmenting:
            raise trio.WouldBlock
        self._put(message, compress)

    def _put(self, message: str | bytes, compress: bool | None) -> None:
        if len(message) >= _LARGE_MESSAGE:
            pieces = self._machine.send_pieces(message)
            if pieces is not None:
                self._put_pieces(*pieces)
                return
        frame = self._machine.send_message(message, compress)
        self._messages_sent += 1
        if self._traffic_hooks is not None:
            self._tell_sent(1, len(frame))
        outbox = self._outbox
        outbox.burst += 1
        # While input is at hand, more replies are likely: let them share a write.
        if self._inbox.items or outbox.burst > _EAGER_SENDS:
            outbox.put_soon(frame)
        else:
            outbox.put(frame)

    def _put_pieces(self, header: bytes, payload: memoryview | MaskedPayload) -> None:
        self._messages_sent += 1
        self._tell_sent(1, len(header) + len(payload))
        self._outbox.burst += 1
        self._outbox.put_pieces(header, payload)

    async def _wait_sendable(self) -> None:
        """Go through the scheduler, then wait until a message may be put. Not FIFO."""
        await trio.lowlevel.checkpoint()
        while True:
            if self._reason is not None:
                # As in receive: a cancellation that ended the connection is what is told.
                await trio.lowlevel.checkpoint_if_cancelled()
                raise self._closed()
            if not (self._outbox.is_blocked or self._fragmenting):
                break
            await self._outbox.wait_change()
        self._outbox.burst = 0
        self._turn_ends = perf_counter() + _TURN_SECONDS

    async def _send_fragments(
        self, parts: AsyncGenerator[str | BytesLike], compress: bool | None
    ) -> None:
        await self._wait_sendable()
        self._fragmenting = True
        started = False
        last: str | bytes = b""
        try:
            async with aclosing(parts):
                async for part in parts:
                    last = await self._send_fragment(normalized(part), compress)
                    started = True
            if started:
                self._check_open()
                end: str | bytes = "" if isinstance(last, str) else b""
                frame = self._machine.send_part(end, final=True)
                self._outbox.put(frame)
                self._messages_sent += 1
                self._tell_sent(1, len(frame))
                started = False
        finally:
            self._fragmenting = False
            if started:
                # Half a message cannot be taken back, and nothing may follow it.
                self._begin_close(1011, "a fragmented message was not completed")
            self._outbox.wake_waiters()

    async def _send_fragment(self, part: str | bytes, compress: bool | None) -> str | bytes:
        """Send one fragment; return it."""
        await trio.lowlevel.checkpoint()
        while self._reason is None and self._outbox.is_blocked:
            await self._outbox.wait_change()
        self._check_open()
        frame = self._machine.send_part(part, final=False, compress=compress)
        self._outbox.put(frame)
        self._tell_sent(0, len(frame))
        return part

    # Sending what goes to many; see `_hub`

    @property
    def takes_prepared(self) -> bool:
        """Whether `put_prepared` may be called: on a server, which does not mask."""
        return not self._machine.client

    def put_prepared(self, prepared: Prepared | PreparedRun) -> bool:
        """Send messages that go to many, unless `send` would wait; return whether it was done.

        Raises:
          ConnectionClosed, trio.ClosedResourceError: as in `send`.
        """
        self._check_open()
        if self._outbox.is_blocked or self._fragmenting:
            return False
        frames = self._machine.send_prepared(prepared)
        self._messages_sent += prepared.count
        self._tell_sent(prepared.count, len(frames))
        self._outbox.put(frames)
        return True

    async def wait_prepared(self) -> None:
        """Wait until `put_prepared`, called before the next checkpoint, sends.

        Raises:
          ConnectionClosed, trio.ClosedResourceError: as in `send`.

        Cancellation: nothing happened.
        """
        await self._wait_sendable()

    def _tell_sent(self, messages: int, size: int) -> None:
        if self._traffic_hooks is not None:
            self._traffic_hooks.tell_traffic(Sent(id=self._id, messages=messages, bytes=size))

    # Its end, for the hub

    def call_at_end(self, tell: Callable[[], None]) -> None:
        """Call *tell* as soon as nothing more can be sent, unless it is forgotten first.

        For who would otherwise need a task that waits. The connection must be open, and *tell*
        must not raise.
        """
        self._at_end = [*(self._at_end or ()), tell]

    def forget_at_end(self, tell: Callable[[], None]) -> None:
        """Call *tell* no longer; nothing happens where it was called."""
        if self._at_end is not None:
            self._at_end = [other for other in self._at_end if other != tell] or None

    def _settle(
        self, reason: CloseReason, error: Callable[[CloseReason], ConnectionClosed] | None
    ) -> None:
        super()._settle(reason, error)
        at_end, self._at_end = self._at_end, None
        for tell in at_end or ():
            tell()

    # Receiving

    async def receive(self) -> str | bytes:
        inbox = self._inbox
        if (
            inbox.items
            and self._turn_left
            and perf_counter() < self._turn_ends
            and not is_cancelled()
        ):
            self._turn_left -= 1
        else:
            await self._wait_item()
        self._outbox.burst = 0
        item = inbox.get()
        if type(item) is Part:
            return await self._join(item)
        return item  # type: ignore[return-value]  # the type() above does not narrow

    async def __anext__(self) -> str | bytes:
        # As receive(), whose coroutine would take a tenth of the time of an echo.
        inbox = self._inbox
        try:
            if (
                inbox.items
                and self._turn_left
                and perf_counter() < self._turn_ends
                and not is_cancelled()
            ):
                self._turn_left -= 1
            else:
                await self._wait_item()
            self._outbox.burst = 0
            item = inbox.get()
            if type(item) is Part:
                return await self._join(item)
        except trio.EndOfChannel:
            raise StopAsyncIteration from None
        return item  # type: ignore[return-value]  # the type() above does not narrow

    def receive_stream(self) -> MessageStream:
        held = self._machine.start_streaming()
        if held is not None:
            self._inbox.put([held])
        return IncomingMessage(self._receive_part, self._skip_rest)

    async def _wait_item(self) -> None:
        """Go through the scheduler, then wait until there is something to get."""
        inbox = self._inbox
        if inbox.items or self._reason is not None or inbox.receiver_waits:
            await trio.lowlevel.checkpoint()
        while not inbox.items:
            if self._reason is not None:
                # Perhaps it ended because this task's scope was cancelled: then that is told.
                await trio.lowlevel.checkpoint_if_cancelled()
                raise self._closed()
            await trio.lowlevel.wait_task_rescheduled(inbox.begin_wait())
        self._turn_left = _TURN_MESSAGES
        self._turn_ends = perf_counter() + _TURN_SECONDS

    async def _join(self, part: Part) -> str | bytes:
        """Receive the rest of a message that comes in parts, and return it whole."""
        # Kept on the connection: a cancelled receive() must not lose what it has joined.
        if self._joined is None:
            self._joined = []
        self._joined.append(part.data)
        while not part.final:
            await self._wait_item()
            # A message that came in parts goes on in parts until its last.
            part = cast("Part", self._inbox.get())
            self._joined.append(part.data)
            self._check_joined(self._joined)
        joined, self._joined = self._joined, None
        return concatenated(joined)

    def _check_joined(self, joined: list[str | bytes]) -> None:
        bound = self._limits.max_message_size
        if bound is not None and sum(map(len, joined)) > bound:
            self._joined = None
            reason = f"message over {bound} bytes"
            self._begin_close(1009, reason, error=MessageTooBig)
            raise self._closed()

    async def _receive_part(self) -> Part:
        """The next part of the message under way, or the next message as its only part."""
        if self._joined is not None:
            await trio.lowlevel.checkpoint()
            joined, self._joined = self._joined, None
            return Part(concatenated(joined), final=False)
        await self._wait_item()
        item = self._inbox.get()
        return item if isinstance(item, Part) else Part(item, final=True)

    def _skip_rest(self) -> None:
        """Throw the rest of the message under way away, what is here and what is to come."""
        self._joined = None
        while self._inbox.items:
            if cast("Part", self._inbox.get()).final:
                return
        self._skipping = True

    # Ping and pong

    async def ping(self, payload: bytes | None = None) -> float:
        await trio.lowlevel.checkpoint_if_cancelled()
        if self._reason is not None:
            await trio.lowlevel.checkpoint()
        ping = self.start_ping(payload)
        try:
            return await ping.wait()
        finally:
            ping.forget()

    def start_ping(self, payload: bytes | None = None) -> PendingPing:
        self._check_open()
        ping = self._pings.start(payload)
        try:
            frame = self._machine.send_ping(ping.payload)
        except BaseException:
            ping.forget()
            raise
        self._outbox.put_control(frame, ping.written)
        self._outbox.flush()
        if self._hooks:
            self._hooks.tell(PingSent(id=self._id))
        return ping

    def pong(self, payload: bytes = b"") -> None:
        self._check_open()
        self._outbox.put_pong(self._machine.send_pong(payload), unsolicited=True)
        self._outbox.flush()

    # What is known about it

    @property
    def close_reason(self) -> CloseReason | None:
        return self._reason

    @property
    def closed_here(self) -> bool:
        """Whether `aclose` or `abort` ended the connection, rather than the peer or the server."""
        return self._reason is not None and self._error is None

    @property
    def latency(self) -> float | None:
        latency = self._pings.statistics
        return None if latency is None else latency.last

    @property
    def last_received(self) -> float:
        return self._last_received

    @property
    def last_sent(self) -> float:
        return self._outbox.last_written

    @property
    def reading_since(self) -> float | None:
        return self._reading_since

    @property
    def request(self) -> Request:
        return self._request

    @property
    def response(self) -> Response:
        return self._negotiated.response

    @property
    def subprotocol(self) -> str | None:
        return self._negotiated.subprotocol

    @property
    def extensions(self) -> tuple[Extension, ...]:
        return self._negotiated.extensions

    @property
    def local_address(self) -> object:
        return self._transport.local_address

    @property
    def remote_address(self) -> object:
        return self._transport.remote_address

    @remote_address.setter
    def remote_address(self, address: object) -> None:
        """For the server, which may know of a client behind a proxy."""
        self._transport.remote_address = address

    @property
    def id(self) -> str:
        return self._id

    def statistics(self) -> WebSocketStatistics:
        return WebSocketStatistics(
            messages_sent=self._messages_sent,
            messages_received=self._messages_received,
            bytes_sent=self._outbox.bytes_sent,
            bytes_received=self._bytes_received,
            inbox_messages=len(self._inbox.items),
            inbox_bytes=self._inbox.size,
            outbox_bytes=self._outbox.size,
            tasks_waiting_send=self._outbox.tasks_waiting,
            tasks_waiting_receive=int(self._inbox.receiver_waits),
            pings_in_flight=len(self._pings),
            latency=self._pings.statistics,
            uptime=(
                trio.current_time() - self._opened_at if self._uptime is None else self._uptime
            ),
        )


def make_connection(
    stream: trio.abc.Stream,
    request: Request,
    negotiated: Negotiated,
    *,
    client: bool,
    compression: Compression | None,
    limits: Limits,
    timeouts: Timeouts,
    hooks: Hooks = NO_HOOKS,
) -> Connection:
    """One side of a connection whose opening handshake is done."""
    deflate = None
    if negotiated.deflate is not None and compression is not None:
        deflate = PerMessageDeflate(
            negotiated.deflate, client=client, compression=compression, limits=limits
        )
    machine = Machine(client=client, limits=limits, deflate=deflate)
    return Connection(
        stream,
        machine,
        request=request,
        negotiated=negotiated,
        limits=limits,
        timeouts=timeouts,
        hooks=hooks,
    )
