"""The hook that writes to the log; it is there unless other hooks are given."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from ._records import (
    Connected,
    ConnectionEnded,
    ConnectionOpened,
    Disconnected,
    HandlerCrashed,
    HeartbeatLost,
    Stopped,
    Waiting,
)

if TYPE_CHECKING:
    from ._records import Record

_connections: Final = logging.getLogger("trio_ws.connection")
_server: Final = logging.getLogger("trio_ws.server")
_reconnect: Final = logging.getLogger("trio_ws.reconnect")


def log_record(record: Record) -> None:
    """Write *record* to the log, in one line.

    Losing, closing, waiting for and regaining a connection, and a lost heartbeat: INFO. Giving up:
    WARNING. A crashed handler: ERROR, with its traceback. Opened and ended: DEBUG. Attempts,
    answers to handshakes, pings, pongs and traffic: not at all.
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
        case _:
            pass


def _host(address: object) -> str:
    return str(address[0]) if isinstance(address, tuple) and address else "a local client"


def _escape(text: str) -> str:
    """*text* in one line and without terminal escapes; twice is as good as once."""
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)
