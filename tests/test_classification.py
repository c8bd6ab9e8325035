"""Which failures are worth another attempt."""

from __future__ import annotations

import errno
import socket
import ssl

import pytest

from trio_ws import CloseReason, ConnectionClosedError, InvalidURL, Response
from trio_ws._errors import (
    ConnectionRejected,
    HandshakeTimeout,
    HeartbeatTimeout,
    InvalidHandshake,
    ProxyError,
    TooManyRedirects,
)
from trio_ws._reconnect import retry_after_of, stage_of, status_of
from trio_ws.classification import (
    Failure,
    Stage,
    Verdict,
    centrifugo,
    default,
    endless,
    graphql_ws,
    pusher,
)

RETRY, FATAL, DONE, AT_ONCE = Verdict.RETRY, Verdict.FATAL, Verdict.DONE, Verdict.RETRY_AT_ONCE


def closed(code: int) -> Failure:
    reason = CloseReason(code)
    return Failure(stage=Stage.OPEN, exception=ConnectionClosedError(reason), reason=reason)


def failed(error: Exception, *, may_renew: bool = False) -> Failure:
    return Failure(
        stage=Stage.HANDSHAKE, exception=error, status=status_of(error), may_renew=may_renew
    )


def without_cause() -> ProxyError:
    return ProxyError("cut off")


def alert(name: str) -> ssl.SSLError:
    error = ssl.SSLError(1, name)
    error.reason = name
    return error


def for_good() -> ProxyError:
    return ProxyError("user and password refused", permanent=True)


@pytest.mark.parametrize(
    ("error", "verdict"),
    [
        (ConnectionRefusedError(errno.ECONNREFUSED, "refused"), RETRY),
        (ConnectionResetError("cut off in the TLS handshake"), RETRY),
        (OSError(errno.ENETUNREACH, "unreachable"), RETRY),
        (socket.gaierror(socket.EAI_NONAME, "unknown"), RETRY),
        (TimeoutError(), RETRY),
        (HandshakeTimeout("late"), RETRY),
        (ssl.SSLCertVerificationError("not trusted"), FATAL),
        (ssl.SSLError("wrong version number"), FATAL),
        (alert("TLSV1_ALERT_PROTOCOL_VERSION"), FATAL),
        (alert("SSLV3_ALERT_HANDSHAKE_FAILURE"), FATAL),
        (alert("TLSV1_ALERT_DECODE_ERROR"), RETRY),
        (alert("TLSV1_ALERT_INTERNAL_ERROR"), RETRY),
        (alert("SSLV3_ALERT_BAD_RECORD_MAC"), RETRY),
        (InvalidURL("x", "no scheme"), FATAL),
        (InvalidHandshake("nonsense"), FATAL),
        (TooManyRedirects(Response(302)), FATAL),
        (without_cause(), RETRY),
        (ProxyError("refused", status=407), FATAL),
        (ProxyError("refused", status=502), RETRY),
        (for_good(), FATAL),
        (RuntimeError("a bug"), FATAL),
    ],
    ids=repr,
)
def test_what_ends_an_attempt(error: Exception, verdict: Verdict) -> None:
    assert default(failed(error)) is verdict


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
def test_statuses_that_time_may_change(status: int) -> None:
    assert default(failed(ConnectionRejected(Response(status)))) is RETRY


@pytest.mark.parametrize("status", [200, 400, 401, 403, 404, 410, 426, 501, 505])
def test_statuses_that_stay(status: int) -> None:
    assert default(failed(ConnectionRejected(Response(status)))) is FATAL


@pytest.mark.parametrize("status", [401, 403])
def test_credentials_may_be_renewed(status: int) -> None:
    assert default(failed(ConnectionRejected(Response(status)), may_renew=True)) is RETRY


@pytest.mark.parametrize(
    ("classify", "codes", "verdict"),
    [
        (default, [1001, 1005, 1006, 1011, 1012, 1013, 1014], RETRY),
        (default, [1002, 1003, 1007, 1008, 1009, 1010, 3000, 4000, 4999], FATAL),
        (default, [1000], DONE),
        (endless, [1000, 1006], RETRY),
        (endless, [1008, 4000], FATAL),
        (centrifugo, [3000, 3499, 4000, 4499, 1006], RETRY),
        (centrifugo, [3500, 3999, 4500, 4999, 1009], FATAL),
        (pusher, [4100, 4199, 1006], RETRY),
        (pusher, [4200, 4299], AT_ONCE),
        (pusher, [4000, 4099, 4300], FATAL),
        (graphql_ws, [4403, 4408, 4504, 1006], RETRY),
        (graphql_ws, [4400, 4401, 4406, 4409, 4429, 4500], FATAL),
    ],
)
def test_close_codes(classify: object, codes: list[int], verdict: Verdict) -> None:
    assert callable(classify)
    assert {classify(closed(code)) for code in codes} == {verdict}


def test_presets_leave_the_rest_to_the_default() -> None:
    for classify in (centrifugo, pusher, graphql_ws, endless):
        assert classify(failed(InvalidURL("x", "y"))) is FATAL
        assert classify(failed(TimeoutError())) is RETRY


def test_a_lost_heartbeat_is_retried() -> None:
    reason = CloseReason(1011, "no sign of life")
    failure = Failure(stage=Stage.OPEN, exception=HeartbeatTimeout(reason), reason=reason)
    assert default(failure) is RETRY


@pytest.mark.parametrize(
    ("failure", "text"),
    [
        (closed(1001), "1001 (going away), closed by the peer"),
        (failed(ConnectionRefusedError(errno.ECONNREFUSED, "refused: x")), "refused: x"),
        (failed(RuntimeError("esc \x1b[31m")), r"esc \x1b[31m"),
        (failed(TimeoutError()), "TimeoutError"),
    ],
)
def test_a_failure_reads_well(failure: Failure, text: str) -> None:
    assert str(failure) == text


def test_the_stage_is_where_it_failed() -> None:
    assert stage_of(socket.gaierror(socket.EAI_NONAME, "x"), Stage.CONNECT) is Stage.RESOLVE
    assert stage_of(ConnectionRefusedError(), Stage.CONNECT) is Stage.CONNECT


@pytest.mark.parametrize("reached", [Stage.RESOLVE, Stage.PROXY, Stage.ON_CONNECT])
def test_an_unknown_host_is_not_always_the_target_s(reached: Stage) -> None:
    assert stage_of(socket.gaierror(socket.EAI_NONAME, "x"), reached) is reached


@pytest.mark.parametrize(("status", "expected"), [(429, 7.0), (503, 7.0), (500, None)])
def test_retry_after(status: int, expected: float | None) -> None:
    response = Response.text(status, "", [("Retry-After", "7")])
    assert retry_after_of(ConnectionRejected(response)) == expected
    assert retry_after_of(OSError()) is None
