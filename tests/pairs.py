"""Pairs of connections for tests, over every kind of stream, and what watches over them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeAlias

import trio
import trio.testing

from trio_ws._tls import tls_over

if TYPE_CHECKING:
    import ssl
    from contextlib import AbstractAsyncContextManager

    import trio_ws
    from trio_ws.testing import Pair

Streams: TypeAlias = tuple[trio.abc.Stream, trio.abc.Stream]
OpenPair: TypeAlias = Callable[..., "AbstractAsyncContextManager[Pair]"]

KEY = b"\x01\x02\x03\x04"


async def socket_streams() -> Streams:
    """Two plain sockets, connected over loopback."""
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with listener:
        port = listener.socket.getsockname()[1]
        client = await trio.open_tcp_stream("127.0.0.1", port)
        server = await listener.accept()
    return client, server


async def tls_streams(contexts: tuple[ssl.SSLContext, ssl.SSLContext]) -> Streams:
    here, there = await socket_streams()
    client = tls_over(here, contexts[0], server_hostname="testserver")
    # As somebody may give it.
    server = trio.SSLStream(there, contexts[1], server_side=True, https_compatible=True)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.do_handshake)
        nursery.start_soon(server.do_handshake)
    return client, server


@asynccontextmanager
async def raw_client(
    open_pair: OpenPair, **options: Any
) -> AsyncIterator[tuple[trio.abc.Stream, trio_ws.WebSocket]]:
    """A server's connection, and the bare stream that its client holds."""
    here, there = trio.testing.memory_stream_pair()
    async with AsyncExitStack() as stack:
        idle, _ = trio.testing.memory_stream_pair()
        pair = await stack.enter_async_context(open_pair(streams=(idle, there), **options))
        pair.client.abort()
        yield here, pair.server


async def read_to_end(stream: trio.abc.Stream) -> bytes:
    data = b""
    while piece := await stream.receive_some():
        data += piece
    return data


class DelayedStream(trio.abc.HalfCloseableStream):
    """Receives late."""

    def __init__(self, inner: trio.abc.HalfCloseableStream, delay: float) -> None:
        self._inner = inner
        self._delay = delay

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self._inner.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._inner.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        data = bytes(await self._inner.receive_some(max_bytes))
        await trio.sleep(self._delay)
        return data

    async def send_eof(self) -> None:
        await self._inner.send_eof()

    async def aclose(self) -> None:
        await self._inner.aclose()


class Watching:
    """A hook that keeps what it is told, traffic and all."""

    traffic = True

    def __init__(self) -> None:
        self.records: list[object] = []

    def __call__(self, record: object, /) -> None:
        self.records.append(record)
