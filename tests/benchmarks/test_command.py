"""The command: its options, and a run from end to end."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from benchmarks import __main__ as command
from benchmarks import machine
from benchmarks.cases import CASES, chosen
from benchmarks.pace import FULL, QUICK, Pace
from benchmarks.peers import OURS, PEERS, RAW_EPOLL, RAW_TRIO, Peer
from benchmarks.running import Cores, Record, Setting, Turns

if TYPE_CHECKING:
    from pathlib import Path


def parsed(*argv: str) -> tuple[float, ...]:
    pace = command.pace(command.parser().parse_args(argv))
    return pace.rounds, pace.seconds, pace.most_connections


def test_pace() -> None:
    assert parsed() == (FULL.rounds, FULL.seconds, 5_000)
    assert parsed("--quick") == (QUICK.rounds, QUICK.seconds, 1_000)
    assert parsed("--quick", "--rounds", "3") == (3, QUICK.seconds, 1_000)
    assert parsed("--seconds", "2") == (FULL.rounds, 2.0, 5_000)


def test_cases_by_pattern() -> None:
    assert chosen(()) == CASES
    assert [case.name for case in chosen(["round-*", "idle"])] == [
        "round-trips-1",
        "round-trips-100",
        "idle",
    ]
    quick = {case.name for case in chosen((), quick=True)}
    assert {case.name for case in CASES} - quick == {
        *("4k-text", "1m-text", "4k-text-client", "1m-text-client", "growth-5000")
    }
    assert [case.name for case in chosen(["growth-5*"], quick=True)] == ["growth-5000"]


def test_ours_is_always_among_the_peers() -> None:
    assert command.peers_named(None) == list(PEERS)
    assert command.peers_named(["raw Trio TCP"]) == [OURS, RAW_TRIO]


@pytest.mark.parametrize(
    ("argv", "whole"),
    [
        ([], True),
        (["--rounds", "9"], True),
        (["--quick"], False),
        (["--cases", "4k*"], False),
        (["--peers", "trio-ws"], False),
    ],
)
def test_a_look_does_not_replace_the_results(argv: list[str], whole: bool) -> None:
    folder = command.output(command.parser().parse_args(argv))
    assert folder == (command.WHOLE if whole else command.PARTIAL)


def test_wrong_names(capsys: pytest.CaptureFixture[str]) -> None:
    for argv, said in (["--peers", "nobody"], "invalid choice"), (["--cases", "x"], "no case"):
        with pytest.raises(SystemExit, match="2"):
            command.main(argv)
        assert said in capsys.readouterr().err


def test_list(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["--list"]) == 0
    said = capsys.readouterr().out
    assert all(case.name in said for case in CASES)
    assert all(peer.name in said for peer in PEERS)


ARGUMENTS = ("--quick", "--seconds", "0.02", "--peers", "raw epoll")


@pytest.mark.usefixtures("_short")
def test_a_run(tmp_path: Path) -> None:
    argv = [*ARGUMENTS, "--cases", "round-trips-1", "client-r*", "idle", "--output", str(tmp_path)]
    assert command.main(argv) == 0
    data = json.loads((tmp_path / "results.json").read_text())
    medians = {(one["case"], one["peer"]): one["median"] for one in data["cells"]}
    # Five idle connections may fit into memory that was there.
    assert {key for key, median in medians.items() if median is not None} == {
        ("round-trips-1", "trio-ws"),
        ("round-trips-1", "raw epoll"),
        ("client-receive", "trio-ws"),
        ("idle", "trio-ws"),
    }
    assert data["versions"].keys() == {"trio-ws", "trio"}
    assert data["facts"]["Python"]
    assert "# Benchmarks" in (tmp_path / "results.md").read_text()


@pytest.fixture
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    """A quick run that is even quicker."""
    quick = Pace(rounds=1, warm_up=0.0, settle=0.0, hold=0.0, most_connections=5)
    monkeypatch.setattr(command, "QUICK", quick)
    monkeypatch.setattr(command, "raise_descriptor_limit", lambda: None)


@pytest.mark.usefixtures("_short")
def test_an_interrupted_run_writes_what_there_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add = Record.add

    def interrupt(record: Record, *arguments: object) -> None:
        add(record, *arguments)  # type: ignore[arg-type]
        raise KeyboardInterrupt

    monkeypatch.setattr(Record, "add", interrupt)
    argv = [*ARGUMENTS, "--cases", "round-trips-1", "--output", str(tmp_path)]
    assert command.main(argv) == 130
    data = json.loads((tmp_path / "results.json").read_text())
    assert [bool(one["measurements"]) for one in data["cells"]] == [True, False]
    assert data["notes"] == [command.INTERRUPTED]


def test_a_peer_that_fails_is_noted_and_the_others_go_on() -> None:
    broken = Peer(name="broken", module="does_not_exist", packages=())
    missing = Peer(name="missing", module="ours", packages=("no-such-thing",))
    pace = Pace(rounds=2, seconds=0.02, warm_up=0.0)
    setting = Setting(pace=pace, cores=Cores.found(), certificate="", key="")
    record = Record([broken, missing, RAW_EPOLL])
    with Turns(setting, record) as turns:
        turns.run(chosen(["round-trips-1"])[0])
    failed, skipped, fine = record.cells
    assert failed.note.startswith("failed: ended with status 1: ")
    assert "does_not_exist" in failed.note
    assert skipped.note == "not installed: no-such-thing"
    assert len(fine.measurements) == 2


def test_a_program_that_does_not_exist_is_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Peer, "command", ("/does/not/exist",))
    setting = Setting(pace=QUICK, cores=Cores.found(), certificate="", key="")
    record = Record([OURS])
    with Turns(setting, record) as turns:
        turns.run(chosen(["round-trips-1"])[0])
    assert "No such file" in record.cells[0].note


def test_facts() -> None:
    facts = machine.facts("make bench")
    assert {"date", "commit", "command", "processor", "memory", "system", "Python"} <= facts.keys()
    assert all(facts.values())


def test_one_core(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: {3})
    assert str(Cores.found()) == "all on core 3: there is no other, and rates are lower for it"
