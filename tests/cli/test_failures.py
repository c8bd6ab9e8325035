"""What a person sees when something goes wrong, and what a script sees."""

from __future__ import annotations

import socket
import ssl

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
from trio_ws.cli.failures import ExitCode, Usage, exit_code, say


def gave_up(cause: Exception | None) -> GaveUp:
    error = GaveUp("ws://x/: no use", attempts=3, elapsed=7)
    error.__cause__ = cause
    return error


REJECTED = Response.text(401, "no entry")


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (InvalidURL("x", "no host"), 2, "error: x: no host"),
        (Usage("line 3 is not UTF-8"), 2, "error: line 3 is not UTF-8"),
        (ConnectionRefusedError("cannot connect"), 3, "error: cannot connect"),
        (socket.gaierror(-2, "unknown"), 3, "error: unknown"),
        (ssl.SSLError(1, "certificate"), 4, "error: certificate"),
        (ConnectionRejected(Response.text(403, "no")), 5, "error: the server answered HTTP 403"),
        (ConnectionRejected(REJECTED), 5, "(are credentials missing?)"),
        (InvalidHandshake("not a WebSocket"), 5, "error: not a WebSocket"),
        (ProxyError("proxy"), 5, "error: proxy"),
        (HandshakeTimeout("too slow"), 6, "error: too slow"),
        (ConnectionClosedError(CloseReason(4000, "out")), 7, "4000 (private use) 'out'"),
        (ConnectionClosedOK(CloseReason(1001)), 0, "1001 (going away)"),
        (OSError(), 3, "error: OSError"),
        (gave_up(ConnectionRefusedError("cannot connect")), 3, "error: ws://x/: no use"),
        (gave_up(ConnectionClosedError(CloseReason(4000, "out"))), 7, "error: ws://x/: no use"),
        (gave_up(ConnectionRejected(REJECTED)), 5, "error: ws://x/: no use"),
    ],
)
def test_each_failure_is_one_line_and_a_code(
    error: Exception, code: int, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert exit_code(error) == code
    (printed,) = capsys.readouterr().err.splitlines()
    assert printed.startswith("trio-ws: error: ")
    assert line in printed


@pytest.mark.parametrize(("error", "code"), [(KeyboardInterrupt(), 130), (BrokenPipeError(), 0)])
def test_leaving_is_not_an_error(
    error: BaseException, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert exit_code(error) == code
    assert capsys.readouterr().err == ""


def test_one_error_is_taken_out_of_its_groups(capsys: pytest.CaptureFixture[str]) -> None:
    closed = ConnectionClosedError(CloseReason(4000))
    group = BaseExceptionGroup("", [closed, BaseExceptionGroup("", [ConnectionResetError("cut")])])
    assert exit_code(group) == ExitCode.CONNECT
    assert "cut" in capsys.readouterr().err
    assert exit_code(BaseExceptionGroup("", [closed, KeyboardInterrupt()])) == 130


def test_what_nobody_expected_comes_with_its_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code(trio.TrioInternalError("bug")) == ExitCode.INTERNAL
    assert "TrioInternalError: bug" in capsys.readouterr().err


def test_what_is_said_is_safe_for_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    say("a\x1b[2Jb\nc\u202ed é")
    assert capsys.readouterr().err == "trio-ws: a\\x1b[2Jb\\nc\\u202ed é\n"


def test_a_closed_stderr_is_borne(monkeypatch: pytest.MonkeyPatch) -> None:
    class Closed:
        def write(self, text: str) -> int:
            raise BrokenPipeError

        def flush(self) -> None:
            raise BrokenPipeError

    monkeypatch.setattr("sys.stderr", Closed())
    say("into the void")
