"""Messages in pieces: what `WebSocket.send` takes, and what fragments are joined into."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, Iterable, Mapping
from contextlib import aclosing
from typing import TYPE_CHECKING, cast

import trio

from ._errors import ConnectionClosedError, ConnectionClosedOK
from ._websocket import MessageStream

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from ._websocket import BytesLike
    from .protocol.machine import Part


def normalized(message: object) -> str | bytes:
    """The message as exactly what the codec takes."""
    if isinstance(message, str | bytes):
        return message
    if isinstance(message, bytearray | memoryview):
        return bytes(message)
    raise TypeError(f"a message is str or bytes-like, not {type(message).__name__}")


async def as_async(parts: object) -> AsyncGenerator[str | BytesLike]:
    """Iterate over whatever kind of iterable *parts* is."""
    if isinstance(parts, AsyncGenerator):
        # It is used up here, so nobody else will close it.
        async with aclosing(parts):
            async for part in parts:
                yield part
    elif isinstance(parts, AsyncIterable):
        async for part in parts:
            yield part
    elif isinstance(parts, Iterable) and not isinstance(parts, Mapping):
        for part in parts:
            yield part
    else:
        raise TypeError(
            "a message is str, bytes-like, or an (async) iterable of either, "
            f"not {type(parts).__name__}"
        )


def concatenated(parts: list[str | bytes]) -> str | bytes:
    if isinstance(parts[0], str):
        return "".join(cast("list[str]", parts))
    return b"".join(cast("list[bytes]", parts))


class IncomingMessage(MessageStream):
    """The next message of a connection, piece by piece.

    Args:
      receive_part: gives the next part of the message.
      skip_rest: throws away what is still to come of it.
    """

    __slots__ = ("_complete", "_receive_part", "_skip_rest", "_started")

    def __init__(
        self, receive_part: Callable[[], Awaitable[Part]], skip_rest: Callable[[], None]
    ) -> None:
        self._receive_part = receive_part
        self._skip_rest = skip_rest
        self._started = False
        self._complete = False

    async def receive(self) -> str | bytes:
        if self._complete:
            await trio.lowlevel.checkpoint()
            raise trio.EndOfChannel
        try:
            part = await self._receive_part()
        except ConnectionClosedOK as closed:
            if not self._started:
                raise
            # That is an EndOfChannel as well, and would say that the message is complete.
            raise _cut_short(closed) from None
        self._started = True
        self._complete = part.final
        return part.data

    async def aclose(self) -> None:
        if self._started and not self._complete:
            self._complete = True
            self._skip_rest()
        await trio.lowlevel.checkpoint()


def _cut_short(closed: ConnectionClosedOK) -> ConnectionClosedError:
    """What *closed*, which came within a message, means to whoever receives the message."""
    error = ConnectionClosedError(closed.reason)
    error.connection_id = closed.connection_id
    return error
