"""The programs of the tutorials: ours with each other, and with the libraries they came from."""

from __future__ import annotations

import re

import pytest

from .programs import (
    NODE_WS,
    OURS,
    TRIO_WEBSOCKET,
    WEBSOCKETS,
    Library,
    finished,
    interrupted,
    require,
    served,
    started,
)

OTHERS = (WEBSOCKETS, TRIO_WEBSOCKET, NODE_WS)
PAIRS = [(OURS, OURS), *((OURS, other) for other in OTHERS), *((other, OURS) for other in OTHERS)]
QUESTION = "What's your name? "


@pytest.fixture(params=PAIRS, ids=lambda pair: f"{pair[0]}-{pair[1]}")
def pair(request: pytest.FixtureRequest) -> tuple[Library, Library]:
    """The server's library, and the client's."""
    server: Library
    client: Library
    server, client = request.param
    require(server)
    require(client)
    return server, client


async def test_an_echo_server_prints_what_it_gets(pair: tuple[Library, Library]) -> None:
    async with (
        served("echo_server", library=pair[0]) as (server, url),
        started("conversation_client", url, library=pair[1]) as client,
    ):
        assert await client.line() == "connected; type quit to end"
        for word in ("hello", "grüße"):
            await client.type(word)
            assert await client.line() == word
            assert await server.line() == f"received '{word}'"
        await client.type("quit")
        assert await finished(client) == ("", "")
        if pair[0] is OURS:
            assert await interrupted(server) == ""


async def test_a_name_and_a_greeting(pair: tuple[Library, Library]) -> None:
    async with (
        served("greeting_server", library=pair[0]) as (server, url),
        started("greeting_client", url, library=pair[1]) as client,
    ):
        await client.type("Ana")
        assert await finished(client) == (f"{QUESTION}Hello Ana!\n", "")
        assert await server.line() == "greeting 'Ana'"
        if pair[0] is OURS:
            assert await interrupted(server) == ""


async def test_a_conversation_until_quit(pair: tuple[Library, Library]) -> None:
    async with (
        served("conversation_server", library=pair[0]) as (server, url),
        started("conversation_client", url, library=pair[1]) as client,
    ):
        assert await client.line() == "connected; type quit to end"
        connected = re.fullmatch(r"(\('127\.0\.0\.1', \d+\)) connected", await server.line())
        assert connected is not None
        for word in ("one", "two"):
            await client.type(word)
            assert await client.line() == f"Server received: {word}"
        await client.type("quit")
        assert await finished(client) == ("", "")
        # Closed by the client, properly: 1000, or (npm's ws) with no code.
        code = "1005" if pair[1] is NODE_WS else "1000"
        assert (await server.line()).startswith(f"{connected[1]} disconnected: {code}")
        if pair[0] is OURS:
            assert await interrupted(server) == ""


async def test_a_welcome(pair: tuple[Library, Library]) -> None:
    names = {
        OURS: "Trio",
        WEBSOCKETS: "asyncio",
        TRIO_WEBSOCKET: "trio-websocket",
        NODE_WS: "Node",
    }
    async with (
        served("welcome_server", library=pair[0]) as (server, url),
        started("welcome_client", url, library=pair[1]) as client,
    ):
        expected = f"Welcome to the WebSocket server!\nHello, {names[pair[1]]}!\n"
        assert await finished(client) == (expected, "")
        if pair[0] is OURS:
            assert await interrupted(server) == ""
