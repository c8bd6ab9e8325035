"""The hook that writes to the log."""

from __future__ import annotations

import logging

import pytest

from tests.instrumentation.records import URL, answered, crashed, ended, one_of_each, opened
from trio_ws import ClosedBy, CloseReason
from trio_ws.instrumentation import (
    BackplaneChanged,
    Connected,
    Connecting,
    Disconnected,
    HandlerCrashed,
    HeartbeatLost,
    MemberEvicted,
    MessagesMissed,
    PingReceived,
    PingSent,
    PongReceived,
    Received,
    Record,
    Sent,
    Stopped,
    Waiting,
    log_record,
)

CONNECTION = "trio_ws.connection"
SERVER = "trio_ws.server"
RECONNECT = "trio_ws.reconnect"
HUB = "trio_ws.hub"

LINES: list[tuple[Record, str, int, str]] = [
    (opened(), CONNECTION, logging.DEBUG, "c1: open, /chat"),
    (
        ended(),
        CONNECTION,
        logging.DEBUG,
        "c1: 1001 (going away), closed by the peer, after 12.3 s",
    ),
    (
        ended(reason=CloseReason(1009, "", ClosedBy.LOCAL)),
        CONNECTION,
        logging.INFO,
        "c1 from 192.0.2.1: 1009 (message too big), closed here, after 12.3 s",
    ),
    (
        ended(client=True, reason=CloseReason(1009, "", ClosedBy.LOCAL)),
        CONNECTION,
        logging.DEBUG,
        "c1: 1009 (message too big), closed here, after 12.3 s",
    ),
    (
        HeartbeatLost(id="c1", silent=20.04),
        CONNECTION,
        logging.INFO,
        "c1: no sign of life for 20.0 s",
    ),
    (
        crashed(error=ValueError("broken")),
        SERVER,
        logging.ERROR,
        "c1 from 192.0.2.1: the handler crashed",
    ),
    (
        crashed(error=ValueError("broken"), remote_address=("2001:db8::1", 50000, 0, 0)),
        SERVER,
        logging.ERROR,
        "c1 from 2001:db8::1: the handler crashed",
    ),
    (
        crashed(error=ValueError("broken"), remote_address=""),
        SERVER,
        logging.ERROR,
        "c1 from a local client: the handler crashed",
    ),
    (
        crashed(error=ValueError("broken"), remote_address=()),
        SERVER,
        logging.ERROR,
        "c1 from a local client: the handler crashed",
    ),
    (
        Connected(target=URL, attempt=1, offline=0.5, again=False),
        RECONNECT,
        logging.INFO,
        f"{URL}: connected",
    ),
    (
        Connected(target=URL, attempt=3, offline=4.25, again=True),
        RECONNECT,
        logging.INFO,
        f"{URL}: connected again after 4.2 s",
    ),
    (
        Disconnected(
            target=URL, reason=CloseReason(1006, "", ClosedBy.NETWORK, False), open_for=61.26
        ),
        RECONNECT,
        logging.INFO,
        f"{URL}: lost after 61.3 s: 1006 (abnormal closure), the transport was cut",
    ),
    (
        Disconnected(
            target=URL, reason=CloseReason(1000, "", ClosedBy.LOCAL), open_for=2, by_choice=True
        ),
        RECONNECT,
        logging.INFO,
        f"{URL}: closed after 2.0 s: 1000 (normal closure), closed here",
    ),
    (
        Waiting(target=URL, delay=1.56, attempt=2, cause="connection refused"),
        RECONNECT,
        logging.INFO,
        f"{URL}: attempt 2 in 1.6 s: connection refused",
    ),
    (Stopped(target=URL, attempts=1, cause=None), RECONNECT, logging.INFO, f"{URL}: done"),
    (
        Stopped(target=URL, attempts=3, cause="HTTP 403"),
        RECONNECT,
        logging.WARNING,
        f"{URL}: given up: HTTP 403",
    ),
    (
        MemberEvicted(topic="room", id="s1", reason="over 10 bytes waited"),
        HUB,
        logging.INFO,
        "s1: evicted from room: over 10 bytes waited",
    ),
    (
        MemberEvicted(topic="a\nb", id="", reason="over 10 bytes waited"),
        HUB,
        logging.INFO,
        r"a subscription: evicted from a\nb: over 10 bytes waited",
    ),
    (
        MessagesMissed(topic="a\nb", cause="re\nset", messages=3),
        HUB,
        logging.WARNING,
        r"a\nb: 3 messages may have been missed: re\nset",
    ),
    (
        MessagesMissed(topic="room", cause="reset", messages=None),
        HUB,
        logging.WARNING,
        "room: messages may have been missed: reset",
    ),
    (
        BackplaneChanged(connected=False, cause="re\nset"),
        HUB,
        logging.WARNING,
        r"the backplane is gone: re\nset",
    ),
    (BackplaneChanged(connected=True, cause=""), HUB, logging.INFO, "the backplane is connected"),
]

