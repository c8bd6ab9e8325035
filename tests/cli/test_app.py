"""The options of the command, and that they reach what they are for."""

from __future__ import annotations

import os
import signal
import sys
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import pytest
import trustme
from typer.testing import CliRunner

from trio_ws.cli import app as app_module
from trio_ws.cli import client, serve
from trio_ws.cli.app import COMMANDS, main, make_app
from trio_ws.cli.failures import Usage
from trio_ws.cli.options.client import ClientOptions, ListenOptions, SendOptions
from trio_ws.cli.options.serve import ServeOptions

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

runner = CliRunner()
app = make_app()


def test_help_names_the_commands_and_the_exit_codes() -> None:
    result = runner.invoke(app, ["--help"])
    assert result.exit_code == 0
    assert "serve" in result.output
    assert "client" in result.output
    assert "Exit codes" in runner.invoke(app, ["client", "--help"]).output


def test_serve_hands_its_options_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    given: list[ServeOptions] = []
    monkeypatch.setattr(serve, "run", given.append)
    certificate = tmp_path / "cert.pem"
    trustme.CA().cert_pem.write_to_path(str(certificate))
    arguments = ["serve", "--port", "0", "--path", "/ws", "--tls-cert", str(certificate)]
    result = runner.invoke(app, [*arguments, "--tls-key", str(certificate), "--compress"])
    assert result.exit_code == 0, result.output
    assert given == [
        ServeOptions(
            port=0,
            path="/ws",
            tls_cert=certificate,
            tls_key=certificate,
            compress=True,
        )
    ]


def test_a_key_needs_its_certificate(tmp_path: Path) -> None:
    key = tmp_path / "key.pem"
    key.touch()
    result = runner.invoke(app, ["serve", "--tls-key", str(key)])
    assert isinstance(result.exception, Usage)
    assert "give --tls-cert as well" in str(result.exception)


@pytest.mark.parametrize(
    ("command", "function", "kind"),
    [
        ("client", "run_client", ClientOptions),
        ("send", "run_send", SendOptions),
        ("listen", "run_listen", ListenOptions),
    ],
)
def test_clients_hand_their_options_on(
    command: str, function: str, kind: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[Any] = []
    monkeypatch.setattr(client, function, given.append)
    arguments = ["-1", "-H", "A: 1", "-H", "B: 2", "--retry-on", "4000", "--max-size", "99"]
    result = runner.invoke(app, [command, "ws://x", *arguments])
    assert result.exit_code == 0, result.output
    assert given == [
        kind(url="ws://x", one=True, header=("A: 1", "B: 2"), retry_on="4000", max_size=99)
    ]


def test_messages_stand_behind_the_url(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[Any] = []
    monkeypatch.setattr(client, "run_client", given.append)
    runner.invoke(app, ["client", "ws://x", "a", "--", "-b"])
    assert given == [ClientOptions(url="ws://x", message=("a", "-b"))]


@pytest.mark.parametrize(
    "arguments", [["client"], ["listen", "x", "message"], ["send", "x", "--linger", "1"]]
)
def test_what_a_command_does_not_take(arguments: list[str]) -> None:
    assert runner.invoke(app, arguments).exit_code == 2


def test_the_version_is_told() -> None:
    result = runner.invoke(app, ["--version"])
    assert (result.exit_code, result.output) == (0, f"trio-ws {version('trio-ws')}\n")


def test_main_turns_failures_into_exit_codes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail() -> None:
        raise ConnectionRefusedError("nobody there")

    monkeypatch.setattr(app_module, "make_app", lambda names: fail)
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 3
    assert capsys.readouterr().err == "trio-ws: error: nobody there\n"


def test_main_leaves_exits_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def leave() -> None:
        raise SystemExit(2)

    monkeypatch.setattr(app_module, "make_app", lambda names: leave)
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 2


@pytest.mark.parametrize("by", ["option", "variable"])
def test_a_traceback_is_shown_where_it_is_asked_for(
    by: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail() -> None:
        raise ConnectionRefusedError("nobody there")

    monkeypatch.setattr(app_module, "make_app", lambda names: fail)
    if by == "option":
        monkeypatch.setattr("sys.argv", ["trio-ws", "client", "ws://x", "--debug"])
    else:
        monkeypatch.setenv("TRIO_WS_DEBUG", "1")
    with pytest.raises(SystemExit):
        main()
    assert capsys.readouterr().err.startswith("Traceback")


def test_only_the_options_of_a_command_that_is_named_are_read() -> None:
    some = make_app(["trio-ws", "ping", "--help"])
    assert "--interval" in runner.invoke(some, ["ping", "--help"]).output
    listed = runner.invoke(some, ["--help"]).output
    assert listed == runner.invoke(app, ["--help"]).output
    for command in COMMANDS:
        assert command.name in listed
    assert "--header" not in runner.invoke(some, ["send", "--help"]).output
    assert isinstance(runner.invoke(some, ["send"]).exception, AssertionError)


def test_a_shell_that_asks_for_completions_is_told_of_every_option(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[object] = []
    monkeypatch.setenv("_TRIO_WS_COMPLETE", "complete_bash")
    monkeypatch.setattr(app_module, "make_app", lambda names: lambda: asked.append(names))
    with pytest.raises(SystemExit):
        main()
    assert asked == [None]


@pytest.fixture(autouse=True)
def own_sigint() -> Iterator[None]:
    """`main` ignores SIGINT when it has ended; the tests go on."""
    before = signal.getsignal(signal.SIGINT)
    yield
    signal.signal(signal.SIGINT, before)


def test_a_second_ctrl_c_while_the_first_is_dealt_with(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*arguments: object, **options: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(app_module, "make_app", lambda names: interrupted)
    monkeypatch.setattr("trio_ws.cli.failures.exit_code", interrupted)
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 130
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN


def test_closed_streams_are_replaced_by_the_null_device(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("stdin", "stdout", "stderr"):
        monkeypatch.setattr(sys, name, None)
    monkeypatch.setattr(app_module, "make_app", lambda names: lambda: print("into the void"))
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 0
    assert sys.stdin.read() == ""
    for name in ("stdin", "stdout", "stderr"):
        assert getattr(sys, name).name == os.devnull
        getattr(sys, name).close()
