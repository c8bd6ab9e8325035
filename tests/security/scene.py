"""An attack's scene: a victim process, a well-behaved neighbour, and the attacker's socket."""

from __future__ import annotations

import json
import os
import re
import ssl
import struct
import subprocess
import sys
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import trio

import trio_ws

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

MIB: Final = 1024 * 1024
#: What a closing may take on a busy machine; the bounds of the library are asked for below it.
PATIENCE: Final = 20.0
_ROOT: Final = Path(__file__).parents[2]
REQUEST: Final = (
    b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)


def masked(first: int, payload: bytes) -> bytes:
    """A frame with the masking key 0, which leaves its payload as it is."""
    size = len(payload)
    if size < 126:
        return bytes((first, 0x80 | size)) + bytes(4) + payload
    if size < 65536:
        return struct.pack("!BBH", first, 0xFE, size) + bytes(4) + payload
    return struct.pack("!BBQ", first, 0xFF, size) + bytes(4) + payload


@dataclass
class Attacker:
    """One raw socket to the victim."""

    stream: trio.SocketStream
    received: bytearray = field(default_factory=bytearray)

    async def send(self, data: bytes) -> None:
        """Send all of it, or as much as the victim takes before it is gone."""
        with suppress(trio.BrokenResourceError):
            await self.stream.send_all(data)

    async def upgrade(self, extra: bytes = b"") -> None:
        await self.stream.send_all(REQUEST + extra + b"\r\n")
        while b"\r\n\r\n" not in self.received:
            self.received += await self.stream.receive_some()
        head, _, rest = bytes(self.received).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101"), head
        self.received[:] = rest

    async def read_to_end(self) -> bytes:
        """Everything until TCP is gone, which `PATIENCE` bounds."""
        with trio.fail_after(PATIENCE):
            try:
                async for data in self.stream:
                    self.received += data
            except trio.BrokenResourceError:
                pass
        return bytes(self.received)

    async def close_code(self) -> int:
        """The code of the close frame that ends what the victim sent."""
        data = await self.read_to_end()
        while data:
            opcode, size, start = data[0] & 0x0F, data[1], 2
            if size == 126:
                size, start = int.from_bytes(data[2:4], "big"), 4
            elif size == 127:
                size, start = int.from_bytes(data[2:10], "big"), 10
            if opcode == 8:
                return int.from_bytes(data[start : start + 2], "big")
            data = data[start + size :]
        raise AssertionError("the victim sent no close frame")

    async def status(self) -> int:
        """The status of the victim's HTTP answer, which is the last that it sends."""
        answer = await self.read_to_end()
        assert answer.startswith(b"HTTP/1.1 "), answer[:80]
        assert answer.count(b"HTTP/1.1 ") == 1
        return int(answer[9:12])


@dataclass
class Scene:
    """What an attack's test works with."""

    process: subprocess.Popen[bytes]
    port: int
    log: Path
    ssl_context: ssl.SSLContext | None = None
    round_trips: int = 0

    @property
    def resident(self) -> int:
        """The victim's resident memory at its highest, in bytes."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        found = re.search(r"VmHWM:\s+(\d+) kB", status)
        assert found is not None
        return int(found[1]) * 1024

    @asynccontextmanager
    async def attacker(self) -> AsyncIterator[Attacker]:
        async with await trio.open_tcp_stream("127.0.0.1", self.port) as stream:
            yield Attacker(stream)

    @property
    def lines(self) -> list[str]:
        """The log, without what it says of connections that open."""
        return [one for one in self.log.read_text().splitlines() if ": open, " not in one]

    async def one_line(self) -> str:
        """Wait for the log's line about the attack, and see that it remains the only one."""
        with trio.fail_after(PATIENCE):
            while not self.lines:  # noqa: ASYNC110 - of another process
                await trio.sleep(0.01)
        await self.served()
        [line] = self.lines
        assert line.isprintable()
        return line

    async def served(self) -> None:
        """Wait until the neighbour has had two more answers."""
        wanted = self.round_trips + 2
        with trio.fail_after(PATIENCE):
            while self.round_trips < wanted:  # noqa: ASYNC110 - of another process
                await trio.sleep(0.01)

    async def _neighbour(self, *, task_status: trio.TaskStatus[None]) -> None:
        scheme = "ws" if self.ssl_context is None else "wss"
        url = f"{scheme}://127.0.0.1:{self.port}/"
        async with trio_ws.connect(url, ssl_context=self.ssl_context) as ws:
            task_status.started()
            while True:
                with trio.fail_after(PATIENCE):
                    await ws.send(str(self.round_trips))
                    assert await ws.receive() == str(self.round_trips)
                self.round_trips += 1
                await trio.sleep(0.005)


@asynccontextmanager
async def scene(tmp_path: Path, *, speedups: bool = True, **asked: Any) -> AsyncIterator[Scene]:
    """A victim with *asked* options and a neighbour that is served before, during and after."""
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    environment.pop("TRIO_WS_NO_SPEEDUPS", None)
    if not speedups:
        environment["TRIO_WS_NO_SPEEDUPS"] = "1"
    log = tmp_path / "log"
    command = [sys.executable, "-m", "tests.security.victim", json.dumps(asked)]
    with log.open("wb") as stderr:
        process = subprocess.Popen(  # noqa: ASYNC220 - starting it does not block
            command, cwd=_ROOT, env=environment, stdout=subprocess.PIPE, stderr=stderr
        )
    assert process.stdout is not None
    try:
        with process.stdout:
            port = await trio.to_thread.run_sync(process.stdout.readline)
        assert port, log.read_text()
        one = Scene(process, int(port), log)
        if "tls" in asked:
            one.ssl_context = ssl.create_default_context(cafile=asked["tls"])
        async with trio.open_nursery() as nursery:
            await nursery.start(one._neighbour)
            await one.served()
            yield one
            await one.served()
            nursery.cancel_scope.cancel()
        assert process.poll() is None, "the victim died"
        assert "Traceback" not in log.read_text()
    finally:
        process.kill()
        process.wait()
