"""wscat and curl against our commands: scripted conversations at a terminal, and one exchange."""

from __future__ import annotations

from functools import partial

import pytest
import trio

import trio_ws
from trio_ws import ClosedBy, CloseReason

from ..e2e.processes import COMMAND, environment, free_port, server_process
from ..terminal import CTRL_C, ENTER, Terminal
from .matrix import cell
from .programs import NODE, accepting, curl_with_ws, require_node

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
            await ours.type("/close 4000 enough of it" + ENTER)
            await theirs.wait_for('Disconnected (code: 4000, reason: "enough of it")')
            await ours.exit_code()


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


@cell("commands", "pings and close codes, both ways", "wscat")
@pytest.mark.parametrize("closed_by", [ClosedBy.LOCAL, ClosedBy.REMOTE])
async def test_wscat_pings_and_closes(closed_by: ClosedBy) -> None:
    require_node()
    options = {"compression": trio_ws.Compression(), "heartbeat": None}
    async with accepting(**options) as (url, accepted):
        command = [*_WSCAT, "--slash", "--show-ping-pong", "--connect", url]
        async with Terminal.spawn(command) as terminal:
            ws = await accepted.receive()
            await ws.ping(b"from-us")
            await terminal.wait_for('Received ping (data: "from-us")')
            await terminal.type(f"/ping from-it{ENTER}")
            await terminal.wait_for('Received pong (data: "from-it")')
            # Its library, ws, compresses what is longer than 1 KiB.
            await terminal.type("x" * 1100 + ENTER)
            assert await ws.receive() == "x" * 1100
            assert ws.statistics().bytes_received < 200
            if closed_by is ClosedBy.LOCAL:
                await ws.aclose(4000, "enough of it")
            else:
                await terminal.type(f"/close 4000 enough of it{ENTER}")
            await terminal.wait_for('Disconnected (code: 4000, reason: "enough of it")')
            assert await terminal.exit_code() == 0
        with trio.fail_after(_PATIENCE):
            assert await ws.wait_closed() == CloseReason(4000, "enough of it", closed_by)


@cell("commands", "it connects to us, prints what it is told, and answers pings", "curl")
async def test_curl_prints_what_it_is_told() -> None:
    curl = curl_with_ws()
    if curl is None:
        # Also where everything is required: whether there is one is the distribution's choice.
        pytest.skip("no curl here knows ws, and tests/interop/unpack_curl.sh could not get one")
    printed: list[bytes] = []

    async def run_curl(url: str) -> None:
        command = [curl, "--silent", "--no-buffer", url]
        printed.append((await trio.run_process(command, capture_stdout=True)).stdout)

    # Some versions answer no close frame.
    timeouts = trio_ws.Timeouts(close_timeout=0.1)
    with trio.fail_after(_PATIENCE):
        async with accepting(timeouts=timeouts, heartbeat=None) as (url, accepted):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(run_curl, url)
                ws = await accepted.receive()
                await ws.send("grüße ")
                await ws.ping(b"are you there?")
                await ws.send([b"in ", b"frag", b"ments "])
                await ws.send("x" * 70_000)
                await ws.ping()
                await ws.aclose(4000, "enough")
    told = "grüße in fragments ".encode() + b"x" * 70_000
    # It prints the close frame, too.
    assert printed == [told + (4000).to_bytes(2, "big") + b"enough"]
