"""What is told to hooks: one frozen record per thing that happened.

Records hold values, never a live connection, so a hook may keep them or hand them to another
thread. Texts in them may come from a peer: escape them before they meet a log or a terminal.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from .._close import CloseReason
    from .._websocket import WebSocketStatistics
    from ..protocol.http import Request, Response


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionOpened:
    """The opening handshake is done.

    Attributes:
      id: the connection's `WebSocket.id`.
      client: whether this side is the client.
      target: the request's path and query.
      remote_address: the peer's, as the socket module gives it.
    """

    id: str
    client: bool
    target: str
    remote_address: object


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionEnded:
    """The transport is closed.

    Attributes:
      id: the connection's `WebSocket.id`.
      client: whether this side is the client.
      remote_address: the peer's, as the socket module gives it.
      reason: why it ended.
      uptime: seconds that it was open.
      statistics: the last state of its counters.
    """

    id: str
    client: bool
    remote_address: object
    reason: CloseReason
    uptime: float
    statistics: WebSocketStatistics


@dataclass(frozen=True, slots=True, kw_only=True)
class HandlerCrashed:
    """A server's handler raised; its connection is closed with 1011.

    Attributes:
      id: the connection's `WebSocket.id`.
      target: the request's path and query.
      remote_address: the peer's, as the socket module gives it.
      error: what it raised.
    """

    id: str
    target: str
    remote_address: object
    error: Exception


@dataclass(frozen=True, slots=True, kw_only=True)
class PingSent:
    """A ping was queued, by a heartbeat or by `WebSocket.ping`."""

    id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PongReceived:
    """A pong came, most often the answer to a ping.

    Attributes:
      id: the connection's `WebSocket.id`.
      round_trip: seconds; ``None`` where nothing had asked for it (RFC 6455, section 5.5.3).
      payload: what stands in it.
    """

    id: str
    round_trip: float | None
    payload: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class PingReceived:
    """The peer sent a ping. Its pong is queued, unless a close frame has gone out.

    Attributes:
      id: the connection's `WebSocket.id`.
      payload: what stands in it.
    """

    id: str
    payload: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class HeartbeatLost:
    """A heartbeat's verdict: the peer is dead. The connection is aborted.

    Attributes:
      id: the connection's `WebSocket.id`.
      silent: seconds since the last byte from the peer.
    """

    id: str
    silent: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """Bytes were read. Only for hooks that ask for traffic.

    Attributes:
      id: the connection's `WebSocket.id`.
      messages: messages that these bytes completed.
      bytes: how many were read, frame headers included.
    """

    id: str
    messages: int
    bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """A message was accepted by ``send``, or by a hub. Only for hooks that ask for traffic.

    Attributes:
      id: the connection's `WebSocket.id`.
      messages: 1, or 0 for a fragment that did not complete its message, or however many of a topic
        went together.
      bytes: of the frame, or frames, headers included.
    """

    id: str
    messages: int
    bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class HandshakeAnswered:
    """A client's opening handshake got an answer: 101, a redirect or a refusal.

    Not told where there was none, or one that breaks RFC 6455.

    Attributes:
      target: the URL, without credentials.
      request: what was asked. Not in the repr, because credentials stand in its headers:
        ``Authorization``, cookies, whatever ``headers=`` brought.
      response: the answer; it may set cookies.
    """

    target: str
    request: Request = field(repr=False)
    response: Response


@dataclass(frozen=True, slots=True, kw_only=True)
class Connecting:
    """A reconnecting client begins an attempt.

    Attributes:
      target: the URL, without credentials.
      attempt: 1 for the first since the last stable connection.
    """

    target: str
    attempt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Connected:
    """A reconnecting client is connected, and its ``on_connect`` is done.

    Attributes:
      target: the URL, without credentials.
      attempt: which attempt it was.
      offline: seconds since the last connection was lost, or since the start.
      again: whether there was a connection before.
    """

    target: str
    attempt: int
    offline: float
    again: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Disconnected:
    """A reconnecting client's connection has ended.

    Attributes:
      target: the URL, without credentials.
      reason: why.
      open_for: seconds that it was open.
      by_choice: whether it was closed here: by `WebSocket.aclose` or `WebSocket.abort`, because
        the next one was asked for, or because the client's block was left.
    """

    target: str
    reason: CloseReason
    open_for: float
    by_choice: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """A reconnecting client waits before its next attempt.

    Attributes:
      target: the URL, without credentials.
      delay: seconds.
      attempt: the attempt that comes next.
      cause: what went wrong, in one line.
    """

    target: str
    delay: float
    attempt: int
    cause: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Stopped:
    """A reconnecting client will not try again.

    Attributes:
      target: the URL, without credentials.
      attempts: since the last stable connection.
      cause: what went wrong, in one line; ``None`` when the server closed with "done", or the
        client's block was left.
    """

    target: str
    attempts: int
    cause: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberEvicted:
    """A hub made a member leave a topic, because it was too slow.

    Attributes:
      topic: which.
      id: the connection's `WebSocket.id`; empty where it was a `Subscription`.
      reason: what was found, for people.
    """

    topic: str
    id: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MessagesMissed:
    """A hub's members may have missed messages of a topic from other processes.

    Attributes:
      topic: which.
      cause: why, for people.
      messages: how many; ``None`` where that is not known.
    """

    topic: str
    cause: str
    messages: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class BackplaneChanged:
    """A hub's backplane has lost or regained its connection. Members here are served all the same.

    Attributes:
      connected: which of the two.
      cause: why, for people.
    """

    connected: bool
    cause: str


#: What happens to a reconnecting client.
ReconnectEvent: TypeAlias = Connecting | Connected | Disconnected | Waiting | Stopped

#: What happens to a hub.
HubEvent: TypeAlias = MemberEvicted | MessagesMissed | BackplaneChanged

#: What a hook is given.
Record: TypeAlias = (
    HandshakeAnswered
    | ConnectionOpened
    | ConnectionEnded
    | HandlerCrashed
    | PingSent
    | PingReceived
    | PongReceived
    | HeartbeatLost
    | Received
    | Sent
    | ReconnectEvent
    | HubEvent
)
