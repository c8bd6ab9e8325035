"""Whether a reconnecting client tries again: the default, and other servers' conventions.

A classification is a function from a `Failure` to a `Verdict`, given as ``should_retry``::

    trio_ws.keep_connected(url, should_retry=trio_ws.classification.pusher)

One of your own may answer with ``True`` and ``False`` as well, and ask `default` for the rest.
"""

from __future__ import annotations

import enum
import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

from ._close import CloseCode
from ._dial import Stage
from ._errors import HandshakeTimeout, ProxyError

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._close import CloseReason

__all__ = [
    "Failure",
    "ShouldRetry",
    "Stage",
    "Verdict",
    "centrifugo",
    "default",
    "endless",
    "graphql_ws",
    "pusher",
]

#: HTTP answers that time may change (RFC 9110, section 15; RFC 6585; RFC 8470).
RETRIED_STATUSES: Final = frozenset({408, 425, 429, 500, 502, 503, 504})
#: OpenSSL's names for what a network or a server in trouble does to a TLS handshake: an alert for
#: half a message (RFC 8446, section 6.2), a server that fails or leaves, bytes that were changed.
_PASSING_TLS_ERRORS: Final = frozenset(
    {
        "TLSV1_ALERT_DECODE_ERROR",
        "TLSV1_ALERT_INTERNAL_ERROR",
        "TLSV1_ALERT_USER_CANCELLED",
        "SSLV3_ALERT_BAD_RECORD_MAC",
        "DECRYPTION_FAILED_OR_BAD_RECORD_MAC",
    }
)
#: Those that fresh credentials may change.
_CREDENTIAL_STATUSES: Final = frozenset({401, 403})
#: Ends that time may change (RFC 6455, section 7.4.1, and the IANA registry).
RETRIED_CODES: Final = frozenset(
    {
        CloseCode.GOING_AWAY,
        CloseCode.NO_STATUS_RECEIVED,
        CloseCode.ABNORMAL_CLOSURE,
        CloseCode.INTERNAL_ERROR,
        CloseCode.SERVICE_RESTART,
        CloseCode.TRY_AGAIN_LATER,
        CloseCode.BAD_GATEWAY,
    }
)


class Verdict(enum.Enum):
    """What follows from a failure."""

    RETRY = "retry"
    """Try again, after the backoff's delay."""
    RETRY_AT_ONCE = "retry at once"
    """Try again without a delay, unless such a thing has just happened."""
    DONE = "done"
    """Nothing is wrong: iteration ends, without an error."""
    FATAL = "fatal"
    """Trying again cannot help: `GaveUp`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why there is no connection, or none any more.

    Attributes:
      stage: how far it had come.
      exception: whatever was raised; `ConnectionClosed` for a connection that was open. One that
        was closed here, by choice, is no failure.
      status: the HTTP status, where the server or the proxy answered with one.
      reason: the close reason, where the connection had been open.
      attempt: attempts since the last stable connection, this one included.
      elapsed: seconds that attempts and waits have taken since the last stable connection, or
        since the start.
      open_for: seconds that the last connection was open; ``None`` where there was none.
      retry_after: seconds that the server asks for.
      may_renew: whether the target is a callable, which may bring other credentials, and has
        not been refused since the last connection.
    """

    stage: Stage
    exception: Exception
    status: int | None = None
    reason: CloseReason | None = None
    attempt: int = 1
    elapsed: float = 0.0
    open_for: float | None = None
    retry_after: float | None = None
    may_renew: bool = False

    def __str__(self) -> str:
        if self.reason is not None:
            return str(self.reason)
        error = self.exception
        text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        # The text of a library's exception may quote the peer.
        return ascii(text)[1:-1] if text else type(error).__name__


ShouldRetry: TypeAlias = "Callable[[Failure], Verdict | bool]"


def default(failure: Failure) -> Verdict:
    """What RFC 6455, HTTP and TLS say of who is at fault.

    Retried: what the network did; HTTP 408, 425, 429, 500, 502, 503 and 504; 401 and 403 once
    where the target is a callable; ends with 1001, 1005, 1006, 1011 to 1014. Done: 1000.
    Fatal: everything else, among it a certificate that is not trusted, a proxy that does not take
    the credentials, and an application's own close codes, 3000 to 4999.
    """
    if failure.reason is not None:
        return _of_code(failure.reason.code)
    if failure.status is not None:
        return _of_status(failure)
    error = failure.exception
    if isinstance(error, ssl.SSLError):
        # A cut arrives as ConnectionResetError. What was not raised by OpenSSL has no reason.
        passing = getattr(error, "reason", None) in _PASSING_TLS_ERRORS
        return Verdict.RETRY if passing else Verdict.FATAL
    if isinstance(error, ProxyError):
        return Verdict.FATAL if error.permanent else Verdict.RETRY
    network = isinstance(error, OSError | HandshakeTimeout)
    return Verdict.RETRY if network else Verdict.FATAL


def endless(failure: Failure) -> Verdict:
    """`default`, but 1000 is retried: for servers that are never done."""
    verdict = default(failure)
    return Verdict.RETRY if verdict is Verdict.DONE else verdict


def centrifugo(failure: Failure) -> Verdict:
    """Centrifugo's ranges: 3000-3499 and 4000-4499 are retried, 3500-3999 and 4500-4999 fatal.

    https://centrifugal.dev/docs/transports/client_protocol
    """
    code = _code_of(failure)
    if 3000 <= code <= 4999:
        return Verdict.RETRY if code % 1000 < 500 else Verdict.FATAL
    return default(failure)


def pusher(failure: Failure) -> Verdict:
    """Pusher's ranges: 4000-4099 fatal, 4100-4199 after a delay, 4200-4299 at once.

    https://pusher.com/docs/channels/library_auth_reference/pusher-websockets-protocol/
    """
    code = _code_of(failure)
    if 4100 <= code <= 4199:
        return Verdict.RETRY
    if 4200 <= code <= 4299:
        return Verdict.RETRY_AT_ONCE
    return default(failure)


#: Of the protocol's codes in 44xx and 45xx: not allowed yet, too slow to begin, not acknowledged.
_GRAPHQL_RETRIED: Final = frozenset({4403, 4408, 4504})


def graphql_ws(failure: Failure) -> Verdict:
    """The graphql-transport-ws subprotocol: 4403, 4408 and 4504 are retried, other 4xxx fatal.

    https://github.com/enisdenjo/graphql-ws/blob/master/PROTOCOL.md
    """
    if _code_of(failure) in _GRAPHQL_RETRIED:
        return Verdict.RETRY
    return default(failure)


def _code_of(failure: Failure) -> int:
    return 0 if failure.reason is None else failure.reason.code


def _of_code(code: int) -> Verdict:
    if code == CloseCode.NORMAL_CLOSURE:
        return Verdict.DONE
    return Verdict.RETRY if code in RETRIED_CODES else Verdict.FATAL


def _of_status(failure: Failure) -> Verdict:
    if failure.status in RETRIED_STATUSES:
        return Verdict.RETRY
    if failure.status in _CREDENTIAL_STATUSES and failure.may_renew:
        return Verdict.RETRY
    return Verdict.FATAL
