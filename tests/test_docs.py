"""Every Python block in the README and the documentation runs."""

from __future__ import annotations

import re
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import trio

import trio_ws
from trio_ws._url import Target, parse_authority, parse_url

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from trio.abc import Clock

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "examples" / "README.md", *sorted(DOCS.glob("**/*.md"))]
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
BLOCKS = [
    pytest.param(block, id=f"{page.name}-{number}")
    for page in PAGES
    for number, block in enumerate(BLOCK.findall(page.read_text()))
]


async def echo(ws: trio_ws.WebSocket) -> None:
    async for message in ws:
        await ws.send(message)


def run_documented(
    function: Callable[..., Awaitable[object]], *arguments: Any, clock: Clock | None = None
) -> None:
    """In place of `trio.run`: beside a server on the port that the documentation uses.

    Not where the program has a clock of its own: to that, waiting for a socket is waiting.
    """
    if clock is not None:
        real_run(function, *arguments, clock=clock)
        return

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            if _is_serve(function):
                await check_server(nursery, partial(function, *arguments))
            else:
                server = await nursery.start(partial(trio_ws.serve, echo, "127.0.0.1", 0))
                with pytest.MonkeyPatch.context() as patch:
                    # Below every form of connecting, reconnecting ones included.
                    patch.setattr("trio_ws._client.parse_url", partial(_at_port, server.port))
                    patch.setattr(
                        "trio_ws._dial.parse_authority", partial(_authority_at_port, server.port)
                    )
                    patch.setenv("NO_PROXY", "127.0.0.1")
                    with trio.fail_after(20):
                        await function(*arguments)
            nursery.cancel_scope.cancel()

    real_run(main)


real_run = trio.run


def _is_serve(function: object) -> bool:
    return getattr(function, "func", function) is trio_ws.serve


def _at_port(port: int, url: str) -> Target:
    return parse_url(url.replace(":8765", f":{port}"))


def _authority_at_port(port: int, url: str, authority: str) -> Any:
    return parse_authority(url, authority.replace(":8765", f":{port}"))


async def check_server(nursery: trio.Nursery, serve: Any) -> None:
    """Start the documented server on a free port, and see that it answers."""
    handler, host, _ = serve.args[-3:] if len(serve.args) == 3 else serve.func.args
    keywords = getattr(serve.func, "keywords", {})
    server = await nursery.start(partial(trio_ws.serve, handler, host, 0, **keywords))
    with trio.fail_after(20):
        stream = await trio.open_tcp_stream("127.0.0.1", server.port)
        async with stream:
            await stream.send_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert (await stream.receive_some()).startswith(b"HTTP/1.1 4")


@pytest.mark.parametrize("block", BLOCKS)
def test_the_block_runs(block: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trio, "run", run_documented)
    exec(compile(block, "<documentation>", "exec"), {"__name__": "__main__"})


def test_there_are_blocks() -> None:
    assert len(BLOCKS) >= 7


def test_the_commands_exist() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for page in PAGES:
        for target in re.findall(r"`make ([a-z-]+)`|^\$ make ([a-z-]+)", page.read_text(), re.M):
            assert re.search(rf"^{next(filter(None, target))}\b.*:", makefile, re.MULTILINE)
    command = [sys.executable, "-m", "trio_ws.cli", "client", "--help"]
    assert subprocess.run(command, check=False, capture_output=True).returncode == 0
