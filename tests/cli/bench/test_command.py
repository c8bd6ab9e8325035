"""``trio-ws bench``, from the options to the exit code; on a server in memory."""

from __future__ import annotations

import json
import resource
import signal
from typing import TYPE_CHECKING, Any

import pytest
import trio

import trio_ws
from tests.network import URL, Network, echo, install
from trio_ws.cli.bench import command
from trio_ws.cli.bench.load import destination_for
from trio_ws.cli.bench.processes import Processes
from trio_ws.cli.bench.tally import Tally
from trio_ws.cli.failures import Interrupted, LocalFailure, Unmet, Usage
from trio_ws.cli.options.bench import BenchOptions
from trio_ws.cli.options.client import Color

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console


def options_of(**changes: Any) -> BenchOptions:
    defaults: dict[str, Any] = {
        "url": URL,
        "connections": 2,
        "warmup": 0.0,
        "duration": 0.02,
        "quiet": True,
    }
    return BenchOptions(**{**defaults, **changes})


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> Network:
    return install(monkeypatch)


@pytest.fixture(autouse=True)
def bound_on_files() -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def run(
    monkeypatch: pytest.MonkeyPatch, network: Network, handler: Any = echo, **changes: Any
) -> None:
    """The command, with a server beside it in its event loop."""
    real = command._run

    async def served(runner: Any, options: BenchOptions) -> None:
        failure: Interrupted | None = None
        async with network.served(handler):
            try:
                await real(runner, options)
            except Interrupted as error:
                failure = error
        if failure is not None:
            raise failure

    monkeypatch.setattr(command, "_run", served)
    command.run(options_of(**changes))


def test_the_result_is_on_stdout(
    monkeypatch: pytest.MonkeyPatch, network: Network, capsys: pytest.CaptureFixture[str]
) -> None:
    run(monkeypatch, network)
    out, err = capsys.readouterr()
    assert out.startswith("ws://testserver/feed: 2 connections, 1 on the way on each")
    assert "no errors" in out
    assert err == ""


def test_as_one_object_in_json(
    monkeypatch: pytest.MonkeyPatch, network: Network, capsys: pytest.CaptureFixture[str]
) -> None:
    run(monkeypatch, network, json=True, rate=500.0, fail_if=("p99>1000s",))
    result = json.loads(capsys.readouterr().out)
    assert (result["opened"], result["errors"], result["failed"]) == (2, 0, [])


@pytest.mark.parametrize("on_terminal", [True, False])
def test_progress_is_on_stderr(
    monkeypatch: pytest.MonkeyPatch,
    network: Network,
    capsys: pytest.CaptureFixture[str],
    on_terminal: bool,
) -> None:
    shown: list[Console | None] = []

    async def show(progress: Any, console: Console | None) -> None:
        shown.append(console)
        await trio.sleep_forever()

    monkeypatch.setattr("trio_ws.cli.bench.progress.Progress.show", show)
    monkeypatch.setattr("sys.stderr.isatty", lambda: on_terminal, raising=False)
    run(monkeypatch, network, quiet=False)
    (console,) = shown
    assert (console is not None) is on_terminal
    assert console is None or console.stderr


