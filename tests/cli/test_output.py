"""What the client shows, and what it records."""

from __future__ import annotations

import json
import os
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
import trio
import trio.testing

from trio_ws import CloseReason, ConnectionClosedError, Headers, Request, Response
from trio_ws._close import ClosedBy
from trio_ws.cli.failures import LocalFailure, Usage, hide, innermost
from trio_ws.cli.options.client import Format
from trio_ws.cli.output import Output, open_output
from trio_ws.cli.render import Renderer
from trio_ws.cli.status import Status, draw
from trio_ws.cli.writer import Writer
from trio_ws.instrumentation import (
    Connected,
    Connecting,
    ConnectionEnded,
    ConnectionOpened,
    Disconnected,
    HandshakeAnswered,
    PingReceived,
    PingSent,
    PongReceived,
    Stopped,
    Waiting,
)

from .helpers import client_options, fed, read_available, redirected

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path

TARGET = "ws://x/"
STATISTICS: Any = None


class Stage:
    """An output, and everything that came out of it."""

    def __init__(
        self, *, interactive: bool = False, recorded: bool = False, **options: Any
    ) -> None:
        self.said: list[str] = []
        self.stdout = Writer(lambda data: None)
        self.recording = Writer(lambda data: None) if recorded else None
        self.options = client_options(**options)
        self.output = Output(
            self.options,
            stdout=self.stdout,
            recording=self.recording,
            renderer=Renderer(format=self.options.format),
            status=Status(self.said.append, quiet=self.options.quiet),
            interactive=interactive,
            clock=lambda: 1.5,
        )

    def tell(self, *records: Any) -> Stage:
        for record in records:
            self.output.tell(record)
        return self

    @property
    def shown(self) -> bytes:
        return bytes(self.stdout._waiting)

    @property
    def recorded(self) -> list[dict[str, Any]]:
        assert self.recording is not None
        return [json.loads(line) for line in bytes(self.recording._waiting).splitlines()]


def opened(name: str = "c1") -> ConnectionOpened:
    return ConnectionOpened(id=name, client=True, target="/feed?token=hunter2", remote_address=None)


def ended(code: int = 1000, by: ClosedBy = ClosedBy.REMOTE, reason: str = "") -> ConnectionEnded:
    why = CloseReason(code, reason, by)
    return ConnectionEnded(
        id="c1", client=True, remote_address=None, reason=why, uptime=1, statistics=STATISTICS
    )


def disconnected(code: int = 1006) -> Disconnected:
    return Disconnected(target=TARGET, reason=CloseReason(code), open_for=2)


def pong(round_trip: float | None = 0.0125) -> PongReceived:
    return PongReceived(id="c1", round_trip=round_trip, payload=b"\x1b")


# Messages


async def test_payloads_are_shown_and_nothing_else() -> None:
    stage = Stage()
    await stage.output.received("hello")
    await stage.output.received(b"\xff")
    await stage.output.sent("unseen")
    assert stage.shown == b"hello\n\xff\n"
    assert stage.said == []


async def test_everything_is_recorded() -> None:
    stage = Stage(recorded=True).tell(opened())
    await stage.output.sent("a")
    await stage.output.received(b"\xff")
    stage.tell(PingSent(id="c1"), PingReceived(id="c1", payload=b"x"), pong(), ended(4000))
    stage.tell(Waiting(target=TARGET, delay=0.5, attempt=2, cause="gone"))
    stage.output.failed(BaseExceptionGroup("", [ConnectionClosedError(CloseReason(4000))]))
    types = [entry["type"] for entry in stage.recorded]
    assert types == [
        "open",
        "message",
        "message",
        "ping",
        "ping",
        "pong",
        "close",
        "retry",
        "error",
    ]
    directions = [entry.get("dir") for entry in stage.recorded]
    assert directions == [None, "out", "in", "out", "in", "in", "in", None, None]
    assert {entry["ts"] for entry in stage.recorded} == {1.5}
    assert {entry["conn"] for entry in stage.recorded} == {"c1"}
    retry, error = stage.recorded[-2:]
    assert (retry["delay"], retry["attempt"], retry["reason"]) == (0.5, 2, "gone")
    assert error["code"] == 4000
    assert "4000 (private use)" in error["reason"]


