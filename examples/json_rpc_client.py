"""A client of JSON-RPC 2.0 over a WebSocket, whose calls may overlap and be cancelled.

::

    python examples/json_rpc_server.py                 # first, in another terminal
    python examples/json_rpc_client.py [URL]           # ws://127.0.0.1:8765 unless you say so
"""

import itertools
import json
import sys
from contextlib import suppress
from typing import Any

import trio

import trio_ws


class RpcError(Exception):
    """The answer is an error, or none will come."""


class RpcClient:
    """Calls over one connection. `run` takes the answers, in a task of its own."""

    def __init__(self, ws: trio_ws.WebSocket) -> None:
        self._ws = ws
        self._numbers = itertools.count(1)
        self._waiting: dict[int, trio.MemorySendChannel[Any]] = {}

    async def call(self, method: str, *params: Any) -> Any:
        """What *method* returns. Cancelled, it throws the answer away that may come."""
        number = next(self._numbers)
        request = {"jsonrpc": "2.0", "method": method, "params": params, "id": number}
        self._waiting[number], answers = trio.open_memory_channel[Any](1)
        try:
            await self._ws.send(json.dumps(request))
            answer = await answers.receive()
        finally:
            self._waiting.pop(number, None)
        if "error" in answer:
            raise RpcError(answer["error"]["message"])
        return answer["result"]

    async def run(self) -> None:
        with suppress(trio_ws.ConnectionClosedError):  # those who wait are told
            async for text in self._ws:
                answer = json.loads(text)
                if answer["id"] in self._waiting:
                    self._waiting.pop(answer["id"]).send_nowait(answer)
        for waiting in self._waiting.values():
            waiting.send_nowait({"error": {"message": f"no answer: {self._ws.close_reason}"}})


async def show(rpc: RpcClient, method: str, *params: Any) -> None:
    try:
        print(f"{method}{params} = {await rpc.call(method, *params)}")
    except (RpcError, trio_ws.ConnectionClosed) as error:
        print(f"{method}{params}: {error}")


async def main(url: str) -> None:
    try:
        async with trio_ws.connect(url) as ws, trio.open_nursery() as nursery:
            rpc = RpcClient(ws)
            nursery.start_soon(rpc.run)
            async with trio.open_nursery() as calls:
                calls.start_soon(show, rpc, "sleep", 0.5)  # asked first, answered last
                calls.start_soon(show, rpc, "add", 1, 2)
                calls.start_soon(show, rpc, "add", 1)
            nursery.cancel_scope.cancel()
    except (OSError, trio_ws.TrioWSError) as error:
        sys.exit(str(error))


if __name__ == "__main__":
    trio.run(main, sys.argv[1] if len(sys.argv) > 1 else "ws://127.0.0.1:8765")
