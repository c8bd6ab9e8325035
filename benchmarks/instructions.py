"""How many instructions a message takes, counted by valgrind (``make instructions``).

    python -m benchmarks.instructions                                counts, and compares
    python -m benchmarks.instructions --record                       records new figures
    python -m benchmarks.instructions --case pipelined --profile     says where they go

Unlike times, counts are the same on a busy machine. They are compared with those in
``instructions.json``: one that is more than 5 % over is a failure. Where those of this build of
Python are not recorded, raw Trio is counted in the same run, and the ratio to it reported.

A count is of what runs between two marks of `benchmarks.counted`, where callgrind cuts: the
start and the opening handshake are in none.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final

from benchmarks.counted import CASES, PROGRAMS, RAW
from benchmarks.recorded import (
    Record,
    Verdict,
    find,
    judge,
    judge_ratio,
    read,
    this_build,
    with_record,
    write,
)
from tests.requirements import is_required
from trio_ws.protocol.masking import SPEEDUPS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.recorded import Figures

ROOT: Final = Path(__file__).resolve().parent.parent
#: Seconds. It takes 30; a program that hangs has no clock to notice it by.
PATIENCE: Final = 600
#: How many functions a profile shows.
TOP: Final = 20
_SUMMARY: Final = re.compile(r"^summary: (\d+)$", re.MULTILINE)
_CUT: Final = re.compile(r"^desc: Trigger: --dump-before=getppid$", re.MULTILINE)
_FUNCTION: Final = re.compile(r"^ *[\d,]+ \( ?[\d.]+%\)  (?!PROGRAM TOTALS)")


class CountingFailed(Exception):
    """Valgrind did not run the programs to their end."""


def environment(*, speedups: bool) -> dict[str, str]:
    """The counted process's: nothing in it changes what Python does from one run to the next."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    kept.pop("TRIO_WS_NO_SPEEDUPS", None)
    if not speedups:
        kept["TRIO_WS_NO_SPEEDUPS"] = "1"
    return {**kept, "PYTHONHASHSEED": "0"}


def cut(programs: Sequence[str], speedups: bool, folder: Path) -> list[Path]:
    """Run *programs* under callgrind; return the file that has each one's instructions."""
    out = folder / "callgrind.out"
    options = ["--tool=callgrind", "--dump-before=getppid", f"--callgrind-out-file={out}"]
    done = subprocess.run(
        ["valgrind", *options, sys.executable, "-m", "benchmarks.counted", *programs],
        cwd=ROOT,
        env=environment(speedups=speedups),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    # Each program marks the beginning and the end of what counts; what ends there is the part.
    parts = [Path(f"{out}.{2 * number}") for number in range(1, len(programs) + 1)]
    if done.returncode or not all(part.exists() for part in parts):
        raise CountingFailed(done.stdout + done.stderr)
    return parts


def instructions_in(part: str) -> int:
    """How many instructions one of callgrind's files is about."""
    found = _SUMMARY.search(part)
    if found is None or not _CUT.search(part):
        raise CountingFailed(f"not a part that callgrind cut at a mark: {part[:500]}")
    return int(found[1])


def count(programs: Sequence[str], *, speedups: bool) -> Figures:
    with TemporaryDirectory() as folder:
        parts = cut(programs, speedups, Path(folder))
        counts = [instructions_in(part.read_text()) for part in parts]
    return {
        name: total / PROGRAMS[name].messages for name, total in zip(programs, counts, strict=True)
    }


def compare(counted: Figures, recorded: Figures | None) -> list[Verdict]:
    """One verdict for each case: from *recorded*, or else from raw Trio's part of *counted*."""
    cases = [name for name in counted if not name.startswith(RAW)]
    if recorded is None:
        return [judge_ratio(case, counted[case], counted[RAW + case]) for case in cases]
    return [judge(case, counted[case], recorded[case]) for case in cases]


def check(cases: Sequence[str], *, speedups: bool) -> tuple[str, list[Verdict]]:
    """Count with one codec; return what it is about, and the verdicts."""
    build = this_build(speedups=speedups)
    recorded = find(build, read())
    if recorded is not None:
        return str(build), compare(count(cases, speedups=speedups), recorded)
    counted = count([*cases, *(RAW + case for case in cases)], speedups=speedups)
    return f"{build}: not recorded, so nothing can fail", compare(counted, None)


def report(title: str, verdicts: Sequence[Verdict]) -> None:
    print(title)
    for verdict in verdicts:
        print(f"  {'FAILED ' if verdict.failed else ''}{verdict.text}")


def gate(cases: Sequence[str], codecs: Sequence[bool]) -> int:
    with ThreadPoolExecutor() as threads:
        results = list(threads.map(lambda codec: check(cases, speedups=codec), codecs))
    for title, verdicts in results:
        report(title, verdicts)
    return int(any(verdict.failed for _, verdicts in results for verdict in verdicts))


def record(codecs: Sequence[bool]) -> int:
    with ThreadPoolExecutor() as threads:
        results = list(threads.map(lambda codec: count(CASES, speedups=codec), codecs))
    records = read()
    for speedups, figures in zip(codecs, results, strict=True):
        rounded = {case: round(figure) for case, figure in figures.items()}
        new = Record(this_build(speedups=speedups), rounded)
        records = with_record(records, new)
        print(f"{new.build}: recorded {rounded}")
    write(records)
    return 0


def top(annotated: str) -> list[str]:
    """The functions that take most, from callgrind_annotate's output."""
    return [line for line in annotated.splitlines() if _FUNCTION.match(line)][:TOP]


def profile(cases: Sequence[str], *, speedups: bool) -> int:
    with TemporaryDirectory() as folder:
        for case, part in zip(cases, cut(cases, speedups, Path(folder)), strict=True):
            annotate = ["callgrind_annotate", "--auto=no", str(part)]
            done = subprocess.run(annotate, capture_output=True, text=True, check=True)
            print(f"{case}:", *top(done.stdout), sep="\n")
    return 0


def works() -> bool:
    """Whether valgrind is there and can run on this machine's processor and kernel."""
    if shutil.which("valgrind") is None:
        return False
    return subprocess.run(["valgrind", "-q", "--tool=none", "true"], check=False).returncode == 0


def missing() -> int:
    print("make instructions: skipped: there is no valgrind that works, to count instructions")
    return int(is_required("valgrind"))


def parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--case", choices=CASES, help="count this one only")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--record", action="store_true", help="record all figures of this Python")
    what.add_argument("--profile", action="store_true", help="show the functions that take most")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    asked = parse_arguments(arguments)
    if not works():
        return missing()
    cases = [asked.case] if asked.case else list(CASES)
    # Both codecs, unless there is but one: not built, or switched off in the environment.
    codecs = [True, False] if SPEEDUPS else [False]
    if asked.profile:
        return profile(cases, speedups=SPEEDUPS)
    return record(codecs) if asked.record else gate(cases, codecs)


if __name__ == "__main__":
    sys.exit(main())
