"""Small proxies that clients go through: tinyproxy for HTTP CONNECT, microsocks for SOCKS 5."""

from __future__ import annotations

import shutil
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import trio

from ..e2e.processes import free_port, launched
from ..requirements import require_tool

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable
    from pathlib import Path

USER, PASSWORD = "bo", "s3cret"


@dataclass(frozen=True)
class ForwardProxy:
    """A kind of proxy.

    Attributes:
      scheme: of its URL.
      command: given a folder, its port, and whether it wants credentials: what runs it.
    """

    scheme: str
    command: Callable[[Path, int, bool], list[str]]

    def url(self, port: int, *, password: str | None = None) -> str:
        userinfo = "" if password is None else f"{USER}:{password}@"
        return f"{self.scheme}://{userinfo}127.0.0.1:{port}"


def _tinyproxy(folder: Path, port: int, credentials: bool) -> list[str]:
    lines = [f"Port {port}", "Listen 127.0.0.1", "Allow 127.0.0.1", "Timeout 600"]
    if credentials:
        lines.append(f"BasicAuth {USER} {PASSWORD}")
    (folder / "tinyproxy.conf").write_text("\n".join(lines) + "\n")
    return [_found("tinyproxy"), "-d", "-c", str(folder / "tinyproxy.conf")]


def _microsocks(_: Path, port: int, credentials: bool) -> list[str]:
    options = ["-u", USER, "-P", PASSWORD] if credentials else []
    return [_found("microsocks"), "-i", "127.0.0.1", "-p", str(port), *options]


FORWARD_PROXIES = {
    "tinyproxy (CONNECT)": ForwardProxy("http", _tinyproxy),
    "microsocks (SOCKS 5)": ForwardProxy("socks5h", _microsocks),
}


def _found(name: str) -> str:
    program = shutil.which(name)
    require_tool(name, available=program is not None, reason=f"no {name} on this machine")
    assert program is not None
    return program


@asynccontextmanager
async def forwarding(
    proxy: ForwardProxy, folder: Path, *, credentials: bool = False
) -> AsyncGenerator[int]:
    """The port of a proxy while it runs."""
    port = free_port()
    async with launched(proxy.command(folder, port, credentials)):
        # Neither says when it listens.
        while True:
            try:
                await (await trio.open_tcp_stream("127.0.0.1", port)).aclose()
                break
            except OSError:
                await trio.sleep(0.02)
        yield port
