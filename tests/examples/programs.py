"""The examples, and the same programs with other libraries, as a user starts them."""

from __future__ import annotations

import shutil
import signal
import sys
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import trio

from ..e2e.processes import Running, environment, launched
from ..requirements import require_tool

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

ROOT = Path(__file__).resolve().parent.parent.parent
EXAMPLES = ROOT / "examples"
JAVASCRIPT = EXAMPLES / "javascript"
_ORIGINALS = Path(__file__).parent / "originals"


@dataclass(frozen=True)
class Library:
    """Whose programs they are.

    Attributes:
      name: of the library.
      command: what runs them.
      folders: where they are, the first that has one.
      suffix: of their names.
    """

    name: str
    command: str
    folders: tuple[Path, ...]
    suffix: str

    def __str__(self) -> str:
        return self.name

    def program(self, name: str) -> list[str]:
        """The command of one program."""
        candidates = [folder / f"{name}{self.suffix}" for folder in self.folders]
        return [self.command, str(next(filter(Path.exists, candidates)))]


OURS = Library("trio-ws", sys.executable, (EXAMPLES,), ".py")
WEBSOCKETS = Library("websockets", sys.executable, (_ORIGINALS / "python",), ".py")
TRIO_WEBSOCKET = Library("trio-websocket", sys.executable, (_ORIGINALS / "trio_websocket",), ".py")
NODE_WS = Library("ws", "node", (JAVASCRIPT, _ORIGINALS / "node"), ".js")


def require(library: Library) -> None:
    """Skip the test where *library* is missing."""
    if library is WEBSOCKETS:
        there = find_spec("websockets") is not None
        require_tool("websockets", available=there, reason="pip install 'trio-ws[interop]'")
    elif library is NODE_WS:
        there = shutil.which("node") is not None and (JAVASCRIPT / "node_modules/ws").is_dir()
        require_tool("npm-ws", available=there, reason="npm --prefix examples/javascript install")


@asynccontextmanager
async def started(name: str, *arguments: str, library: Library = OURS) -> AsyncGenerator[Running]:
    """A program while it runs."""
    variables = environment(PYTHONUNBUFFERED="1", NODE_PATH=str(JAVASCRIPT / "node_modules"))
    command = [*library.program(name), *arguments]
    async with launched(command, env=variables, cwd=ROOT) as process:
        yield process


@asynccontextmanager
async def served(
    name: str, *arguments: str, library: Library = OURS, port: int = 0
) -> AsyncGenerator[tuple[Running, str]]:
    """A server while it runs, and the address that it prints."""
    async with started(name, str(port), *arguments, library=library) as server:
        line = await server.line()
        assert line.startswith("listening on ")
        yield server, line.removeprefix("listening on ")


async def finished(program: Running) -> tuple[str, str]:
    """What a program still prints, on both channels, until it ends of its own accord."""
    out, errors = await program.rest("stdout"), await program.rest("stderr")
    assert await program.process.wait() == 0, errors
    return out, errors


async def interrupted(program: Running) -> str:
    """What one of our programs still prints when it is stopped with Ctrl-C, without complaint."""
    await asleep(program)
    program.signal(signal.SIGINT)
    out, errors = await finished(program)
    assert errors == ""
    return out


async def asleep(program: Running) -> None:
    """Wait until *program* waits for something to happen, as one does when somebody types Ctrl-C.

    An interrupt that meets Trio in the middle of its own work, starting a task for instance, can
    break that, which is no business of these tests.
    """
    status = trio.Path(f"/proc/{program.process.pid}/stat")
    while await status.exists():
        state = (await status.read_text()).rpartition(")")[2].split()[0]
        if state == "S":
            break
        # No condition to wait for but what the kernel knows of another process.
        await trio.sleep(0.01)


def port_of(url: str) -> int:
    """The port that is at the end of *url*."""
    return int(url.rpartition(":")[2])
