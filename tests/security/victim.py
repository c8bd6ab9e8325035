"""The server under attack, in a process of its own: an echo, with its log on stderr.

Its options come as JSON: ``limits``, ``timeouts``, ``compression`` (true), ``tls`` (a PEM file),
``engine``, ``descriptors`` (a bound on open files), and ``serve``, what `trio_ws.serve` takes as it
is. It prints its port, and serves until it is killed.
"""

from __future__ import annotations

import json
import logging
import resource
import ssl
import sys
from typing import Any

import trio

import trio_ws


async def echo(ws: trio_ws.WebSocket) -> None:
    async for message in ws:
        await ws.send(message)


async def pour(ws: trio_ws.WebSocket) -> None:
    """Send without end on /pour, whether or not anybody reads; echo elsewhere."""
    if not ws.request.target.startswith("/pour"):
        return await echo(ws)
    while True:
        await ws.send(bytes(16 * 1024))


async def main(asked: dict[str, Any]) -> None:
    options: dict[str, Any] = {"engine": asked.get("engine", "built-in"), **asked.get("serve", {})}
    options["limits"] = trio_ws.Limits(**asked.get("limits", {}))
    options["timeouts"] = trio_ws.Timeouts(**asked.get("timeouts", {}))
    if asked.get("compression"):
        options["compression"] = trio_ws.Compression()
    if "tls" in asked:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(asked["tls"])
        options["ssl_context"] = context
    if "descriptors" in asked:
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (asked["descriptors"], hard))
    async with trio.open_nursery() as nursery:

        async def serve(*, task_status: trio.TaskStatus[trio_ws.Server]) -> None:
            await trio_ws.serve(pour, "127.0.0.1", 0, task_status=task_status, **options)

        server = await nursery.start(serve)
        print(server.port, flush=True)


if __name__ == "__main__":
    logging.basicConfig(format="%(levelname)s %(name)s %(message)s")
    logging.getLogger("trio_ws").setLevel(logging.DEBUG)
    trio.run(main, json.loads(sys.argv[1]))
