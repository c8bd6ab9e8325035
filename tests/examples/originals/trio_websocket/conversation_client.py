"""A client that sends and receives in tasks of their own, until you type ``quit``."""

from __future__ import annotations

import sys

import trio
import trio_websocket


async def send_lines(
    ws: trio_websocket.WebSocketConnection, conversation: trio.CancelScope
) -> None:
    while True:
        line = await trio.to_thread.run_sync(sys.stdin.readline, abandon_on_cancel=True)
        if line in {"", "quit\n"}:
            break
        await ws.send_message(line.rstrip("\n"))
    conversation.cancel()


async def print_messages(ws: trio_websocket.WebSocketConnection) -> None:
    while True:
        print(await ws.get_message())


async def main(url: str) -> None:
    async with trio_websocket.open_websocket_url(url) as ws:
        print("connected; type quit to end")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(send_lines, ws, nursery.cancel_scope)
            nursery.start_soon(print_messages, ws)


trio.run(main, sys.argv[1])
