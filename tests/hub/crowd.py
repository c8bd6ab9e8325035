"""A hub with connections in memory, for tests."""

from __future__ import annotations

from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any

import trio
import trio.testing

from trio_ws.testing import Pair, open_pair

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    import pytest

    import trio_ws


@asynccontextmanager
async def pairs(count: int, **options: Any) -> AsyncGenerator[list[Pair]]:
    """So many connections."""
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(open_pair(**options)) for _ in range(count)]


@asynccontextmanager
async def gated_pair(**options: Any) -> AsyncGenerator[Pair]:
    """A connection whose client's system takes nothing from the server until `let_go`."""
    here, there = trio.testing.memory_stream_pair()
    async with open_pair(streams=(here, Gate(there)), **options) as pair:
        try:
            yield pair
        finally:
            let_go(pair)


class Gate(trio.abc.Stream):
    """A stream whose writes wait until it is opened."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream
        self.opened = trio.Event()

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self.opened.wait()
        await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self.opened.wait()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        return await self._stream.receive_some(max_bytes)

    async def aclose(self) -> None:
        self.opened.set()
        await self._stream.aclose()


def let_go(pair: Pair) -> None:
    """Have the client's system take everything from now on."""
    server: Any = pair.server
    stream = server._transport._stream
    assert isinstance(stream, Gate)
    stream.opened.set()


async def received(ws: trio_ws.WebSocket) -> list[str | bytes]:
    """What has arrived at *ws* when nothing happens any more."""
    messages: list[str | bytes] = []
    while True:
        await trio.testing.wait_all_tasks_blocked()
        if not ws.statistics().inbox_messages:
            return messages
        while ws.statistics().inbox_messages:
            messages.append(await ws.receive())


def one_member_a_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have every fan-out give one member something, and then let others have their turn."""
    for module in ("topics", "fanout"):
        # Every look at the clock finds the turn over.
        monkeypatch.setattr(f"trio_ws._hub.{module}.perf_counter", lambda: float("inf"))
