"""Every console block in the README and the documentation does what it shows."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from .processes import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parent.parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("**/*.md"))]
BLOCK = re.compile(r"^```console\n(.*?)^```", re.MULTILINE | re.DOTALL)
#: A command, and the lines that follow it up to the next.
STEP = re.compile(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", re.MULTILINE)
BLOCKS = [
    pytest.param(block, id=f"{page.name}-{number}")
    for page in PAGES
    for number, block in enumerate(BLOCK.findall(page.read_text()))
]
#: The port that the documentation uses.
PORT = "8765"


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """One in which ``trio-ws`` is ours, serves on a free port, and finds no proxy."""
    command = tmp_path / "trio-ws"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m trio_ws.cli "$@"\n')
    command.chmod(0o755)
    kept = {name: value for name, value in os.environ.items() if "proxy" not in name.lower()}
    return {
        **kept,
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "TRIO_WS_SERVE_PORT": str(free_port()),
    }


@pytest.fixture
def workplace(tmp_path: Path) -> Path:
    """An empty directory to run commands in."""
    place = tmp_path / "workplace"
    place.mkdir()
    return place


class Server:
    """A server in the background, until the end of the test."""

    def __init__(self, command: str, environment: dict[str, str], cwd: Path) -> None:
        self.process = subprocess.Popen(
            ["bash", "-c", f"exec {command}"],
            env=environment,
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        self.first_line = self.process.stdout.readline()

    def stop(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()


@pytest.fixture
def servers() -> Iterator[list[Server]]:
    started: list[Server] = []
    yield started
    for server in started:
        server.stop()


@pytest.mark.parametrize("block", BLOCKS)
def test_the_block_shows_what_happens(
    block: str, environment: dict[str, str], workplace: Path, servers: list[Server]
) -> None:
    port = environment["TRIO_WS_SERVE_PORT"]
    steps = STEP.findall(block.replace(".venv/bin/trio-ws", "trio-ws").replace(PORT, port))
    assert steps, "a console block begins with '$ '"
    for command, expected in steps:
        if command.startswith("make "):
            # tests/test_docs.py sees to it that there are such targets.
            continue
        if command.startswith("trio-ws serve"):
            servers.append(Server(command, environment, workplace))
            assert servers[-1].first_line == expected
            continue
        if not servers:
            servers.append(Server("trio-ws serve", environment, workplace))
        result = subprocess.run(
            ["bash", "-c", command],
            env=environment,
            cwd=workplace,
            check=False,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=60,
        )
        assert result.stdout == expected
