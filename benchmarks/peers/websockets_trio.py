"""websockets on Trio, as its documentation has it."""

from __future__ import annotations

from functools import partial

import trio
from websockets.trio.client import connect
from websockets.trio.server import serve

from .arguments import MAX_MESSAGE, Arguments, announce, parsed
from .websockets_common import act, deflate, echo


async def run_server(arguments: Arguments) -> None:
    async with trio.open_nursery() as nursery:
        server = await nursery.start(
            partial(
                serve,
                echo,
                0,
                host="127.0.0.1",
                ssl=arguments.ssl_context,
                compression=None,
                extensions=deflate(arguments),
                max_size=MAX_MESSAGE,
            )
        )
        announce(server.listeners[0].socket.getsockname()[1])


async def run_client(arguments: Arguments) -> None:
    async with connect(
        arguments.uri, compression=None, max_size=MAX_MESSAGE, proxy=None
    ) as websocket:
        await act(websocket, arguments)


async def main(arguments: Arguments) -> None:
    if arguments.mode == "serve":
        await run_server(arguments)
        return
    async with trio.open_nursery() as nursery:
        for _ in range(arguments.connections):
            nursery.start_soon(run_client, arguments)


if __name__ == "__main__":
    trio.run(main, parsed())
