"""The instructions per message that were recorded, and what a new count says beside them.

A count belongs to a build of Python: another version or compiler, or other options, take several
per cent more or less for the same code. So does another version of Trio.
"""

from __future__ import annotations

import json
import platform
import shlex
import sysconfig
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

import trio

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    #: Instructions per message, by case.
    Figures = Mapping[str, float]

FILE: Final = Path(__file__).with_name("instructions.json")
#: How far a count may be from the recorded one. Counts of one build differ by less than 0.5 %.
TOLERANCE: Final = 0.05
#: How many times the instructions of raw Trio a case may take: about twice what it did with the
#: pure codec when this was written, because builds of Python differ.
BOUNDS: Final = {"round-trip": 2.5, "pipelined": 0.8, "bulk": 7.5}
_PROFILE_GUIDED: Final = "--enable-optimizations"
_TELLING: Final = (_PROFILE_GUIDED, "--with-lto", "--with-pydebug", "--enable-shared")


@dataclass(frozen=True)
class Build:
    """What counts depend on, besides the code that is counted."""

    python: str
    compiler: str
    options: str
    libc: str
    machine: str
    trio: str
    speedups: bool

    def __str__(self) -> str:
        codec = "C codec" if self.speedups else "pure codec"
        return f"{codec}, Python {self.python} ({self.compiler}), Trio {self.trio}"


@dataclass(frozen=True)
class Record:
    """The figures of one build."""

    build: Build
    instructions: Figures


@dataclass(frozen=True)
class Verdict:
    """What is to be said of one case."""

    text: str
    failed: bool = False


def this_build(*, speedups: bool) -> Build:
    """The build of the Python that this runs on."""
    return Build(
        python=platform.python_version(),
        compiler=platform.python_compiler(),
        options=_options(),
        libc=" ".join(platform.libc_ver()),
        machine=platform.machine(),
        trio=trio.__version__,
        speedups=speedups,
    )


def _options() -> str:
    asked = shlex.split(sysconfig.get_config_var("CONFIG_ARGS") or "")
    options = [option for option in asked if option.startswith(_TELLING)]
    if _PROFILE_GUIDED in options:
        # No two of them come out the same, so the date tells which it is.
        options.append(platform.python_build()[1])
    return " ".join([sysconfig.get_config_var("OPT") or "", *options])


def read(file: Path = FILE) -> list[Record]:
    if not file.exists():
        return []
    return [
        Record(Build(**record["build"]), record["instructions"])
        for record in json.loads(file.read_text())
    ]


def write(records: Sequence[Record], file: Path = FILE) -> None:
    file.write_text(json.dumps([asdict(record) for record in records], indent=2) + "\n")


def find(build: Build, records: Sequence[Record]) -> Figures | None:
    """The figures of *build*, if they were recorded."""
    return next((record.instructions for record in records if record.build == build), None)


def with_record(records: Sequence[Record], new: Record) -> list[Record]:
    """*records* with *new* in place of what the same Python had, also with another Trio."""
    others = [r for r in records if replace(r.build, trio=new.build.trio) != new.build]
    return sorted([*others, new], key=lambda r: (r.build.machine, r.build.python, str(r.build)))


def judge(case: str, counted: float, recorded: float) -> Verdict:
    """What *counted* says beside what was recorded of the same build."""
    change = counted / recorded - 1
    text = f"{case}: {counted:,.0f} instructions per message, {change:+.1%} of the recorded figure"
    if change > TOLERANCE:
        return Verdict(f"{text}: more than {TOLERANCE:.0%} over it", failed=True)
    if change < -TOLERANCE:
        return Verdict(f"{text}: better by so much that it should be recorded (--record)")
    return Verdict(text)


def judge_ratio(case: str, counted: float, raw: float) -> Verdict:
    """What *counted* says beside raw Trio, where nothing was recorded. It never fails."""
    ratio, bound = counted / raw, BOUNDS[case]
    text = f"{case}: {counted:,.0f} instructions per message, {ratio:.2f} times those of raw Trio"
    return Verdict(f"{text}: expected at most {bound:.2f}" if ratio > bound else text)
