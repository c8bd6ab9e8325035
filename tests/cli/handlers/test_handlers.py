"""Which mode stands for which options, and which contradict each other."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from trio_ws.cli.failures import Usage
from trio_ws.cli.faults import Faulty
from trio_ws.cli.handlers import Recorded, handler_of
from trio_ws.cli.handlers.application import Application
from trio_ws.cli.handlers.broadcast import Broadcast, FarBroadcast
from trio_ws.cli.handlers.coding import Bytes, Lines, Text
from trio_ws.cli.handlers.echo import Echo
from trio_ws.cli.handlers.exec import Exec
from trio_ws.cli.handlers.interactive import Interactive
from trio_ws.cli.handlers.replay import Replay
from trio_ws.cli.handlers.shared import Shared
from trio_ws.cli.options.serve import ServeOptions
from trio_ws.cli.recording import Recorder

if TYPE_CHECKING:
    from trio_ws.cli.handlers.mode import Mode

RECORDED = '{"ts":1,"conn":"c1","type":"message","dir":"in","op":"text","data":"hello"}\n'


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, Echo),
        ({"echo": True}, Echo),
        ({"broadcast": True}, Broadcast),
        ({"broadcast": True, "backplane": "redis://localhost"}, FarBroadcast),
        ({"exec": "cat"}, Exec),
        ({"exec": "cat", "shared": True}, Shared),
        ({"interactive": True}, Interactive),
        ({"handler": "tests.network:echo"}, Application),
        ({"no_pong": True}, Faulty),
        ({"seed": 1}, Echo),
    ],
)
def test_each_option_has_its_mode(given: dict[str, Any], expected: type[Mode]) -> None:
    assert type(handler_of(ServeOptions(**given))) is expected


def test_a_recorded_mode_is_inside_its_faults() -> None:
    recorder = Recorder(lambda data: None)
    assert type(handler_of(ServeOptions(), recorder)) is Recorded
    faulty = handler_of(ServeOptions(no_pong=True), recorder)
    assert isinstance(faulty, Faulty)
    assert type(faulty._inner) is Recorded


def test_a_recording_is_read_before_anything_is_served(tmp_path: Path) -> None:
    recording = tmp_path / "recorded.jsonl"
    recording.write_text(RECORDED)
    assert type(handler_of(ServeOptions(replay=recording))) is Replay
    with pytest.raises(Usage, match="No such file"):
        handler_of(ServeOptions(replay=tmp_path / "nothing"))


@pytest.mark.parametrize(
    ("given", "expected"), [({}, Lines), ({"binary": True}, Bytes), ({"pty": True}, Text)]
)
def test_what_stands_between_a_process_and_messages(given: dict[str, Any], expected: type) -> None:
    mode = handler_of(ServeOptions(exec="cat", **given))
    assert isinstance(mode, Exec)
    assert type(mode._coding()) is expected
    assert mode._max_processes == 100


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ({"echo": True, "broadcast": True}, "--echo and --broadcast exclude each other"),
        ({"handler": "a:b", "exec": ""}, "a:b and --exec exclude each other"),
        ({"replay": Path("x"), "interactive": True}, "--interactive and --replay exclude"),
        ({"backplane": "redis://x"}, "--backplane .* give --broadcast as well"),
        ({"broadcast": True, "backplane": "localhost"}, "--backplane takes the URL of a Redis"),
        ({"broadcast": True, "backplane": "@/no/such"}, "--backplane: cannot read /no/such"),
        ({"exec": " "}, "--exec: there is no command"),
        ({"shared": True}, "--shared .* give --exec as well"),
        ({"binary": True, "echo": True}, "--binary .* give --exec as well"),
        ({"pty": True}, "--pty .* give --exec as well"),
        ({"max_processes": 3}, "--max-processes .* give --exec as well"),
        ({"exec": "cat", "shared": True, "max_processes": 3}, "--shared runs one process"),
    ],
)
def test_what_contradicts_itself_is_named(given: dict[str, Any], complaint: str) -> None:
    with pytest.raises(Usage, match=complaint):
        handler_of(replace(ServeOptions(), **given))


def test_without_coredis_its_name_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "trio_ws.backplane.redis", None)
    options = ServeOptions(broadcast=True, backplane="redis://localhost")
    with pytest.raises(Usage, match=r"pip install 'trio-ws\[redis\]'"):
        handler_of(options)
