"""The one place where an exception becomes a line on stderr and an exit code."""

from __future__ import annotations

import enum
import ssl
import sys
import traceback
from contextlib import suppress

from .._close import CLEAN_CODES
from .._errors import (
    ConnectionClosed,
    ConnectionRejected,
    GaveUp,
    HandshakeError,
    HandshakeTimeout,
    InvalidURL,
)


class ExitCode(enum.IntEnum):
    """The same for every command."""

    OK = 0
    INTERNAL = 1
    USAGE = 2
    CONNECT = 3
    TLS = 4
    REJECTED = 5
    TIMEOUT = 6
    CLOSED = 7
    INTERRUPTED = 130
    TERMINATED = 143


class Usage(Exception):
    """The input or the options make no sense; the message says which and why."""


def exit_code(error: BaseException) -> int:
    """Say on stderr what went wrong, in one line, and return the code to exit with."""
    error = _innermost(error)
    if isinstance(error, KeyboardInterrupt):
        return ExitCode.INTERRUPTED
    if isinstance(error, BrokenPipeError):
        # Nobody reads our output any more, as in ``| head -1``: not an error.
        return ExitCode.OK
    code = _classify(error)
    if code is ExitCode.INTERNAL:
        traceback.print_exception(error)
    else:
        say(f"error: {_describe(error)}")
    return code


def say(text: str) -> None:
    """Tell the user something: on stderr, in one line, safe for a terminal."""
    printable = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
    # Nobody may be reading stderr either.
    with suppress(OSError):
        print(f"trio-ws: {printable}", file=sys.stderr, flush=True)


def _innermost(error: BaseException) -> BaseException:
    """One connection's one error, out of the groups that nurseries wrap it in."""
    while isinstance(error, BaseExceptionGroup):
        error = min(error.exceptions, key=_rank)
    return error


def _rank(error: BaseException) -> int:
    """What matters most comes first: an interruption, then the unexpected."""
    if isinstance(error, KeyboardInterrupt):
        return 0
    return 1 if not isinstance(error, ConnectionClosed) else 2


def _classify(error: BaseException) -> ExitCode:
    match error:
        case GaveUp() if error.__cause__ is not None:
            return _classify(error.__cause__)
        case InvalidURL() | Usage():
            return ExitCode.USAGE
        case HandshakeTimeout():
            return ExitCode.TIMEOUT
        case HandshakeError():
            return ExitCode.REJECTED
        case ssl.SSLError():
            return ExitCode.TLS
        case OSError():
            return ExitCode.CONNECT
        case ConnectionClosed():
            return ExitCode.OK if error.reason.code in CLEAN_CODES else ExitCode.CLOSED
        case _:
            return ExitCode.INTERNAL


def _describe(error: BaseException) -> str:
    if isinstance(error, ConnectionClosed):
        return f"connection closed: {error}"
    if isinstance(error, ConnectionRejected) and error.status == 401:
        return f"{error} (are credentials missing?)"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__
