"""trio-ws: WebSockets for Trio.

A server, a client, and the protocol core beneath them, in structured concurrency. See `serve`
and `connect` to begin with, and `WebSocket` for what a connection can do.
"""

from ._client import connect
from ._close import CloseCode, ClosedBy, CloseReason
from ._errors import (
    ConnectionClosed,
    ConnectionClosedError,
    ConnectionClosedOK,
    ConnectionRejected,
    GaveUp,
    HandshakeError,
    HandshakeTimeout,
    HeartbeatTimeout,
    InvalidHandshake,
    InvalidURL,
    MessageTooBig,
    ProtocolViolation,
    ProxyError,
    RedirectRefused,
    TooManyRedirects,
    TrioWSError,
)
from ._heartbeat import AdaptiveHeartbeat, Heartbeat, HeartbeatPolicy, IdleHeartbeat
from ._http import all_of, basic_auth, bearer_auth, health
from ._routing import Router
from ._server import Server, ServerStatistics, serve
from ._settings import Compression, Limits, Timeouts
from ._websocket import (
    LatencyStatistics,
    MessageStream,
    PendingPing,
    WebSocket,
    WebSocketStatistics,
)
from .protocol.http import Headers, Request, Response

__all__ = [
    "AdaptiveHeartbeat",
    "CloseCode",
    "CloseReason",
    "ClosedBy",
    "Compression",
    "ConnectionClosed",
    "ConnectionClosedError",
    "ConnectionClosedOK",
    "ConnectionRejected",
    "GaveUp",
    "HandshakeError",
    "HandshakeTimeout",
    "Headers",
    "Heartbeat",
    "HeartbeatPolicy",
    "HeartbeatTimeout",
    "IdleHeartbeat",
    "InvalidHandshake",
    "InvalidURL",
    "LatencyStatistics",
    "Limits",
    "MessageStream",
    "MessageTooBig",
    "PendingPing",
    "ProtocolViolation",
    "ProxyError",
    "RedirectRefused",
    "Request",
    "Response",
    "Router",
    "Server",
    "ServerStatistics",
    "Timeouts",
    "TooManyRedirects",
    "TrioWSError",
    "WebSocket",
    "WebSocketStatistics",
    "all_of",
    "basic_auth",
    "bearer_auth",
    "connect",
    "health",
    "serve",
]
