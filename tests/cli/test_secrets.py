"""Where secrets are read from."""

from __future__ import annotations

import getpass
import os
from typing import TYPE_CHECKING, Any

import pytest

from trio_ws.cli.failures import Usage, cleared
from trio_ws.cli.secrets import read_lines, read_secret, read_value

from .helpers import fed

if TYPE_CHECKING:
    from pathlib import Path


def test_a_secret_may_stand_in_the_command_a_file_or_the_input(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("from a file\r\n")
    assert read_secret("itself", "--bearer") == "itself"
    assert read_secret(f"@{file}", "--bearer") == "from a file"
    with fed(b"from the input\nmore"):
        assert read_secret("-", "--bearer") == "from the input"
        # What is to be sent stays where it is.
        assert os.read(0, 100) == b"more"
    assert cleared("itself, from a file, from the input") == "***, ***, ***"


def test_a_value_is_not_hidden() -> None:
    assert read_value("user:x", "--auth") == "user:x"
    assert cleared("user:x") == "user:x"


def test_a_line_without_an_end() -> None:
    with fed(b"token"):
        assert read_secret("-", "--bearer") == "token"


def test_what_goes_on_and_on_is_no_secret() -> None:
    with fed(b"x" * 60_000):
        assert len(read_secret("-", "--bearer")) == 60_000
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("os.read", lambda descriptor, size: b"x")
        assert len(read_secret("-", "--bearer")) == 64 * 1024


def test_at_a_terminal_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def ask(prompt: str, stream: Any) -> str:
        asked.append(prompt)
        return "typed"

    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr(getpass, "getpass", ask)
    assert read_secret("-", "--bearer") == "typed"
    assert asked == ["--bearer: "]


@pytest.mark.parametrize("given", ["", "-", "@/dev/null"])
def test_nothing_is_no_secret(given: str) -> None:
    with fed(b""), pytest.raises(Usage, match="--bearer: there is nothing in it"):
        read_secret(given, "--bearer")


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(Usage, match="--bearer: cannot read /nowhere: No such file"):
        read_secret("@/nowhere", "--bearer")
    file = tmp_path / "token"
    file.write_bytes(b"\xff")
    with pytest.raises(Usage, match=r"--bearer: .*token is not UTF-8 text"):
        read_secret(f"@{file}", "--bearer")
    with fed(b"\xff\n"), pytest.raises(Usage, match="--bearer: the input is not UTF-8 text"):
        read_secret("-", "--bearer")


def test_lines_of_a_file(tmp_path: Path) -> None:
    file = tmp_path / "headers"
    file.write_text("A: 1\n\n  \nB: 2\n")
    assert read_lines(str(file), "--header") == ["A: 1", "B: 2"]
