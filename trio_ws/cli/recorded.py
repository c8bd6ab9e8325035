"""A `WebSocket` whose messages are recorded."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import trio

from .._errors import ConnectionClosed
from .._fragments import as_async, concatenated, normalized
from .._websocket import MessageStream, PendingPing, WebSocket

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from .._close import CloseReason
    from .._errors import ConnectionClosedError
    from .._websocket import BytesLike, Sendable, WebSocketStatistics
    from ..protocol.extensions import Extension
    from ..protocol.http import Request, Response
    from .recording import Recorder


class RecordedWebSocket(WebSocket):
    """*inner*, with each whole message that is sent or received told to *recorder*.

    A message in fragments, sent or received, is held whole until it is complete. One that is not
    completed is not recorded.
    """

    __slots__ = ("_inner", "_recorder")

    def __init__(self, inner: WebSocket, recorder: Recorder) -> None:
        self._inner = inner
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

    # The rest is the inner one's.

    async def ping(self, payload: bytes | None = None) -> float:
        return await self._inner.ping(payload)

    def start_ping(self, payload: bytes | None = None) -> PendingPing:
        return self._inner.start_ping(payload)

    def pong(self, payload: bytes = b"") -> None:
        self._inner.pong(payload)

    async def aclose(self, code: int = 1000, reason: str = "") -> None:
        await self._inner.aclose(code, reason)

    def abort(self, error: ConnectionClosedError | None = None) -> None:
        self._inner.abort(error)

    async def wait_closed(self) -> CloseReason:
        return await self._inner.wait_closed()

    @property
    def close_reason(self) -> CloseReason | None:
        return self._inner.close_reason

    @property
    def latency(self) -> float | None:
        return self._inner.latency

    @property
    def last_received(self) -> float:
        return self._inner.last_received

    @property
    def last_sent(self) -> float:
        return self._inner.last_sent

    @property
    def reading_since(self) -> float | None:
        return self._inner.reading_since

    @property
    def request(self) -> Request:
        return self._inner.request

    @property
    def response(self) -> Response:
        return self._inner.response

    @property
    def subprotocol(self) -> str | None:
        return self._inner.subprotocol

    @property
    def extensions(self) -> tuple[Extension, ...]:
        return self._inner.extensions

    @property
    def local_address(self) -> object:
        return self._inner.local_address

    @property
    def remote_address(self) -> object:
        return self._inner.remote_address

    @property
    def id(self) -> str:
        return self._inner.id

    def statistics(self) -> WebSocketStatistics:
        return self._inner.statistics()


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
