"""Build what is published (``make packages``): the source, and a wheel with the C part and without.

The wheels are made from the source distribution, and the same source gives the same bytes,
whenever and wherever it is built by the same tools.
"""

from __future__ import annotations

import gzip
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
#: Where there is no commit to take the time from: the first that a zip file can hold.
_BEGINNING = "315532800"
#: What is in a working tree, and is not source.
_UNWANTED = shutil.ignore_patterns(
    ".*", "__pycache__", "*.egg-info", "*.so", "build", "dist", "node_modules", "reports", "uploads"
)
#: Where the C part is, but for its suffix.
_SPEEDUPS = "trio_ws/protocol/_speedups."


class WithoutSpeedups(Exception):
    """A wheel that is to have the C part came out without: an installation may, a release not."""


def build_source(folder: Path) -> Path:
    """Build the source distribution into *folder*.

    Raises:
      subprocess.CalledProcessError: the build failed; it has said why on stderr.
    """
    folder.mkdir(parents=True, exist_ok=True)
    time = _time_of_the_source()
    with tempfile.TemporaryDirectory() as made:
        # A build leaves things behind, and must not find those of another.
        tree = shutil.copytree(ROOT, Path(made, "tree"), ignore=_UNWANTED)
        backend = f"import setuptools.build_meta as b; print(b.build_sdist({made!r}))"
        result = subprocess.run(
            [sys.executable, "-c", backend],
            cwd=tree,
            env={**os.environ, "SOURCE_DATE_EPOCH": time},
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        name = result.stdout.splitlines()[-1]
        _settle(Path(made, name), folder / name, int(time))
    return folder / name


def build_wheel(source: Path, folder: Path, *, pure: bool) -> Path:
    """Build a wheel from the source distribution into *folder*.

    Raises:
      subprocess.CalledProcessError: the build failed; it has said why on stderr.
      WithoutSpeedups: the C part did not compile.
    """
    folder.mkdir(parents=True, exist_ok=True)
    environment = {
        **os.environ,
        "SOURCE_DATE_EPOCH": _time_of_the_source(),
        "TRIO_WS_BUILD_PURE": "1" if pure else "0",
    }
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
        if not pure and not _has_speedups(wheel):
            raise WithoutSpeedups(f"{wheel.name} would be without the C part: it did not compile")
        return Path(shutil.move(wheel, folder / wheel.name))


def _settle(made: Path, settled: Path, time: int) -> None:
    """Copy a source distribution, without what tells when, where and by whom it was made."""
    with (
        tarfile.open(made) as old,
        settled.open("wb") as file,
        gzip.GzipFile("", "wb", fileobj=file, mtime=time) as packed,
        tarfile.open(fileobj=packed, mode="w") as new,
    ):
        for member in sorted(old, key=lambda member: member.name):
            member.mtime = time
            member.mode = 0o755 if member.isdir() or member.mode & 0o100 else 0o644
            member.uid = member.gid = 0
            member.uname = member.gname = ""
            # Among these is the time, to the nanosecond.
            member.pax_headers = {}
            new.addfile(member, old.extractfile(member))


def _has_speedups(wheel: Path) -> bool:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    return any(name.startswith(_SPEEDUPS) and not name.endswith(".pyi") for name in names)


def _time_of_the_source() -> str:
    """Seconds since 1970, as https://reproducible-builds.org/specs/source-date-epoch/ has it."""
    result = subprocess.run(
        ["git", "log", "-1", "--format=%ct"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return os.environ.get("SOURCE_DATE_EPOCH") or result.stdout.strip() or _BEGINNING


def main() -> int:
    """Print what was built; the exit status is 1 where there is no C part to build."""
    folder = Path(sys.argv[1]).resolve()
    print(source := build_source(folder))
    print(build_wheel(source, folder, pure=True))
    try:
        print(build_wheel(source, folder, pure=False))
    except WithoutSpeedups as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
