"""wscat and curl against our commands: scripted conversations at a terminal, and one exchange."""

from __future__ import annotations

import shutil
import subprocess
from functools import partial

import pytest
import trio

import trio_ws

from ..e2e.processes import COMMAND, environment, free_port, server_process
from ..terminal import CTRL_C, ENTER, Terminal
from .matrix import cell
from .programs import NODE, require_node

_WSCAT = ["node", str(NODE / "node_modules/wscat/bin/wscat")]
_PATIENCE = 30


@cell("commands", "it connects to trio-ws serve, and types", "wscat")
async def test_wscat_talks_with_our_server() -> None:
    require_node()
    async with server_process() as (_, url):
        async with Terminal.spawn([*_WSCAT, "--connect", url]) as terminal:
            await terminal.wait_for("Connected (press CTRL+C to quit)")
            for line in ("hello", "grüße 次"):
                await terminal.type(line + ENTER)
                await terminal.wait_for(f"< {line}")
            await terminal.type(CTRL_C)
            assert await terminal.exit_code() == 0


@cell("commands", "trio-ws client connects to it, and both type", "wscat")
async def test_our_client_talks_with_wscat_listening() -> None:
    require_node()
    port = free_port()
    async with Terminal.spawn([*_WSCAT, "--listen", str(port)]) as theirs:
        await theirs.wait_for(f"Listening on port {port}")
        client = [*COMMAND, "client", f"ws://127.0.0.1:{port}"]
        async with Terminal.spawn(client, env=environment()) as ours:
            await theirs.wait_for("Client connected")
            await ours.type("from us" + ENTER)
            await theirs.wait_for("< from us")
            await theirs.type("from them" + ENTER)
            await ours.wait_for("< from them")
            await ours.type(CTRL_C)
            await theirs.wait_for("Disconnected")


@cell("commands", "it connects with a subprotocol, a header and credentials", "wscat")
async def test_what_wscat_asks_for_arrives() -> None:
    require_node()
    seen: list[tuple[str | None, str | None, str]] = []

    async def handle(ws: trio_ws.WebSocket) -> None:
        headers = ws.request.headers
        seen.append((ws.subprotocol, headers.get("x-name"), headers["authorization"]))
        async for message in ws:
            await ws.send(message)

    options = ["--subprotocol", "chat", "--header", "X-Name: wscat", "--auth", "bo:secret"]
    async with trio.open_nursery() as nursery:
        serve = partial(trio_ws.serve, handle, "127.0.0.1", 0, subprotocols=["chat"])
        server: trio_ws.Server = await nursery.start(serve)
        url = f"ws://127.0.0.1:{server.port}/"
        async with Terminal.spawn([*_WSCAT, *options, "--connect", url]) as terminal:
            await terminal.wait_for("Connected")
            await terminal.type("hello" + ENTER)
            await terminal.wait_for("< hello")
        nursery.cancel_scope.cancel()
    assert seen == [("chat", "wscat", "Basic Ym86c2VjcmV0")]


def _curl_speaks_ws() -> bool:
    if shutil.which("curl") is None:
        return False
    version = subprocess.run(["curl", "--version"], capture_output=True, text=True, check=True)
    protocols = next(line for line in version.stdout.splitlines() if line.startswith("Protocols:"))
    return "ws" in protocols.split()


@cell("commands", "it connects to us, and prints what it is told", "curl")
async def test_curl_receives_a_message() -> None:
    if not _curl_speaks_ws():
        # Also where everything is required: whether it does is the distribution's choice.
        pytest.skip("this curl has no ws")

    async def greet(ws: trio_ws.WebSocket) -> None:
        await ws.send("hello curl")

    async with trio.open_nursery() as nursery:
        server: trio_ws.Server = await nursery.start(trio_ws.serve, greet, "127.0.0.1", 0)
        with trio.fail_after(_PATIENCE):
            result = await trio.run_process(
                ["curl", "--silent", "--no-buffer", f"ws://127.0.0.1:{server.port}/"],
                capture_stdout=True,
            )
        nursery.cancel_scope.cancel()
    assert result.stdout == b"hello curl"
