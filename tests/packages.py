"""Build what is published (``make packages``): the source, and a wheel with the C part and without.

The wheels are made from the source distribution, and the same source gives the same bytes,
whenever and wherever it is built by the same tools.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
#: Where there is no commit to take the time from: the first that a zip file can hold.
_BEGINNING = "315532800"
#: What is in a working tree, and is not source.
_UNWANTED = shutil.ignore_patterns(
    ".*", "__pycache__", "*.egg-info", "*.so", "build", "dist", "node_modules", "reports", "uploads"
)


class Packages(NamedTuple):
    """The files that were built."""

    source: Path
    fast: Path
    pure: Path


def build(folder: Path) -> Packages:
    """Build all three into *folder*.

    Raises:
      subprocess.CalledProcessError: a build failed; it has said why on stderr.
    """
    folder.mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, "SOURCE_DATE_EPOCH": _time_of_the_source()}
    environment.pop("TRIO_WS_BUILD_PURE", None)
    source = _source(folder.resolve(), environment)
    pure = _wheel(source, folder, {**environment, "TRIO_WS_BUILD_PURE": "1"})
    return Packages(source, _wheel(source, folder, environment), pure)


def _source(folder: Path, environment: dict[str, str]) -> Path:
    with tempfile.TemporaryDirectory() as made:
        # A build leaves things behind, and must not find those of another.
        tree = shutil.copytree(ROOT, Path(made, "tree"), ignore=_UNWANTED)
        backend = f"import setuptools.build_meta as b; print(b.build_sdist({str(folder)!r}))"
        result = subprocess.run(
            [sys.executable, "-c", backend],
            cwd=tree,
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
    return folder / result.stdout.splitlines()[-1]


def _wheel(source: Path, folder: Path, environment: dict[str, str]) -> Path:
    with tempfile.TemporaryDirectory() as made:
        pip = "-m pip wheel --quiet --disable-pip-version-check --no-deps --no-build-isolation"
        subprocess.run(
            [sys.executable, *pip.split(), "--wheel-dir", made, source],
            env=environment,
            # A wheel keeps the modes of its files.
            umask=0o022,
            check=True,
        )
        (wheel,) = Path(made).iterdir()
        return wheel.replace(folder / wheel.name)


def _time_of_the_source() -> str:
    """Seconds since 1970, as https://reproducible-builds.org/specs/source-date-epoch/ has it."""
    result = subprocess.run(
        ["git", "log", "-1", "--format=%ct"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return os.environ.get("SOURCE_DATE_EPOCH") or result.stdout.strip() or _BEGINNING


if __name__ == "__main__":
    for package in build(Path(sys.argv[1])):
        print(package)
