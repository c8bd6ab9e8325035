"""websockets, as its documentation has it: what is the same on Trio and on asyncio."""

from __future__ import annotations

from typing import TYPE_CHECKING

from websockets.extensions.permessage_deflate import ServerPerMessageDeflateFactory

from .arguments import MEMORY_LEVEL, WINDOW_BITS, Arguments, Count

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from typing import Protocol

    class Connection(Protocol):
        """What both kinds of connection can do."""

        def __aiter__(self) -> AsyncIterator[str | bytes]: ...

        async def send(self, message: str | bytes, /) -> None: ...


async def echo(websocket: Connection) -> None:
    async for message in websocket:
        await websocket.send(message)


async def receive(websocket: Connection) -> None:
    count = Count()
    async for message in websocket:
        if message == "?":
            await websocket.send(count.answer())
        else:
            count.messages += 1


async def send(websocket: Connection, message: str | bytes) -> None:
    while True:
        await websocket.send(message)


async def act(websocket: Connection, arguments: Arguments) -> None:
    """As a client."""
    if arguments.mode == "echo":
        await echo(websocket)
    elif arguments.mode == "receive":
        await receive(websocket)
    else:
        await send(websocket, arguments.message)


def deflate(arguments: Arguments) -> list[ServerPerMessageDeflateFactory] | None:
    if not arguments.compress:
        return None
    factory = ServerPerMessageDeflateFactory(
        server_max_window_bits=WINDOW_BITS, compress_settings={"memLevel": MEMORY_LEVEL}
    )
    return [factory]
