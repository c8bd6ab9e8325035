"""trio-ws: WebSockets for Trio.

A server, a client, and the protocol core beneath them, in structured concurrency. See `serve`
and `connect` to begin with, and `WebSocket` for what a connection can do.
"""

from . import classification
from ._client import ConnectOptions, connect
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
from ._keep_connected import OfflineQueue, ReconnectingWebSocket, keep_connected
from ._reconnect import (
    Backoff,
    Client,
    ConnectionContext,
    Connections,
    Endpoint,
    EventStream,
    supervise,
)
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
from .classification import Failure, Verdict
from .protocol.http import Headers, Request, Response

__all__ = [
    "AdaptiveHeartbeat",
    "Backoff",
    "Client",
    "CloseCode",
    "CloseReason",
    "ClosedBy",
    "Compression",
    "ConnectOptions",
    "ConnectionClosed",
    "ConnectionClosedError",
    "ConnectionClosedOK",
    "ConnectionContext",
    "ConnectionRejected",
    "Connections",
    "Endpoint",
    "EventStream",
    "Failure",
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
    "OfflineQueue",
    "PendingPing",
    "ProtocolViolation",
    "ProxyError",
    "ReconnectingWebSocket",
    "RedirectRefused",
    "Request",
    "Response",
    "Router",
    "Server",
    "ServerStatistics",
    "Timeouts",
    "TooManyRedirects",
    "TrioWSError",
    "Verdict",
    "WebSocket",
    "WebSocketStatistics",
    "all_of",
    "basic_auth",
    "bearer_auth",
    "classification",
    "connect",
    "health",
    "keep_connected",
    "serve",
    "supervise",
]
