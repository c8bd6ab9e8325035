"""trio-ws: WebSockets for Trio.

A server, a client, and the protocol core beneath them, in structured concurrency. See `serve`
and `connect` to begin with, `WebSocket` for what a connection can do, and `Hub` for one message to
many.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from . import backplane, classification, slow_consumers
    from ._backoff import Backoff
    from ._client import ConnectOptions, connect
    from ._close import CloseCode, ClosedBy, CloseReason
    from ._endpoints import Endpoint
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
        NotSupportedByEngine,
        ProtocolViolation,
        ProxyError,
        RedirectRefused,
        TooManyRedirects,
        TrioWSError,
    )
    from ._events import EventStream
    from ._heartbeat import AdaptiveHeartbeat, Heartbeat, HeartbeatPolicy, IdleHeartbeat
    from ._http import all_of, basic_auth, bearer_auth, health
    from ._hub.hub import Hub, HubStatistics, TopicStatistics
    from ._hub.membership import Membership
    from ._hub.presence import PresenceWatch
    from ._hub.settings import HubLimits
    from ._hub.subscriptions import Subscription
    from ._inherited import inherited_listeners
    from ._keep_connected import OfflineQueue, ReconnectingWebSocket, keep_connected
    from ._reconnect import Client, ConnectionContext, Connections, supervise
    from ._routing import Router
    from ._server import Server, ServerStatistics, serve
    from ._settings import Compression, Limits, Timeouts
    from ._tls import load_certificate
    from ._trio_websocket import TrioWebSocket
    from ._websocket import (
        LatencyStatistics,
        MessageStream,
        PendingPing,
        WebSocket,
        WebSocketStatistics,
    )
    from ._wrap import wrap
    from .backplane._interface import History, Position
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
    "History",
    "Hub",
    "HubLimits",
    "HubStatistics",
    "IdleHeartbeat",
    "InvalidHandshake",
    "InvalidURL",
    "LatencyStatistics",
    "Limits",
    "Membership",
    "MessageStream",
    "MessageTooBig",
    "NotSupportedByEngine",
    "OfflineQueue",
    "PendingPing",
    "Position",
    "PresenceWatch",
    "ProtocolViolation",
    "ProxyError",
    "ReconnectingWebSocket",
    "RedirectRefused",
    "Request",
    "Response",
    "Router",
    "Server",
    "ServerStatistics",
    "Subscription",
    "Timeouts",
    "TooManyRedirects",
    "TopicStatistics",
    "TrioWSError",
    "TrioWebSocket",
    "Verdict",
    "WebSocket",
    "WebSocketStatistics",
    "all_of",
    "backplane",
    "basic_auth",
    "bearer_auth",
    "classification",
    "connect",
    "health",
    "inherited_listeners",
    "keep_connected",
    "load_certificate",
    "serve",
    "slow_consumers",
    "supervise",
    "wrap",
]

#: Where each name is at home. A home is imported when the first name of it is asked for: what
#: needs only some of them, such as ``trio-ws --help``, starts several times as fast.
_HOMES: Final = {
    "backplane._interface": ("History", "Position"),
    "classification": ("Failure", "Verdict"),
    "_client": ("ConnectOptions", "connect"),
    "_close": ("CloseCode", "ClosedBy", "CloseReason"),
    "_errors": (
        "ConnectionClosed",
        "ConnectionClosedError",
        "ConnectionClosedOK",
        "ConnectionRejected",
        "GaveUp",
        "HandshakeError",
        "HandshakeTimeout",
        "HeartbeatTimeout",
        "InvalidHandshake",
        "InvalidURL",
        "MessageTooBig",
        "NotSupportedByEngine",
        "ProtocolViolation",
        "ProxyError",
        "RedirectRefused",
        "TooManyRedirects",
        "TrioWSError",
    ),
    "_hub.hub": ("Hub", "HubStatistics", "TopicStatistics"),
    "_hub.membership": ("Membership",),
    "_hub.presence": ("PresenceWatch",),
    "_hub.settings": ("HubLimits",),
    "_hub.subscriptions": ("Subscription",),
    "_heartbeat": ("AdaptiveHeartbeat", "Heartbeat", "HeartbeatPolicy", "IdleHeartbeat"),
    "_http": ("all_of", "basic_auth", "bearer_auth", "health"),
    "_inherited": ("inherited_listeners",),
    "_keep_connected": ("OfflineQueue", "ReconnectingWebSocket", "keep_connected"),
    "_backoff": ("Backoff",),
    "_endpoints": ("Endpoint",),
    "_events": ("EventStream",),
    "_reconnect": ("Client", "ConnectionContext", "Connections", "supervise"),
    "_routing": ("Router",),
    "_server": ("Server", "ServerStatistics", "serve"),
    "_settings": ("Compression", "Limits", "Timeouts"),
    "_tls": ("load_certificate",),
    "_trio_websocket": ("TrioWebSocket",),
    "_websocket": (
        "LatencyStatistics",
        "MessageStream",
        "PendingPing",
        "WebSocket",
        "WebSocketStatistics",
    ),
    "_wrap": ("wrap",),
    "protocol.http": ("Headers", "Request", "Response"),
}
#: Public modules, which need no import of their own.
_MODULES: Final = {
    "backplane",
    "classification",
    "instrumentation",
    "protocol",
    "slow_consumers",
    "testing",
}
_HOME_OF: Final = {name: home for home, names in _HOMES.items() for name in names}


# Hidden from type checkers: to them it would mean that every name exists.
if not TYPE_CHECKING:  # pragma: no branch

    def __getattr__(name: str) -> object:
        home = _HOME_OF.get(name)
        if home is not None:
            thing = getattr(import_module(f"{__name__}.{home}"), name)
        elif name in _MODULES:
            thing = import_module(f"{__name__}.{name}")
        else:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        globals()[name] = thing
        return thing


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_MODULES})
