"""A Redis of one's own, to be killed."""

from __future__ import annotations

import shutil
import signal
import subprocess
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import trio

from ..e2e.processes import free_port
from ..requirements import require_tool

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

_PATIENCE = 30


class RedisServer:
    """A process of ``redis-server`` on a port that stays the same.

    Attributes:
      port: where it listens.
    """

    def __init__(self, program: str, options: tuple[str, ...]) -> None:
        self.port = free_port()
        self._command = [
            *(program, "--port", str(self.port), "--bind", "127.0.0.1", "--save", ""),
            *("--appendonly", "no", "--loglevel", "notice", *options),
        ]
        self._process: trio.Process | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    async def start(self) -> None:
        """Start it, empty."""
        process = await trio.lowlevel.open_process(
            self._command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE
        )
        self._process = process
        assert process.stdout is not None
        with trio.fail_after(_PATIENCE):
            said = b""
            while b"Ready to accept connections" not in said:
                data = await process.stdout.receive_some()
                assert data, said.decode()
                said += data
        # What it says further is not to fill the pipe.
        await process.stdout.aclose()

    async def kill(self) -> None:
        """As a machine that fails."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            with trio.CancelScope(shield=True):
                await process.wait()

    def stand_still(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    async def cli(self, *command: str) -> str:
        """What ``redis-cli`` prints."""
        result = await trio.run_process(
            ["redis-cli", "-p", str(self.port), *command], capture_stdout=True
        )
        return result.stdout.decode().strip()


@asynccontextmanager
async def redis_server(*options: str) -> AsyncGenerator[RedisServer]:
    """A Redis for the length of the block; skips the test where there is none."""
    program = shutil.which("redis-server")
    require_tool("redis", available=program is not None, reason="no redis-server on this machine")
    assert program is not None
    server = RedisServer(program, options)
    await server.start()
    try:
        yield server
    finally:
        await server.kill()
