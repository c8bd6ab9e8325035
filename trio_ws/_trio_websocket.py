"""`TrioWebSocket`: the second engine, over the connection of the library trio-websocket.

::

    transport -> its reader task, its parser, its queue -> receive task -> inbox -> receive()
    transport <- send task                              <- outbox  <- machine <- send()

What comes in is read by the library: its reader task pumps bytes into wsproto, joins fragments,
bounds messages, and hands them over through its queue. What goes out is written by the outbox, as
in `Connection`: the library's ``send_message`` writes within the caller's task, so that one which
is cancelled leaves half a frame on the wire.

For that, two things beneath the library's connection are replaced by others that look the same:

- its byte stream by `_StreamBelow`, which reads and writes through the transport and the outbox;
- its protocol object by `_ProtocolBelow`, which sees what comes and keeps from the library what is
  dealt with here. Pings, because the library answers them with a write that its reader waits for,
  and fails when one comes after a close frame; and closing, because it answers a close at once,
  where messages before it have still to be answered.

Nothing else of the library that is private is touched.
"""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING, Any, Final, cast

import trio
import trio_websocket
from wsproto.connection import ConnectionState
from wsproto.events import BytesMessage, CloseConnection, TextMessage
from wsproto.events import Ping as PingEvent
from wsproto.events import Pong as PongEvent

from ._close import MAX_REASON_BYTES
from ._connection import Connection
from ._errors import NotSupportedByEngine
from ._lifetime import TOO_MANY_CONTROL_FRAMES
from .instrumentation import NO_HOOKS, Hooks, Received
from .protocol.handshake import ClientHandshake, Negotiated, ServerHandshake
from .protocol.http import Headers, Request, Response
from .protocol.machine import Close, Failure, Machine, Ping, Pong

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from wsproto import WSConnection
    from wsproto.events import Event

    from ._lifetime import Ending
    from ._settings import Compression, Limits, Timeouts
    from ._websocket import MessageStream
    from .protocol.masking import Buffer

#: What the option ``engine=`` calls this.
NAME: Final = "trio-websocket"
#: Whom the library believes to talk to in the opening handshake that is played to it.
_HOST: Final = "trio-ws.invalid"

_logger: Final = logging.getLogger("trio_ws")


