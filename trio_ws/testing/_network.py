"""A network in memory, which servers listen on and `connect` dials."""

from __future__ import annotations

import errno
import os
import struct
from contextlib import suppress
from random import Random
from socket import SO_LINGER, SOL_SOCKET
from typing import TYPE_CHECKING, Self

import trio

from .._dial import opener
from ._faults import NO_FAULTS, Faults, Wire

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextvars import Token

    from .._dial import Opener
    from ._faults import WireStream


class Network:
    """A network in memory. Within its block, `connect` and all that reconnects dial it.

    ::

        async def main() -> None:
            with Network(seed=7, down=Faults(latency=0.1, jitter=0.05)) as network:
                async with trio.open_nursery() as nursery:
                    await nursery.start(partial(serve, echo, listeners=[network.listen()]))
                    async with keep_connected("ws://example.com/") as ws:
                        await ws.send("hello")
                        network.cut()
                        ...
                    nursery.cancel_scope.cancel()

        trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))

    TLS and proxies, also one that the environment names, work over it as over TCP. The block is
    one of a task, and holds for the tasks that it starts, for as long as they run; blocks end in
    the reverse order. Unix sockets and SOCKS proxies are dialled as ever.

    Args:
      seed: of all that is left to chance here.
      up: what bytes from clients suffer from, or what is called for each connection, with a source
        of chance, and says so.
      down: as *up*, of bytes to clients.
      dial_time: seconds that connecting takes.

    Attributes:
      up, down, dial_time: as above; they hold for the connections to come.
      failure: what connecting raises instead, for instance ``OSError(errno.ENETUNREACH, "...")``;
        ``None``: it connects.
      dialled: the host, the port and the time of each attempt to connect.
    """

    def __init__(
        self,
        *,
        seed: int = 0,
        up: Faults | Callable[[Random], Faults] = NO_FAULTS,
        down: Faults | Callable[[Random], Faults] = NO_FAULTS,
        dial_time: float = 0.0,
    ) -> None:
        self.up = up
        self.down = down
        self.dial_time = dial_time
        self.failure: Exception | None = None
        self.dialled: list[tuple[str, int, float]] = []
        self._random = Random(seed)
        self._wires: list[Wire] = []
        self._listeners: dict[tuple[str | None, int | None], _Listener] = {}
        self._token: Token[Opener] | None = None

    def __enter__(self) -> Self:
        if self._token is not None:
            raise RuntimeError("this network is in use already")
        self._token = opener.set(self.open_stream)
        return self

    def __exit__(self, *_: object) -> None:
        assert self._token is not None
        opener.reset(self._token)
        self._token = None

    @property
    def wires(self) -> tuple[Wire, ...]:
        """The connections that are open, in the order in which they were opened."""
        self._wires = [wire for wire in self._wires if not wire.closed]
        return tuple(self._wires)

    def cut(self) -> None:
        """Reset every connection: both ends fail, and what is under way is lost."""
        for wire in self.wires:
            wire.cut()

    def listen(
        self, host: str | None = None, port: int | None = None
    ) -> trio.abc.Listener[WireStream]:
        """Something to serve: ``serve(handler, listeners=[network.listen()])``.

        Args:
          host: which name or address leads here; ``None``: each that nobody else listens on.
          port: which port does; ``None`` as before.

        Raises:
          OSError: somebody listens there already.
        """
        place = (host, port)
        if place in self._listeners:
            raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
        listener = _Listener(lambda: self._listeners.pop(place))
        self._listeners[place] = listener
        return listener

    async def open_stream(self, host: str, port: int) -> WireStream:
        """Connect to whoever listens there, as `trio.open_tcp_stream` does.

        Raises:
          OSError: `failure`, or nobody listens.

        Cancellation: at any point; nothing is left behind.
        """
        self.dialled.append((host, port, trio.current_time()))
        await trio.sleep(self.dial_time)
        if self.failure is not None:
            # One instance may be raised often: what an earlier one passed through is not kept.
            raise self.failure.with_traceback(None)
        places = ((host, port), (host, None), (None, port), (None, None))
        for listener in filter(None, map(self._listeners.get, places)):
            wire = self.open_wire()
            listener.arrived(wire.server)
            return wire.client
        raise ConnectionRefusedError(errno.ECONNREFUSED, os.strerror(errno.ECONNREFUSED))

    def open_wire(self) -> Wire:
        """A connection of this network between the two ends of which anything may be."""
        up, down = (
            faults if isinstance(faults, Faults) else faults(self._random)
            for faults in (self.up, self.down)
        )
        # Of its own, so that what one connection does changes nothing for another.
        wire = Wire(up=up, down=down, random=Random(self._random.random()))
        self._wires = [*self.wires, wire]
        return wire

    async def relay(
        self,
        host: str,
        port: int,
        *,
        task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Let anything that speaks TCP suffer: listen on loopback, and pass on to *host*.

        ::

            port = await nursery.start(network.relay, "127.0.0.1", server.port)
            async with connect(f"ws://127.0.0.1:{port}") as ws:
                ...

        Connections of this are among `wires`, and `failure` resets each new one. It runs until it
        is cancelled, and needs a clock that keeps real time.

        Args:
          host: where to pass on to.
          port: its port.
          task_status: given the port that was listened on.

        Raises:
          OSError: it cannot listen.
        """
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")

        async def pass_on(client: trio.SocketStream) -> None:
            # What is closed with this resets TCP.
            with suppress(OSError):
                client.setsockopt(SOL_SOCKET, SO_LINGER, struct.pack("ii", 1, 0))
                if self.failure is None:
                    async with await trio.open_tcp_stream(host, port) as server:
                        server.setsockopt(SOL_SOCKET, SO_LINGER, struct.pack("ii", 1, 0))
                        await _join(client, self.open_wire(), server)

        async with trio.open_nursery() as nursery:
            task_status.started(listeners[0].socket.getsockname()[1])
            await trio.serve_listeners(pass_on, listeners, handler_nursery=nursery)


class _Listener(trio.abc.Listener["WireStream"]):
    def __init__(self, when_closed: Callable[[], object]) -> None:
        self._when_closed = when_closed
        self._closed = False
        self._send, self._receive = trio.open_memory_channel["WireStream"](2**31)

    def arrived(self, stream: WireStream) -> None:
        self._send.send_nowait(stream)

    async def accept(self) -> WireStream:
        try:
            return await self._receive.receive()
        except trio.EndOfChannel:
            raise trio.ClosedResourceError("the listener was closed here") from None

    async def aclose(self) -> None:
        if not self._closed:
            self._closed = True
            self._when_closed()
            self._send.close()
            # Nobody serves those that wait. All are let go of before anything can be cancelled.
            with suppress(trio.WouldBlock, trio.EndOfChannel):
                while True:
                    self._receive.receive_nowait().close()
        await trio.lowlevel.checkpoint()


async def _join(client: trio.SocketStream, wire: Wire, server: trio.SocketStream) -> None:
    """Pass bytes on between two sockets by way of *wire*, until it is cut or both have ended."""
    async with trio.open_nursery() as nursery:

        async def pump(source: trio.abc.ReceiveStream, sink: trio.abc.HalfCloseableStream) -> None:
            try:
                while data := await source.receive_some(64 * 1024):
                    await sink.send_all(data)
                await sink.send_eof()
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                wire.cut()
                nursery.cancel_scope.cancel()

        async with wire.client, wire.server:
            async with trio.open_nursery() as pumps:
                pumps.start_soon(pump, client, wire.client)
                pumps.start_soon(pump, wire.server, server)
                pumps.start_soon(pump, server, wire.server)
                pumps.start_soon(pump, wire.client, client)
            # Both have ended by themselves: no reset.
            for side in (client, server):
                side.setsockopt(SOL_SOCKET, SO_LINGER, struct.pack("ii", 0, 0))
