"""The conversation with trio-websocket."""

from __future__ import annotations

import ssl  # noqa: F401  # trio-websocket's annotations name it
from typing import TYPE_CHECKING

import trio
from trio_websocket import (
    ConnectionClosed,
    ConnectionRejected,
    WebSocketConnection,
    WebSocketRequest,
    open_websocket_url,
    serve_websocket,
)

from .conversation import SUBPROTOCOL, converse, is_server, refuses, say, server_url, ssl_context

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class Adapter:
    def __init__(self, ws: WebSocketConnection) -> None:
        self._ws = ws
        self.send = ws.send_message
        self.ping = ws.ping
        self.close = ws.aclose

    def subprotocol(self) -> str | None:
        return self._ws.subprotocol

    async def messages(self) -> AsyncIterator[str | bytes]:
        while True:
            yield await self._ws.get_message()

    async def send_fragments(self, fragments: list[str] | list[bytes]) -> None:
        raise NotImplementedError("trio-websocket sends no fragments")


async def handle(ws: WebSocketConnection) -> None:
    try:
        await converse(Adapter(ws))
    except ConnectionClosed as closed:
        if closed.reason is not None:
            say("closed", closed.reason.code, closed.reason.reason or "")


async def accept(request: WebSocketRequest) -> None:
    if refuses():
        await request.reject(403, body=b"not you\n")
    else:
        await handle(await request.accept(subprotocol=SUBPROTOCOL))


async def main() -> None:
    tls = ssl_context()
    if is_server():
        async with trio.open_nursery() as nursery:
            server = await nursery.start(serve_websocket, accept, "127.0.0.1", 0, tls)
            say("listening", server.port)
    else:
        try:
            async with open_websocket_url(server_url(), tls, subprotocols=[SUBPROTOCOL]) as ws:
                await handle(ws)
        except ConnectionRejected as refused:
            say("refused", refused.status_code)


if __name__ == "__main__":
    trio.run(main)
