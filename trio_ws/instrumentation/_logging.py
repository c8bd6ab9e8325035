"""The hook that writes to the log; it is there unless other hooks are given."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

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
    from ._records import Record

_connections: Final = logging.getLogger("trio_ws.connection")
_server: Final = logging.getLogger("trio_ws.server")
_hub: Final = logging.getLogger("trio_ws.hub")
_reconnect: Final = logging.getLogger("trio_ws.reconnect")


def log_record(record: Record) -> None:
    """Write *record* to the log, in one line.

    Losing, closing, waiting for and regaining a connection, a lost heartbeat, a member evicted from
    a topic: INFO. Giving up, a backplane that is gone, messages that may have been missed: WARNING.
    A crashed handler: ERROR, with its traceback. Opened and ended: DEBUG. Attempts, answers to
    handshakes, pings, pongs and traffic: not at all.
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


def _host(address: object) -> str:
    return str(address[0]) if isinstance(address, tuple) and address else "a local client"


def _because(cause: str) -> str:
    return f": {_escape(cause)}" if cause else ""


def _escape(text: str) -> str:
    """*text* in one line and without terminal escapes; twice is as good as once."""
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)
