"""A network in memory: a server and any number of clients, without sockets or a real clock."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import trio
import trio.testing

import trio_ws
import trio_ws._client
from trio_ws import _alarms, _heartbeat, _standstill
from trio_ws._dial import Stage

from .sweeps import CutStream

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    import pytest

URL = "ws://testserver/feed"


class Network(trio.abc.Listener[trio.abc.Stream]):
    """Clients' `connect` leads here while the fixture holds; `serve` accepts from it.

    Attributes:
      attempts: when each attempt to connect came.
      urls: what each asked for.
      options: what else each gave to dialling.
      failures: raised by the next attempts, one each.
      down: raised by every attempt.
      cut_after: how many bytes the next connection carries ("send" and "receive" of the client).
      delay: seconds that connecting takes.
      lockstep: whether a write takes until the other side has read it, rather than no time.
      open: client's streams that are not closed.
    """

    def __init__(self) -> None:
        self.attempts: list[float] = []
        self.urls: list[str] = []
        self.options: list[dict[str, Any]] = []
        self.failures: list[Exception] = []
        self.down: Exception | None = None
        self.cut_after: dict[str, int] = {}
        self.delay = 0.0
        self.lockstep = False
        self.streams: list[trio.abc.Stream] = []
        self._send, self._accept = trio.open_memory_channel[trio.abc.Stream](10_000)

    async def dial(self, target: Any, *, on_stage: Any, **options: Any) -> trio.abc.Stream:
        """What stands for `trio_ws._dial.open_stream`."""
        self.attempts.append(trio.current_time())
        self.urls.append(str(target))
        self.options.append(options)
        on_stage(Stage.CONNECT)
        await trio.sleep(self.delay)
        if self.failures:
            raise self.failures.pop(0)
        if self.down is not None:
            raise self.down
        here: trio.abc.Stream
        there: trio.abc.Stream
        make_pair = trio.testing.memory_stream_pair
        here, there = trio.testing.lockstep_stream_pair() if self.lockstep else make_pair()
        self.streams.append(there)
        await self._send.send(there)
        budget, self.cut_after = self.cut_after, {}
        return CutStream(here, **budget) if budget else here

    async def cut(self) -> None:
        """Cut every connection off."""
        streams, self.streams = self.streams, []
        for stream in streams:
            await trio.aclose_forcefully(stream)

    async def accept(self) -> trio.abc.Stream:
        return await self._accept.receive()

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()

    @asynccontextmanager
    async def served(self, handler: Any, **options: Any) -> AsyncGenerator[trio_ws.Server]:
        """A server on this network for the length of the block."""
        options.setdefault("heartbeat", None)
        async with trio.open_nursery() as nursery:

            async def serve(task_status: Any) -> None:
                await trio_ws.serve(handler, listeners=[self], task_status=task_status, **options)

            server: trio_ws.Server = await nursery.start(serve)
            yield server
            nursery.cancel_scope.cancel()


def install(monkeypatch: pytest.MonkeyPatch) -> Network:
    """A network that every `connect` of this test leads to."""
    network = Network()
    monkeypatch.setattr(trio_ws._client, "open_stream", network.dial)
    return network


async def echo(ws: trio_ws.WebSocket) -> None:
    async for message in ws:
        await ws.send(message)


class Sleeper:
    """A machine that sleeps when told.

    Attributes:
      asleep: seconds that it has slept so far.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asleep = 0.0
        for module in (_standstill, _alarms, _heartbeat):
            monkeypatch.setattr(module, "seconds_asleep", lambda: self.asleep)