SILENT: list[Record] = [
    answered(),
    PingSent(id="c1"),
    PingReceived(id="c1", payload=b"are you there?"),
    PongReceived(id="c1", round_trip=0.02),
    PongReceived(id="c1", round_trip=None, payload=b"unasked"),
    Received(id="c1", messages=2, bytes=300),
    Sent(id="c1", messages=1, bytes=40),
    Connecting(target=URL, attempt=1),
]

#: It would end the line, forge another, clear the screen and turn the text round.
NASTY = "a\r\nERROR\x1b[2J\x9b\u202e\u2028b\\"
ESCAPED = r"a\r\nERROR\x1b[2J\x9b\u202e\u2028b" + "\\"


@pytest.fixture(autouse=True)
def everything(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, logger="trio_ws")


@pytest.mark.parametrize(("record", "logger", "level", "line"), LINES)
def test_one_line_is_logged(
    record: Record, logger: str, level: int, line: str, caplog: pytest.LogCaptureFixture
) -> None:
    log_record(record)
    assert caplog.record_tuples == [(logger, level, line)]
    assert bool(caplog.records[0].exc_info) is isinstance(record, HandlerCrashed)


@pytest.mark.parametrize("record", SILENT, ids=lambda record: type(record).__name__)
def test_what_comes_often_is_not_logged(record: Record, caplog: pytest.LogCaptureFixture) -> None:
    log_record(record)
    assert not caplog.records


def test_the_tables_cover_every_kind_of_record() -> None:
    listed = {type(line[0]) for line in LINES} | {type(record) for record in SILENT}
    assert listed == {type(record) for record in one_of_each()}


def test_a_crash_is_logged_with_its_traceback(caplog: pytest.LogCaptureFixture) -> None:
    def handler() -> None:
        raise ValueError("broken")

    try:
        handler()
    except ValueError as error:
        record = crashed(error=error)
    log_record(record)
    assert "Traceback (most recent call last)" in caplog.text
    assert "in handler\n" in caplog.text
    assert "ValueError: broken" in caplog.text


@pytest.mark.parametrize(
    "record",
    [
        opened(target=NASTY),
        Connected(target=NASTY, attempt=1, offline=0, again=False),
        Connected(target=NASTY, attempt=1, offline=0, again=True),
        Disconnected(target=NASTY, reason=CloseReason(1001), open_for=1),
        Waiting(target=NASTY, delay=1, attempt=2, cause="refused"),
        Waiting(target=URL, delay=1, attempt=2, cause=NASTY),
        Stopped(target=NASTY, attempts=1, cause=None),
        Stopped(target=NASTY, attempts=1, cause="refused"),
        Stopped(target=URL, attempts=1, cause=NASTY),
    ],
)
def test_texts_are_escaped(record: Record, caplog: pytest.LogCaptureFixture) -> None:
    log_record(record)
    (line,) = caplog.messages
    assert ESCAPED in line
    assert line.isprintable()


@pytest.mark.parametrize(
    "record",
    [
        ended(reason=CloseReason(4000, NASTY)),
        Disconnected(target=URL, reason=CloseReason(4000, NASTY), open_for=1),
    ],
)
def test_the_reasons_of_peers_are_escaped(record: Record, caplog: pytest.LogCaptureFixture) -> None:
    log_record(record)
    (line,) = caplog.messages
    assert f"{NASTY!a}" in line
    assert line.isprintable()


def test_a_cause_that_is_escaped_already_stays_as_it_is(caplog: pytest.LogCaptureFixture) -> None:
    cause = str(CloseReason(4000, "a\x1b[2J\n"))
    log_record(Waiting(target=URL, delay=1, attempt=2, cause=cause))
    assert caplog.messages == [f"{URL}: attempt 2 in 1.0 s: {cause}"]
