"""websockets on asyncio with uvloop, as its documentation has it."""

from __future__ import annotations

import asyncio

import uvloop
from websockets.asyncio.client import connect
from websockets.asyncio.server import serve

from .arguments import MAX_MESSAGE, Arguments, announce, parsed
from .websockets_common import act, deflate, echo


async def run_server(arguments: Arguments) -> None:
    async with serve(
        echo,
        "127.0.0.1",
        0,
        ssl=arguments.ssl_context,
        compression=None,
        extensions=deflate(arguments),
        max_size=MAX_MESSAGE,
    ) as server:
        announce(next(iter(server.sockets)).getsockname()[1])
        await server.serve_forever()


async def run_client(arguments: Arguments) -> None:
    async with connect(
        arguments.uri, compression=None, max_size=MAX_MESSAGE, proxy=None
    ) as websocket:
        await act(websocket, arguments)


async def main(arguments: Arguments) -> None:
    if arguments.mode == "serve":
        await run_server(arguments)
        return
    async with asyncio.TaskGroup() as group:
        for _ in range(arguments.connections):
            group.create_task(run_client(arguments))


if __name__ == "__main__":
    uvloop.run(main(parsed()))
