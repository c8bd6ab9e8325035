"""Servers that send one message to many: ``python -m benchmarks.fan_out_servers KIND``.

Whoever connects to ``/TOPIC`` is a member of it. ``/control`` takes commands, a message each:

- ``burst COUNT SIZE [TOPICS]``: publish so many messages one after the other, in turn to so many
  topics; then say ``done``.
- ``paced RATE COUNT SIZE``: so many a second; each begins with the time when it was published.
- ``joins COUNT``: join a topic and leave it, so often; say how many a second. `Hub` only.
- ``topics COUNT``: join so many topics, for good. `Hub` only.
- ``memory``: say how many KiB the process takes.
"""

from __future__ import annotations

import os
import sys
import time
from collections import defaultdict
from contextlib import AsyncExitStack
from functools import partial
from typing import TYPE_CHECKING, Any

from .processes import resident_kib

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Publish = Callable[[str, bytes], Awaitable[None]]
    Sleep = Callable[[float], Awaitable[None]]

KINDS = ("hub", "loop", "websockets")


async def obey(command: str, publish: Publish, sleep: Sleep) -> str | None:
    """Do what does not depend on the library; return what to say."""
    word, *numbers = command.split()
    counts = [int(number) for number in numbers]
    if word == "burst":
        count, size, *topics = counts
        names = [f"t{number}" for number in range(topics[0])] if topics else ["t0"]
        message = b"x" * size
        for number in range(count):
            await publish(names[number % len(names)], message)
        return "done"
    if word == "paced":
        rate, count, size = counts
        began = time.monotonic()
        for number in range(count):
            if (early := began + number / rate - time.monotonic()) > 0:
                await sleep(early)
            await publish("t0", f"{time.monotonic():.9f}".ljust(size).encode())
        return "done"
    if word == "memory":
        return str(resident_kib(os.getpid()))
    return None


async def serve_with_trio(kind: str) -> None:
    import trio

    import trio_ws

    members: defaultdict[str, set[trio_ws.WebSocket]] = defaultdict(set)

    async with trio_ws.Hub() as hub, AsyncExitStack() as stack:

        async def publish_in_a_loop(topic: str, message: bytes) -> None:
            for member in tuple(members[topic]):
                await member.send(message)

        async def control(ws: trio_ws.WebSocket, command: str) -> str:
            publish: Publish = hub.publish if kind == "hub" else publish_in_a_loop
            answer = await obey(command, publish, trio.sleep)
            if answer is not None:
                return answer
            word, count = command.split()
            began = time.perf_counter()
            for number in range(int(count)):
                if word == "topics":
                    await stack.enter_async_context(hub.join(ws, f"own {number}"))
                else:
                    async with hub.join(ws, "joined"):
                        pass
            return f"{int(count) / (time.perf_counter() - began):.0f}"

        async def handle(ws: trio_ws.WebSocket) -> None:
            topic = ws.request.path[1:]
            if topic == "control":
                async for command in ws:
                    await ws.send(await control(ws, str(command)))
            elif kind == "hub":
                async with hub.join(ws, topic):
                    await ws.wait_closed()
            else:
                members[topic].add(ws)
                await ws.wait_closed()
                members[topic].remove(ws)

        async with trio.open_nursery() as nursery:
            serve = partial(trio_ws.serve, handle, "127.0.0.1", 0, heartbeat=None)
            server: trio_ws.Server = await nursery.start(serve)
            print(server.port, flush=True)


async def serve_with_asyncio() -> None:
    import asyncio

    from websockets.asyncio.server import ServerConnection, broadcast, serve

    members: defaultdict[str, set[Any]] = defaultdict(set)

    async def publish(topic: str, message: bytes) -> None:
        broadcast(members[topic], message)
        # Its documentation leaves pacing to the application; this lets the loop write.
        await asyncio.sleep(0)

    async def handle(ws: ServerConnection) -> None:
        assert ws.request is not None
        topic = ws.request.path[1:]
        if topic == "control":
            async for command in ws:
                await ws.send(await obey(str(command), publish, asyncio.sleep) or "unknown")
            return
        members[topic].add(ws)
        await ws.wait_closed()
        members[topic].remove(ws)

    async with serve(handle, "127.0.0.1", 0, compression=None, ping_interval=None) as server:
        print(next(iter(server.sockets)).getsockname()[1], flush=True)
        await server.serve_forever()


def main() -> None:
    kind = sys.argv[1]
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    if kind == "websockets":
        import uvloop

        uvloop.run(serve_with_asyncio())
    else:
        import trio

        trio.run(serve_with_trio, kind)


if __name__ == "__main__":
    main()
