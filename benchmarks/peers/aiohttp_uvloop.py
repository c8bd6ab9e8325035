"""aiohttp on uvloop, as its documentation has it.

How much it compresses follows from the client's offer: the load generator asks for the window
that the others are set to. Its memory level cannot be set.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

import aiohttp
import uvloop
from aiohttp import web

from .arguments import HEARTBEAT, MAX_MESSAGE, Arguments, Count, announce, parsed


async def echo(ws: Any) -> None:
    async for msg in ws:
        if msg.type == aiohttp.WSMsgType.TEXT:
            await ws.send_str(msg.data)
        elif msg.type == aiohttp.WSMsgType.BINARY:
            await ws.send_bytes(msg.data)


async def handle(arguments: Arguments, request: web.Request) -> web.WebSocketResponse:
    ws = web.WebSocketResponse(
        compress=arguments.compress,
        max_msg_size=MAX_MESSAGE,
        heartbeat=HEARTBEAT if arguments.heartbeat else None,
    )
    await ws.prepare(request)
    await echo(ws)
    return ws


async def receive(ws: Any) -> None:
    count = Count()
    async for msg in ws:
        if msg.data == "?":
            await ws.send_str(count.answer())
        else:
            count.messages += 1


async def send(ws: Any, message: str | bytes) -> None:
    if isinstance(message, str):
        while True:
            await ws.send_str(message)
    while True:
        await ws.send_bytes(message)


async def run_server(arguments: Arguments) -> None:
    app = web.Application()
    app.add_routes([web.get("/", partial(handle, arguments))])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=arguments.ssl_context).start()
    announce(runner.addresses[0][1])
    await asyncio.Event().wait()


async def run_client(session: aiohttp.ClientSession, arguments: Arguments) -> None:
    async with session.ws_connect(arguments.uri, max_msg_size=MAX_MESSAGE) as ws:
        if arguments.mode == "echo":
            await echo(ws)
        elif arguments.mode == "receive":
            await receive(ws)
        else:
            await send(ws, arguments.message)


async def main(arguments: Arguments) -> None:
    if arguments.mode == "serve":
        await run_server(arguments)
        return
    async with aiohttp.ClientSession() as session, asyncio.TaskGroup() as group:
        for _ in range(arguments.connections):
            group.create_task(run_client(session, arguments))


if __name__ == "__main__":
    uvloop.run(main(parsed()))
