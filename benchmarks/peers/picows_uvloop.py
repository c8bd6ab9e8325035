"""picows on uvloop, its core API, as its documentation has it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import uvloop
from picows import WSListener, WSMsgType, ws_connect, ws_create_server

from .arguments import MAX_MESSAGE, Arguments, Count, announce, parsed

if TYPE_CHECKING:
    from picows import WSFrame, WSTransport, WSUpgradeRequest


class Echo(WSListener):
    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type == WSMsgType.CLOSE:
            transport.send_close(frame.get_close_code(), frame.get_close_message())
            transport.disconnect()
        else:
            transport.send(frame.msg_type, frame.get_payload_as_memoryview())


class Receive(WSListener):
    def __init__(self) -> None:
        self.count = Count()

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        # As an application would have it, not only its bytes.
        if frame.msg_type == WSMsgType.TEXT:
            message: str | bytes = frame.get_payload_as_utf8_text()
        else:
            message = frame.get_payload_as_bytes()
        if message == "?":
            transport.send(WSMsgType.TEXT, self.count.answer().encode())
        else:
            self.count.messages += 1


class Send(WSListener):
    def __init__(self) -> None:
        self.writable = asyncio.Event()
        self.writable.set()

    def pause_writing(self) -> None:
        self.writable.clear()

    def resume_writing(self) -> None:
        self.writable.set()

    async def run(self, transport: WSTransport, message: str | bytes) -> None:
        kind = WSMsgType.TEXT if isinstance(message, str) else WSMsgType.BINARY
        writable = self.writable
        while not transport.is_disconnected:
            await writable.wait()
            while writable.is_set():
                data = message.encode() if isinstance(message, str) else message
                transport.send(kind, data)


def accept(request: WSUpgradeRequest) -> Echo:
    return Echo()


async def run_server(arguments: Arguments) -> None:
    server = await ws_create_server(
        accept,
        "127.0.0.1",
        0,
        ssl=arguments.ssl_context,
        enable_auto_ping=arguments.heartbeat,
        max_frame_size=MAX_MESSAGE,
    )
    announce(server.sockets[0].getsockname()[1])
    await server.serve_forever()


async def run_client(arguments: Arguments) -> None:
    listeners = {"echo": Echo, "receive": Receive, "send": Send}
    transport, listener = await ws_connect(
        listeners[arguments.mode], arguments.uri, max_frame_size=MAX_MESSAGE
    )
    if isinstance(listener, Send):
        await listener.run(transport, arguments.message)
    await transport.wait_disconnected()


async def main(arguments: Arguments) -> None:
    if arguments.mode == "serve":
        await run_server(arguments)
        return
    async with asyncio.TaskGroup() as group:
        for _ in range(arguments.connections):
            group.create_task(run_client(arguments))


if __name__ == "__main__":
    uvloop.run(main(parsed()))
