"""The options of the command, and that they reach what they are for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trustme
from typer.testing import CliRunner

from trio_ws.cli import app as app_module
from trio_ws.cli import client, serve
from trio_ws.cli.app import app, main
from trio_ws.cli.failures import Usage
from trio_ws.cli.options.serve import ServeOptions

if TYPE_CHECKING:
    from pathlib import Path

runner = CliRunner()


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


def test_client_hands_its_options_on(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[client.ClientOptions] = []
    monkeypatch.setattr(client, "run", given.append)
    result = runner.invoke(app, ["client", "ws://x", "--linger", "0.5", "--max-size", "99"])
    assert result.exit_code == 0, result.output
    assert given == [
        client.ClientOptions(
            url="ws://x",
            compress=False,
            max_size=99,
            connect_timeout=10.0,
            linger=0.5,
            on_connect=(),
            reconnect=False,
            max_attempts=None,
            max_delay=60.0,
            ping_interval=20.0,
            ping_timeout=20.0,
        )
    ]


@pytest.mark.parametrize("option", ["--max-attempts", "--max-delay"])
def test_options_of_reconnecting_need_it(option: str) -> None:
    result = runner.invoke(app, ["client", "ws://x", option, "3"])
    assert result.exit_code == 2
    assert "--reconnect" in result.output


def test_main_turns_failures_into_exit_codes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail() -> None:
        raise ConnectionRefusedError("nobody there")

    monkeypatch.setattr(app_module, "app", fail)
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 3
    assert capsys.readouterr().err == "trio-ws: error: nobody there\n"


def test_main_leaves_exits_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def leave() -> None:
        raise SystemExit(2)

    monkeypatch.setattr(app_module, "app", leave)
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 2
