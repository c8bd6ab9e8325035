"""What the options of reconnecting mean."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_ws import CloseReason, ConnectionClosedError, OfflineQueue
from trio_ws.classification import Failure, Stage, Verdict
from trio_ws.cli.failures import Usage
from trio_ws.cli.options.client import ListenOptions, Offline
from trio_ws.cli.reconnecting import (
    Classification,
    backoff_of,
    check_reconnect,
    offline_of,
    parse_codes,
)

from .helpers import client_options


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"retry_initial": 1.0}, "retry-initial"),
        ({"retry_max": 1.0}, "retry-max"),
        ({"retry_factor": 1.0}, "retry-factor"),
        ({"max_retries": 0}, "max-retries"),
        ({"max_elapsed": 1.0}, "max-elapsed"),
        ({"retry_on": "1008"}, "retry-on"),
        ({"fatal_on": "1008"}, "fatal-on"),
        ({"offline": Offline.QUEUE}, "offline"),
    ],
)
def test_options_of_reconnecting_need_it(changes: dict[str, Any], name: str) -> None:
    with pytest.raises(Usage, match=f"--{name} is about reconnecting: give --reconnect as well"):
        check_reconnect(client_options(**changes))
    check_reconnect(client_options(reconnect=True, **changes))


def test_without_them_nothing_is_needed() -> None:
    check_reconnect(client_options())
    check_reconnect(ListenOptions(url="x"))


def test_codes_are_looked_at_before_anybody_connects() -> None:
    with pytest.raises(Usage, match="--fatal-on: 'x' is no code"):
        check_reconnect(client_options(reconnect=True, fatal_on="x"))


def test_the_backoff() -> None:
    backoff = backoff_of(
        client_options(
            retry_initial=1.0, retry_max=9.0, retry_factor=3.0, max_retries=4, max_elapsed=99.0
        )
    )
    assert [backoff.bound(failures) for failures in (1, 2, 3, 4)] == [1, 3, 9, 9]
    # The first attempt is no retry.
    assert (backoff.max_attempts, backoff.max_elapsed) == (5, 99)
    assert backoff.intensity is None
    assert backoff_of(client_options()).max_attempts is None
    assert backoff_of(client_options(max_retries=0)).max_attempts == 1


def test_the_bound_of_every_wait_bounds_the_first() -> None:
    assert backoff_of(client_options(retry_max=0.2)).bound(1) == 0.2


def test_what_becomes_of_input() -> None:
    assert offline_of(client_options()) == "wait"
    assert offline_of(client_options(offline=Offline.RAISE)) == "raise"
    assert offline_of(client_options(offline=Offline.QUEUE)) == OfflineQueue()
    assert offline_of(ListenOptions(url="x")) == "wait"


# Codes


@pytest.mark.parametrize(
    ("text", "codes"),
    [
        ("", ()),
        ("1008", (range(1008, 1009),)),
        ("4000-4099,1008, 403", (range(4000, 4100), range(1008, 1009), range(403, 404))),
        (",,503 ,", (range(503, 504),)),
    ],
)
def test_codes(text: str, codes: tuple[range, ...]) -> None:
    assert parse_codes(text, "--x") == codes


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("x", "'x' is no code; write 1008, 403 or 4000-4099, with commas"),
        ("12", "'12' is no code"),
        ("10000", "'10000' is no code"),
        ("4000-", "'4000-' is no code"),
        ("4000 - 4001", "'-' is no code"),
        ("-1008", "'-1008' is no code"),
        ("١٠٠٨", "is no code"),
        ("4099-4000", "'4099-4000' ends before it begins"),
    ],
)
def test_what_is_no_code_is_named(text: str, complaint: str) -> None:
    with pytest.raises(Usage, match=f"--x: {complaint}|{complaint}"):
        parse_codes(text, "--x")


CODE = st.integers(100, 4999)
SPAN = st.tuples(CODE, CODE).map(sorted)


@given(st.lists(CODE | SPAN), st.sampled_from([",", ", ", " "]))
def test_codes_mean_what_is_written(parts: list[Any], comma: str) -> None:
    written = [str(part) if isinstance(part, int) else f"{part[0]}-{part[1]}" for part in parts]
    expected = {
        code
        for part in parts
        for code in ([part] if isinstance(part, int) else range(part[0], part[1] + 1))
    }
    parsed = parse_codes(comma.join(written), "--x")
    assert {code for codes in parsed for code in codes} == expected


@given(st.text(alphabet="0123456789-, x"))
def test_anything_else_is_a_usage_error(text: str) -> None:
    try:
        codes = parse_codes(text, "--x")
    except Usage:
        return
    assert all(codes)


# Verdicts


def closed(code: int) -> Failure:
    reason = CloseReason(code)
    return Failure(stage=Stage.OPEN, exception=ConnectionClosedError(reason), reason=reason)


def answered(status: int) -> Failure:
    return Failure(stage=Stage.HANDSHAKE, exception=ValueError(), status=status)


@pytest.mark.parametrize(
    ("failure", "verdict"),
    [
        (closed(1000), Verdict.DONE),
        (closed(1001), Verdict.RETRY),
        (closed(4000), Verdict.RETRY),
        (closed(4050), Verdict.FATAL),
        (closed(4100), Verdict.FATAL),
        (closed(1011), Verdict.FATAL),
        (answered(403), Verdict.RETRY),
        (answered(404), Verdict.FATAL),
        (answered(503), Verdict.FATAL),
        (answered(500), Verdict.RETRY),
        (Failure(stage=Stage.CONNECT, exception=OSError()), Verdict.RETRY),
        (Failure(stage=Stage.CONNECT, exception=ValueError()), Verdict.FATAL),
    ],
)
def test_verdicts(failure: Failure, verdict: Verdict) -> None:
    options = client_options(retry_on="4000-4099,403", fatal_on="1011,503,4050")
    assert Classification.of(options)(failure) is verdict


def test_even_a_server_that_is_done_may_be_retried_or_fatal() -> None:
    assert Classification.of(client_options(retry_on="1000"))(closed(1000)) is Verdict.RETRY
    assert Classification.of(client_options(fatal_on="1000"))(closed(1000)) is Verdict.FATAL