class TrioWebSocket(Connection):
    """A `WebSocket` over a ``trio_websocket.WebSocketConnection``.

    It is made by ``engine="trio-websocket"`` and by `wrap`. What it does differently from the
    built-in engine stands in docs/explanation/engines.md.
    """

    __slots__ = (
        "_before_read",
        "_below",
        "_ending",
        "_leftover",
        "_library",
        "_over",
        "_reader",
        "_until_abort",
    )

    def __init__(
        self, *args: Any, library: trio_websocket.WebSocketConnection | None = None, **options: Any
    ) -> None:
        super().__init__(*args, **options)
        # The connection of the library: given, or made when this one starts.
        self._library = library
        self._below: _StreamBelow | None = None
        # What ended the connection, as far as the library has come; None: it was cut.
        self._ending: Close | Failure | None = None
        self._over = trio.Event()
        self._reader = trio.CancelScope()
        self._until_abort = trio.CancelScope()
        # What had arrived behind the opening handshake.
        self._leftover = b""
        # How many messages had come before the last read.
        self._before_read = 0
        if library is not None:
            self._go_below(library)

    def __repr__(self) -> str:
        return super().__repr__().replace("Connection", "TrioWebSocket", 1)

    def receive_stream(self) -> MessageStream:
        """Not with this engine: the library hands out whole messages only.

        Raises:
          NotSupportedByEngine: always.
        """
        raise NotSupportedByEngine("receive_stream()", NAME, "use receive()")

    def stop_reading(self) -> None:
        """Not with this engine.

        Raises:
          NotSupportedByEngine: always.
        """
        raise NotSupportedByEngine("stop_reading()", NAME)

    # The receive task

    def _poll(self) -> bool:
        """Never: it is the library that reads, in a task."""
        return False

    def _take(self, data: Buffer) -> Ending:
        self._leftover = bytes(data)
        return None

    async def _receive_until_end(self, ending: Ending) -> None:
        try:
            with self._until_abort:
                library = self._library or await self._open_library()
                ending = await self._receive_messages(library)
                if not self._inbox.items and self._messages_received > self._before_read:
                    # Handed out already, and owed an answer all the same: see `_conclude`.
                    with trio.move_on_after(self._timeouts.violation_timeout):
                        await self._inbox.wait_dry()
                await self._conclude(ending)
        finally:
            self._reader.cancel()

    def _abort_transport(self) -> None:
        super()._abort_transport()
        # The library may be reading from a stream that does not notice.
        self._until_abort.cancel()

    async def _receive_messages(
        self, library: trio_websocket.WebSocketConnection
    ) -> Close | Failure:
        """Move messages from the library into the inbox; return what ended the connection.

        Raises:
          trio.BrokenResourceError: it was cut.
        """
        try:
            while True:
                if not self._inbox.has_room(0):
                    await self._pause_reading()
                message = await library.get_message()
                # After the end, what the peer still sends is read and thrown away.
                if self._reason is None:
                    self._inbox.put([message])
        except trio_websocket.ConnectionClosed:
            closed = library.closed
            if self._reason is None and closed is not None:
                # Unless that is known already, it was before this watched over it.
                self._end_with(_failure(closed))
        await self._over.wait()
        if self._ending is None:
            raise trio.BrokenResourceError("the peer has gone")
        assert self._below is not None
        await self._below.detach()
        return self._ending

    # The library's connection

    async def _open_library(self) -> trio_websocket.WebSocketConnection:
        """Make a connection of the library's, which is played the handshake that has been."""
        opening = _Opening(self)
        nursery = cast("trio.Nursery", _ReaderNursery(self))
        bound = self._limits.max_message_size or sys.maxsize
        subprotocol = self._negotiated.subprotocol
        # No queue: what the reader has read must not be lost in one when the end comes.
        if self._machine.client:
            library = await trio_websocket.wrap_client_stream(
                nursery,
                cast("trio.SocketStream", opening),
                _HOST,
                self._request.target,
                subprotocols=opening.subprotocols,
                message_queue_size=0,
                max_message_size=bound,
            )
        else:
            request = await trio_websocket.wrap_server_stream(
                nursery, opening, message_queue_size=0, max_message_size=bound
            )
            library = await request.accept(subprotocol=subprotocol)
        self._library = library
        opening.over(self._go_below(library))
        return library

    def _go_below(self, library: trio_websocket.WebSocketConnection) -> _StreamBelow:
        """Put what reads, writes and watches for this connection beneath *library*."""
        self._below = _StreamBelow(self, self._leftover)
        library._stream = self._below
        library._wsproto = cast("WSConnection", _ProtocolBelow(self, library))
        return self._below

    async def _run_reader(self, reader: Callable[[], Awaitable[None]]) -> None:
        """The library's reader task: what it raises ends this connection and nothing else."""
        try:
            with self._reader:
                await reader()
        except Exception as error:
            _logger.warning("%s: trio-websocket failed: %r", self._id, error)
        finally:
            self._over.set()

    # What the library reads

    def _note_read(self, size: int) -> None:
        """So many bytes have been read."""
        self._before_read = self._messages_received
        self._bytes_received += size
        self._last_received = trio.current_time()

    def _tell_received(self, messages: int, size: int) -> None:
        """What has been read so far brought so many messages."""
        if self._traffic_hooks is not None:
            record = Received(id=self._id, messages=messages, bytes=size)
            self._traffic_hooks.tell_traffic(record)

    def _take_event(self, event: Event, *, closing: bool) -> Event | None:
        """Deal with what the peer has sent; return what the library is to see of it, if anything.

        *closing* tells the peer's close frame from wsproto's word for a broken rule.
        """
        if isinstance(event, TextMessage | BytesMessage):
            self._messages_received += event.message_finished
        elif isinstance(event, PingEvent):
            return None if self._take_control(Ping(bytes(event.payload))) else self._flooded()
        elif isinstance(event, PongEvent):
            if not self._take_control(Pong(bytes(event.payload))):
                return self._flooded()
        elif isinstance(event, CloseConnection):
            self._end_with(
                Close(int(event.code), event.reason or "") if closing else _failure(event)
            )
        return event

    def _flooded(self) -> Event:
        self._end_with(TOO_MANY_CONTROL_FRAMES)
        return CloseConnection(TOO_MANY_CONTROL_FRAMES.code, TOO_MANY_CONTROL_FRAMES.reason)

    def _end_with(self, ending: Close | Failure | None) -> None:
        if not self._over.is_set():
            self._ending = ending
            if isinstance(ending, Close):
                self._machine.close_received = ending
            self._over.set()

    # What the library wants to send

    def _take_close(self, event: CloseConnection, *, closing: bool) -> None:
        """The library is about to send a close frame, which is for this side to send.

        *closing*: it answers the peer's.
        """
        assert self._library is not None
        closed = self._library.closed
        if event.code == 1006:
            # It has noticed that the transport is gone.
            self._end_with(None)
        elif closing:
            self._end_with(Close(int(event.code), event.reason or ""))
        elif closed is not None and closed.code == 1009:
            self._end_with(_failure(closed))
        else:
            # Somebody has called aclose() of the wrapped connection itself.
            self._begin_close(event.code, event.reason or "")

    async def _write_frame(self, frame: bytes) -> None:
        """Write a frame of the library's own, and wait until the transport has taken it.

        Raises:
          trio.BrokenResourceError: the transport has failed, or was closed.
          trio_websocket.ConnectionClosed: the end has begun. From an error of its stream, the
            library would conclude that the transport is gone.
        """
        await trio.lowlevel.checkpoint()
        if not frame:
            return
        if self._reason is not None:
            closed = trio_websocket.CloseReason(self._reason.code, self._reason.reason)
            raise trio_websocket.ConnectionClosed(closed)
        self._outbox.put(frame)
        await self._outbox.wait_written()
        if self._outbox.broken:
            raise trio.BrokenResourceError("the transport has failed")

    async def _read_transport(self) -> bytes:
        return bytes(await self._transport.receive())


