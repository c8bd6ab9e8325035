"""Connected pairs in memory."""

from __future__ import annotations

from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import trio
import trio.testing

from .._client import DEFAULT_LIMITS, DEFAULT_TIMEOUTS, hold_open
from .._engines import DEFAULT_ENGINE, check_engine, maker_of
from ..instrumentation import Hooks
from ..protocol.handshake import ClientHandshake, ServerHandshake
from ..protocol.http import Response

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterable, Sequence

    from .._engines import Engine
    from .._heartbeat import HeartbeatPolicy
    from .._settings import Compression, Limits, Timeouts
    from .._websocket import WebSocket
    from ..instrumentation import Hook


class Pair(NamedTuple):
    """The two ends of one connection."""

    client: WebSocket
    server: WebSocket


@asynccontextmanager
async def open_pair(
    *,
    target: str = "/",
    subprotocols: Sequence[str] = (),
    compression: Compression | None = None,
    engine: Engine = DEFAULT_ENGINE,
    limits: Limits = DEFAULT_LIMITS,
    timeouts: Timeouts = DEFAULT_TIMEOUTS,
    heartbeat: HeartbeatPolicy | None = None,
    hooks: Iterable[Hook] = (),
    streams: tuple[trio.abc.Stream, trio.abc.Stream] | None = None,
) -> AsyncGenerator[Pair]:
    """A connected client and server in memory, both closed at the end of the block.

    ::

        async with trio_ws.testing.open_pair() as (client, server):
            await client.send("hello")
            assert await server.receive() == "hello"

    The opening handshake is the real one, and nothing in between touches a socket or a clock, so
    it goes well with ``trio.testing.MockClock``.

    Args:
      target: the path and query that the client asks for.
      subprotocols: spoken by both sides; the first is chosen.
      compression: used by both sides.
      engine: of both sides; see `connect`.
      limits: of both sides.
      timeouts: of both sides.
      heartbeat: of both sides; by default none, so that a test's clock need not tick.
      hooks: told what happens on both sides.
      streams: the client's and the server's byte stream; by default a new pair in memory.
    """
    check_engine(engine, compression=compression, timeouts=timeouts)
    here, there = streams or trio.testing.memory_stream_pair()
    ours = ClientHandshake(
        host="testserver",
        target=target,
        subprotocols=subprotocols,
        compression=compression,
        limits=limits,
    )
    theirs = ServerHandshake(limits=limits)
    request = theirs.receive_data(ours.request_bytes())
    assert request is not None
    head, agreed = theirs.accept(subprotocols=subprotocols, compression=compression)
    negotiated = ours.receive_data(head)
    assert negotiated is not None
    assert not isinstance(negotiated, Response)
    told = Hooks(hooks)
    connect = partial(
        maker_of(engine), compression=compression, limits=limits, timeouts=timeouts, hooks=told
    )
    client = connect(here, ours.request, negotiated, client=True)
    server = connect(there, request, agreed, client=False)
    hold = partial(hold_open, heartbeat=heartbeat, hooks=told)
    async with hold(server), hold(client):
        yield Pair(client, server)
