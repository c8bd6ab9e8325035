"""What calls the hooks."""

from __future__ import annotations

import logging

import pytest

from trio_ws.instrumentation import Hooks, PingSent, Received, Record, Sent

PING = PingSent(id="c1")


class Recorder:
    """A hook that keeps what it is told."""

    def __init__(self, *, traffic: bool = False) -> None:
        self.traffic = traffic
        self.told: list[Record] = []

    def __call__(self, record: Record, /) -> None:
        self.told.append(record)


def test_every_hook_is_told_in_the_order_given() -> None:
    told: list[tuple[str, Record]] = []
    hooks = Hooks(
        [lambda record: told.append(("first", record)), lambda record: told.append(("2nd", record))]
    )
    hooks.tell(PING)
    assert told == [("first", PING), ("2nd", PING)]


def test_traffic_is_for_those_that_ask() -> None:
    asks, declines, plain = Recorder(traffic=True), Recorder(traffic=False), list[Record]()
    hooks = Hooks([asks, declines, plain.append])
    traffic: list[Record] = [
        Received(id="c1", messages=1, bytes=7),
        Sent(id="c1", messages=1, bytes=3),
    ]
    for record in traffic:
        hooks.tell_traffic(record)
    assert asks.told == traffic
    assert declines.told == plain == []
    hooks.tell(PING)
    assert asks.told[-1] == PING
    assert declines.told == plain == [PING]


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ([], False),
        ([Recorder()], False),
        ([print], False),
        ([Recorder(), Recorder(traffic=True)], True),
    ],
)
def test_traffic_says_whether_any_hook_asks(given: list[Recorder], wanted: bool) -> None:
    assert Hooks(given).traffic is wanted


def test_whether_there_is_any_hook_is_said() -> None:
    assert Hooks([print])
    assert not Hooks(iter(()))


def test_the_hooks_may_be_an_iterator() -> None:
    hook = Recorder(traffic=True)
    hooks = Hooks(iter([hook]))
    hooks.tell(PING)
    hooks.tell(PING)
    hooks.tell_traffic(Sent(id="c1", messages=1, bytes=3))
    assert len(hook.told) == 3


def test_without_hooks_nothing_happens(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    hooks = Hooks(())
    hooks.tell(PING)
    hooks.tell_traffic(Sent(id="c1", messages=1, bytes=3))
    assert not caplog.records


@pytest.mark.parametrize("tell", [Hooks.tell, Hooks.tell_traffic])
def test_a_hook_that_raises_is_logged_and_disturbs_nobody(
    tell: object, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(Recorder):
        def __call__(self, record: Record, /) -> None:
            raise error

    assert callable(tell)
    error = RuntimeError("broken")
    other = Recorder(traffic=True)
    tell(Hooks([Broken(traffic=True), other]), PING)
    assert other.told == [PING]
    assert caplog.record_tuples == [
        ("trio_ws.instrumentation", logging.ERROR, "a hook failed on PingSent")
    ]
    (logged,) = caplog.records
    assert logged.exc_info
    assert logged.exc_info[1] is error


def test_what_is_no_mere_failure_gets_out() -> None:
    def interrupted(record: Record, /) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Hooks([interrupted]).tell(PING)


def test_hooks_are_true_where_anybody_is_told() -> None:
    assert not Hooks(())
    assert Hooks([print])
