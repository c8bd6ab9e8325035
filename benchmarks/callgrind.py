"""Runs `benchmarks.counted` under valgrind's callgrind, and reads what that writes.

Of several programs in one process, each gets a file of its own: callgrind cuts its counts where
``getppid`` is called, which is before and after what is to be counted.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final

from benchmarks.counted import PROGRAMS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.recorded import Figures

ROOT: Final = Path(__file__).resolve().parent.parent
#: Seconds. It takes 40; a program that hangs does not notice, for lack of a clock.
PATIENCE: Final = 600
_SUMMARY: Final = re.compile(r"^summary: (\d+)$", re.MULTILINE)
_NAMED: Final = re.compile(r"(?P<called>c?)fn=(?P<number>\(\d+\))(?: (?P<name>.*))?$")
#: A line's number, which may be relative, and the instructions that it took.
_COST: Final = re.compile(r"(?:[-+]?\d+|\*) (\d+)$")


class CountingFailed(Exception):
    """Valgrind did not run the programs to their end."""


def works() -> bool:
    """Whether valgrind is there, and can do with this machine's processor and kernel."""
    if shutil.which("valgrind") is None:
        return False
    return subprocess.run(["valgrind", "-q", "--tool=none", "true"], check=False).returncode == 0


def count(programs: Sequence[str], *, speedups: bool) -> Figures:
    """The instructions per message of each program."""
    parts = zip(programs, parts_of(programs, speedups=speedups), strict=True)
    return {name: instructions_in(part) / PROGRAMS[name].messages for name, part in parts}


def parts_of(programs: Sequence[str], *, speedups: bool) -> list[str]:
    """Run *programs* in one process; return what callgrind writes of each.

    Raises:
      CountingFailed: they, or valgrind, failed.
    """
    with TemporaryDirectory() as folder:
        out = Path(folder, "callgrind.out")
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
        # Every other part is what comes before a program: the start, or the last one's end.
        files = [Path(f"{out}.{2 * number}") for number in range(1, len(programs) + 1)]
        if done.returncode or not all(file.exists() for file in files):
            raise CountingFailed(f"{done.args} failed:\n{done.stdout}{done.stderr}")
        return [file.read_text() for file in files]


def environment(*, speedups: bool) -> dict[str, str]:
    """The counted process's, with nothing that changes what Python does from run to run."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    kept.pop("TRIO_WS_NO_SPEEDUPS", None)
    codec = {} if speedups else {"TRIO_WS_NO_SPEEDUPS": "1"}
    return {**kept, **codec, "PYTHONHASHSEED": "0"}


def instructions_in(part: str) -> int:
    """How many instructions one of callgrind's files is about."""
    found = _SUMMARY.search(part)
    if found is None:
        raise CountingFailed(f"callgrind wrote no summary: {part[:500]}")
    return int(found[1])


def functions_in(part: str) -> Counter[str]:
    """The instructions of each function itself, without those it calls.

    ``callgrind_annotate`` cannot tell: where a file begins in the middle of a call, it takes the
    whole of it to be the caller's own.
    """
    names: dict[str, str] = {}
    costs: Counter[str] = Counter()
    function = ""
    is_called = False
    for line in part.splitlines():
        if named := _NAMED.match(line):
            # The name comes with the number only where it is first mentioned.
            name = names.setdefault(named["number"], named["name"] or "?")
            function = function if named["called"] else name
        elif line.startswith("calls="):
            # The next line has the cost of what was called.
            is_called = True
        elif cost := _COST.match(line):
            costs[function] += 0 if is_called else int(cost[1])
            is_called = False
    return costs
