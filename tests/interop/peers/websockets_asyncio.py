"""The conversation with `websockets` on asyncio."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from websockets.asyncio.client import connect
from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Subprotocol

from .conversation import (
    SUBPROTOCOL,
    converse,
    deflates,
    is_server,
    refuses,
    say,
    server_url,
    ssl_context,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from websockets.asyncio.connection import Connection
    from websockets.asyncio.server import ServerConnection
    from websockets.http11 import Request, Response


class Adapter:
    def __init__(self, ws: Connection) -> None:
        self._ws = ws
        self.send = ws.send
        self.send_fragments = ws.send
        self.close = ws.close

    def subprotocol(self) -> str | None:
        name: str | None = self._ws.subprotocol
        return name

    def messages(self) -> AsyncIterator[str | bytes]:
        return aiter(self._ws)

    async def ping(self, data: bytes) -> None:
        await (await self._ws.ping(data))


async def handle(ws: Connection) -> None:
    with suppress(ConnectionClosed):
        await converse(Adapter(ws))
    say("closed", ws.close_code, ws.close_reason)


def refuse(ws: ServerConnection, request: Request) -> Response:
    return ws.respond(HTTPStatus.FORBIDDEN, "not you\n")


async def main() -> None:
    options: dict[str, Any] = {
        "compression": "deflate" if deflates() else None,
        "subprotocols": [Subprotocol(SUBPROTOCOL)],
        "ssl": ssl_context(),
    }
    if is_server():
        process_request = refuse if refuses() else None
        async with serve(
            handle, "127.0.0.1", 0, process_request=process_request, **options
        ) as server:
            say("listening", server.sockets[0].getsockname()[1])
            await server.serve_forever()
    else:
        try:
            async with connect(server_url(), proxy=None, **options) as ws:
                await handle(ws)
        except InvalidStatus as refused:
            say("refused", refused.response.status_code)


if __name__ == "__main__":
    asyncio.run(main())
