"""What a person sees when something goes wrong, and what a script sees."""

from __future__ import annotations

import socket
import ssl
from typing import Any

import pytest
import trio

from trio_ws import (
    CloseReason,
    ConnectionClosedError,
    ConnectionClosedOK,
    ConnectionRejected,
    GaveUp,
    HandshakeTimeout,
    InvalidHandshake,
    InvalidURL,
    ProxyError,
    Response,
)
from trio_ws.cli.exit_codes import ExitCode
from trio_ws.cli.failures import (
    Interrupted,
    LocalFailure,
    TimedOut,
    Unmet,
    Usage,
    cleared,
    exit_code,
    hide,
    innermost,
    redacted,
    say,
    status_of,
)


def ssl_error(reason: str) -> ssl.SSLError:
    error = ssl.SSLError(1, "[SSL] something")
    error.reason = reason
    return error


def gave_up(cause: Exception | None) -> GaveUp:
    error = GaveUp("ws://x/: no use", attempts=3, elapsed=7)
    error.__cause__ = cause
    return error


def caused(error: OSError, cause: BaseException) -> OSError:
    error.__cause__ = trio.BrokenResourceError()
    error.__cause__.__cause__ = cause
    return error


REJECTED = Response.text(401, "no entry")
UNTRUSTED = ssl.SSLCertVerificationError(1, "certificate verify failed")
GONE = "error: ws://x/: no use"


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (InvalidURL("x", "no host"), 2, "error: x: no host"),
        (Usage("line 3 is not UTF-8"), 2, "error: line 3 is not UTF-8"),
        (LocalFailure("the disk is full"), 1, "error: the disk is full"),
        (ConnectionRefusedError("cannot connect"), 3, "error: cannot connect"),
        (socket.gaierror(-2, "unknown"), 3, "error: unknown"),
        (
            OSError(28, "No space left on device"),
            1,
            "error: cannot write what there is to write: No",
        ),
        (ssl_error("WRONG_VERSION_NUMBER"), 4, "error: the server does not speak TLS on this port"),
        (OSError(), 3, "error: OSError"),
        (ssl.SSLError(1, "wrong version"), 4, "error: wrong version"),
        (UNTRUSTED, 4, "verify failed (--cacert trusts another authority; --insecure checks"),
        (
            caused(ConnectionResetError("cut off"), ssl.SSLError(1, "certificate required")),
            4,
            "error: cut off: certificate required (the server may want --cert)",
        ),
        (ConnectionRejected(Response.text(403, "no")), 5, "error: the server answered HTTP 403"),
        (ConnectionRejected(REJECTED), 5, "(credentials are missing or wrong: --auth, --bearer)"),
        (ConnectionRejected(Response.text(418, "tea")), 5, "HTTP 418"),
        (InvalidHandshake("not a WebSocket"), 5, "error: not a WebSocket"),
        (ProxyError("proxy"), 5, "error: proxy"),
        (HandshakeTimeout("too slow"), 6, "error: too slow"),
        (TimedOut("not done within 5 s"), 6, "error: not done within 5 s"),
        (ConnectionClosedError(CloseReason(4000, "out")), 7, "closed: 4000 (private use) 'out'"),
        (ConnectionClosedError(CloseReason(1001)), 7, "1001 (going away)"),
        (ConnectionClosedOK(CloseReason(1001)), 0, "1001 (going away)"),
        (Unmet("2 came"), 8, "error: 2 came"),
        (gave_up(None), 1, "internal: GaveUp"),
        (gave_up(ConnectionRefusedError("cannot connect")), 3, GONE),
        (gave_up(ConnectionClosedError(CloseReason(4000, "out"))), 7, GONE),
        (gave_up(ConnectionClosedOK(CloseReason(1000))), 7, GONE),
        (gave_up(ConnectionRejected(REJECTED)), 5, GONE),
        (gave_up(UNTRUSTED), 4, GONE),
        (ValueError("x"), 1, "error: internal: ValueError: x (--debug shows where)"),
        (trio.TrioInternalError("bug"), 1, "error: internal: TrioInternalError: bug"),
    ],
)
def test_each_failure_is_one_line_and_a_code(
    error: Exception, code: int, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert exit_code(error) == code
    (printed,) = capsys.readouterr().err.splitlines()
    assert printed.startswith("trio-ws: error: ")
    assert line in printed


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (KeyboardInterrupt(), 130),
        (Interrupted(ExitCode.INTERRUPTED), 130),
        (Interrupted(ExitCode.TERMINATED), 143),
        (BrokenPipeError(), 0),
    ],
)
def test_leaving_is_not_an_error(
    error: BaseException, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert exit_code(error) == code
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (ConnectionRejected(REJECTED), 401),
        (ProxyError("x", status=407), 407),
        (ConnectionClosedError(CloseReason(4000)), 4000),
        (gave_up(ConnectionRejected(REJECTED)), 401),
        (gave_up(None), None),
        (OSError(), None),
    ],
)
def test_the_status_in_an_error(error: Exception, status: int | None) -> None:
    assert status_of(error) == status


def test_one_error_is_taken_out_of_its_groups() -> None:
    closed = ConnectionClosedError(CloseReason(4000))
    cut = ConnectionResetError("cut")
    assert innermost(BaseExceptionGroup("", [closed, BaseExceptionGroup("", [cut])])) is cut
    interrupted = Interrupted(ExitCode.TERMINATED)
    assert innermost(BaseExceptionGroup("", [closed, cut, interrupted])) is interrupted
    assert innermost(closed) is closed


def test_a_traceback_is_shown_where_it_is_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    hide("hunter2")
    with pytest.raises(Usage) as caught:
        raise Usage("hunter2 is wrong")
    assert exit_code(caught.value, debug=True) == 2
    said = capsys.readouterr().err
    assert said.startswith("Traceback (most recent call last):\n")
    assert "\ntrio_ws.cli.failures.Usage: *** is wrong\ntrio-ws: error: *** is wrong\n" in said
    assert "hunter2 is" not in said


# What is said


def test_what_is_said_is_safe_for_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    say("a\x1b[2Jb\nc\u202ed é\ud800")
    assert capsys.readouterr().err == "trio-ws: a\\x1b[2Jb\\nc\\u202ed é\\ud800\n"


def test_secrets_are_not_said() -> None:
    hide("hunter2")
    hide("hunter2-and-more")
    hide("with\x01control")
    hide("")
    assert cleared("hunter2-and-more, hunter2.") == "***, ***."
    assert redacted("b'with\\x01control' with\x01control") == "b'***' ***"
    assert redacted("a\x1bb") == "a\x1bb"


@pytest.mark.parametrize("error", [BrokenPipeError(), ValueError("I/O operation on closed file")])
def test_a_closed_stderr_is_borne(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    class Closed:
        def write(self, text: str) -> int:
            raise error

        def flush(self) -> Any:
            raise error

    monkeypatch.setattr("sys.stderr", Closed())
    say("into the void")
    assert exit_code(Usage("x"), debug=True) == 2
