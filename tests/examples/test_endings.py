"""How the clients end when there is no server, or when it ends first."""

from __future__ import annotations

import pytest

from .programs import finished, interrupted, served, started

CLIENTS = (
    *("greeting_client", "conversation_client", "welcome_client"),
    *("json_rpc_client", "upload_client", "market_client"),
)


@pytest.mark.parametrize("client", CLIENTS)
async def test_what_is_wrong_takes_one_line(client: str) -> None:
    file = [__file__] if client == "upload_client" else []
    async with started(client, *file, "no address") as running:
        await running.type("Ana")
        assert await running.process.wait() == 1
        errors = (await running.rest("stderr")).splitlines()
        assert len(errors) == 1, errors
        assert "no address" in errors[0]


@pytest.mark.parametrize("client", ["greeting_client", "conversation_client", "welcome_client"])
async def test_a_server_that_is_not_there_takes_one_line(client: str) -> None:
    async with served("echo_server") as (server, url):
        await interrupted(server)
    async with started(client, url) as running:
        await running.type("Ana")
        assert await running.process.wait() == 1
        errors = (await running.rest("stderr")).splitlines()
        assert len(errors) == 1, errors
        assert "cannot connect to 127.0.0.1" in errors[0]


async def test_a_conversation_that_the_server_ends() -> None:
    """The client does not wait for another line to be typed, and leaves no thread in the way."""
    async with (
        served("embedding") as (server, url),
        started("conversation_client", url) as client,
    ):
        assert await client.line() == "connected; type quit to end"
        await client.line()
        await interrupted(server)
        out, errors = await finished(client)
        assert out.splitlines()[-1] == "1001 (going away), closed by the peer"
        assert errors == ""


async def test_a_conversation_that_is_cut_off() -> None:
    async with (
        served("conversation_server") as (server, url),
        started("conversation_client", url) as client,
    ):
        assert await client.line() == "connected; type quit to end"
        server.process.kill()
        out, errors = await finished(client)
        assert out == "1006 (abnormal closure), the transport was cut\n"
        assert errors == ""


async def test_a_client_that_is_interrupted_says_nothing() -> None:
    """Although a thread of it waits for a line."""
    async with (
        served("conversation_server") as (server, url),
        started("conversation_client", url) as client,
    ):
        assert await client.line() == "connected; type quit to end"
        assert (await server.line()).endswith(" connected")
        await client.type("hello")
        assert await client.line() == "Server received: hello"
        assert await interrupted(client) == ""
        assert "disconnected: 1001 (going away), closed by the peer" in await server.line()


@pytest.mark.parametrize("client", ["greeting_client", "conversation_client"])
async def test_the_end_of_input_ends_a_client(client: str) -> None:
    async with served("echo_server") as (_, url), started(client, url) as running:
        assert running.process.stdin is not None
        await running.process.stdin.aclose()
        _, errors = await finished(running)
        assert errors == ""


async def test_stopping_a_server_with_clients_is_quiet() -> None:
    async with (
        served("conversation_server") as (server, url),
        started("conversation_client", url) as client,
    ):
        assert await client.line() == "connected; type quit to end"
        assert (await server.line()).endswith(" connected")
        await client.type("hello")
        assert await client.line() == "Server received: hello"
        # Which of the two hears of it first, the handler or its connection, is left open.
        _, _, why = (await interrupted(server)).partition(" disconnected: ")
        assert why.startswith(("the server stops", "1001 (going away), closed here"))
