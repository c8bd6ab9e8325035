"""A Redis of one's own, to be killed."""

from __future__ import annotations

import shutil
import signal
import subprocess
from contextlib import AsyncExitStack, asynccontextmanager
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import trio

from ..e2e.processes import free_port
from ..requirements import require_tool

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path

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
    with TemporaryDirectory() as folder:
        # A replica writes down what it is given, though nothing is to be saved.
        server = RedisServer(program, ("--dir", folder, *options))
        await server.start()
        try:
            yield server
        finally:
            await server.kill()


@asynccontextmanager
async def sentinel(server: RedisServer, replica: RedisServer, folder: Path) -> AsyncGenerator[int]:
    """The port of a Sentinel, which looks after *server* as ``main`` and knows its replica."""
    port = free_port()
    settings = folder / "sentinel.conf"
    settings.write_text(
        f"port {port}\nbind 127.0.0.1\nsentinel monitor main 127.0.0.1 {server.port} 1\n"
        "sentinel down-after-milliseconds main 500\nsentinel failover-timeout main 2000\n"
    )
    process = await trio.lowlevel.open_process(
        ["redis-server", str(settings), "--sentinel"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    try:
        with trio.fail_after(_PATIENCE):
            said = b""
            while f"+slave slave 127.0.0.1:{replica.port}".encode() not in said:
                data = await process.stdout.receive_some()
                assert data, said.decode()
                said += data
        # It says on; a hundred lines fit into the pipe.
        yield port
    finally:
        process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()
        await process.stdout.aclose()


@asynccontextmanager
async def cluster(size: int) -> AsyncGenerator[list[RedisServer]]:
    """Nodes that share all slots among them."""
    async with AsyncExitStack() as stack:
        nodes = []
        for _ in range(size):
            options = {
                "--cluster-enabled": "yes",
                "--cluster-node-timeout": "1000",
                "--cluster-port": str(free_port()),
            }
            everything = [word for option in options.items() for word in option]
            nodes.append(await stack.enter_async_context(redis_server(*everything)))
        addresses = [f"127.0.0.1:{node.port}" for node in nodes]
        await trio.run_process(
            ["redis-cli", "--cluster", "create", *addresses, "--cluster-yes"], capture_stdout=True
        )
        # They agree before they are ready.
        with trio.fail_after(_PATIENCE):
            for node in nodes:
                while "cluster_state:ok" not in await node.cli("CLUSTER", "INFO"):  # noqa: ASYNC110
                    await trio.sleep(0.05)
        yield nodes
