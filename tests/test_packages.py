"""What is published: the same bytes from the same source, and it works once it is installed."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

from .packages import Packages, build
from .requirements import require_tool

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
def packages(tmp_path_factory: pytest.TempPathFactory) -> Packages:
    compiler = (sysconfig.get_config_var("CC") or "cc").split()[0]
    require_tool("cc", available=shutil.which(compiler) is not None, reason="no C compiler")
    return build(tmp_path_factory.mktemp("packages"))


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_the_same_source_gives_the_same_wheels(packages: Packages, tmp_path: Path) -> None:
    again = build(tmp_path / "elsewhere")
    assert packages.fast.name == again.fast.name
    assert "-cp311-abi3-" in packages.fast.name
    assert packages.pure.name.endswith("-py3-none-any.whl")
    assert digest(packages.fast) == digest(again.fast)
    assert digest(packages.pure) == digest(again.pure)


def test_what_is_in_them(packages: Packages) -> None:
    fast, pure = (
        set(zipfile.ZipFile(wheel).namelist()) for wheel in (packages.fast, packages.pure)
    )
    assert {Path(name).parts[0] for name in pure} == {"trio_ws", "trio_ws-0.1.0.dist-info"}
    assert "trio_ws/py.typed" in pure
    assert "trio_ws/cli/console/console.js" in pure
    assert fast - pure == {"trio_ws/protocol/_speedups.abi3.so"}
    assert pure - fast == set()
    licenses = {name.rpartition("/")[2] for name in pure if "/licenses/" in name}
    assert licenses == {"LICENSE", "LICENSE.MIT", "LICENSE.APACHE2"}
    about = zipfile.ZipFile(packages.pure).read("trio_ws-0.1.0.dist-info/METADATA").decode()
    for line in (
        "Author: The trio-ws developers",
        "License-Expression: MIT OR Apache-2.0",
        "Requires-Python: >=3.11",
        "Classifier: Typing :: Typed",
    ):
        assert f"\n{line}\n" in about


def test_the_source_has_what_it_takes_to_build_and_test_it(packages: Packages) -> None:
    with tarfile.open(packages.source) as source:
        names = {name.partition("/")[2] for name in source.getnames()}
    for name in (
        "trio_ws/protocol/_speedups.c",
        "tests/test_packages.py",
        "fuzz/targets.py",
        "soak/server.py",
        "docs/index.md",
        "examples/README.md",
        "Makefile",
        "LICENSE.MIT",
    ):
        assert name in names


@pytest.mark.parametrize("kind", ["fast", "pure"])
def test_it_works_once_it_is_installed(packages: Packages, tmp_path: Path, kind: str) -> None:
    environment = tmp_path / "environment"
    venv.create(environment)
    python = environment / "bin" / "python"
    pip = "--disable-pip-version-check install --quiet --no-index --no-deps"
    subprocess.run(
        [sys.executable, "-m", "pip", "--python", python, *pip.split(), getattr(packages, kind)],
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
