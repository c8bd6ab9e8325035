"""Run the test suite on every supported Python that this machine has.

Used by ``make test-all``: each interpreter gets a virtual environment of its own.
"""

from __future__ import annotations

import glob
import os
import shutil
import subprocess
import sys
from pathlib import Path

VERSIONS = ("3.11", "3.12", "3.13")
ROOT = Path(__file__).resolve().parent.parent


def find(version: str) -> str | None:
    """An interpreter of this version: on the path, or among pyenv's."""
    root = os.environ.get("PYENV_ROOT", os.path.expanduser("~/.pyenv"))
    candidates = [
        shutil.which(f"python{version}"),
        *glob.glob(f"{root}/versions/{version}.*/bin/python"),
    ]
    for candidate in filter(None, candidates):
        check = (
            f"import sys; sys.exit(sys.version_info[:2] != {tuple(map(int, version.split('.')))})"
        )
        if (
            subprocess.run([candidate, "-c", check], capture_output=True, check=False).returncode
            == 0
        ):
            return candidate
    return None


def run(version: str, interpreter: str, arguments: list[str]) -> bool:
    """The suite's verdict on one interpreter."""
    environment = ROOT / f".venv-{version}"
    python = environment / "bin" / "python"
    if not python.exists():
        subprocess.run([interpreter, "-m", "venv", environment], check=True)
    install: list[str | Path] = [
        python,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "-e",
        ".[dev]",
    ]
    subprocess.run(install, cwd=ROOT, check=True)
    print(f"--- Python {version} ({interpreter})", flush=True)
    command: list[str | Path] = [python, "-m", "pytest", "-q", "-n", "auto", *arguments]
    return subprocess.run(command, cwd=ROOT, check=False).returncode == 0


def main() -> int:
    """Run them all; 1 when one fails."""
    failed = []
    for version in VERSIONS:
        if version == f"{sys.version_info.major}.{sys.version_info.minor}":
            # `make test` runs this one.
            continue
        interpreter = find(version)
        if interpreter is None:
            print(f"--- Python {version}: not on this machine, skipped", flush=True)
        elif not run(version, interpreter, sys.argv[1:]):
            failed.append(version)
    if failed:
        print(f"failed on Python {', '.join(failed)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
