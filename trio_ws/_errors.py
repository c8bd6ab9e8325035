"""The exception hierarchy.

::

    TrioWSError(Exception)
      InvalidURL                      also ValueError
      NotSupportedByEngine            also ValueError; .option .engine
      HandshakeError                  the opening handshake failed
        ConnectionRejected              .status .headers .body .retry_after
          TooManyRedirects                the answer was one redirect too many
          RedirectRefused                 the answer was a redirect that must not be followed
        InvalidHandshake                the answer was not a valid WebSocket handshake
        HandshakeTimeout                the opening took longer than open_timeout
        ProxyError                      the proxy refused, or spoke nonsense
      ConnectionClosed                .reason
        ConnectionClosedOK              also trio.EndOfChannel
        ConnectionClosedError           also trio.BrokenResourceError
          HeartbeatTimeout                the peer showed no sign of life
          ProtocolViolation               the peer broke RFC 6455 or RFC 7692
          MessageTooBig                   the peer sent more than Limits allow
      GaveUp                          .attempts .elapsed; reconnecting stopped

Whose fault it is stands in the type, as in Trio: ``trio.ClosedResourceError`` is this side,
``trio.BrokenResourceError`` the peer or the network, ``trio.EndOfChannel`` nobody.
Failures to reach the other host at all stay what Trio raises: `OSError`.
"""

from __future__ import annotations

import datetime
import email.utils
import math
from typing import TYPE_CHECKING, TypeVar

import trio

from ._close import CloseReason

if TYPE_CHECKING:
    from .protocol.http import Headers, Response


class TrioWSError(Exception):
    """Base of every exception that trio-ws itself defines."""


class InvalidURL(TrioWSError, ValueError):
    """The URL cannot be connected to: the message says which part is wrong.

    Attributes:
      url: the URL as given, with a password in it replaced by ``***``.
    """

    def __init__(self, url: str, problem: str) -> None:
        super().__init__(f"{url}: {problem}")
        self.url = url
        self.problem = problem


class NotSupportedByEngine(TrioWSError, ValueError):
    """What was asked for is more than the chosen engine can do.

    Attributes:
      option: what was asked for, as it is written: ``compression=``, ``receive_stream()``.
      engine: the engine's name, as ``engine=`` takes it.
    """

    def __init__(self, option: str, engine: str, advice: str = "") -> None:
        advice = advice or "leave it out, or use the built-in engine"
        super().__init__(f"{option} is not supported by the engine {engine!r}: {advice}")
        self.option = option
        self.engine = engine


class HandshakeError(TrioWSError):
    """The opening handshake failed, so there was never a connection."""


class InvalidHandshake(HandshakeError):
    """The server's answer is not a valid opening handshake (RFC 6455, section 4.1)."""


class HandshakeTimeout(HandshakeError):
    """The connection was not open within ``Timeouts.open_timeout`` seconds."""


class ProxyError(HandshakeError):
    """The proxy refused to connect, or did not answer as a proxy does.

    Attributes:
      status: the HTTP status of its refusal; ``None`` where there was none.
      permanent: whether asking it again cannot help: it does not take the credentials, or has a
        rule against the target; or a package is missing here. Of a refusal in HTTP, *status* says.
    """

    def __init__(self, problem: str, *, status: int | None = None, permanent: bool = False) -> None:
        super().__init__(problem)
        self.status = status
        self.permanent = permanent


class ConnectionRejected(HandshakeError):
    """The server answered with an HTTP status other than 101.

    Attributes:
      response: the whole answer; its body is cut at ``Limits.max_body_size`` bytes.
    """

    def __init__(self, response: Response) -> None:
        super().__init__(response)
        self.response = response

    def __str__(self) -> str:
        text = (
            f"the server answered HTTP {self.status} {ascii(self.response.reason)[1:-1]}".rstrip()
        )
        body = self.body.decode("utf-8", "replace").strip()
        first_line = body.splitlines()[0] if body else ""
        if first_line and "html" not in self.headers.get("content-type", ""):
            # ascii(): the body comes from the peer and may hold terminal escapes.
            text += f": {ascii(first_line[:200])[1:-1]}"
        return text

    @property
    def status(self) -> int:
        """The HTTP status code."""
        return self.response.status

    @property
    def headers(self) -> Headers:
        """The answer's headers."""
        return self.response.headers

    @property
    def body(self) -> bytes:
        """The answer's body: it often says exactly what is wrong."""
        return self.response.body

    @property
    def retry_after(self) -> float | None:
        """Seconds to wait, from ``Retry-After`` (RFC 9110, section 10.2.3), or ``None``.

        A date in the past gives 0.0; a value that is neither a date nor a number, or a larger one
        than can be told, ``None``. It is the server's word: bound it before it is waited for.
        """
        value = self.headers.get("retry-after", "").strip()
        if value.isascii() and value.isdigit():
            seconds = float(value)
            return seconds if math.isfinite(seconds) else None
        try:
            when = email.utils.parsedate_to_datetime(value)
            if when.tzinfo is None:
                when = when.replace(tzinfo=datetime.UTC)
            return max(0.0, (when - datetime.datetime.now(datetime.UTC)).total_seconds())
        except (ValueError, OverflowError):
            return None


