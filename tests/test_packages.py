"""What is published: the same bytes from the same source, and it works once it is installed."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from .packages import ROOT, WithoutSpeedups, build_source, build_wheel
from .requirements import require_tool

if TYPE_CHECKING:
    from collections.abc import Iterator

#: What a program does with an installed package, in a place that knows nothing of the source.
PROGRAM = """
import sys
from functools import partial

import trio
import trio_ws
from trio_ws.protocol import masking

assert trio_ws.__file__.startswith(sys.prefix), trio_ws.__file__


async def echo(ws):
    async for message in ws:
        await ws.send(message)


async def main():
    compression = trio_ws.Compression(threshold=0)
    async with trio.open_nursery() as nursery:
        serve = partial(trio_ws.serve, echo, "127.0.0.1", 0, compression=compression)
        server = await nursery.start(serve)
        url = f"ws://127.0.0.1:{server.port}"
        async with trio_ws.connect(url, compression=compression) as ws:
            for message in ("hello " * 1000, bytes(range(256)) * 100):
                await ws.send(message)
                assert await ws.receive() == message
        nursery.cancel_scope.cancel()


trio.run(main)
print(masking.mask.__module__)
"""


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_source(tmp_path_factory.mktemp("source"))


@pytest.fixture(scope="module")
def pure(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_wheel(source, tmp_path_factory.mktemp("pure"), pure=True)


@pytest.fixture(scope="module")
def fast(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = (sysconfig.get_config_var("CC") or "cc").split()[0]
    require_tool("cc", available=shutil.which(compiler) is not None, reason="no C compiler")
    return build_wheel(source, tmp_path_factory.mktemp("fast"), pure=False)


@contextmanager
def private_umask() -> Iterator[None]:
    before = os.umask(0o077)
    try:
        yield
    finally:
        os.umask(before)


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def names_in(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def test_the_same_source_gives_the_same_distribution(source: Path, tmp_path: Path) -> None:
    with private_umask():
        again = build_source(tmp_path / "elsewhere")
    assert again.name == source.name
    assert digest(again) == digest(source)


@pytest.mark.parametrize("kind", ["fast", "pure"])
def test_the_same_source_gives_the_same_wheel(
    source: Path, tmp_path: Path, kind: str, request: pytest.FixtureRequest
) -> None:
    wheel: Path = request.getfixturevalue(kind)
    with private_umask():
        again = build_wheel(source, tmp_path / "elsewhere", pure=kind == "pure")
    assert again.name == wheel.name
    assert digest(again) == digest(wheel)


def test_a_wheel_that_lacks_its_c_part_is_not_published(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CC", "false")
    with pytest.raises(WithoutSpeedups):
        build_wheel(source, tmp_path, pure=False)
    assert list(tmp_path.iterdir()) == []


def test_what_is_in_the_pure_wheel(pure: Path) -> None:
    assert pure.name.endswith("-py3-none-any.whl")
    names = names_in(pure)
    assert {Path(name).parts[0] for name in names} == {"trio_ws", "trio_ws-0.1.0.dist-info"}
    assert "trio_ws/py.typed" in names
    assert "trio_ws/cli/console/console.js" in names
    assert not [name for name in names if name.endswith((".c", ".so"))]
    licenses = {name.rpartition("/")[2] for name in names if "/licenses/" in name}
    assert licenses == {"LICENSE", "LICENSE.MIT", "LICENSE.APACHE2"}
    with zipfile.ZipFile(pure) as archive:
        about = archive.read("trio_ws-0.1.0.dist-info/METADATA").decode()
    for line in (
        "Author: The trio-ws developers",
        "License-Expression: MIT OR Apache-2.0",
        "Requires-Python: >=3.11",
        "Classifier: Typing :: Typed",
    ):
        assert f"\n{line}\n" in about


def test_what_is_in_the_fast_wheel(fast: Path, pure: Path) -> None:
    assert "-cp311-abi3-" in fast.name
    assert names_in(fast) ^ names_in(pure) == {"trio_ws/protocol/_speedups.abi3.so"}


def test_the_source_has_what_it_takes_to_build_and_test_it(source: Path) -> None:
    with tarfile.open(source) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"trio_ws/protocol/_speedups.c", "tests/test_packages.py", "Makefile"} <= names
    result = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    tracked = {name for name in result.stdout.splitlines() if (ROOT / name).exists()}
    assert {name for name in tracked if not name.startswith(".")} <= names


@pytest.mark.parametrize("kind", ["fast", "pure"])
def test_it_works_once_it_is_installed(
    tmp_path: Path, kind: str, request: pytest.FixtureRequest
) -> None:
    wheel: Path = request.getfixturevalue(kind)
    environment = tmp_path / "environment"
    venv.create(environment)
    python = environment / "bin" / "python"
    pip = "--disable-pip-version-check install --quiet --no-index --no-deps"
    subprocess.run(
        [sys.executable, "-m", "pip", "--python", python, *pip.split(), wheel],
        check=True,
    )
    # What it needs is taken from here; links to the source are not followed from there.
    (site,) = environment.glob("lib/python*/site-packages")
    (site / "others.pth").write_text(sysconfig.get_path("purelib") + "\n")
    module = "trio_ws.protocol._speedups" if kind == "fast" else "trio_ws.protocol.masking"
    assert output_of(python, "-c", PROGRAM, cwd=tmp_path) == f"{module}\n"
    command = environment / "bin" / "trio-ws"
    assert output_of(command, "--version", cwd=tmp_path).startswith("trio-ws 0.1.0")


def output_of(*command: str | Path, cwd: Path) -> str:
    result = subprocess.run(
        command, cwd=cwd, check=True, stdout=subprocess.PIPE, text=True, timeout=60
    )
    return result.stdout
