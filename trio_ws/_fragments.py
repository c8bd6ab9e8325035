"""Messages in pieces: what `WebSocket.send` takes, and what fragments are joined into."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, Iterable, Mapping
from contextlib import aclosing
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from ._websocket import BytesLike


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