async def test_json_lines_are_shown_instead() -> None:
    stage = Stage(format=Format.JSONL).tell(opened())
    await stage.output.received("a")
    await stage.output.sent("b")
    assert [json.loads(line).get("data") for line in stage.shown.splitlines()] == [None, "a", "b"]


async def test_secrets_are_not_recorded() -> None:
    hide("hunter2")
    stage = Stage(recorded=True).tell(opened(), ended(4000, reason="not hunter2"))
    stage.tell(Waiting(target=TARGET, delay=1, attempt=2, cause="hunter2"))
    stage.output.failed(Usage("hunter2 of \udcff"))
    assert "hunter2" not in json.dumps(stage.recorded)
    assert stage.recorded[0]["url"] == "/feed?token=***"
    assert stage.recorded[-1]["reason"] == "*** of \\udcff"


async def test_whoever_reads_too_slowly_is_waited_for(
    autojump_clock: trio.testing.MockClock,
) -> None:
    stage = Stage(recorded=True)
    for full in (stage.stdout, stage.recording):
        assert full is not None
        full.put(b"x" * (1 << 20))
        with trio.move_on_after(1) as scope:
            await stage.output.received("a")
        assert scope.cancelled_caught
        full._waiting.clear()
    stage.stdout.put(b"x" * (1 << 20))
    # What is sent is not shown there.
    await stage.output.sent("a")


def test_lines_between_messages() -> None:
    stage = Stage()
    stage.output.show("> a\x1b")
    stage.output.say("answer")
    assert stage.shown == b"> a\\x1b\nanswer\n"
    assert stage.said == []


def test_json_may_be_laid_out_or_not() -> None:
    stage = Stage(format=Format.HEX)
    assert stage.output.toggle_pretty()
    assert not stage.output.toggle_pretty()
    assert stage.output.renderer.format is Format.HEX
    stage = Stage(format=Format.PRETTY)
    assert not stage.output.toggle_pretty()
    assert stage.output.renderer.format is Format.AUTO
    assert stage.output.toggle_pretty()


# What is said


def test_control_frames_are_shown_where_asked_for() -> None:
    records = (PingSent(id="c1"), PingReceived(id="c1", payload=b""), pong(), pong(None), ended())
    assert Stage().tell(*records).said == []
    assert Stage(show_control=True).tell(*records).said == [
        "> ping",
        "< ping ",
        "< pong '\\x1b' after 12.5 ms",
        "< pong '\\x1b'",
        "< close 1000 (normal closure), closed by the peer",
    ]


@pytest.mark.parametrize(
    ("by", "mark", "direction"),
    [(ClosedBy.LOCAL, ">", "out"), (ClosedBy.REMOTE, "<", "in"), (ClosedBy.NETWORK, "=", None)],
)
def test_who_closed(by: ClosedBy, mark: str, direction: str | None) -> None:
    stage = Stage(verbose=True, recorded=True).tell(ended(1006, by))
    assert stage.said[0].startswith(f"{mark} close 1006")
    assert stage.recorded[0].get("dir") == direction
    typing = Stage(interactive=True).tell(ended(1006, by))
    assert bool(typing.said) is (by is ClosedBy.REMOTE)


def test_both_heads_are_shown_where_asked_for() -> None:
    request = Request("GET", "/feed", Headers([("Host", "x")]))
    answer = Response(101, Headers([("Upgrade", "websocket")]))
    record = HandshakeAnswered(target=TARGET, request=request, response=answer)
    assert Stage().tell(record).said == []
    assert Stage(verbose=True).tell(record).said == [
        "> GET /feed HTTP/1.1",
        "> Host: x",
        "< HTTP/1.1 101 Switching Protocols",
        "< Upgrade: websocket",
    ]


