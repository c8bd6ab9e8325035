"""The one place where an exception becomes a line on stderr and an exit code."""

from __future__ import annotations

import errno
import ssl
import sys
import traceback
from contextlib import suppress
from typing import Final

from .._errors import (
    ConnectionClosed,
    ConnectionClosedOK,
    ConnectionRejected,
    GaveUp,
    HandshakeError,
    HandshakeTimeout,
    InvalidURL,
    ProxyError,
)
from .exit_codes import ExitCode

#: What stands in the way of writing, and never of connecting.
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS})
_HINTS: Final = {
    301: "--location follows it",
    302: "--location follows it",
    303: "--location follows it",
    307: "--location follows it",
    308: "--location follows it",
    401: "credentials are missing or wrong: --auth, --bearer",
    403: "not allowed: the server may want --origin, or other credentials",
    404: "is the path right?",
    426: "the server speaks another version of the protocol",
}


class Usage(Exception):
    """The input or the options make no sense; the message says which and why."""


class LocalFailure(Exception):
    """This machine does not do its part, as when a disk is full; the message says what."""


class TimedOut(Exception):
    """The time that the user gave is over; the message says for what."""


class Unmet(Exception):
    """What the user expected did not happen; the message says what, and what did."""


class Interrupted(BaseException):
    """A signal asked this program to end.

    Attributes:
      code: the exit code that says so.
    """

    def __init__(self, code: ExitCode) -> None:
        super().__init__()
        self.code = code


def exit_code(error: BaseException, *, debug: bool = False) -> int:
    """Say on stderr what went wrong, in one line, and return the code to exit with.

    Args:
      error: what went wrong, perhaps within groups.
      debug: show its traceback as well.
    """
    if debug:
        _show_traceback(error)
    error = innermost(error)
    if isinstance(error, KeyboardInterrupt):
        return ExitCode.INTERRUPTED
    if isinstance(error, BrokenPipeError):
        # Nobody reads our output any more, as in ``| head -1``: not an error.
        return ExitCode.OK
    if isinstance(error, Interrupted):
        return error.code
    say(f"error: {describe(error)}")
    return _classify(error)


_secrets: Final[set[str]] = set()


def hide(secret: str) -> None:
    """Replace *secret* by ``***`` in everything that is said from now on."""
    if secret:
        # What quotes it may have escaped it.
        _secrets.update({secret, repr(secret)[1:-1], ascii(secret)[1:-1]})


def redacted(text: str) -> str:
    """*text* without the secrets."""
    # Longest first: one may be part of another.
    for secret in sorted(_secrets, key=len, reverse=True):
        text = text.replace(secret, "***")
    return text


def cleared(text: str) -> str:
    """*text* without the secrets, and without anything that a terminal would act upon."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in redacted(text))


def say(text: str) -> None:
    """Tell the user something: on stderr, in one line, safe for a terminal."""
    _print_error(f"trio-ws: {cleared(text)}")


def _show_traceback(error: BaseException) -> None:
    for line in "".join(traceback.format_exception(error)).splitlines():
        _print_error(cleared(line))


def _print_error(line: str) -> None:
    # Nobody may be reading stderr either, or it may be closed.
    with suppress(OSError, ValueError):
        print(line, file=sys.stderr, flush=True)


def innermost(error: BaseException) -> BaseException:
    """One connection's one error, out of the groups that nurseries wrap it in."""
    while isinstance(error, BaseExceptionGroup):
        error = min(error.exceptions, key=_rank)
    return error


def _rank(error: BaseException) -> int:
    """What matters most comes first: an interruption, then the unexpected."""
    if isinstance(error, KeyboardInterrupt | Interrupted):
        return 0
    return 1 if not isinstance(error, ConnectionClosed) else 2


def _classify(error: BaseException) -> ExitCode:
    match error:
        case GaveUp() if error.__cause__ is not None:
            # Even where the server closed in good order, what was asked for did not happen.
            return _classify(error.__cause__) or ExitCode.CLOSED
        case InvalidURL() | Usage():
            return ExitCode.USAGE
        case Unmet():
            return ExitCode.EXPECTATION
        case HandshakeTimeout() | TimedOut():
            return ExitCode.TIMEOUT
        case HandshakeError():
            return ExitCode.REJECTED
        case ssl.SSLError():
            return ExitCode.TLS
        case OSError(errno=number) if number in _FULL:
            return ExitCode.INTERNAL
        case OSError():
            return ExitCode.CONNECT if _alert_behind(error) is None else ExitCode.TLS
        case ConnectionClosedOK():
            return ExitCode.OK
        case ConnectionClosed():
            # Even one that was closed in good order, where something was still to be sent.
            return ExitCode.CLOSED
        case _:
            return ExitCode.INTERNAL


def _alert_behind(error: BaseException) -> ssl.SSLError | None:
    """What TLS has to say of a connection that was cut off: the server may not like this side."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, ssl.SSLError):
        cause = cause.__cause__
    return cause


def status_of(error: BaseException) -> int | None:
    """The HTTP status, or the close code, in *error*, if there is one."""
    if isinstance(error, GaveUp) and error.__cause__ is not None:
        return status_of(error.__cause__)
    if isinstance(error, ConnectionRejected | ProxyError):
        return error.status
    return error.reason.code if isinstance(error, ConnectionClosed) else None


def describe(error: BaseException) -> str:
    """What went wrong, in one line, with a hint where there is one."""
    match error:
        case ConnectionClosed():
            return f"connection closed: {error}"
        case ConnectionRejected(status=status) if status in _HINTS:
            return f"{error} ({_HINTS[status]})"
        case ssl.SSLCertVerificationError():
            return (
                f"{error.strerror} (--cacert trusts another authority; --insecure checks nothing)"
            )
        case ssl.SSLError(reason="WRONG_VERSION_NUMBER"):
            return "the server does not speak TLS on this port (is it ws:// or http://?)"
        case OSError(errno=number, strerror=text) if number in _FULL:
            return f"cannot write what there is to write: {text}"
        case OSError(strerror=str(text)) if text:
            return text
        case OSError() if (alert := _alert_behind(error)) is not None:
            return f"{error}: {alert.strerror} (the server may want --cert)"
    if _classify(error) is ExitCode.INTERNAL and not isinstance(error, LocalFailure):
        return f"internal: {type(error).__name__}: {error} (--debug shows where)"
    return str(error) or type(error).__name__


def told(error: BaseException) -> tuple[ExitCode, str]:
    """The exit code that *error* leads to, and its line, where the command goes on for now."""
    error = innermost(error)
    return _classify(error), describe(error)
