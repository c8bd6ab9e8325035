"""Hooks: what happens to connections, told in frozen records.

Give ``hooks=`` to `trio_ws.serve`, `trio_ws.connect` or a reconnecting client. A hook is any
callable that takes a record. By default there is one, `log_record`.
"""

from ._hooks import NO_HOOKS, Hook, Hooks
from ._logging import log_record
from ._records import (
    BackplaneChanged,
    Connected,
    Connecting,
    ConnectionEnded,
    ConnectionOpened,
    Disconnected,
    HandlerCrashed,
    HandshakeAnswered,
    HeartbeatLost,
    HubEvent,
    MemberEvicted,
    MessagesMissed,
    PingReceived,
    PingSent,
    PongReceived,
    Received,
    ReconnectEvent,
    Record,
    Sent,
    Stopped,
    Waiting,
)

__all__ = [
    "NO_HOOKS",
    "BackplaneChanged",
    "Connected",
    "Connecting",
    "ConnectionEnded",
    "ConnectionOpened",
    "Disconnected",
    "HandlerCrashed",
    "HandshakeAnswered",
    "HeartbeatLost",
    "Hook",
    "Hooks",
    "HubEvent",
    "MemberEvicted",
    "MessagesMissed",
    "PingReceived",
    "PingSent",
    "PongReceived",
    "Received",
    "ReconnectEvent",
    "Record",
    "Sent",
    "Stopped",
    "Waiting",
    "log_record",
]
