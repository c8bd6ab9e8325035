"""Fuzz each target for a while, and say what came of it.

    python -m fuzz [TARGET ...] [--seconds 60] [--corpus build/fuzz]

What led to new code is kept in the corpus, and is where the next run begins. An input at which a
target failed is kept beside it; what it failed with, and how to see it again, is printed.
"""

from __future__ import annotations

import argparse
import hashlib
import re
import subprocess
import sys
from pathlib import Path

from .seeds import SEEDS
from .targets import TARGETS

#: Seconds that one input may take.
_HANG = 10
_DONE = re.compile(r"Done (\d+) runs")
_COVERAGE = re.compile(r"cov: (\d+)")
_FAILURE = re.compile(r"=== Uncaught Python exception: ===\n(.*?)\n==\d+==", re.DOTALL)
_FOUND = re.compile(r"Test unit written to (\S+)")


def sow(name: str, corpus: Path) -> Path:
    """The folder of *name*'s corpus, with its seeds."""
    folder = corpus / name
    folder.mkdir(parents=True, exist_ok=True)
    for seed in SEEDS[name]:
        (folder / hashlib.sha256(seed).hexdigest()[:16]).write_bytes(seed)
    return folder


def fuzz(name: str, seconds: int, corpus: Path) -> bool:
    """Fuzz one target, print a line, and return whether nothing was found."""
    folder = sow(name, corpus)
    command = [sys.executable, "-m", "fuzz.guided", name, str(folder)]
    options = [f"-max_total_time={seconds}", f"-timeout={_HANG}", "-max_len=2000"]
    options.append(f"-artifact_prefix={corpus / name}-")
    run = subprocess.run(
        [*command, *options], text=True, errors="replace", capture_output=True, check=False
    )
    output = run.stdout + run.stderr
    runs = int(done[1]) if (done := _DONE.search(output)) else 0
    coverage = _COVERAGE.findall(output) or ["0"]
    kept = len(list(folder.iterdir()))
    result = "ok" if run.returncode == 0 else "FAILED"
    print(
        f"{name:17} {runs:10,} inputs {coverage[-1]:>6} edges {kept:6,} kept   {result}", flush=True
    )
    if run.returncode:
        failure = _FAILURE.search(output)
        print(failure[1] if failure else "\n".join(output.splitlines()[-20:]))
        if found := _FOUND.search(output):
            print(f"again: python -m fuzz.guided {name} {found[1]}")
    return run.returncode == 0


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"of {', '.join(TARGETS)}")
    parser.add_argument("--seconds", type=int, default=60, help="for each (default: 60)")
    parser.add_argument("--corpus", type=Path, default=Path("build/fuzz"))
    options = parser.parse_args()
    if unknown := [name for name in options.targets if name not in TARGETS]:
        parser.error(f"there is no target {unknown[0]}: choose of {', '.join(TARGETS)}")
    names = options.targets or list(TARGETS)
    passed = [fuzz(name, options.seconds, options.corpus) for name in names]
    return 0 if all(passed) else 1


if __name__ == "__main__":
    sys.exit(main())
