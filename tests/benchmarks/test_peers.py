"""Every peer that is installed echoes, receives and sends."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from benchmarks.__main__ import certificate
from benchmarks.cases import CASES, Case
from benchmarks.pace import Pace
from benchmarks.peers import NODE_WS, PEERS, Peer
from benchmarks.processes import Process, ProcessError, resident_kib, usage
from benchmarks.running import Cores, Record, Setting, Turns

#: One of each mode, text and binary, with the least load.
MODES = (
    *("tls-round-trips", "deflate-200b"),
    *("1m-binary-client", "client-receive", "client-send"),
)
PACE = Pace(rounds=1, seconds=0.01, warm_up=0.0, most_connections=2)


@pytest.fixture(scope="module")
def setting(tmp_path_factory: pytest.TempPathFactory) -> Setting:
    chain, key = certificate(Path(tmp_path_factory.mktemp("tls")))
    return Setting(pace=PACE, cores=Cores.found(), certificate=chain, key=key)


def small(case: Case) -> Case:
    load = case.load
    in_flight = min(load.in_flight, 2)
    return dataclasses.replace(case, load=dataclasses.replace(load, in_flight=in_flight))


@pytest.mark.parametrize("peer", PEERS, ids=lambda peer: peer.name)
def test_every_mode(peer: Peer, setting: Setting) -> None:
    if why := peer.missing():
        pytest.skip(why)
    record = Record([peer])
    cases = [small(case) for case in CASES if case.name in MODES]
    assert len(cases) == len(MODES)
    with Turns(setting, record) as turns:
        for case in cases:
            turns.run(case)
    for cell in record.cells:
        if cell.note:
            assert cell.note == cell.case.lacking(peer)
        else:
            assert cell.measurements[0].messages > 0


def test_versions_of_what_is_installed() -> None:
    for peer in PEERS:
        if not peer.missing():
            assert all(peer.versions().values())


def test_node_is_missing_where_it_is_not_on_the_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert NODE_WS.missing() == "Node is not here"


def test_a_process_that_ends_tells_why() -> None:
    with Process(["sh", "-c", "echo first >&2; echo last >&2; exit 3"]) as process:
        with pytest.raises(ProcessError, match="ended with status 3: last"):
            process.answer(20)
    with Process(["true"]) as process, pytest.raises(ProcessError, match="ended with status 0"):
        process.answer(20)


def test_a_process_that_says_nothing() -> None:
    with Process(["sleep", "60"]) as process:
        assert process.alive
        assert resident_kib(process.pid) > 0
        assert usage(process.pid).ran >= 0
        with pytest.raises(ProcessError, match=r"said nothing for 0.01 s"):
            process.answer(0.01)
    assert not process.alive
