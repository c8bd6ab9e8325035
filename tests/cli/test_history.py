"""The history of each host: where it is, who may read it, and how long it gets."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

import pytest

from trio_ws._url import parse_url
from trio_ws.cli import history
from trio_ws.cli.history import open_history

if TYPE_CHECKING:
    from pathlib import Path

    from prompt_toolkit.history import FileHistory

TARGET = parse_url("wss://example.com/feed")


def opened(home: Path) -> FileHistory:
    opened = open_history(TARGET, {"XDG_STATE_HOME": str(home)})
    assert opened is not None
    return opened


def newest_first(home: Path) -> list[str]:
    return list(opened(home).load_history_strings())


def test_what_was_typed_is_there_the_next_time(tmp_path: Path) -> None:
    first = opened(tmp_path)
    first.store_string("one")
    first.store_string("two\nlines, é and \udcff")
    assert newest_first(tmp_path) == ["two\nlines, é and ?", "one"]


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("wss://example.com/feed?x", "example.com_443"),
        ("ws://[::1]:8000", "__1_8000"),
        ("ws+unix:/run/app.sock", "_run_app.sock"),
    ],
)
def test_each_host_has_a_file_that_nobody_else_can_read(
    url: str, name: str, tmp_path: Path
) -> None:
    assert open_history(parse_url(url), {"XDG_STATE_HOME": str(tmp_path)}) is not None
    file = tmp_path / "trio-ws" / "history" / name
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700


def test_without_a_state_home_it_is_below_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / ".local/state/trio-ws/history/example.com_443"
    assert open_history(TARGET, {"HOME": str(tmp_path)}) is not None
    assert file.exists()
    file.unlink()
    monkeypatch.setenv("HOME", str(tmp_path))
    assert open_history(TARGET, {"XDG_STATE_HOME": ""}) is not None
    assert file.exists()


def test_only_the_newest_thousand_are_kept(tmp_path: Path) -> None:
    first = opened(tmp_path)
    for number in range(1010):
        first.store_string(f"{number}\n# not an entry")
    kept = newest_first(tmp_path)
    assert kept == [f"{number}\n# not an entry" for number in range(1009, 9, -1)]
    (file,) = (tmp_path / "trio-ws" / "history").iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_large_entries_are_dropped_sooner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = opened(tmp_path)
    for letter in "abc":
        first.store_string(letter * 100)
    monkeypatch.setattr(history, "_MOST_BYTES", 300)
    assert newest_first(tmp_path) == ["c" * 100, "b" * 100]


def test_a_home_that_cannot_be_written_to_costs_the_history(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert open_history(TARGET, {"XDG_STATE_HOME": str(tmp_path / "file")}) is None


def test_a_disk_that_is_full_costs_the_history(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = opened(tmp_path)
    first.store_string("a" * 100)
    monkeypatch.setattr(history, "_MOST_BYTES", 1)

    def full(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.replace", full)
    assert open_history(TARGET, {"XDG_STATE_HOME": str(tmp_path)}) is None
    assert os.listdir(tmp_path / "trio-ws" / "history") == ["example.com_443"]


def test_one_that_fills_up_later_costs_the_line(tmp_path: Path) -> None:
    first = opened(tmp_path)
    first.filename = str(tmp_path)
    first.store_string("lost")
