"""`keep_connected`: one `WebSocket` that goes on across reconnects."""

from __future__ import annotations

import itertools
import logging
from collections import deque
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

import trio

from ._client import DEFAULT_HOOKS, ConnectOptions, supervised
from ._close import ClosedBy, CloseReason
from ._errors import ConnectionClosed, ConnectionClosedError, ConnectionClosedOK
from ._fragments import normalized
from ._reconnect import DEFAULT_BACKOFF, Client
from ._settings import MIB
from ._websocket import MessageStream, WebSocket, WebSocketStatistics
from .classification import default
from .protocol.machine import encode_close

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterable
    from types import TracebackType
    from typing import Unpack

    from ._endpoints import TargetLike
    from ._reconnect import Backoff, EventStream, OnConnect
    from ._websocket import BytesLike, PendingPing, Sendable
    from .classification import ShouldRetry
    from .instrumentation import Hook
    from .protocol.extensions import Extension
    from .protocol.http import Request, Response

_logger: Final = logging.getLogger("trio_ws.reconnect")

#: Ended connections whose unread messages are kept; beyond, the oldest one's are dropped.
_UNREAD_KEPT: Final = 8
_NORMAL: Final = CloseReason(1000, "", ClosedBy.LOCAL)
_ids: Final = itertools.count(1)


@dataclass(frozen=True, slots=True, kw_only=True)
class OfflineQueue:
    """Messages that are sent while there is no connection wait for the next, within bounds.

    When it is full, ``send`` waits. What is in it when the block is left, or when reconnecting
    has ended, is lost; the log (``trio_ws.reconnect``) has a warning with the number of messages.

    Attributes:
      messages: how many wait at most.
      bytes: what they hold at most: bytes for binary, characters for text.
    """

    messages: int = 1000
    bytes: int = MIB

    def __post_init__(self) -> None:
        if self.messages < 1 or self.bytes < 1:
            raise ValueError(f"the bounds of an OfflineQueue must be positive: {self!r}")


#: What ``send`` does while there is no connection.
Offline: TypeAlias = Literal["wait", "raise"] | OfflineQueue


@asynccontextmanager
async def keep_connected(
    target: TargetLike,
    *,
    offline: Offline = "wait",
    on_connect: OnConnect | None = None,
    on_connect_timeout: float = 10.0,
    backoff: Backoff = DEFAULT_BACKOFF,
    should_retry: ShouldRetry = default,
    hooks: Iterable[Hook] = DEFAULT_HOOKS,
    **options: Unpack[ConnectOptions],
) -> AsyncGenerator[ReconnectingWebSocket]:
    """A `WebSocket` that goes on across reconnects.

    ::

        async with trio_ws.keep_connected("wss://example.com/feed", on_connect=log_in) as ws:
            async for message in ws:
                print(message)

    Every message is delivered **at most once**: one that was handed to a connection which then
    died is not sent again, and one whose ``send`` failed is never sent later. Within a
    connection, order holds. Messages that had arrived before a connection was lost are still
    received, those of the last 8 connections that left any; when nobody receives for longer, the
    oldest are lost, with a warning in the log.

    Args:
      target, on_connect, on_connect_timeout, backoff, should_retry, hooks, options: as for
        `Client`.
      offline: what ``send`` does while there is no connection: ``"wait"`` for one, ``"raise"``
        `ConnectionClosedError`, or put the message into an `OfflineQueue`, which is sent before
        anything else when there is one again (after *on_connect*).

    Yields:
      A `ReconnectingWebSocket`, connected for the first time. Leaving the block closes it, with
      the codes of `connect`. The exception leaves it as itself.

    Raises:
      GaveUp: a failure that another attempt cannot mend, or one too many; here for the first
        connection, from ``send``, ``receive`` and ``ping`` afterwards.
      InvalidURL, ValueError: as for `Client`; *offline* is none of these.

    Cancellation: at any point; nothing is left behind.
    """
    if not (offline in ("wait", "raise") or isinstance(offline, OfflineQueue)):
        raise ValueError(f"offline is 'wait', 'raise' or an OfflineQueue, not {offline!r}")
    client = Client(
        target,
        on_connect=on_connect,
        on_connect_timeout=on_connect_timeout,
        backoff=backoff,
        should_retry=should_retry,
        hooks=hooks,
        **options,
    )
    async with client:
        first = await client.next_connection()
        if first is None:
            raise ConnectionClosedOK(_NORMAL)
        ws = ReconnectingWebSocket(client, first, offline)
        async with supervised(ws.aclose) as nursery:
            nursery.start_soon(ws.run)
            yield ws