async def test_how_it_stands_with_the_connection() -> None:
    stage = Stage().tell(
        Connecting(target=TARGET, attempt=1),
        Connected(target=TARGET, attempt=1, offline=0, again=False),
        disconnected(),
        Waiting(target=TARGET, delay=0.5, attempt=2, cause="gone"),
        Connected(target=TARGET, attempt=2, offline=3.25, again=True),
        disconnected(1000),
        Stopped(target=TARGET, attempts=1, cause=None),
    )
    assert stage.said == [
        "connected to ws://x/",
        "connection lost after 2.0 s: 1006 (abnormal closure), closed by the peer",
        "attempt 2 in 0.5 s: gone",
        "connected again after 3.2 s",
        "closed after 2.0 s: 1000 (normal closure), closed by the peer",
    ]
    assert Stage(quiet=True).tell(disconnected(), disconnected(1000)).said == []


async def test_what_may_be_lost_is_said() -> None:
    stage = Stage().tell(opened())
    for _ in range(2):
        await stage.output.sent("a")
    stage.tell(PingSent(id="c1"))
    await stage.output.sent("b")
    stage.tell(pong(), pong(), ended(), disconnected())
    assert stage.said[-1].endswith(
        "; 1 message sent since the last pong may be lost, and will not be sent again"
    )


async def test_what_waited_goes_with_the_next_connection() -> None:
    stage = Stage().tell(opened(), ended())
    await stage.output.sent("queued")
    await stage.output.sent("queued")
    stage.tell(disconnected())
    assert "lost, and" not in stage.said[-1]
    stage.tell(opened("c2"), ended(), disconnected())
    assert "2 messages sent since" in stage.said[-1]
    await stage.output.sent("queued")
    stage.tell(Stopped(target=TARGET, attempts=1, cause="gone"))
    assert stage.said[-1] == "1 message waited for a connection: not sent"


def test_other_records_are_nobodys_business() -> None:
    assert Stage().tell(object()).said == []


# Opening


@asynccontextmanager
async def piped(screen: Any = None, **options: Any) -> AsyncGenerator[tuple[Output, int]]:
    """An output on a pipe, and the pipe's other end."""
    reading, writing = os.pipe()
    with redirected(1, writing):
        async with open_output(client_options(**options), screen) as output:
            yield output, reading
    os.close(writing)
    os.close(reading)


async def test_it_is_complete_when_the_block_ends(tmp_path: Path) -> None:
    record = tmp_path / "it.jsonl"
    reading, writing = os.pipe()
    with redirected(1, writing), fed(b""):
        async with open_output(client_options(record=record)) as output:
            await output.received("hello")
    assert read_available(reading) == b"hello\n"
    assert json.loads(record.read_text())["data"] == "hello"
    for descriptor in (reading, writing):
        os.close(descriptor)


async def test_a_recording_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(LocalFailure, match=r"--record: cannot write .*: Is a directory"):
        async with piped(record=tmp_path):
            raise AssertionError
    with pytest.raises(BaseExceptionGroup) as caught:
        async with piped(record="/dev/full") as (output, _):
            await output.received("hello")
            await trio.sleep_forever()
    assert str(innermost(caught.value)).startswith("cannot write to /dev/full: No space left")


class Screen:
    """Where there is a prompt."""

    def __init__(self) -> None:
        self.written = b""
        self.drawn: list[str] = []

    def write(self, data: bytes) -> None:
        self.written += data

    def draw(self, text: str) -> bool:
        self.drawn.append(text)
        return True


@pytest.mark.parametrize("terminal", [False, True])
async def test_what_is_said_stands_above_a_prompt_on_the_same_terminal(
    terminal: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal, raising=False)
    screen = Screen()
    async with open_output(client_options(), screen) as output:
        output.status.say("note\x1b")
        await output.received("hello")
    said = b"note\\x1b\n" if terminal else b""
    assert screen.written == said + b"< hello\n"
    assert capsys.readouterr().err == ("" if terminal else "trio-ws: note\\x1b\n")


async def test_a_line_lives_on_a_terminal_only(monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_output(client_options()) as output:
        assert output.status.draw is None
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    async with open_output(client_options()) as output:
        assert output.status.draw is draw
    async with open_output(client_options(quiet=True)) as output:
        assert output.status.draw is None
