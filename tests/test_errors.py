"""Exceptions: what they are, what they say, and what they carry."""

from __future__ import annotations

import datetime
import email.utils

import pytest
import trio

import trio_ws
from trio_ws import (
    CloseReason,
    ConnectionClosedError,
    ConnectionClosedOK,
    ConnectionRejected,
    Headers,
    HeartbeatTimeout,
    InvalidURL,
    RedirectRefused,
    Response,
    TooManyRedirects,
)
from trio_ws._errors import ClosedHere, another, is_end_of

HTML = Response(502, Headers({"Content-Type": "text/html"}), b"<html>...")
MOVED = Response(302, Headers({"Location": "/\x1b[2J"}))


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (InvalidURL("ws:", "the host is missing"), "ws:: the host is missing"),
        (
            ConnectionRejected(Response.text(403, "not\x07 you\nreally")),
            "the server answered HTTP 403: not\\x07 you",
        ),
        (
            ConnectionRejected(Response(503, reason="Full")),
            "the server answered HTTP 503 Full",
        ),
        (ConnectionRejected(HTML), "the server answered HTTP 502"),
        (
            TooManyRedirects(MOVED),
            "too many redirects; the last one, HTTP 302, leads to '/\\x1b[2J'",
        ),
        (
            RedirectRefused(MOVED, "it leads from wss to ws"),
            "the redirect (HTTP 302) to '/\\x1b[2J' was not followed: it leads from wss to ws",
        ),
        (
            ConnectionClosedError(CloseReason(4000, "out")),
            "4000 (private use) 'out', closed by the peer",
        ),
    ],
)
def test_what_they_say(error: Exception, text: str) -> None:
    assert str(error) == text
    assert isinstance(error, trio_ws.TrioWSError)


def test_whose_fault_it_is_stands_in_the_type() -> None:
    assert issubclass(ConnectionClosedOK, trio.EndOfChannel)
    assert issubclass(ConnectionClosedError, trio.BrokenResourceError)
    assert issubclass(trio_ws.ProtocolViolation, ConnectionClosedError)
    assert issubclass(trio_ws.MessageTooBig, ConnectionClosedError)
    assert issubclass(InvalidURL, ValueError)
    assert issubclass(trio_ws.HandshakeTimeout, trio_ws.HandshakeError)


def test_a_rejection_carries_the_answer() -> None:
    error = ConnectionRejected(Response(429, Headers({"Retry-After": "7"}), b"slow down"))
    assert (error.status, error.headers["retry-after"], error.body) == (429, "7", b"slow down")
    assert error.retry_after == 7.0


def retry_after(value: str) -> float | None:
    return ConnectionRejected(Response(503, Headers({"Retry-After": value}))).retry_after


def test_retry_after_may_be_a_date() -> None:
    now = datetime.datetime.now(datetime.UTC)
    later = retry_after(email.utils.format_datetime(now + datetime.timedelta(hours=1), usegmt=True))
    assert later is not None
    assert 3500 < later <= 3600
    assert retry_after("Wed, 21 Oct 2015 07:28:00 GMT") == 0.0
    assert retry_after("Wed, 21 Oct 2015 07:28:00 -0000") == 0.0


@pytest.mark.parametrize(
    "value", ["Mon, 01 Jan 0001 00:00:00 +2359", "Fri, 31 Dec 9999 23:59:59 -2359"]
)
def test_dates_at_the_edges_of_time_do_no_harm(value: str) -> None:
    seconds = retry_after(value)
    assert seconds is None or 0 <= seconds < 1e12


@pytest.mark.parametrize(
    "value",
    [
        "",
        "soon",
        "-1",
        "1.5",
        "٣",
        "9" * 400,
        "Mon, 99 Jan 2030 99:99:99 GMT",
        "Mon, 01 Jan 99999999999999 00:00:00 GMT",
        "Mon, 01 Jan 2030 00:00:00 +9999999999",
        "Mon, 01 Jan 2030 00:00:00 +99999999999999999",
    ],
)
def test_retry_after_that_says_nothing(value: str) -> None:
    assert retry_after(value) is None
    assert ConnectionRejected(Response(503)).retry_after is None


def test_a_reason_is_a_close_reason() -> None:
    with pytest.raises(TypeError, match="HeartbeatTimeout takes a CloseReason, not 'dead'"):
        HeartbeatTimeout("dead")  # type: ignore[arg-type]


def test_another_of_the_same() -> None:
    class Custom(HeartbeatTimeout):
        def __init__(self, topic: str, code: int) -> None:
            super().__init__(CloseReason(code, topic))
            self.topic = topic

    error = Custom("news", 4000)
    error.add_note("seen by the test")
    later = CloseReason(4000, "news", clean=False)
    copy = another(error, later)
    assert copy is not error
    assert type(copy) is Custom
    assert (copy.reason, copy.topic, copy.__notes__) == (later, "news", ["seen by the test"])
    assert str(copy) == str(later)
    assert error.reason == CloseReason(4000, "news")


def test_the_end_of_one_connection_is_told_from_all_others() -> None:
    ours = ConnectionClosedOK(CloseReason(1000))
    ours.connection_id = "c1"
    closed = ClosedHere(CloseReason(1000), "c1")
    assert isinstance(closed, trio.ClosedResourceError)
    assert is_end_of("c1", ours)
    assert is_end_of("c1", ExceptionGroup("", [ours, ExceptionGroup("", [closed])]))
    for other in (
        ConnectionClosedOK(CloseReason(1000)),
        trio.ClosedResourceError(),
        KeyError(),
        ClosedHere(CloseReason(1000), "c2"),
    ):
        assert not is_end_of("c1", other)
        assert not is_end_of("c1", ExceptionGroup("", [ours, other]))
