"""Counting in several places, and putting it together."""

from __future__ import annotations

import json

from trio_ws import ConnectionClosedError
from trio_ws._close import CloseReason
from trio_ws.cli.bench.tally import Tally
from trio_ws.cli.exit_codes import ExitCode


def filled() -> Tally:
    tally = Tally(opened=2, answered=7, unanswered=1, lost=2, window=3.0)
    tally.round_trips.record(0.25)
    tally.failed(ConnectionRefusedError(111, "refused"))
    tally.failed(ConnectionClosedError(CloseReason(4000)))
    return tally


def test_the_first_failure_gives_the_code() -> None:
    assert filled().code == ExitCode.CONNECT


def test_errors_are_of_every_kind() -> None:
    tally = filled()
    assert tally.errors == 5
    assert [number for _, number in tally.kinds()] == [1, 1, 1, 2]


def test_it_travels_as_json() -> None:
    tally = filled()
    travelled = Tally.from_json(json.loads(json.dumps(tally.to_json())))
    assert travelled.to_json() == tally.to_json()
    assert travelled.failures.most_common() == tally.failures.most_common()


def test_two_are_put_together() -> None:
    together = Tally()
    together.merge(filled())
    together.merge(filled())
    assert (together.opened, together.answered, together.errors) == (4, 14, 10)
    assert together.round_trips.count == 2
    assert together.window == 3.0
    assert together.code == ExitCode.CONNECT
    assert together.rate == 14 / 3


def test_a_peer_cannot_make_up_kinds_without_end() -> None:
    tally = Tally()
    for number in range(100):
        tally.count(f"reason {number}")
    assert len(tally.failures) == 21
    assert tally.failures["others"] == 80


def test_no_time_no_rate() -> None:
    assert Tally(answered=5).rate == 0.0
