"""`Wrapper`: a WebSocket that hands everything on to another."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

from .._websocket import WebSocket

if TYPE_CHECKING:
    from .._close import CloseReason
    from .._errors import ConnectionClosedError
    from .._websocket import (
        BytesLike,
        MessageStream,
        PendingPing,
        Sendable,
        WebSocketStatistics,
    )
    from ..protocol.extensions import Extension
    from ..protocol.http import Request, Response

_W = TypeVar("_W", bound=WebSocket)


class Wrapper(WebSocket, Generic[_W]):
    """Hands everything on to *inner*, for classes that change some of it."""

    def __init__(self, inner: _W) -> None:
        self._inner = inner

    async def send(self, message: Sendable, *, compress: bool | None = None) -> None:
        await self._inner.send(message, compress=compress)

    def send_nowait(self, message: str | BytesLike, *, compress: bool | None = None) -> None:
        self._inner.send_nowait(message, compress=compress)

    async def receive(self) -> str | bytes:
        return await self._inner.receive()

    def receive_stream(self) -> MessageStream:
        return self._inner.receive_stream()

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
