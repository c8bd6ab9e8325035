"""How many instructions a message takes, counted by valgrind (``make instructions``).

    python -m benchmarks.instructions                                counts, and compares
    python -m benchmarks.instructions --record                       records new figures
    python -m benchmarks.instructions --case pipelined --profile     says where they go

Unlike times, counts are the same on a busy machine. They are compared with those recorded in
``instructions.json``: more than 5 % over is a failure. Where those of this build of Python are
not recorded, raw Trio is counted in the same run, and the ratio to it is reported.
"""

from __future__ import annotations

import argparse
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

from benchmarks import callgrind
from benchmarks.counted import CASES, PROGRAMS, RAW
from benchmarks.recorded import (
    Record,
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

    from benchmarks.recorded import Build, Figures, Verdict

#: Whether with the speed-ups: both, where they are built and not switched off.
CODECS: Final = (True, False) if SPEEDUPS else (False,)
#: How many functions a profile shows.
TOP: Final = 20


def builds() -> list[Build]:
    """This Python's, with each codec. To be asked for in one thread: `sysconfig` is not for two."""
    return [this_build(speedups=speedups) for speedups in CODECS]


def check(build: Build, recorded: Figures | None, cases: Sequence[str]) -> list[Verdict]:
    """Count with one codec; return a verdict for each case."""
    if recorded is not None:
        return against_recorded(callgrind.count(cases, speedups=build.speedups), recorded)
    programs = [*cases, *(RAW + case for case in cases)]
    return against_raw(cases, callgrind.count(programs, speedups=build.speedups))


def against_recorded(counted: Figures, recorded: Figures) -> list[Verdict]:
    return [judge(case, counted[case], recorded[case]) for case in counted]


def against_raw(cases: Sequence[str], counted: Figures) -> list[Verdict]:
    return [judge_ratio(case, counted[case], counted[RAW + case]) for case in cases]


def report(build: Build, *, is_recorded: bool, verdicts: Sequence[Verdict]) -> None:
    print(build if is_recorded else f"{build}: not recorded, so nothing can fail")
    for verdict in verdicts:
        print(f"  {'FAILED ' if verdict.failed else ''}{verdict.text}")


def gate(cases: Sequence[str]) -> int:
    """Count both codecs at once, and say how they do."""
    records = read()
    asked = [(build, find(build, records)) for build in builds()]
    with ThreadPoolExecutor() as threads:
        results = list(threads.map(lambda pair: check(pair[0], pair[1], cases), asked))
    for (build, recorded), verdicts in zip(asked, results, strict=True):
        report(build, is_recorded=recorded is not None, verdicts=verdicts)
    return int(any(verdict.failed for verdicts in results for verdict in verdicts))


def record() -> int:
    asked = builds()
    with ThreadPoolExecutor() as threads:
        counted = threads.map(lambda b: callgrind.count(CASES, speedups=b.speedups), asked)
    records = read()
    for build, figures in zip(asked, counted, strict=True):
        rounded = {case: round(figure) for case, figure in figures.items()}
        records = with_record(records, Record(build, rounded))
        print(f"{build}: recorded {rounded}")
    write(records)
    return 0


def profile(cases: Sequence[str]) -> int:
    for case, part in zip(cases, callgrind.parts_of(cases, speedups=SPEEDUPS), strict=True):
        messages = PROGRAMS[case].messages
        print(f"{case}: {callgrind.instructions_in(part) / messages:,.0f} per message, of which")
        for name, cost in callgrind.functions_in(part).most_common(TOP):
            print(f"  {cost / messages:9,.0f}  {name}")
    return 0


def missing() -> int:
    print("make instructions: skipped: there is no valgrind that works, to count instructions")
    return int(is_required("valgrind"))


def parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--case", choices=CASES, help="this one only")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--record", action="store_true", help="record all cases of this Python")
    what.add_argument("--profile", action="store_true", help="show the functions that take most")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    asked = parse_arguments(arguments)
    if not callgrind.works():
        return missing()
    cases = [asked.case] if asked.case else list(CASES)
    try:
        if asked.record:
            return record()
        return profile(cases) if asked.profile else gate(cases)
    except callgrind.CountingFailed as error:
        print(error, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
