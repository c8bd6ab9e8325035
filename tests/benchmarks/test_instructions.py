"""The gate on instructions per message: what it counts, and when it fails. Without valgrind."""

from __future__ import annotations

import gc
import platform
import subprocess
import sys
import sysconfig
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from benchmarks import callgrind, counted, instructions
from benchmarks.callgrind import CountingFailed, environment, functions_in, instructions_in
from benchmarks.counted import BURST, CASES, LARGE, PROGRAMS, RAW, SMALL, Peer
from benchmarks.recorded import (
    BOUNDS,
    Build,
    Record,
    find,
    judge,
    judge_ratio,
    read,
    this_build,
    with_record,
    write,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from benchmarks.recorded import Figures

BUILD = Build(
    python="3.11.7",
    compiler="GCC 12.2.0",
    options="-O3",
    libc="glibc 2.36",
    machine="x86_64",
    trio="0.30.0",
    speedups=True,
)
#: A file of callgrind's that begins in the middle of a call, as those that are cut out do.
PART = """\
# callgrind format
version: 1
part: 2

desc: Trigger: --dump-before=getppid

positions: line
events: Ir
summary: 1230

ob=(1) libc.so.6
fl=(1) ???
fn=(0) 0x000000000001ab70
cfn=(2) main
calls=0 0
0 1230

fn=(2)
17 100
+3 20
cob=(3) libpython3.11.so.1.0
cfi=(4) ceval.c
cfn=(5) eval
calls=12 -9
* 1000
* 10

fn=(5)
fi=(6) inlined.h
40 600
fe=(4)
-2 400

fn=(7) free
9 100
"""


class Counts:
    """Stands in for valgrind."""

    def __init__(self, figures: Figures) -> None:
        self.figures = figures
        self.asked: list[tuple[tuple[str, ...], bool]] = []

    def count(self, programs: Sequence[str], *, speedups: bool) -> Figures:
        self.asked.append((tuple(programs), speedups))
        return {name: self.figures[name] for name in programs}


@pytest.fixture
def counts(monkeypatch: pytest.MonkeyPatch) -> Counts:
    counts = Counts({name: 2000.0 if name in CASES else 1000.0 for name in PROGRAMS})
    monkeypatch.setattr(callgrind, "works", lambda: True)
    monkeypatch.setattr(callgrind, "count", counts.count)
    monkeypatch.setattr(instructions, "CODECS", (True, False))
    return counts


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where figures are recorded: nothing yet."""
    file = tmp_path / "instructions.json"
    monkeypatch.setattr(instructions, "read", lambda: read(file))
    monkeypatch.setattr(instructions, "write", lambda records: write(records, file))
    return file


def record_here(file: Path, figure: int) -> None:
    """Record *figure* of every case, for this Python and both codecs."""
    figures = dict.fromkeys(CASES, figure)
    write([Record(this_build(speedups=codec), figures) for codec in (True, False)], file)


# Verdicts


@pytest.mark.parametrize(
    ("count", "failed", "says"),
    [
        (1051, True, "bulk: 1,051 instructions per message, +5.1%"),
        (1049, False, "+4.9%"),
        (1000, False, "+0.0%"),
        (951, False, "-4.9%"),
        (940, False, "should be recorded"),
    ],
)
def test_only_what_is_over_the_tolerance_fails(count: int, failed: bool, says: str) -> None:
    verdict = judge("bulk", count, 1000)
    assert verdict.failed is failed
    assert says in verdict.text


def test_within_the_tolerance_nothing_is_advised() -> None:
    assert "record (" not in judge("bulk", 960, 1000).text
    assert judge("bulk", 960, 1000).text.endswith("recorded figure")


def test_a_ratio_to_raw_trio_is_told_and_never_fails() -> None:
    within = judge_ratio("round-trip", 1200, 1000)
    beyond = judge_ratio("round-trip", 99_000, 1000)
    assert "1.20 times" in within.text
    assert "expected" not in within.text
    assert "99.00 times those of raw Trio: expected at most" in beyond.text
    assert not within.failed
    assert not beyond.failed


def test_every_case_has_a_bound_and_a_counterpart() -> None:
    assert set(BOUNDS) == set(CASES)
    assert set(PROGRAMS) == {*CASES, *(RAW + case for case in CASES)}


# What is recorded


def test_what_is_written_is_read(tmp_path: Path) -> None:
    records = [Record(BUILD, {"bulk": 12}), Record(replace(BUILD, speedups=False), {"bulk": 34})]
    write(records, tmp_path / "figures.json")
    assert read(tmp_path / "figures.json") == records


def test_no_file_is_no_records(tmp_path: Path) -> None:
    assert read(tmp_path / "figures.json") == []


@pytest.mark.parametrize(
    "other",
    [
        replace(BUILD, python="3.11.8"),
        replace(BUILD, compiler="Clang 18.1.8"),
        replace(BUILD, options="-O2"),
        replace(BUILD, libc="glibc 2.41"),
        replace(BUILD, machine="aarch64"),
        replace(BUILD, trio="0.31.0"),
        replace(BUILD, speedups=False),
    ],
)
def test_figures_belong_to_one_build(other: Build) -> None:
    records = [Record(BUILD, {"bulk": 12})]
    assert find(BUILD, records) == {"bulk": 12}
    assert find(other, records) is None


def test_a_new_record_replaces_that_of_the_same_python() -> None:
    kept = [
        Record(replace(BUILD, python="3.12.1"), {"bulk": 1}),
        Record(replace(BUILD, speedups=False), {"bulk": 2}),
    ]
    new = Record(replace(BUILD, trio="0.31.0"), {"bulk": 4})
    records = with_record([Record(BUILD, {"bulk": 3}), *kept], new)
    assert len(records) == 3
    assert find(new.build, records) == {"bulk": 4}
    assert all(record in records for record in kept)


def test_profile_guided_builds_are_told_apart_by_their_date(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = {"OPT": "-O3", "CONFIG_ARGS": "'--prefix=/usr' '--enable-optimizations'"}
    monkeypatch.setattr(sysconfig, "get_config_var", asked.get)
    monkeypatch.setattr(platform, "python_build", lambda: ("main", "Jan 1 2030"))
    assert this_build(speedups=True).options == "-O3 --enable-optimizations Jan 1 2030"


def test_every_record_in_the_repository_has_every_case() -> None:
    records = read()
    assert records
    assert all(set(record.instructions) == set(CASES) for record in records)


# The gate


def test_the_gate_passes_within_the_tolerance(counts: Counts, file: Path) -> None:
    record_here(file, 1990)
    assert instructions.main([]) == 0
    assert sorted(counts.asked) == [(CASES, False), (CASES, True)]


def test_the_gate_fails_over_it(
    counts: Counts, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record_here(file, 1800)
    assert instructions.main(["--case", "bulk"]) == 1
    assert "FAILED bulk: 2,000 instructions per message, +11.1%" in capsys.readouterr().out


def test_the_gate_passes_under_it(
    counts: Counts, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record_here(file, 3000)
    assert instructions.main([]) == 0
    assert "--record" in capsys.readouterr().out


def test_a_build_that_is_not_recorded_is_compared_with_raw_trio(
    counts: Counts, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert instructions.main(["--case", "bulk"]) == 0
    assert counts.asked[0][0] == ("bulk", "raw-bulk")
    printed = capsys.readouterr().out
    assert "not recorded, so nothing can fail" in printed
    assert "2.00 times those of raw Trio" in printed


def test_recording_makes_the_gate_pass(counts: Counts, file: Path) -> None:
    record_here(file, 1)
    assert instructions.main(["--record"]) == 0
    assert [record.instructions for record in read(file)] == [dict.fromkeys(CASES, 2000)] * 2
    assert instructions.main([]) == 0


@pytest.mark.parametrize(("required", "status"), [("", 0), ("valgrind", 1), ("all", 1)])
def test_without_valgrind_the_gate_is_skipped_unless_required(
    required: str, status: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setenv("TRIO_WS_REQUIRE", required)
    assert instructions.main([]) == status
    assert "skipped: there is no valgrind" in capsys.readouterr().out


def test_a_valgrind_that_does_not_work_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "valgrind"
    broken.write_text("#!/bin/sh\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert not callgrind.works()


def test_a_profile_shows_functions(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(callgrind, "works", lambda: True)
    monkeypatch.setattr(callgrind, "parts_of", lambda programs, speedups: [PART])
    assert instructions.main(["--case", "bulk", "--profile"]) == 0
    assert capsys.readouterr().out.splitlines()[:2] == [
        "bulk: 4 per message, of which",
        "          3  eval",
    ]


# What callgrind writes


def test_the_instructions_of_a_part_are_its_summary() -> None:
    assert instructions_in(PART) == 1230


def test_a_part_without_a_summary_is_no_count() -> None:
    with pytest.raises(CountingFailed, match="no summary"):
        instructions_in("version: 1\n")


def test_a_function_has_its_own_instructions_and_not_those_it_calls() -> None:
    costs = functions_in(PART)
    assert +costs == Counter({"eval": 1000, "main": 130, "free": 100})
    assert costs.total() == instructions_in(PART)


def test_programs_that_fail_are_no_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = tmp_path / "valgrind"
    broken.write_text("#!/bin/sh\necho out of order\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(CountingFailed, match="out of order"):
        callgrind.count(["bulk"], speedups=True)


@pytest.mark.parametrize("asked", [[], ["--record"], ["--profile"]])
def test_a_count_that_fails_is_told_and_fails(
    asked: list[str],
    counts: Counts,
    file: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail(programs: Sequence[str], *, speedups: bool) -> Figures:
        raise CountingFailed("out of order")

    monkeypatch.setattr(callgrind, "count", fail)
    monkeypatch.setattr(callgrind, "parts_of", fail)
    assert instructions.main(asked) == 1
    assert capsys.readouterr().err == "out of order\n"
    assert not file.exists()


def test_the_counted_process_has_a_fixed_hash_seed_and_the_codec_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PYTHONMALLOC", "debug")
    monkeypatch.setenv("PYTHONHASHSEED", "5")
    monkeypatch.setenv("TRIO_WS_NO_SPEEDUPS", "1")
    assert environment(speedups=True).keys().isdisjoint({"PYTHONMALLOC", "TRIO_WS_NO_SPEEDUPS"})
    assert environment(speedups=True)["PYTHONHASHSEED"] == "0"
    assert environment(speedups=False)["TRIO_WS_NO_SPEEDUPS"] == "1"


# What is counted

CLIENT_HEADER = 2 + 4
SERVER_HEADER = 2
LARGE_HEADER = 4
#: What the peer writes and reads for one message.
SIZES = {
    "round-trip": (CLIENT_HEADER + SMALL, SERVER_HEADER + SMALL),
    "pipelined": (CLIENT_HEADER + SMALL, SERVER_HEADER + SMALL),
    "bulk": (LARGE_HEADER + LARGE, LARGE_HEADER + 4 + LARGE),
    "raw-round-trip": (SMALL, SMALL),
    "raw-pipelined": (SMALL, SMALL),
    "raw-bulk": (LARGE, LARGE),
}


class Traffic:
    """Counts what peers write and read."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.written = self.read = 0
        write, receive = Peer.write, Peer.receive

        def counting_write(peer: Peer, data: bytes) -> None:
            self.written += len(data)
            write(peer, data)

        async def counting_receive(peer: Peer) -> bytes:
            data = await receive(peer)
            self.read += len(data)
            return data

        monkeypatch.setattr(Peer, "write", counting_write)
        monkeypatch.setattr(Peer, "receive", counting_receive)


@pytest.mark.parametrize("name", PROGRAMS)
async def test_a_program_sends_as_many_messages_as_it_is_asked_to(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    traffic = Traffic(monkeypatch)
    async with PROGRAMS[name].connected() as exchange:
        await exchange(BURST)
        before = traffic.written, traffic.read
        await exchange(BURST)
        after = traffic.written, traffic.read
    written, read = (end - begin for begin, end in zip(before, after, strict=True))
    assert (written, read) == tuple(BURST * size for size in SIZES[name])


async def test_what_counts_is_between_two_marks(monkeypatch: pytest.MonkeyPatch) -> None:
    traffic = Traffic(monkeypatch)
    marks: list[int] = []
    monkeypatch.setattr(counted, "mark", lambda: marks.append(traffic.written))
    monkeypatch.setattr(gc, "disable", lambda: None)
    await counted.run(["round-trip", "raw-round-trip"])
    begin, end, begin_raw, end_raw = marks
    assert end - begin == PROGRAMS["round-trip"].messages * (CLIENT_HEADER + SMALL)
    assert end_raw - begin_raw == PROGRAMS["raw-round-trip"].messages * SMALL


def test_the_programs_run_by_themselves() -> None:
    command = [sys.executable, "-m", "benchmarks.counted", *PROGRAMS]
    assert subprocess.run(command, cwd=callgrind.ROOT, check=False).returncode == 0
