"""When to try again, and when to stop: without a clock, a connection or Trio."""

from __future__ import annotations

import math
from typing import Any

import pytest

from trio_ws import Backoff, CloseReason, ConnectionClosedError, Failure
from trio_ws._backoff import Sequence
from trio_ws.classification import Stage, Verdict

RETRY, AT_ONCE = Verdict.RETRY, Verdict.RETRY_AT_ONCE


def exact(**options: Any) -> Backoff:
    options = {"jitter": "none", "initial": 1, "maximum": 8, "intensity": None, **options}
    return Backoff(**options)


def sequence(**options: Any) -> Sequence:
    """A sequence whose clock runs from 100 on."""
    attempts = Sequence(exact(**options))
    attempts.start_clock(100)
    return attempts


def refused(**known: Any) -> Failure:
    return Failure(stage=Stage.CONNECT, exception=ConnectionRefusedError("refused"), **known)


def closed(code: int) -> Failure:
    reason = CloseReason(code)
    return Failure(stage=Stage.OPEN, exception=ConnectionClosedError(reason), reason=reason)


def stable(attempts: Sequence, now: float) -> None:
    """A connection was open for a minute, and is lost *now*."""
    attempts.connection_lost(now, open_for=60, delivered=True)


def short(attempts: Sequence, now: float) -> None:
    """A connection was lost *now*, before it was stable."""
    attempts.connection_lost(now, open_for=1, delivered=True)


# Backoff


def test_bounds_grow_and_stop_growing() -> None:
    backoff = Backoff(initial=0.5, factor=2, maximum=60)
    assert [backoff.bound(n) for n in range(1, 10)] == pytest.approx(
        [0.5, 1, 2, 4, 8, 16, 32, 60, 60]
    )
    assert backoff.bound(10**6) == 60
    assert Backoff(factor=1, initial=3).bound(10**6) == pytest.approx(3)
    assert Backoff(maximum=math.inf).bound(10**6) == math.inf


def test_full_jitter_draws_from_the_whole_range() -> None:
    assert Backoff(rng=lambda: 0.25).delay(3) == pytest.approx(0.5)
    assert Backoff(jitter="none").delay(3) == pytest.approx(2)


@pytest.mark.parametrize(
    "options",
    [
        {"initial": 0},
        {"initial": 100},
        {"factor": 0.5},
        {"maximum": math.nan},
        {"jitter": "some"},
        {"stable_after": -1},
        {"max_attempts": 0},
        {"max_elapsed": 0},
        {"intensity": (-1, 1)},
        {"intensity": (1, 0)},
        {"max_retry_after": -1},
    ],
    ids=str,
)
def test_nonsense_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="Backoff"):
        Backoff(**options)


# How long to wait


def test_delays_grow_with_failures() -> None:
    attempts = sequence()
    assert [attempts.delay_after(refused(), RETRY) for _ in range(5)] == [1, 2, 4, 8, 8]


def test_a_stable_connection_begins_the_delays_again() -> None:
    attempts = sequence()
    for _ in range(3):
        attempts.delay_after(refused(), RETRY)
    stable(attempts, 200)
    assert attempts.delay_after(refused(), RETRY) == 1


@pytest.mark.parametrize(("open_for", "delivered"), [(9.9, True), (60, False)])
def test_only_one_that_stayed_and_delivered_is_stable(open_for: float, delivered: bool) -> None:
    attempts = sequence(max_attempts=1)
    attempts.begin_attempt()
    attempts.delay_after(refused(), RETRY)
    attempts.connection_lost(200, open_for=open_for, delivered=delivered)
    assert attempts.attempt == 1
    assert attempts.delay_after(refused(), RETRY) == 2


def test_at_once_is_at_once_only_once_until_a_connection_is_stable() -> None:
    attempts = sequence()
    assert [attempts.delay_after(closed(4200), AT_ONCE) for _ in range(3)] == [0, 2, 4]
    short(attempts, 150)
    assert attempts.delay_after(closed(4200), AT_ONCE) == 8
    stable(attempts, 200)
    assert attempts.delay_after(closed(4200), AT_ONCE) == 0


@pytest.mark.parametrize(("drawn", "delay"), [(0.0, 5.0), (0.5, 17.5), (1.0, 30.0)])
def test_a_restart_spreads_over_the_whole_range(drawn: float, delay: float) -> None:
    attempts = sequence(rng=lambda: drawn)
    assert attempts.delay_after(closed(1012), RETRY) == pytest.approx(delay)


def test_a_restart_does_not_shorten_a_delay() -> None:
    attempts = sequence(initial=60, maximum=60, rng=lambda: 1.0)
    assert attempts.delay_after(closed(1012), RETRY) == 60


def test_retry_after_is_added_to_what_the_backoff_draws() -> None:
    assert sequence().delay_after(refused(retry_after=30.0), RETRY) == 31


