"""The server that is watched: everything switched on, and an account of what each connection got.

It prints JSON lines: first where it serves, then a line for each connection to ``/echo/NAME`` that
ended, and, for each line that comes on standard input, what it holds at that moment.
"""

from __future__ import annotations

import json
import logging
import os
import resource
import ssl
import sys
from collections import Counter
from contextlib import suppress
from functools import partial
from typing import Any

import trio

import trio_ws
from trio_ws.instrumentation.prometheus import PrometheusHook

from .account import Run, number_of

REMOTE = trio_ws.ClosedBy.REMOTE
HEARTBEAT = trio_ws.Heartbeat(interval=5, timeout=5)


def say(**record: Any) -> None:
    print(json.dumps(record), flush=True)


class Service:
    """What clients can ask for."""

    def __init__(self, hub: trio_ws.Hub) -> None:
        self._hub = hub
        self._accepted = 0
        self._published: Counter[str] = Counter()

    async def handle(self, ws: trio_ws.WebSocket) -> None:
        _, what, name = ws.request.target.split("/", 2)
        self._accepted += 1
        await {"echo": self._echo, "room": self._room, "pour": self._pour}[what](ws, name)

    async def _echo(self, ws: trio_ws.WebSocket, name: str) -> None:
        number, run = self._accepted, Run()
        try:
            async for message in ws:
                run.add(number_of(message))
                await ws.send(message)
        finally:
            reason = ws.close_reason
            # What was on its way when this side closed may be lost.
            whole = reason is not None and reason.clean and reason.closed_by is REMOTE
            figures = [run.first, run.last, run.wrong]
            say(client=name, connection=number, run=figures, whole=whole, reason=str(reason))

    async def _room(self, ws: trio_ws.WebSocket, name: str) -> None:
        async with self._hub.join(ws, name):
            async for message in ws:
                # Numbered here: a publisher's connection may be cut, and a member's must not care.
                self._hub.publish_nowait(name, f"{self._published[name]:010d} {message!s}")
                self._published[name] += 1

    async def _pour(self, ws: trio_ws.WebSocket, name: str) -> None:
        # Until the peer has not read for too long.
        while True:
            await ws.send(bytes(int(name)))


def held(servers: list[trio_ws.Server]) -> dict[str, int]:
    """What this process holds."""
    with open("/proc/self/statm") as statm:
        pages = int(statm.read().split()[1])
    return {
        "resident": pages * resource.getpagesize(),
        "tasks": trio.lowlevel.current_statistics().tasks_living,
        "descriptors": len(os.listdir("/proc/self/fd")),
        "connections": sum(len(server.connections) for server in servers),
    }


async def main(certificate: str) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    compression = trio_ws.Compression()
    timeouts = trio_ws.Timeouts(open_timeout=5, write_stall=5)
    kinds: dict[str, dict[str, Any]] = {
        "plain": {"compression": compression, "timeouts": timeouts},
        "tls": {"compression": compression, "timeouts": timeouts, "ssl_context": context},
        "engine": {"engine": "trio-websocket"},
    }
    hook = PrometheusHook()
    history = trio_ws.History(messages=100)
    async with trio_ws.Hub(history=history, hooks=[hook]) as hub, trio.open_nursery() as nursery:
        service = Service(hub)
        servers: dict[str, trio_ws.Server] = {}
        for kind, options in kinds.items():
            serve = partial(
                trio_ws.serve, service.handle, "127.0.0.1", 0, heartbeat=HEARTBEAT, hooks=[hook]
            )
            servers[kind] = await nursery.start(partial(serve, **options))
        say(ports={kind: server.port for kind, server in servers.items()})
        stdin = trio.lowlevel.FdStream(os.dup(sys.stdin.fileno()))
        async for _ in stdin:
            say(**held(list(servers.values())))
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    logging.basicConfig(format="%(levelname)s %(name)s %(message)s", level=logging.WARNING)
    with suppress(KeyboardInterrupt):
        trio.run(main, sys.argv[1])
