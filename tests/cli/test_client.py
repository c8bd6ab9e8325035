"""``trio-ws client``, ``send`` and ``listen``, in process; with real processes in tests/e2e."""

from __future__ import annotations

import math
import os
import signal
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
import trio
import trio.testing

import trio_ws
from trio_ws.cli import client
from trio_ws.cli.client import (
    is_interactive,
    run_client,
    run_listen,
    run_send,
)
from trio_ws.cli.failures import Interrupted, TimedOut, Unmet, Usage, innermost
from trio_ws.cli.jsonlines import decode
from trio_ws.cli.options.client import AtEnd, Format, ListenOptions, SendOptions
from trio_ws.cli.output import open_output

from ..network import URL, echo, install
from .helpers import client_options, fed, read_available, redirected

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable
    from pathlib import Path

    from trio.testing import MockClock

    from trio_ws import WebSocket
    from trio_ws.cli.conversation import Plan


class Planned:
    """What a command would run."""

    options: Any = None
    plan: Plan
    prompt: Any = None


@pytest.fixture
def planned(monkeypatch: pytest.MonkeyPatch) -> Planned:
    """Commands make plans, and do not run them."""
    made = Planned()

    def run(main: Any, options: Any, plan: Plan, prompt: Any) -> None:
        made.options, made.plan, made.prompt = options, plan, prompt

    monkeypatch.setattr("trio_ws.cli.client.trio.run", run)
    return made


async def converse(
    planned: Planned, command: Callable[[Any], None], options: Any, given: bytes = b""
) -> bytes:
    """What the command prints."""
    reading, writing = os.pipe()
    try:
        with fed(given), redirected(1, writing):
            command(options)
            try:
                await client._main(planned.options, planned.plan, None)
            except BaseExceptionGroup as group:
                raise innermost(group) from None
        return read_available(reading)
    finally:
        os.close(reading)
        os.close(writing)


@asynccontextmanager
async def serving(monkeypatch: pytest.MonkeyPatch, handler: Any = echo) -> AsyncGenerator[Any]:
    network = install(monkeypatch)
    async with network.served(handler):
        yield network


# Commands