def _failure(what: CloseConnection | trio_websocket.CloseReason) -> Failure:
    """The library's word for a broken rule, cut to what a close frame carries."""
    reason = (what.reason or "").encode()[:MAX_REASON_BYTES]
    return Failure(int(what.code), reason.decode("utf-8", "ignore"))


class _StreamBelow(trio.abc.Stream):
    """What the library takes for its byte stream, from the opening handshake on."""

    def __init__(self, ws: TrioWebSocket, leftover: bytes) -> None:
        self._ws = ws
        self._leftover = leftover
        self._detached = False
        self._reading: tuple[trio.CancelScope, trio.Event] | None = None

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self._ws._write_frame(bytes(data))

    async def wait_send_all_might_not_block(self) -> None:
        await trio.lowlevel.checkpoint()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        # As many as the transport reads at once: the library holds them only until it has parsed
        # them.
        await trio.lowlevel.checkpoint_if_cancelled()
        if self._leftover:
            data, self._leftover = self._leftover, b""
            return data
        if not self._detached:
            scope, left = self._reading = trio.CancelScope(), trio.Event()
            try:
                with scope:
                    return await self._ws._read_transport()
            finally:
                self._reading = None
                left.set()
        raise trio.ClosedResourceError("the connection reads for itself from now on")

    async def detach(self) -> None:
        """Let the library read no more."""
        self._detached = True
        if self._reading is not None:
            scope, left = self._reading
            scope.cancel()
            await left.wait()

    async def aclose(self) -> None:
        """Nothing: the connection closes its transport when it has ended."""
        await trio.lowlevel.checkpoint()


class _ProtocolBelow:
    """What the library takes for its protocol object, around the one that it had."""

    def __init__(self, ws: TrioWebSocket, library: trio_websocket.WebSocketConnection) -> None:
        self._ws = ws
        self._inner = library._wsproto
        self._untold = 0

    @property
    def client(self) -> bool:
        return self._inner.client

    @property
    def state(self) -> ConnectionState:
        return self._inner.state

    @property
    def _closing(self) -> bool:
        """Whether the peer's close frame has come."""
        return self.state is ConnectionState.REMOTE_CLOSING

    def receive_data(self, data: bytes) -> None:
        self._ws._note_read(len(data))
        self._untold += len(data)
        self._inner.receive_data(data)

    def events(self) -> Iterator[Event]:
        messages = 0
        for event in self._inner.events():
            messages += isinstance(event, TextMessage | BytesMessage) and event.message_finished
            seen = self._ws._take_event(event, closing=self._closing)
            if seen is not None:
                yield seen
        if self._untold:
            self._ws._tell_received(messages, self._untold)
            self._untold = 0

    def send(self, event: Event) -> bytes:
        if isinstance(event, CloseConnection):
            self._ws._take_close(event, closing=self._closing)
            return b""
        return self._inner.send(event)


