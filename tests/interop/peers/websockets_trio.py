"""The conversation with `websockets` on Trio."""

from __future__ import annotations

from contextlib import suppress
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import trio
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.trio.client import connect
from websockets.trio.server import serve
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

    from websockets.http11 import Request, Response
    from websockets.trio.connection import Connection
    from websockets.trio.server import ServerConnection


class Adapter:
    def __init__(self, ws: Connection) -> None:
        self._ws = ws
        self.send = ws.send
        self.send_fragments = ws.send
        self.close = ws.aclose

    def subprotocol(self) -> str | None:
        name: str | None = self._ws.subprotocol
        return name

    def messages(self) -> AsyncIterator[str | bytes]:
        return aiter(self._ws)

    async def ping(self, data: bytes) -> None:
        await (await self._ws.ping(data)).wait()


async def handle(ws: Connection) -> None:
    with suppress(ConnectionClosed):
        await converse(Adapter(ws))
    say("closed", ws.close_code, ws.close_reason)


async def refuse(ws: ServerConnection, request: Request) -> Response:
    return ws.respond(HTTPStatus.FORBIDDEN, "not you\n")


async def main() -> None:
    options: dict[str, Any] = {
        "compression": "deflate" if deflates() else None,
        "subprotocols": [Subprotocol(SUBPROTOCOL)],
        "ssl": ssl_context(),
    }
    if is_server():
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        say("listening", listener.socket.getsockname()[1])
        process_request = refuse if refuses() else None
        await serve(handle, listeners=[listener], process_request=process_request, **options)
    else:
        try:
            async with connect(server_url(), proxy=None, **options) as ws:
                await handle(ws)
        except InvalidStatus as refused:
            say("refused", refused.response.status_code)


if __name__ == "__main__":
    trio.run(main)
