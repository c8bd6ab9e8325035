"""`check_websocket`: every implementation passes, and one that breaks a promise does not."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
import trio

import trio_ws
from trio_ws import CloseReason, ConnectionClosedError
from trio_ws.cli.wrapper import Wrapper
from trio_ws.testing import check_websocket, open_pair

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.pairs import OpenPair


async def test_both_engines_pass_over_every_kind_of_stream(pair: OpenPair) -> None:
    await check_websocket(pair)


def of(kind: type[Wrapper[Any]]) -> OpenPair:
    """Pairs whose ends are each wrapped so."""

    @asynccontextmanager
    async def open_wrapped() -> AsyncIterator[tuple[trio_ws.WebSocket, trio_ws.WebSocket]]:
        async with open_pair() as (client, server):
            yield kind(client), kind(server)

    return open_wrapped  # type: ignore[return-value]


async def test_what_wraps_another_passes() -> None:
    await check_websocket(of(Wrapper))


class Uppercase(Wrapper[trio_ws.WebSocket]):
    async def receive(self) -> str | bytes:
        message = await super().receive()
        return message.upper()


class Lossy(Wrapper[trio_ws.WebSocket]):
    """Loses a message where its receiver is cancelled."""

    async def receive(self) -> str | bytes:
        message = await super().receive()
        await trio.lowlevel.checkpoint()
        return message


class Eager(Wrapper[trio_ws.WebSocket]):
    """Sends although it is cancelled."""

    async def send(self, message: Any, *, compress: bool | None = None) -> None:
        with trio.CancelScope(shield=True):
            await super().send(message)
        await trio.lowlevel.checkpoint()


class Lenient(Wrapper[trio_ws.WebSocket]):
    async def send(self, message: Any, *, compress: bool | None = None) -> None:
        if isinstance(message, str | bytes | bytearray | memoryview | list) or hasattr(
            message, "__aiter__"
        ):
            await super().send(message)


class Joining(Wrapper[trio_ws.WebSocket]):
    """Sends an iterable as several messages."""

    async def send(self, message: Any, *, compress: bool | None = None) -> None:
        if isinstance(message, list):
            for part in message:
                await super().send(part)
        else:
            await super().send(message)


class Rude(Wrapper[trio_ws.WebSocket]):
    """Aborts where it is to close."""

    async def aclose(self, code: int = 1000, reason: str = "") -> None:
        self.abort()
        await super().aclose(code, reason)


class Unreasonable(Wrapper[trio_ws.WebSocket]):
    """Forgets for which cause it was aborted."""

    def abort(self, error: ConnectionClosedError | None = None) -> None:
        super().abort(error and ConnectionClosedError(CloseReason(1006)))


class Blind(Wrapper[trio_ws.WebSocket]):
    @property
    def id(self) -> str:
        return "the only one"


@pytest.mark.parametrize(
    ("kind", "promise"),
    [
        (Uppercase, "Messages arrive whole"),
        (Joining, "an iterable of either kind as one message"),
        (Lenient, "What is no message is refused"),
        (Lossy, "A receive that is cancelled has received nothing"),
        (Eager, "A send that is cancelled has sent nothing"),
        (Rude, "A close in good order hands out what had arrived"),
        (Unreasonable, "every call raises one like it"),
        (Blind, "What describes a connection"),
    ],
)
async def test_what_breaks_a_promise_is_found_out(kind: type[Wrapper[Any]], promise: str) -> None:
    with pytest.raises(Exception) as caught:  # whatever its calls raise
        await check_websocket(of(kind))
    (note,) = caught.value.__notes__
    assert note.startswith("check_websocket, of the client: ")
    assert promise in note