def test_a_server_cannot_park_a_client_for_longer_than_the_bound() -> None:
    assert sequence().delay_after(refused(retry_after=1e12), RETRY) == 3601
    attempts = sequence(max_retry_after=60)
    assert attempts.delay_after(refused(retry_after=61.0), RETRY) == 61


# When to stop


def test_attempts_are_bounded_within_a_sequence() -> None:
    attempts = sequence(max_attempts=2)
    attempts.begin_attempt()
    assert attempts.problem(refused(), 1, now=100) is None
    attempts.begin_attempt()
    problem = attempts.problem(refused(), 1, now=100)
    assert problem == "2 attempts failed; the last: refused"
    stable(attempts, 200)
    assert attempts.problem(closed(1001), 1, now=200) is None


def test_one_attempt_reads_well() -> None:
    attempts = sequence(max_attempts=1)
    attempts.begin_attempt()
    assert attempts.problem(refused(), 1, now=100) == "1 attempt failed; the last: refused"


def test_no_attempt_begins_later_than_max_elapsed() -> None:
    attempts = sequence(max_elapsed=5)
    assert attempts.elapsed(104) == 4
    assert attempts.problem(refused(elapsed=4.0), 0.9, now=104) is None
    problem = attempts.problem(refused(elapsed=4.0), 1, now=104)
    assert problem == "not connected within 5 s; the last: refused"


def test_a_stable_connection_begins_the_time_again() -> None:
    attempts = sequence()
    stable(attempts, 200)
    assert attempts.elapsed(203) == 3
    attempts.stop_clock(203)
    stable(attempts, 300)
    assert attempts.elapsed(300) == 0


def test_only_the_time_in_which_a_connection_is_sought_counts() -> None:
    attempts = sequence()
    attempts.stop_clock(104)
    assert attempts.elapsed(3704) == 4
    short(attempts, 3704)
    assert attempts.elapsed(3705) == 4
    attempts.start_clock(5000)
    assert attempts.elapsed(5002) == 6


def test_too_many_short_lived_connections_are_a_problem() -> None:
    attempts = sequence(intensity=(2, 60))
    for now in (100, 110, 120):
        assert attempts.problem(closed(1001), 1, now=now) is None
        short(attempts, now)
    problem = attempts.problem(closed(1001), 1, now=120)
    assert problem is not None
    assert problem.startswith("3 connections within 60 s were lost as soon as they were open")
    assert attempts.problem(closed(1001), 1, now=160.1) is None, "the first is forgotten by now"


def test_a_stable_connection_makes_up_for_short_lived_ones() -> None:
    attempts = sequence(intensity=(2, 60))
    short(attempts, 100)
    short(attempts, 101)
    stable(attempts, 102)
    short(attempts, 103)
    assert attempts.problem(closed(1001), 1, now=103) is None


@pytest.mark.parametrize(("intensity", "held"), [(None, 0), ((2, 60), 3)])
def test_short_lived_connections_cost_no_memory(intensity: Any, held: int) -> None:
    attempts = sequence(intensity=intensity)
    for now in range(1000):
        short(attempts, now)
    assert len(attempts._short_lived) == held


# What is no failure


def test_connections_closed_by_choice_are_no_failures() -> None:
    attempts = sequence(max_attempts=3, intensity=(2, 60), max_elapsed=30)
    for now in range(100, 120):
        attempts.begin_attempt()
        attempts.connection_closed(now, delivered=False)
        assert attempts.delay_after_choice() == 1, "it does not grow"
    assert attempts.attempt == 0
    attempts.begin_attempt()
    assert attempts.problem(refused(), 1, now=120) is None
    assert attempts.delay_after(refused(), RETRY) == 1


def test_one_closed_by_choice_after_it_delivered_makes_up_for_failures() -> None:
    attempts = sequence(max_attempts=2)
    attempts.begin_attempt()
    assert attempts.delay_after(refused(), RETRY) == 1
    attempts.begin_attempt()
    attempts.connection_closed(150, delivered=True)
    assert attempts.attempt == attempts.elapsed(150) == 0
    assert attempts.delay_after(refused(), RETRY) == 1


def test_one_closed_by_choice_that_gave_nothing_changes_nothing() -> None:
    attempts = sequence()
    attempts.begin_attempt()
    assert attempts.delay_after(refused(), RETRY) == 1
    attempts.begin_attempt()
    attempts.connection_closed(150, delivered=False)
    assert attempts.attempt == 1
    assert attempts.delay_after(refused(), RETRY) == 2


def test_a_cancelled_attempt_does_not_count() -> None:
    attempts = sequence()
    attempts.begin_attempt()
    attempts.drop_attempt()
    assert attempts.attempt == 0


# Credentials


@pytest.mark.parametrize("status", [401, 403])
def test_credentials_may_be_renewed_once_per_connection(status: int) -> None:
    attempts = sequence()
    assert attempts.may_renew(None)
    assert attempts.may_renew(503)
    assert attempts.may_renew(status)
    assert not attempts.may_renew(status)
    assert not attempts.may_renew(None)
    short(attempts, 110)
    assert attempts.may_renew(status)
