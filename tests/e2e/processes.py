"""Real processes of ours, and servers in this one for them to talk to."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import trio

import trio_ws

if TYPE_CHECKING:
    import signal
    from collections.abc import AsyncGenerator, Sequence

COMMAND = [sys.executable, "-m", "trio_ws.cli"]
#: Seconds after which a process does not do what it should: no test waits for them.
_HANGS = 25


def environment(**variables: str) -> dict[str, str]:
    """This process's, without what would change the command's behaviour, and with *variables*."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("TRIO_WS_") and not name.lower().endswith("_proxy")
    }
    # A first ping leaves at any moment; tests that want pings ask for them.
    return {**kept, "TRIO_WS_PING_INTERVAL": "0", **variables}


@dataclass(frozen=True)
class Result:
    """How a command ended, what it printed, and what it said."""

    code: int
    out: bytes
    err: str


async def run(*arguments: str, given: bytes | int = b"", **variables: str) -> Result:
    """Run a command to its end."""
    stdin: Any = {"stdin": given}
    with trio.fail_after(_HANGS):
        result = await trio.run_process(
            [*COMMAND, *arguments],
            check=False,
            capture_stdout=True,
            capture_stderr=True,
            env=environment(**variables),
            **stdin,
        )
    return Result(result.returncode, result.stdout, result.stderr.decode())


async def shell(script: str, **variables: str) -> Result:
    """Run a script of bash's, in which ``$WS`` is the command."""
    with trio.fail_after(_HANGS):
        result = await trio.run_process(
            ["bash", "-o", "pipefail", "-c", script],
            check=False,
            stdin=subprocess.DEVNULL,
            capture_stdout=True,
            capture_stderr=True,
            env=environment(WS=" ".join(COMMAND), **variables),
        )
    return Result(result.returncode, result.stdout, result.stderr.decode())


class Running:
    """A process whose lines are waited for."""

    def __init__(self, process: trio.Process) -> None:
        self.process = process
        self._rest: dict[str, bytes] = {"stdout": b"", "stderr": b""}

    async def line(self, channel: str = "stdout") -> str:
        """The next line of standard output, or of ``"stderr"``."""
        pipe = getattr(self.process, channel)
        while b"\n" not in self._rest[channel]:
            data = await pipe.receive_some()
            assert data, f"ended after {self._rest[channel]!r}"
            self._rest[channel] += data
        line, _, self._rest[channel] = self._rest[channel].partition(b"\n")
        return line.decode()

    async def said(self) -> str:
        """The next line of standard error, without the command's name."""
        return (await self.line("stderr")).removeprefix("trio-ws: ")

    async def rest(self, channel: str) -> str:
        """What is still to come, up to the end."""
        pieces = [self._rest[channel]]
        async for piece in getattr(self.process, channel):
            pieces.append(bytes(piece))
        return b"".join(pieces).decode()

    async def type(self, line: str) -> None:
        assert self.process.stdin is not None
        await self.process.stdin.send_all(line.encode() + b"\n")

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)


@asynccontextmanager
async def running(
    *arguments: str, prefix: Sequence[str] = (), **options: Any
) -> AsyncGenerator[Running]:
    """A command of ours while it runs."""
    async with launched([*prefix, *COMMAND, *arguments], **options) as process:
        yield process


@asynccontextmanager
async def launched(command: Sequence[str], **options: Any) -> AsyncGenerator[Running]:
    """Any command while it runs."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    process = await trio.lowlevel.open_process(
        list(command), **{"env": environment(), **pipes, **options}
    )
    try:
        with trio.fail_after(_HANGS):
            yield Running(process)
    finally:
        if process.returncode is None:
            process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe is not None:
                await trio.aclose_forcefully(pipe)


@asynccontextmanager
async def server_process(*arguments: str) -> AsyncGenerator[tuple[trio.Process, str]]:
    """A process of ``trio-ws serve``, and its URL."""
    command = [*COMMAND, "serve", "--port", "0", *arguments]
    process = await trio.lowlevel.open_process(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        line = b""
        while not line.endswith(b"\n"):
            line += await process.stdout.receive_some()
        yield process, line.decode().split()[1]
    finally:
        if process.returncode is None:
            process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()
        for pipe in (process.stdout, process.stderr):
            assert pipe is not None
            await trio.aclose_forcefully(pipe)


async def echo(ws: trio_ws.WebSocket) -> None:
    async for message in ws:
        await ws.send(message)


@asynccontextmanager
async def served(
    handler: Any = echo, *, port: int = 0, **options: Any
) -> AsyncGenerator[tuple[str, trio_ws.Server]]:
    """A server in this process, and its URL."""
    scheme = "wss" if "ssl_context" in options else "ws"
    async with trio.open_nursery() as nursery:
        server: trio_ws.Server = await nursery.start(
            partial(trio_ws.serve, handler, "127.0.0.1", port, heartbeat=None, **options)
        )
        yield f"{scheme}://127.0.0.1:{server.port}", server
        nursery.cancel_scope.cancel()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
