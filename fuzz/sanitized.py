"""The C part under AddressSanitizer and UndefinedBehaviorSanitizer.

    python -m fuzz.sanitized [--seconds 60] [--corpus build/fuzz]

Builds the package once more, with a C part that both look after, into ``build/sanitized``; runs the
tests of the protocol with it, and then its fuzz target. Either ends this at the first byte that is
touched and should not be. Needs gcc.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

from .__main__ import sow

_BUILT = Path("build/sanitized")
_FLAGS = "-fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer -g -O1"


def build() -> None:
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run(
        [*command, "--no-deps", "--upgrade", "--target", str(_BUILT), "."],
        env={**os.environ, "CFLAGS": _FLAGS, "LDFLAGS": "-fsanitize=address,undefined"},
        check=True,
    )
    if not list(_BUILT.glob("trio_ws/protocol/_speedups*.so")):
        sys.exit("the C part was not built: is there a C compiler?")


def run(*arguments: str) -> None:
    runtime = subprocess.run(
        [os.environ.get("CC", "gcc"), "-print-file-name=libasan.so"],
        text=True,
        capture_output=True,
        check=True,
    ).stdout.strip()
    if not os.path.isabs(runtime):
        sys.exit("the compiler's libasan.so was not found: this needs gcc and its sanitizers")
    environment = {
        **os.environ,
        "LD_PRELOAD": runtime,
        # Python leaves what it holds for good to the system.
        "ASAN_OPTIONS": "detect_leaks=0:abort_on_error=1",
        "UBSAN_OPTIONS": "print_stacktrace=1",
        # Each object in memory of its own, so that what is behind it is not touched unseen.
        "PYTHONMALLOC": "malloc",
        "PYTHONPATH": f"{_BUILT.resolve()}{os.pathsep}{Path.cwd()}",
    }
    if subprocess.run([sys.executable, "-P", *arguments], env=environment, check=False).returncode:
        sys.exit(1)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=int, default=60, help="of fuzzing (default: 60)")
    parser.add_argument("--corpus", type=Path, default=Path("build/fuzz"))
    options = parser.parse_args()
    build()
    folder = sow("speedups", options.corpus)
    run(
        "-c",
        "from trio_ws.protocol import _speedups as part; "
        f"assert part.__file__.startswith({str(_BUILT.resolve())!r}), part.__file__",
    )
    run(
        *("-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/protocol"),
        *("-o", f"pythonpath={_BUILT} ."),
    )
    run("-m", "fuzz.mutated", "speedups", str(folder), "--seconds", str(options.seconds))


if __name__ == "__main__":
    main()