def test_a_threshold_that_is_not_met(
    monkeypatch: pytest.MonkeyPatch, network: Network, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(Unmet, match=r"^p50>=0us: p50 is .*; errors<1: errors is 0$"):
        run(monkeypatch, network, fail_if=("p50>=0us", "errors<1", "errors>0"))
    # The report comes first.
    assert "no errors" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"fail_if": ("p99>5",)}, "needs a unit"),
        ({"rate": 5.0, "pipeline": 2}, "--rate and --pipeline exclude each other"),
        ({"processes": 3}, "there are only 2 connections to share"),
    ],
)
def test_what_makes_no_sense_is_refused_at_once(
    network: Network, changes: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(Usage, match=complaint):
        command.run(options_of(**changes))
    assert network.attempts == []


def test_all_refused_is_the_code_of_the_first(
    network: Network, capsys: pytest.CaptureFixture[str]
) -> None:
    network.failures.append(ConnectionRefusedError(111, "refused"))
    network.down = TimeoutError(110, "too late")
    with pytest.raises(SystemExit) as caught:
        command.run(options_of())
    assert caught.value.code == 3
    out, err = capsys.readouterr()
    assert (out, err) == ("", "trio-ws: error: none of 2 connections opened: refused\n")


def test_every_connection_lost_is_a_report_and_a_code(
    monkeypatch: pytest.MonkeyPatch, network: Network, capsys: pytest.CaptureFixture[str]
) -> None:
    async def leaves(ws: trio_ws.WebSocket) -> None:
        await ws.send(await ws.receive())
        await ws.aclose(1001)

    with pytest.raises(SystemExit) as caught:
        run(monkeypatch, network, leaves, fail_if=("errors>0",))
    assert caught.value.code == 7
    out, err = capsys.readouterr()
    assert "1001 (going away)" in out
    assert err == "trio-ws: error: every connection ended before its time\n"


def test_a_signal_ends_it_and_it_is_reported(
    monkeypatch: pytest.MonkeyPatch, network: Network, capsys: pytest.CaptureFixture[str]
) -> None:
    async def interrupts(ws: trio_ws.WebSocket) -> None:
        for _ in range(3):
            await ws.send(await ws.receive())
        signal.raise_signal(signal.SIGINT)
        await echo(ws)

    with pytest.raises(Interrupted) as caught:
        run(monkeypatch, network, interrupts, duration=100.0, connections=1)
    assert caught.value.code == 130
    assert "messages/s" in capsys.readouterr().out


def test_a_signal_before_anything_is_open_is_no_report(
    monkeypatch: pytest.MonkeyPatch, network: Network, capsys: pytest.CaptureFixture[str]
) -> None:
    async def dial(*_: Any, **__: Any) -> Any:
        signal.raise_signal(signal.SIGINT)
        await trio.sleep_forever()

    monkeypatch.setattr(trio_ws._client, "open_stream", dial)
    with pytest.raises(Interrupted):
        run(monkeypatch, network)
    assert capsys.readouterr() == ("", "")


def test_several_processes_are_asked_for() -> None:
    options = options_of(processes=2)
    destination = destination_for(options)
    assert isinstance(command._runner(destination, options), Processes)


def test_a_worker_that_failed_is_an_error_of_this_machine() -> None:
    tally = Tally(opened=2, crashed=1)
    with pytest.raises(LocalFailure, match="1 worker process failed"):
        command._judge(tally, [])


def test_closing_does_not_take_long_and_replies_are_accepted() -> None:
    options = destination_for(options_of(size=5_000_000)).options
    assert options["timeouts"].close_timeout == 2.0
    assert options["limits"].max_message_size == 5_000_000


@pytest.mark.parametrize(
    ("color", "environment", "coloured"),
    [
        (Color.ALWAYS, {"NO_COLOR": "1"}, True),
        (Color.NEVER, {"FORCE_COLOR": "1"}, False),
        (Color.AUTO, {"FORCE_COLOR": "1"}, True),
        (Color.AUTO, {"NO_COLOR": "1", "FORCE_COLOR": "1"}, False),
        (Color.AUTO, {}, False),
    ],
)
def test_colours(
    monkeypatch: pytest.MonkeyPatch, color: Color, environment: dict[str, str], coloured: bool
) -> None:
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    console = command._console(options_of(color=color))
    with console.capture() as capture:
        console.print("[red]x[/]")
    assert ("\x1b[31m" in capture.get()) is coloured


# Open files


@pytest.mark.parametrize(
    ("soft", "hard", "needed", "raised"),
    [
        (100, 1000, 50, None),
        (100, 1000, 500, (500, 1000)),
        (100, resource.RLIM_INFINITY, 500, (500, resource.RLIM_INFINITY)),
        (resource.RLIM_INFINITY, resource.RLIM_INFINITY, 500, None),
    ],
)
def test_the_bound_on_open_files_is_raised(
    monkeypatch: pytest.MonkeyPatch,
    soft: int,
    hard: int,
    needed: int,
    raised: tuple[int, int] | None,
) -> None:
    given: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "getrlimit", lambda _: (soft, hard))
    monkeypatch.setattr(resource, "setrlimit", lambda _, bounds: given.append(bounds))
    command._allow_files(needed)
    assert given == ([] if raised is None else [raised])


def test_more_files_than_the_system_allows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (100, 200))
    with pytest.raises(LocalFailure, match=r"need 201 open files .* allows 200"):
        command._allow_files(201)
