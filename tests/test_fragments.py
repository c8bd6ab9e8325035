"""Messages in pieces: one that is not complete is never taken for one that is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio

import trio_ws
from trio_ws.testing import open_pair

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator


async def send_half(ws: trio_ws.WebSocket, code: int) -> None:
    """Send the first fragment of a message, then close with *code*."""

    async def fragments() -> AsyncGenerator[str]:
        yield "half"
        await ws.aclose(code)

    with pytest.raises(trio.ClosedResourceError):
        await ws.send(fragments())


@pytest.mark.parametrize("code", [1000, 1001, 1011])
async def test_a_close_within_a_message_does_not_complete_it(code: int) -> None:
    """Also where the peer closes in good order, which ends a channel elsewhere."""
    pieces = []
    async with open_pair() as (client, server), trio.open_nursery() as nursery:
        nursery.start_soon(send_half, client, code)
        async with server.receive_stream() as stream:
            with pytest.raises(trio_ws.ConnectionClosedError) as caught:
                async for piece in stream:
                    pieces.append(piece)
        assert pieces == ["half"]
        assert caught.value.reason.code == code
        assert caught.value.connection_id == server.id


async def test_a_close_between_messages_is_no_empty_message() -> None:
    async with open_pair() as (client, server):
        await client.aclose()
        async with server.receive_stream() as stream:
            with pytest.raises(trio_ws.ConnectionClosedOK):
                async for _ in stream:
                    pytest.fail("there was no message")


async def test_an_empty_message_is_one() -> None:
    async with open_pair() as (client, server):
        await client.send("")
        async with server.receive_stream() as stream:
            assert [piece async for piece in stream] == [""]


async def test_draining_does_not_complete_a_message() -> None:
    """A handler that streams learns that what it has is not the whole, and is not to blame."""
    halfway = trio.Event()
    ended = []

    async def take(ws: trio_ws.WebSocket) -> None:
        async with ws.receive_stream() as stream:
            try:
                async for _ in stream:
                    halfway.set()
            except trio_ws.ConnectionClosedError as error:
                ended.append(error.reason.code)
                raise

    async def fragments() -> AsyncGenerator[str]:
        yield "half"
        await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        server: trio_ws.Server = await nursery.start(trio_ws.serve, take, "127.0.0.1", 0)
        async with trio_ws.connect(f"ws://127.0.0.1:{server.port}", proxy=None) as ws:
            nursery.start_soon(ws.send, fragments())
            await halfway.wait()
            await server.drain()
            nursery.cancel_scope.cancel()
    assert ended == [1001]
    assert server.statistics().crashed == 0