class _Opening(trio.abc.Stream):
    """The peer in an opening handshake that has been, for a library that wants to have one.

    The real one was this package's own, with all that the library's cannot do: redirects, proxies,
    plain HTTP answers, bounds.
    """

    def __init__(self, ws: TrioWebSocket) -> None:
        subprotocol = ws.subprotocol
        self.subprotocols = () if subprotocol is None else (subprotocol,)
        self._target = ws.request.target
        self._asked = b""
        self._played = False
        self._over = trio.Event()
        self._following: _StreamBelow | None = None

    def over(self, following: _StreamBelow) -> None:
        """What follows the handshake is read from *following*."""
        self._following = following
        self._over.set()

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        self._asked += data
        await trio.lowlevel.checkpoint()

    async def wait_send_all_might_not_block(self) -> None:
        await trio.lowlevel.checkpoint()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        if not self._played:
            self._played = True
            await trio.lowlevel.checkpoint()
            return self._answer() if self._asked else self._request()
        await self._over.wait()
        assert self._following is not None
        return await self._following.receive_some(max_bytes)

    def _request(self) -> bytes:
        client = ClientHandshake(host=_HOST, target=self._target, subprotocols=self.subprotocols)
        return client.request_bytes()

    def _answer(self) -> bytes:
        server = ServerHandshake()
        server.receive_data(self._asked)
        return server.accept(subprotocols=self.subprotocols)[0]

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()


class _ReaderNursery:
    """What the library takes for a nursery: its reader task is all that it starts there."""

    def __init__(self, ws: TrioWebSocket) -> None:
        self._ws = ws

    def start_soon(self, reader: Callable[[], Awaitable[None]]) -> None:
        self._ws._start_task(self._ws._run_reader, reader)


def make_trio_websocket(
    stream: trio.abc.Stream,
    request: Request,
    negotiated: Negotiated,
    *,
    client: bool,
    compression: Compression | None,
    limits: Limits,
    timeouts: Timeouts,
    hooks: Hooks = NO_HOOKS,
) -> TrioWebSocket:
    """As `make_connection`, with this engine."""
    assert compression is None
    return TrioWebSocket(
        stream,
        Machine(client=client, limits=limits),
        request=request,
        negotiated=negotiated,
        limits=limits,
        timeouts=timeouts,
        hooks=hooks,
    )


def adopt(
    library: trio_websocket.WebSocketConnection,
    *,
    limits: Limits,
    timeouts: Timeouts,
    hooks: Hooks,
) -> TrioWebSocket:
    """A `TrioWebSocket` over an open connection of somebody else's.

    Raises:
      TypeError: it is not a connection of trio-websocket's, or its opening is not done.
      ValueError: it is closed, or wrapped already.
    """
    if not isinstance(library, trio_websocket.WebSocketConnection):
        raise TypeError(f"wrap() takes a trio_websocket.WebSocketConnection, not {library!r}")
    if isinstance(library._stream, _StreamBelow):
        raise ValueError(f"{library} is wrapped already")
    if library.closed is not None:
        raise ValueError(f"{library} is closed: {library.closed}")
    headers = Headers(
        (name.decode("latin-1"), value.decode("latin-1"))
        for name, value in library.handshake_headers
    )
    response = Response(101, headers, b"", "Switching Protocols")
    return TrioWebSocket(
        library._stream,
        Machine(client=library.is_client, limits=limits),
        request=Request("GET", library.path or "/", Headers()),
        negotiated=Negotiated(response, library.subprotocol, (), None),
        limits=limits,
        timeouts=timeouts,
        hooks=hooks,
        library=library,
    )
