"""A `WebSocket` whose messages are recorded."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import trio

from .._errors import ConnectionClosed
from .._fragments import as_async, concatenated, normalized
from .._websocket import MessageStream, WebSocket
from .wrapper import Wrapper

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from .._websocket import BytesLike, Sendable
    from .recording import Recorder


class RecordedWebSocket(Wrapper[WebSocket]):
    """*inner*, with each whole message that is sent or received told to *recorder*.

    A message in fragments, sent or received, is held whole until it is complete. One that is not
    completed is not recorded.
    """

    def __init__(self, inner: WebSocket, recorder: Recorder) -> None:
        super().__init__(inner)
        self._recorder = recorder

    def __repr__(self) -> str:
        return f"<recorded {self._inner!r}>"

    async def send(self, message: Sendable, *, compress: bool | None = None) -> None:
        await self._recorder.wait_for_room()
        if isinstance(message, str | bytes | bytearray | memoryview):
            whole = normalized(message)
            await self._inner.send(whole, compress=compress)
            self._recorder.message(self.id, "out", whole)
            return
        parts: list[str | bytes] = []
        await self._inner.send(_collected(message, parts), compress=compress)
        if parts:
            self._recorder.message(self.id, "out", concatenated(parts))

    def send_nowait(self, message: str | BytesLike, *, compress: bool | None = None) -> None:
        if not self._recorder.has_room:
            raise trio.WouldBlock
        whole = normalized(message)
        self._inner.send_nowait(whole, compress=compress)
        self._recorder.message(self.id, "out", whole)

    async def receive(self) -> str | bytes:
        await self._recorder.wait_for_room()
        message = await self._inner.receive()
        self._recorder.message(self.id, "in", message)
        return message

    def receive_stream(self) -> MessageStream:
        return _RecordedStream(self._inner.receive_stream(), self._recorder, self.id)


async def _collected(message: object, parts: list[str | bytes]) -> AsyncGenerator[Any]:
    """The fragments of *message*, which are added to *parts* as well."""
    async with aclosing(as_async(message)) as fragments:
        async for fragment in fragments:
            part = normalized(fragment)
            parts.append(part)
            yield part


class _RecordedStream(MessageStream):
    __slots__ = ("_conn", "_inner", "_parts", "_recorder")

    def __init__(self, inner: MessageStream, recorder: Recorder, conn: str) -> None:
        self._inner = inner
        self._recorder = recorder
        self._conn = conn
        self._parts: list[str | bytes] = []

    async def receive(self) -> str | bytes:
        await self._recorder.wait_for_room()
        try:
            part = await self._inner.receive()
        except ConnectionClosed:
            # That is an EndOfChannel too, where the peer closed in good order.
            raise
        except trio.EndOfChannel:
            if self._parts:
                self._recorder.message(self._conn, "in", concatenated(self._parts))
                self._parts = []
            raise
        self._parts.append(part)
        return part

    async def aclose(self) -> None:
        await self._inner.aclose()
