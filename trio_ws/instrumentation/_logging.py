"""The hook that writes to the log; it is there unless other hooks are given."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from .._close import ClosedBy
from ._records import (
    BackplaneChanged,
    Connected,
    ConnectionEnded,
    ConnectionOpened,
    Disconnected,
    HandlerCrashed,
    HeartbeatLost,
    MemberEvicted,
    MessagesMissed,
    Stopped,
    Waiting,
)

if TYPE_CHECKING:
    from .._close import CloseReason
    from ._records import Record

_connections: Final = logging.getLogger("trio_ws.connection")
_server: Final = logging.getLogger("trio_ws.server")
_hub: Final = logging.getLogger("trio_ws.hub")
_reconnect: Final = logging.getLogger("trio_ws.reconnect")

#: What closes a connection over what the peer did (RFC 6455, section 7.4.1).
_OVER_WHAT_THE_PEER_DID: Final = frozenset({1002, 1003, 1007, 1008, 1009})


def log_record(record: Record) -> None:
    """Write *record* to the log, in one line.

    Losing, closing, waiting for and regaining a connection, a lost heartbeat, a client that broke a
    rule or met a bound, a member evicted from a topic: INFO. Giving up, a backplane that is gone,
    messages that may have been missed: WARNING. A crashed handler: ERROR, with its traceback.
    Opened and ended: DEBUG. Attempts, answers to handshakes, pings, pongs and traffic: not at all.
    """
    match record:
        case HandlerCrashed():
            _server.error(
                "%s from %s: the handler crashed",
                record.id,
                _host(record.remote_address),
                exc_info=record.error,
            )
        case HeartbeatLost():
            _connections.info("%s: no sign of life for %.1f s", record.id, record.silent)
        case ConnectionOpened():
            _connections.debug("%s: open, %s", record.id, _escape(record.target))
        case ConnectionEnded(client=False) if _broke_a_rule(record.reason):
            where = f"{record.id} from {_host(record.remote_address)}"
            _connections.info("%s: %s, after %.1f s", where, record.reason, record.uptime)
        case ConnectionEnded():
            _connections.debug("%s: %s, after %.1f s", record.id, record.reason, record.uptime)
        case Disconnected():
            _reconnect.info(
                "%s: %s after %.1f s: %s",
                _escape(record.target),
                "closed" if record.by_choice else "lost",
                record.open_for,
                record.reason,
            )
        case Waiting():
            _reconnect.info(
                "%s: attempt %d in %.1f s: %s",
                _escape(record.target),
                record.attempt,
                record.delay,
                _escape(record.cause),
            )
        case Connected(again=True):
            _reconnect.info(
                "%s: connected again after %.1f s", _escape(record.target), record.offline
            )
        case Connected():
            _reconnect.info("%s: connected", _escape(record.target))
        case Stopped(cause=None):
            _reconnect.info("%s: done", _escape(record.target))
        case Stopped(cause=str() as cause):
            _reconnect.warning("%s: given up: %s", _escape(record.target), _escape(cause))
        case MemberEvicted():
            who = record.id or "a subscription"
            _hub.info("%s: evicted from %s: %s", who, _escape(record.topic), record.reason)
        case MessagesMissed():
            count = "messages" if record.messages is None else f"{record.messages} messages"
            _hub.warning(
                "%s: %s may have been missed: %s",
                _escape(record.topic),
                count,
                _escape(record.cause),
            )
        case BackplaneChanged(connected=True):
            _hub.info("the backplane is connected%s", _because(record.cause))
        case BackplaneChanged():
            _hub.warning("the backplane is gone%s", _because(record.cause))
        case _:
            pass


def _broke_a_rule(reason: CloseReason) -> bool:
    """Whether this side closed over what the peer did."""
    return reason.closed_by is ClosedBy.LOCAL and reason.code in _OVER_WHAT_THE_PEER_DID


def _host(address: object) -> str:
    return str(address[0]) if isinstance(address, tuple) and address else "a local client"


def _because(cause: str) -> str:
    return f": {_escape(cause)}" if cause else ""


def _escape(text: str) -> str:
    """*text* in one line and without terminal escapes; twice is as good as once."""
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)
