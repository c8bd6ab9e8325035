"""Run the test suite on every supported Python that this machine has (``make test-all``).

Each interpreter gets a virtual environment of its own, in ``.venvs``. The one that this runs on
is left out: ``make test`` is its run.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

VERSIONS = ((3, 11), (3, 12), (3, 13))
ROOT = Path(__file__).resolve().parent.parent


def find_python(version: tuple[int, int]) -> str | None:
    """The path of an interpreter of this version: on the search path, or among pyenv's."""
    name = "python{}.{}".format(*version)
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    candidates = [shutil.which(name), *pyenv.glob(f"versions/*/bin/{name}")]
    return next((str(path) for path in candidates if path and is_version(path, version)), None)


def is_version(path: str | Path, version: tuple[int, int]) -> bool:
    """Whether *path* runs (pyenv has stand-ins that do not), and is this version."""
    check = f"import sys; sys.exit(sys.version_info[:2] != {version})"
    return subprocess.run([path, "-c", check], capture_output=True, check=False).returncode == 0


def run_suite(interpreter: str, environment: Path, arguments: list[str]) -> bool:
    """Whether the suite passes on *interpreter*."""
    python = environment / "bin" / "python"
    if not python.exists():
        subprocess.run([interpreter, "-m", "venv", environment], check=True)
    install = "-m pip install --quiet --disable-pip-version-check -e .[dev]"
    subprocess.run([python, *install.split()], cwd=ROOT, check=True)
    suite: list[str | Path] = [python, "-m", "pytest", "-q", "-n", "auto", *arguments]
    return subprocess.run(suite, cwd=ROOT, check=False).returncode == 0


def main() -> int:
    """The exit status: 1 when the suite fails on any of them."""
    failed = []
    for version in VERSIONS:
        name = "{}.{}".format(*version)
        if version == sys.version_info[:2]:
            continue
        interpreter = find_python(version)
        if interpreter is None:
            print(f"--- Python {name}: not on this machine, skipped", flush=True)
            continue
        print(f"--- Python {name} ({interpreter})", flush=True)
        if not run_suite(interpreter, ROOT / ".venvs" / name, sys.argv[1:]):
            failed.append(name)
    if failed:
        print(f"failed on Python {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
