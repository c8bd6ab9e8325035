"""JSON-RPC: the specification's cases against the server, and a client whose calls overlap."""

from __future__ import annotations

import json
from typing import Any

import pytest
import trio
import trio.testing

import trio_ws
import trio_ws.testing
from examples.json_rpc_client import RpcClient, RpcError
from examples.json_rpc_server import answer_calls

from .programs import finished, interrupted, served, started

NO_SUCH_METHOD = {"code": -32601, "message": "Method not found"}
INVALID = {"jsonrpc": "2.0", "id": None, "error": {"code": -32600, "message": "Invalid Request"}}


def request(method: str, params: Any, **more: Any) -> str:
    return json.dumps({"jsonrpc": "2.0", "method": method, "params": params, **more})


async def test_the_programs() -> None:
    async with (
        served("json_rpc_server") as (server, url),
        started("json_rpc_client", url) as client,
    ):
        out, errors = await finished(client)
        assert errors == ""
        lines = out.splitlines()
        assert lines[-1] == "sleep(0.5,) = None"
        assert "add(1, 2) = 3" in lines[:-1]
        assert any(line.startswith("add(1,): Invalid params: ") for line in lines[:-1])
        assert await interrupted(server) == ""


@pytest.mark.parametrize(
    ("text", "response"),
    [
        (request("add", [1, 2], id=1), {"jsonrpc": "2.0", "id": 1, "result": 3}),
        (request("add", {"a": 1, "b": 2}, id="x"), {"jsonrpc": "2.0", "id": "x", "result": 3}),
        (request("none", [], id=2), {"jsonrpc": "2.0", "id": 2, "error": NO_SUCH_METHOD}),
        ("[]", INVALID),
        ("3", INVALID),
        ('{"jsonrpc": "2.0", "method": 1}', INVALID),
        ('{"jsonrpc": "1.0", "method": "add", "id": 3}', INVALID),
    ],
)
async def test_one_response(text: str, response: dict[str, Any]) -> None:
    async with trio_ws.testing.open_pair() as (client, server), trio.open_nursery() as nursery:
        nursery.start_soon(answer_calls, server)
        await client.send(text)
        assert json.loads(await client.receive()) == response
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("{", -32700),
        (b"\xff", -32700),
        (request("add", [1], id=1), -32602),
        (request("add", {"c": 1}, id=1), -32602),
        (request("add", 3, id=1), -32602),
        (request("add", [1, "a"], id=1), -32603),
    ],
)
async def test_one_error(text: str | bytes, code: int) -> None:
    async with trio_ws.testing.open_pair() as (client, server), trio.open_nursery() as nursery:
        nursery.start_soon(answer_calls, server)
        await client.send(text)
        assert json.loads(await client.receive())["error"]["code"] == code
        nursery.cancel_scope.cancel()


async def test_notifications_are_not_answered() -> None:
    async with trio_ws.testing.open_pair() as (client, server), trio.open_nursery() as nursery:
        nursery.start_soon(answer_calls, server)
        await client.send(request("add", [1, 2]))
        await client.send(request("none", []))
        await client.send(request("add", [3, 4], id=1))
        assert json.loads(await client.receive())["id"] == 1
        nursery.cancel_scope.cancel()


async def test_calls_overlap(autojump_clock: trio.testing.MockClock) -> None:
    async with trio_ws.testing.open_pair() as (client, server), trio.open_nursery() as nursery:
        nursery.start_soon(answer_calls, server)
        rpc = RpcClient(client)
        nursery.start_soon(rpc.run)
        async with trio.open_nursery() as calls:
            for _ in range(10):
                calls.start_soon(rpc.call, "sleep", 60)
        assert trio.current_time() == 60
        nursery.cancel_scope.cancel()


async def test_sixteen_calls_at_a_time(autojump_clock: trio.testing.MockClock) -> None:
    async with trio_ws.testing.open_pair() as (client, server), trio.open_nursery() as nursery:
        nursery.start_soon(answer_calls, server)
        rpc = RpcClient(client)
        nursery.start_soon(rpc.run)
        async with trio.open_nursery() as calls:
            for _ in range(17):
                calls.start_soon(rpc.call, "sleep", 60)
        assert trio.current_time() == 120
        nursery.cancel_scope.cancel()


async def test_a_cancelled_call_disturbs_no_other(autojump_clock: trio.testing.MockClock) -> None:
    async with trio_ws.testing.open_pair() as (client, server), trio.open_nursery() as nursery:
        nursery.start_soon(answer_calls, server)
        rpc = RpcClient(client)
        nursery.start_soon(rpc.run)
        with trio.move_on_after(5):
            await rpc.call("sleep", 10)
        # Its answer comes meanwhile.
        await rpc.call("sleep", 20)
        assert await rpc.call("add", 1, 2) == 3
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("how", ["aclose", "abort"])
async def test_calls_are_told_when_the_connection_ends(how: str) -> None:
    async with trio_ws.testing.open_pair() as (client, server), trio.open_nursery() as nursery:
        rpc = RpcClient(client)
        nursery.start_soon(rpc.run)
        told = trio.Event()

        async def call() -> None:
            with pytest.raises(RpcError, match="no answer: 1"):
                await rpc.call("add", 1, 2)
            told.set()

        nursery.start_soon(call)
        await server.receive()
        if how == "aclose":
            await server.aclose()
        else:
            server.abort()
        await told.wait()
