"""`WebSocket`: the interface that everything above the engines is written against."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import trio

from ._errors import ConnectionClosedOK

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from ._close import CloseReason
    from ._errors import ConnectionClosedError
    from .protocol.extensions import Extension
    from .protocol.http import Request, Response

BytesLike: TypeAlias = bytes | bytearray | memoryview

#: What `WebSocket.send` takes.
Sendable: TypeAlias = (
    str
    | BytesLike
    | Iterable[str]
    | Iterable[BytesLike]
    | AsyncIterable[str]
    | AsyncIterable[BytesLike]
)


@dataclass(frozen=True, slots=True)
class LatencyStatistics:
    """The round trips of one connection's answered pings, in seconds.

    Attributes:
      last: of the newest.
      smoothed: an average in which each new one counts for an eighth (RFC 6298, section 2).
      minimum: the shortest.
      maximum: the longest.
    """

    last: float
    smoothed: float
    minimum: float
    maximum: float


@dataclass(frozen=True, slots=True, kw_only=True)
class WebSocketStatistics:
    """A snapshot of one connection's counters and queues.

    Attributes:
      messages_sent: messages that ``send`` accepted.
      messages_received: messages that arrived whole, handed out or not.
      bytes_sent: bytes handed to the transport, frame headers included.
      bytes_received: bytes read from the transport, the opening handshake not included.
      inbox_messages: messages that wait for ``receive``.
      inbox_bytes: what they hold: bytes for binary, characters for text.
      outbox_bytes: bytes accepted by ``send`` that the transport has not taken.
      tasks_waiting_send: tasks that wait in ``send`` for the outbox to drain.
      tasks_waiting_receive: 1 while a task waits in ``receive``, else 0.
      pings_in_flight: pings whose pong has not come.
      latency: what the answered pings took; ``None`` before the first.
      uptime: seconds since the opening handshake; once the connection has ended, until its end.
    """

    messages_sent: int
    messages_received: int
    bytes_sent: int
    bytes_received: int
    inbox_messages: int
    inbox_bytes: int
    outbox_bytes: int
    tasks_waiting_send: int
    tasks_waiting_receive: int
    pings_in_flight: int
    latency: LatencyStatistics | None
    uptime: float


class PendingPing(ABC):
    """A ping on its way: what `WebSocket.start_ping` returns.

    Attributes:
      payload: what tells its pong from others.
    """

    __slots__ = ()

    payload: bytes

    @property
    @abstractmethod
    def written_at(self) -> float | None:
        """When the transport took the last byte of it, by ``trio.current_time()``.

        ``None`` while it waits behind a write under way.
        """

    @property
    @abstractmethod
    def round_trip(self) -> float | None:
        """Seconds from the writing of the ping to its pong; ``None`` before."""

    @abstractmethod
    async def wait(self) -> float:
        """Wait for the pong; return `round_trip`.

        Raises:
          ConnectionClosed, trio.ClosedResourceError: as in `WebSocket.ping`.

        Cancellation: nothing happened; call it again, or `forget` it.
        """

    @abstractmethod
    def forget(self) -> None:
        """Wait for the pong no longer. Idempotent."""


class MessageStream(trio.abc.ReceiveChannel[str | bytes]):
    """One incoming message, piece by piece: what `WebSocket.receive_stream` returns.

    Use it as an async context manager and iterate over it. The pieces are ``str`` for a text
    message and ``bytes`` for a binary one; where they are cut is up to the peer and the
    network. Leaving the block early throws the rest of the message away as it arrives.
    """

    __slots__ = ()

    @abstractmethod
    async def receive(self) -> str | bytes:
        """The next piece. Atomic under cancellation.

        Raises:
          trio.EndOfChannel: the message is complete. Iterating just ends.
          ConnectionClosedOK: the peer closed in good order before the message began. Iterating
            raises this too: there was no message, not even an empty one.
          ConnectionClosedError: the connection ended in any other way, or, in whichever way,
            within the message, which will never be complete.
          trio.ClosedResourceError: as in `WebSocket.receive`.
        """

    async def __anext__(self) -> str | bytes:
        try:
            return await self.receive()
        except ConnectionClosedOK:
            # Although it is an EndOfChannel: no message has come to its end.
            raise
        except trio.EndOfChannel:
            raise StopAsyncIteration from None

    async def __aenter__(self) -> Self:
        return self


class WebSocket(trio.abc.Channel[str | bytes]):
    """An open WebSocket connection.

    Concurrency: any number of tasks may send, ping and pong; one at a time may receive. Leaving
    ``async with ws`` closes it.

    After the end, ``send``, ``receive``, ``ping`` and ``pong`` raise:

    - `ConnectionClosedOK` (a `trio.EndOfChannel`) when the peer closed in good order
      (1000, 1001, or without a code); ``async for`` just ends;
    - `ConnectionClosedError` (a `trio.BrokenResourceError`) for anything else that the peer
      or the network did;
    - `trio.ClosedResourceError` when this side called `aclose` or `abort`.

    Messages that had arrived before the peer's close are still handed out first.
    """

    __slots__ = ()

    @abstractmethod
    async def send(self, message: Sendable, *, compress: bool | None = None) -> None:
        """Send one message.

        Waits while more than ``Limits.outbox_bytes`` wait to be written. Sending to a peer that
        does not read therefore blocks: bound it with a cancel scope where that matters.

        Args:
          message: ``str`` goes as text, bytes-like as binary (RFC 6455, section 5.6). An iterable
            or async iterable of either goes as one fragmented message, one fragment per item.
          compress: whether to compress this message, where permessage-deflate was negotiated;
            ``None`` lets ``Compression.threshold`` decide.

        Raises:
          ConnectionClosed, trio.ClosedResourceError: see the class.
          TypeError: *message* is none of these, or mixes text and binary.
          UnicodeEncodeError: the text holds a lone surrogate.

        Cancellation: atomic. It returned, so the message is in the outbox, in order; it raised,
        so no byte of it will be sent. The one exception is an iterable that is cancelled or
        raises after its first fragment was accepted: half a message cannot be taken back, so the
        connection is closed with 1011.
        """

    @abstractmethod
    def send_nowait(self, message: str | BytesLike, *, compress: bool | None = None) -> None:
        """Send one message without waiting.

        Raises:
          trio.WouldBlock: `send` would wait. No byte of the message will be sent.
          ConnectionClosed, trio.ClosedResourceError, TypeError, UnicodeEncodeError: as in `send`.
        """

    @abstractmethod
    async def receive(self) -> str | bytes:
        """Wait for the next message and return it whole: ``str`` for text, ``bytes`` for binary.

        Raises:
          ConnectionClosed, trio.ClosedResourceError: see the class.
          trio.BusyResourceError: another task is receiving.

        Cancellation: atomic. A message is either returned or is there for the next call.
        """

    @abstractmethod
    def receive_stream(self) -> MessageStream:
        """The next message, piece by piece, for messages too large to hold.

        A message that arrives while this is waiting for it may be of any size. To let large
        messages begin to arrive before the first call, set ``Limits.max_message_size`` to
        ``None``: what is held is still bounded by ``Limits.inbox_bytes``.
        """

    @abstractmethod
    async def ping(self, payload: bytes | None = None) -> float:
        """Send a ping and wait for its pong (RFC 6455, section 5.5.2).

        Any number may be in flight. A peer may bound how many it takes at once, though: trio-ws
        does, by ``Limits.control_frame_burst`` and ``Limits.control_frame_rate`` of the peer's.

        Args:
          payload: at most 125 bytes; different from every ping in flight. ``None`` makes one.

        Returns:
          The round-trip time, in seconds.

        Raises:
          ConnectionClosed, trio.ClosedResourceError: also while waiting; it never hangs on a
            dead connection that has been noticed.
          ValueError: the payload is too long, or such a ping is in flight already.

        Cancellation: the ping may have been sent; its pong is then ignored.
        """

    @abstractmethod
    def start_ping(self, payload: bytes | None = None) -> PendingPing:
        """Queue a ping, ahead of data that waits, and return without waiting for its pong.

        Whoever starts a ping must `PendingPing.forget` it in the end, or wait until it is
        answered.

        Args:
          payload: as in `ping`.

        Raises:
          ConnectionClosed, trio.ClosedResourceError: see the class.
          ValueError: as in `ping`.
        """

    @abstractmethod
    def pong(self, payload: bytes = b"") -> None:
        """Queue a pong that nothing has asked for, ahead of data that waits (section 5.5.3).

        A heartbeat in one direction: it shows the peer, and proxies on the way, that this side
        is alive, and nothing comes back. Pings are answered without it. Never blocks. While the
        peer does not read, the newest 16 are kept. Peers bound how many control frames they
        take; `Limits` says what these do.

        Args:
          payload: at most 125 bytes.

        Raises:
          ConnectionClosed, trio.ClosedResourceError: see the class.
          ValueError: the payload is too long.
        """

    @abstractmethod
    async def aclose(self, code: int = 1000, reason: str = "") -> None:
        """Close the connection: the closing handshake, then the transport (section 7.1.2).

        Queued messages go out before the close frame. Takes at most ``Timeouts.close_timeout``
        seconds; then the transport is closed whatever the peer does. Calling it again, or after
        the end, waits for the end and does nothing else.

        Args:
          code: 1000 to 1014, except the reserved ones, or 3000 to 4999.
          reason: at most 123 bytes of UTF-8.

        Raises:
          ValueError: the code may not be sent, or the reason is too long.

        Cancellation: the close frame goes if the transport takes it at once; then the transport
        is closed.
        """

    @abstractmethod
    def abort(self, error: ConnectionClosedError | None = None) -> None:
        """Close the transport now, without a closing handshake. Never blocks; idempotent.

        Args:
          error: why, where it is the peer or the network that failed: ``send``, ``receive`` and
            ``ping`` raise an error of its type, with its ``reason``, and what had arrived is
            handed out first. ``None``: the connection is closed here, by choice.
        """

    @abstractmethod
    async def wait_closed(self) -> CloseReason:
        """Wait until the connection has ended and its transport is closed; return why.

        What had arrived before can still be received. Cancellation: nothing happened.
        """

    @property
    @abstractmethod
    def close_reason(self) -> CloseReason | None:
        """Why the connection ended; ``None`` while it is open."""

    @property
    @abstractmethod
    def latency(self) -> float | None:
        """Round-trip time of the last answered ping in seconds; ``None`` before the first."""

    @property
    @abstractmethod
    def last_received(self) -> float:
        """When bytes last came from the peer, by ``trio.current_time()``; at first, the opening."""

    @property
    @abstractmethod
    def last_sent(self) -> float:
        """When the transport last took bytes, by ``trio.current_time()``; at first, the opening."""

    @property
    @abstractmethod
    def reading_since(self) -> float | None:
        """Since when this side has been reading, by ``trio.current_time()``.

        ``None`` while it has stopped because the inbox is full: what the peer has sent since
        then, pongs among it, lies unread, and its silence means nothing.
        """

    @property
    @abstractmethod
    def request(self) -> Request:
        """The opening handshake's request."""

    @property
    @abstractmethod
    def response(self) -> Response:
        """The opening handshake's response."""

    @property
    @abstractmethod
    def subprotocol(self) -> str | None:
        """The subprotocol that was agreed upon (section 1.9)."""

    @property
    @abstractmethod
    def extensions(self) -> tuple[Extension, ...]:
        """The extensions that were agreed upon (section 9)."""

    @property
    @abstractmethod
    def local_address(self) -> object:
        """This side's address as the socket module gives it; ``None`` where there is none."""

    @property
    @abstractmethod
    def remote_address(self) -> object:
        """The peer's address as the socket module gives it; ``None`` where there is none.

        On a server with ``trusted_proxies``, the client's, as far as they say it: host and port,
        which is 0 where only the host is known.
        """

    @property
    @abstractmethod
    def id(self) -> str:
        """Names this connection in logs; unique within the process."""

    @abstractmethod
    def statistics(self) -> WebSocketStatistics:
        """A snapshot of the counters."""

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()