class TooManyRedirects(ConnectionRejected):
    """The last allowed answer was one more redirect."""

    def __str__(self) -> str:
        location = ascii(self.headers.get("location", ""))
        return f"too many redirects; the last one, HTTP {self.status}, leads to {location}"


class RedirectRefused(ConnectionRejected):
    """The answer was a redirect that must not be followed.

    Attributes:
      problem: why not.
    """

    def __init__(self, response: Response, problem: str) -> None:
        super().__init__(response)
        self.problem = problem

    def __str__(self) -> str:
        location = ascii(self.headers.get("location", ""))
        return f"the redirect (HTTP {self.status}) to {location} was not followed: {self.problem}"


class ConnectionClosed(TrioWSError):
    """The connection has ended.

    Attributes:
      reason: code, text, who closed, and whether it was clean.
      connection_id: `WebSocket.id` of the connection, where one of its calls raised this.
    """

    connection_id: str | None = None

    def __init__(self, reason: CloseReason) -> None:
        if not isinstance(reason, CloseReason):
            raise TypeError(f"{type(self).__name__} takes a CloseReason, not {reason!r}")
        super().__init__(reason)
        self.reason = reason

    def __str__(self) -> str:
        return str(self.reason)


class ConnectionClosedOK(ConnectionClosed, trio.EndOfChannel):
    """The peer closed in good order: 1000, 1001, or without a code."""


class ConnectionClosedError(ConnectionClosed, trio.BrokenResourceError):
    """The connection ended in any other way that the peer or the network brought about."""


class HeartbeatTimeout(ConnectionClosedError):
    """The peer showed no sign of life for as long as the heartbeat allows."""


class ProtocolViolation(ConnectionClosedError):
    """The peer broke RFC 6455 or RFC 7692, so the connection was failed."""


class MessageTooBig(ConnectionClosedError):
    """The peer sent more than `Limits` allow, so the connection was failed with 1009."""


class ClosedHere(trio.ClosedResourceError):
    """What calls raise after `WebSocket.aclose` or `WebSocket.abort`.

    Users catch `trio.ClosedResourceError`. This tells one connection's from everything else's.
    """

    def __init__(self, reason: CloseReason, connection_id: str) -> None:
        super().__init__(f"the connection is closed: {reason}")
        self.connection_id = connection_id


def is_end_of(connection_id: str, error: BaseException) -> bool:
    """Whether *error* only says that this very connection has ended.

    Whoever runs a user's code beside a connection need not hear of that from it.
    """
    if isinstance(error, BaseExceptionGroup):
        return all(is_end_of(connection_id, one) for one in error.exceptions)
    if not isinstance(error, ConnectionClosed | ClosedHere):
        return False
    return error.connection_id == connection_id


_Closed = TypeVar("_Closed", bound=ConnectionClosed)


def another(error: _Closed, reason: CloseReason) -> _Closed:
    """Another exception like *error*, for *reason*.

    One instance raised in several tasks would mix up their tracebacks. A subclass may have a
    constructor that nobody here knows, so it is not called.
    """
    copy = type(error).__new__(type(error), reason)
    copy.__dict__.update(error.__dict__)
    copy.reason = reason
    return copy


class GaveUp(TrioWSError):
    """Reconnecting has stopped; ``__cause__`` is the last failure.

    Attributes:
      attempts: attempts since the last stable connection.
      elapsed: seconds that they and the waits between them took.
    """

    def __init__(self, problem: str, *, attempts: int, elapsed: float) -> None:
        super().__init__(problem)
        self.attempts = attempts
        self.elapsed = elapsed
