"""`wrap`: for an application on trio-websocket that wants what this package has above engines."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from ._client import DEFAULT_HOOKS, DEFAULT_LIMITS, DEFAULT_TIMEOUTS, hold_open
from ._engines import check_timeouts
from ._heartbeat import DEFAULT_HEARTBEAT, check_policy
from ._trio_websocket import NAME, TrioWebSocket, adopt
from .instrumentation import Hooks

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterable

    from trio_websocket import WebSocketConnection

    from ._heartbeat import HeartbeatPolicy
    from ._settings import Limits, Timeouts
    from .instrumentation import Hook


@asynccontextmanager
async def wrap(
    connection: WebSocketConnection,
    *,
    heartbeat: HeartbeatPolicy | None = DEFAULT_HEARTBEAT,
    limits: Limits = DEFAULT_LIMITS,
    timeouts: Timeouts = DEFAULT_TIMEOUTS,
    hooks: Iterable[Hook] = DEFAULT_HOOKS,
) -> AsyncGenerator[TrioWebSocket]:
    """A `WebSocket` over an open connection of trio-websocket, closed at the end of the block.

    ::

        async def handler(request: trio_websocket.WebSocketRequest) -> None:
            async with trio_ws.wrap(await request.accept()) as ws:
                async for message in ws:
                    await ws.send(message)

    It goes inside a handler of ``serve_websocket``, or the block of ``open_websocket``. Their
    nurseries, their tasks and their timeouts stay theirs. From here on, send, receive and ping
    through what is yielded only: messages that ``get_message`` takes are not received here.
    ``connection.closed`` goes on telling how the connection ended; ``local`` and ``remote`` no
    longer name addresses: ask `WebSocket.local_address` and `WebSocket.remote_address`.

    Args:
      connection: one whose opening handshake is done. What it has received already is received
        here.
      heartbeat: how a dead peer is noticed: by default a ping every 20 seconds, to be answered
        within 20; see `Heartbeat`. ``None``: not at all.
      limits: bounds on what the peer may make this side hold. That on the size of a message is
        the connection's own, ``max_message_size``.
      timeouts: bounds on how long things may take.
      hooks: told what happens to the connection; see `trio_ws.instrumentation`.

    Yields:
      The `TrioWebSocket`. Leaving the block closes it, with the codes of `connect`. An exception
      leaves the block as itself, never in a group.

      Its ``request`` has the path, and no headers: ask the ``WebSocketRequest``, or for those that
      a server has answered, ``response.headers``.

    Raises:
      TypeError: *connection* is something else.
      ValueError: it is closed, or wrapped already.
      NotSupportedByEngine: the library has no notion of one of the *timeouts*.

    Cancellation: of the block: the close frame goes if the transport takes it at once; then the
    transport is closed.
    """
    check_policy(heartbeat)
    check_timeouts(NAME, timeouts)
    told = Hooks(hooks)
    ws = adopt(connection, limits=limits, timeouts=timeouts, hooks=told)
    async with hold_open(ws, heartbeat=heartbeat, hooks=told):
        yield ws