class ReconnectingWebSocket(WebSocket):
    """What `keep_connected` gives: see there for what it promises.

    ``close_reason`` stays ``None``, and calls do not fail, until reconnecting has ended: by
    `WebSocket.aclose` or `abort`, when the server is done, or with `GaveUp`. What describes a
    connection (``request``, ``subprotocol``, ``remote_address``, ``latency``, ...) is of the
    present one or, while there is none, of the last.
    """

    def __init__(self, client: Client, first: WebSocket, offline: Offline) -> None:
        self._client = client
        self._offline = offline
        self._id = f"r{next(_ids)}"
        self._last = first
        #: The connection that is open, as far as is known.
        self._current: WebSocket | None = first
        #: Ended connections with something left to receive, oldest first.
        self._unread: deque[WebSocket] = deque()
        self._queue: deque[str | bytes] = deque()
        self._queue_size = 0
        self._flushing = False
        self._changed = trio.lowlevel.ParkingLot()
        self._running = trio.CancelScope()
        self._reason: CloseReason | None = None
        self._error: Exception | None = None
        self._traceback: TracebackType | None = None
        self._receiving = False
        # Of the connections that have ended.
        self._past: WebSocketStatistics | None = None

    def __repr__(self) -> str:
        state = "offline" if self._current is None else repr(self._current)
        return f"<ReconnectingWebSocket {self._id}: {self._reason or state}>"

    # Connecting

    async def run(self) -> None:
        """Replace each connection that ends by the next."""
        try:
            with self._running:
                ws: WebSocket | None = self._last
                while ws is not None:
                    await ws.wait_closed()
                    self._lost(ws)
                    ws = await self._client.next_connection()
                    if ws is not None:
                        await self._regained(ws)
                self._end(self._last.close_reason or _NORMAL, None)
        except Exception as error:
            # GaveUp, or what a callback raised: whoever uses the connection is to know.
            self._end(self._last.close_reason or _NORMAL, error)
        finally:
            self._drop_queue()

    def _lost(self, ws: WebSocket) -> None:
        self._current = None
        if ws.statistics().inbox_messages:
            self._unread.append(ws)
        if len(self._unread) > _UNREAD_KEPT:
            dropped = self._unread.popleft().statistics().inbox_messages
            _logger.warning("%s: %d messages that nobody received are lost", self._id, dropped)
        self._past = self._with_past(ws.statistics())
        self._changed.unpark_all()

    async def _regained(self, ws: WebSocket) -> None:
        self._last = ws
        self._flushing = bool(self._queue)
        self._current = ws
        self._changed.unpark_all()
        try:
            while self._queue:
                # It leaves the queue first: sent at most once, whatever happens.
                message = self._queue.popleft()
                self._queue_size -= len(message)
                self._changed.unpark_all()
                try:
                    await ws.send(message)
                except BaseException as error:
                    # No byte of it was sent.
                    self._queue.appendleft(message)
                    self._queue_size += len(message)
                    if isinstance(error, ConnectionClosed | trio.ClosedResourceError):
                        return
                    raise
        finally:
            self._flushing = False
            self._changed.unpark_all()

    def _end(self, reason: CloseReason, error: Exception | None) -> None:
        if self._reason is None:
            self._reason = reason
            self._error = error if error is not None else ConnectionClosedOK(reason)
            self._traceback = self._error.__traceback__
        self._changed.unpark_all()

    def _drop_queue(self) -> None:
        """No connection will come for what is queued."""
        if self._queue:
            count = len(self._queue)
            _logger.warning("%s: %d messages in the offline queue are lost", self._id, count)
        self._queue.clear()
        self._queue_size = 0

    async def _enter(self) -> None:
        """What every call begins with: a checkpoint, where what follows may be none."""
        if self._reason is None:
            await trio.lowlevel.checkpoint_if_cancelled()
        else:
            await trio.lowlevel.checkpoint()

    def _check_open(self) -> None:
        if self._reason is not None:
            raise self._closed()

    def _closed(self) -> Exception:
        if self._error is None:
            return trio.ClosedResourceError(f"the connection is closed: {self._reason}")
        # Else the traceback of the time before would grow.
        return self._error.with_traceback(self._traceback)

    async def _wait_current(self) -> WebSocket:
        """The open connection, when there is one again."""
        while self._current is None or self._flushing:
            self._check_open()
            await self._changed.park()
        self._check_open()
        return self._current

    async def _moved_on(self, ws: WebSocket) -> None:
        """Wait, after *ws* has failed a call, until that is known here."""
        while self._current is ws and self._reason is None:
            await self._changed.park()

    # Sending

    async def send(self, message: Sendable, *, compress: bool | None = None) -> None:
        """As `WebSocket.send`; while there is no connection, as ``offline=`` says.

        A message that no connection took a byte of is sent on the next. An iterable is not sent
        again: what it gave is used up.
        """
        await self._enter()
        whole = isinstance(message, str | bytes | bytearray | memoryview)
        while True:
            self._check_open()
            if self._current is None or self._flushing:
                if whole and await self._queued(normalized(message)):
                    return
                self._check_offline()
            ws = await self._wait_current()
            try:
                await ws.send(message, compress=compress)
                return
            except (ConnectionClosed, trio.ClosedResourceError):
                if not whole:
                    raise
            await self._moved_on(ws)

    def send_nowait(self, message: str | BytesLike, *, compress: bool | None = None) -> None:
        self._check_open()
        whole = normalized(message)
        if self._current is not None and not self._flushing:
            try:
                self._current.send_nowait(whole, compress=compress)
                return
            except (ConnectionClosed, trio.ClosedResourceError):
                # Ended, and not yet known here: no byte of the message was sent.
                pass
        self._check_offline()
        _check_sendable(whole)
        if not self._has_room():
            raise trio.WouldBlock
        self._enqueue(whole)

    def _check_offline(self) -> None:
        if self._offline == "raise":
            raise ConnectionClosedError(self._last.close_reason or _NORMAL)

    def _has_room(self) -> bool:
        return (
            isinstance(self._offline, OfflineQueue)
            and len(self._queue) < self._offline.messages
            and self._queue_size < self._offline.bytes
        )

    def _enqueue(self, message: str | bytes) -> None:
        self._queue.append(message)
        self._queue_size += len(message)

    async def _queued(self, message: str | bytes) -> bool:
        """Put *message* into the offline queue, if that is asked for, when it has room."""
        if not isinstance(self._offline, OfflineQueue):
            return False
        await trio.lowlevel.checkpoint()
        _check_sendable(message)
        while self._current is None or self._flushing:
            self._check_open()
            if self._has_room():
                self._enqueue(message)
                return True
            await self._changed.park()
        return False

    # Receiving

    async def receive(self) -> str | bytes:
        self._begin_receiving()
        try:
            await self._enter()
            while True:
                ws = await self._wait_readable()
                try:
                    return await ws.receive()
                except (ConnectionClosed, trio.ClosedResourceError):
                    await self._read_out(ws)
        finally:
            self._receiving = False

    def receive_stream(self) -> MessageStream:
        return _Stream(self)

    def _begin_receiving(self) -> None:
        if self._receiving:
            raise trio.BusyResourceError("another task is receiving from this connection")
        self._receiving = True

    async def _receive_piece(
        self, stream: MessageStream | None
    ) -> tuple[MessageStream, str | bytes]:
        """The next piece of *stream*, or of the next message where there is none yet."""
        self._begin_receiving()
        try:
            await self._enter()
            while stream is None:
                ws = await self._wait_readable()
                begun = ws.receive_stream()
                try:
                    return begun, await begun.receive()
                except (ConnectionClosed, trio.ClosedResourceError):
                    await self._read_out(ws)
            # Half a message does not go on elsewhere: it is lost with its connection.
            return stream, await stream.receive()
        finally:
            self._receiving = False

    async def _wait_readable(self) -> WebSocket:
        """The oldest connection that may have something to receive."""
        while True:
            if self._reason is not None and self._error is None:
                raise self._closed()
            if self._unread:
                return self._unread[0]
            self._check_open()
            if self._current is not None:
                return self._current
            await self._changed.park()

    async def _read_out(self, ws: WebSocket) -> None:
        """*ws* has nothing more to give: go on with the next."""
        await self._moved_on(ws)
        if self._unread and self._unread[0] is ws:
            self._unread.popleft()

    # Ping and pong

    async def ping(self, payload: bytes | None = None) -> float:
        """As `WebSocket.ping`; where the connection is lost meanwhile, on the next."""
        await self._enter()
        while True:
            ws = await self._wait_current()
            try:
                return await ws.ping(payload)
            except (ConnectionClosed, trio.ClosedResourceError):
                await self._moved_on(ws)

    def start_ping(self, payload: bytes | None = None) -> PendingPing:
        return self._online().start_ping(payload)

    def pong(self, payload: bytes = b"") -> None:
        """As `WebSocket.pong`; `ConnectionClosedError` while there is no connection."""
        self._online().pong(payload)

    def _online(self) -> WebSocket:
        """The open connection, for what goes now or not at all."""
        self._check_open()
        # One that has ended may not be known to have ended yet.
        if self._current is None or self._current.close_reason is not None:
            raise ConnectionClosedError(self._last.close_reason or _NORMAL)
        return self._current

    # Closing

    async def aclose(self, code: int = 1000, reason: str = "") -> None:
        encode_close(code, reason)
        self._stop(CloseReason(code, reason, ClosedBy.LOCAL))
        await self._last.aclose(code, reason)

    def abort(self, error: ConnectionClosedError | None = None) -> None:
        """End the present connection now; with *error*, as if it had been lost: go on."""
        if error is None:
            self._stop(CloseReason(1006, "", ClosedBy.LOCAL, clean=False))
        self._last.abort(error)

    def _stop(self, reason: CloseReason) -> None:
        if self._reason is None:
            self._reason = reason
            self._unread.clear()
            self._end(reason, None)
        self._running.cancel()

    async def wait_closed(self) -> CloseReason:
        """Wait until reconnecting has ended, and the last transport is closed."""
        await trio.lowlevel.checkpoint()
        while self._reason is None:
            await self._changed.park()
        await self._last.wait_closed()
        return self._reason

    # Reconnecting

    def events(self) -> EventStream:
        """What happens from now on: see `Client.events`."""
        return self._client.events()

    def retry_now(self) -> None:
        """Cut the present wait short, if there is one."""
        self._client.retry_now()

    @property
    def is_connected(self) -> bool:
        """Whether there is a connection now, as far as is known."""
        return self._current is not None and self._current.close_reason is None

    # What is known about it

    @property
    def close_reason(self) -> CloseReason | None:
        return self._reason

    @property
    def latency(self) -> float | None:
        return self._last.latency

    @property
    def last_received(self) -> float:
        return self._last.last_received

    @property
    def last_sent(self) -> float:
        return self._last.last_sent

    @property
    def reading_since(self) -> float | None:
        return self._last.reading_since

    @property
    def request(self) -> Request:
        return self._last.request

    @property
    def response(self) -> Response:
        return self._last.response

    @property
    def subprotocol(self) -> str | None:
        return self._last.subprotocol

    @property
    def extensions(self) -> tuple[Extension, ...]:
        return self._last.extensions

    @property
    def local_address(self) -> object:
        return self._last.local_address

    @property
    def remote_address(self) -> object:
        return self._last.remote_address

    @property
    def id(self) -> str:
        return self._id

    def statistics(self) -> WebSocketStatistics:
        """Messages and bytes of all connections so far; the rest is of the present one."""
        if self._current is None and self._past is not None:
            return self._past
        return self._with_past(self._last.statistics())

    def _with_past(self, present: WebSocketStatistics) -> WebSocketStatistics:
        return present if self._past is None else _combined(self._past, present)


def _check_sendable(message: str | bytes) -> None:
    """Raise now what sending would raise later, when nobody is there to be told."""
    if isinstance(message, str):
        message.encode()


def _combined(past: WebSocketStatistics, present: WebSocketStatistics) -> WebSocketStatistics:
    """*present* with the messages and bytes of *past* added to its own."""
    return replace(
        present,
        messages_sent=past.messages_sent + present.messages_sent,
        messages_received=past.messages_received + present.messages_received,
        bytes_sent=past.bytes_sent + present.bytes_sent,
        bytes_received=past.bytes_received + present.bytes_received,
    )


class _Stream(MessageStream):
    """The next message of a `ReconnectingWebSocket`, piece by piece, of whichever connection."""

    def __init__(self, ws: ReconnectingWebSocket) -> None:
        self._ws = ws
        self._inner: MessageStream | None = None

    async def receive(self) -> str | bytes:
        self._inner, piece = await self._ws._receive_piece(self._inner)
        return piece

    async def aclose(self) -> None:
        if self._inner is not None:
            await self._inner.aclose()
        else:
            await trio.lowlevel.checkpoint()