async def test_lines_become_messages_and_messages_lines(
    planned: Planned, monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    async with serving(monkeypatch):
        assert await converse(planned, run_client, client_options(), b"a\n\nb") == b"a\n\nb\n"


async def test_messages_and_files_are_sent_in_order(
    planned: Planned,
    monkeypatch: pytest.MonkeyPatch,
    autojump_clock: MockClock,
    tmp_path: Path,
) -> None:
    file = tmp_path / "file"
    file.write_text("c\nd\n")
    options = client_options(
        on_connect=("0",), message=("a", "b"), file=(str(file), "-"), delay=1.0
    )
    async with serving(monkeypatch):
        printed = await converse(planned, run_client, options, b"e\n")
    assert printed.split() == [b"0", b"a", b"b", b"c", b"d", b"e"]


async def test_send_prints_one_reply(
    planned: Planned, monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    async with serving(monkeypatch):
        for options, given, printed in (
            (SendOptions(url=URL, timeout=None, message=("a", "b")), b"", b"a\n"),
            (SendOptions(url=URL, timeout=None), b"a\nb\n", b"a\n"),
            (SendOptions(url=URL, timeout=None, message=("a", "b"), count=2), b"", b"a\nb\n"),
            (SendOptions(url=URL, timeout=None, message=("a", "b"), expect="b"), b"", b"a\nb\n"),
        ):
            assert await converse(planned, run_send, options, given) == printed


async def test_listen_prints_what_comes(
    planned: Planned, monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    async def greet(ws: WebSocket) -> None:
        await ws.send(f"hello {await ws.receive()!s}")

    async with serving(monkeypatch, greet):
        options = ListenOptions(url=URL, on_connect=("me",), ping_interval=0)
        assert await converse(planned, run_listen, options, b"never") == b"hello me\n"


async def test_what_came_before_a_refused_login_is_printed(
    planned: Planned, monkeypatch: pytest.MonkeyPatch, mock_clock: MockClock
) -> None:
    async def refuse(ws: WebSocket) -> None:
        await ws.send("you are banned")
        await ws.aclose(4003)

    reading, writing = os.pipe()
    async with serving(monkeypatch, refuse):
        run_listen(ListenOptions(url=URL, on_connect=("me",) * 3))
        with redirected(1, writing), pytest.raises(BaseExceptionGroup) as caught:
            await client._main(planned.options, planned.plan, None)
    assert isinstance(innermost(caught.value), trio_ws.ConnectionClosedError)
    assert read_available(reading) == b"you are banned\n"
    os.close(reading)
    os.close(writing)


def test_plans(planned: Planned) -> None:
    def plan(**changes: Any) -> Plan:
        run_client(client_options(**changes))
        return planned.plan

    assert plan().more is not None
    assert plan().linger == 2
    assert plan(listen_only=True).more is None
    assert plan(listen_only=True).linger == math.inf
    assert plan(eof=AtEnd.KEEP).linger == math.inf
    assert plan(message=("a",)).more is None
    assert plan(heartbeat="beat", heartbeat_every=5.0).heartbeat == ("beat", 5)
    assert plan(one=True).goal.count == 1
    assert plan(count=3).goal.count == 3


# At a terminal


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)


@pytest.mark.usefixtures("terminal")
def test_at_a_terminal_there_is_a_prompt(planned: Planned) -> None:
    run_client(client_options(history=False))
    assert planned.prompt is not None
    for changes in (
        {"listen_only": True},
        {"file": ("-",)},
        {"format": Format.RAW},
        {"format": Format.JSONL},
    ):
        assert not is_interactive(client_options(**changes))


@pytest.mark.usefixtures("terminal")
async def test_it_has_an_output_of_its_own(
    planned: Planned, monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    talked: list[WebSocket] = []

    class Prompted:
        @asynccontextmanager
        async def open(self) -> AsyncGenerator[Any]:
            async with open_output(client_options()) as output:
                yield output

        async def talk(self, ws: WebSocket) -> None:
            talked.append(ws)

    async with serving(monkeypatch):
        run_client(client_options(history=False))
        await client._main(planned.options, planned.plan, Prompted())  # type: ignore[arg-type]
    assert len(talked) == 1


@pytest.mark.usefixtures("terminal")
def test_send_does_not_wait_for_somebody_to_type() -> None:
    with pytest.raises(Usage, match="there is nothing to send"):
        run_send(SendOptions(url=URL))


# What makes no sense


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"format": Format.RAW, "timestamps": True}, "--timestamps has no place in it"),
        ({"retry_max": 1.0}, "give --reconnect as well"),
        ({"on_connect": ("a", "\udcff")}, "--on-connect is not UTF-8 text"),
        ({"heartbeat": "\udcff"}, "--heartbeat is not UTF-8 text"),
        ({"message": ("a", "\udcff")}, "message 2 is not UTF-8 text"),
        ({"file": ("/nowhere",)}, "--file: cannot read /nowhere: No such file"),
        ({"file": ("/",)}, "--file: cannot read /: Is a directory"),
    ],
)
def test_what_makes_no_sense_is_said_before_anybody_connects(
    changes: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(Usage, match=complaint):
        run_client(client_options(listen_only=True, **changes))


def test_trio_is_run() -> None:
    with fed(b""), pytest.raises(BaseExceptionGroup) as caught:
        run_client(client_options(url="ftp://x"))
    assert isinstance(innermost(caught.value), trio_ws.InvalidURL)


def test_a_named_pipe_is_not_opened_to_look_at_it(planned: Planned, tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    run_client(client_options(file=(str(fifo),)))
    assert len(planned.plan.given) == 1


# The end


# The clock does not jump by itself: it would not wait for the thread that writes.


async def test_time_runs_out(
    planned: Planned, monkeypatch: pytest.MonkeyPatch, mock_clock: MockClock, tmp_path: Path
) -> None:
    async def wait(ws: WebSocket) -> None:
        await ws.receive()
        mock_clock.jump(5)
        await trio.sleep_forever()

    record = tmp_path / "it.jsonl"
    async with serving(monkeypatch, wait):
        options = client_options(message=("a",), timeout=5.0, record=record)
        with pytest.raises(TimedOut, match="not done within 5 s"):
            await converse(planned, run_client, options)
    entries = list(decode(record.read_bytes().splitlines(), "it"))
    assert [entry.type for entry in entries] == ["open", "message", "close", "error"]
    assert entries[-1].reason == "not done within 5 s"


async def test_what_went_wrong_is_recorded(
    planned: Planned, monkeypatch: pytest.MonkeyPatch, mock_clock: MockClock, tmp_path: Path
) -> None:
    record = tmp_path / "it.jsonl"
    network = install(monkeypatch)
    network.down = ConnectionRefusedError(111, "nobody there")
    with pytest.raises(ConnectionRefusedError):
        await converse(planned, run_client, client_options(record=record))
    (entry,) = decode(record.read_bytes().splitlines(), "it")
    assert (entry.type, entry.reason) == ("error", "nobody there")


async def test_an_interruption_is_no_error_in_the_recording(
    planned: Planned, monkeypatch: pytest.MonkeyPatch, mock_clock: MockClock, tmp_path: Path
) -> None:
    async def interrupt(ws: WebSocket) -> None:
        await ws.receive()
        signal.raise_signal(signal.SIGINT)
        await trio.sleep_forever()

    record = tmp_path / "it.jsonl"
    async with serving(monkeypatch, interrupt):
        with pytest.raises(Interrupted):
            await converse(planned, run_client, client_options(message=("a",), record=record))
    types = [entry.type for entry in decode(record.read_bytes().splitlines(), "it")]
    assert types == ["open", "message", "close"]


# Staying connected


async def test_it_goes_on_across_reconnects(
    planned: Planned,
    monkeypatch: pytest.MonkeyPatch,
    autojump_clock: MockClock,
    capsys: pytest.CaptureFixture[str],
) -> None:
    served = 0

    async def handler(ws: WebSocket) -> None:
        nonlocal served
        served += 1
        await ws.send(f"{served}: {await ws.receive()!s}")
        await ws.aclose(1013 if served == 1 else 1000, "later\x1b")

    async with serving(monkeypatch, handler):
        options = client_options(reconnect=True, on_connect=("log in",), listen_only=True)
        printed = await converse(planned, run_client, options)
    assert printed == b"1: log in\n2: log in\n"
    lines = [line.removeprefix("trio-ws: ") for line in capsys.readouterr().err.splitlines()]
    assert [line.partition(" ")[0] for line in lines] == [
        "connected",
        "connection",
        "attempt",
        "connected",
        "closed",
    ]
    assert r"1013 (try again later) 'later\x1b', closed by the peer" in lines[1]


async def test_a_server_that_is_done_before_anything_was_said(
    planned: Planned, monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    async def done(ws: WebSocket) -> None:
        await ws.aclose(1000)

    async with serving(monkeypatch, done):
        options = client_options(reconnect=True, on_connect=("x" * 1000,) * 100, listen_only=True)
        assert await converse(planned, run_client, options) == b""
        with pytest.raises(Unmet):
            options = client_options(
                reconnect=True, on_connect=("x" * 1000,) * 100, listen_only=True, one=True
            )
            await converse(planned, run_client, options)


async def test_giving_up_is_an_error(
    planned: Planned, monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    async with serving(monkeypatch, lambda ws: ws.aclose(4000)):
        with pytest.raises(trio_ws.GaveUp):
            await converse(planned, run_client, client_options(reconnect=True, listen_only=True))
