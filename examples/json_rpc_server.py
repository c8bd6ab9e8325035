"""JSON-RPC 2.0 over a WebSocket: several calls at a time on one connection; no batches.

::

    python examples/json_rpc_server.py [PORT]          # 8765 unless you say so; 0 takes a free one
    python examples/json_rpc_client.py [URL]           # in another terminal
"""

import json
import logging
import sys
from typing import Any

import trio

import trio_ws


async def add(a: float, b: float) -> float:
    return a + b


METHODS: dict[str, Any] = {"add": add, "sleep": trio.sleep}


async def outcome(name: str, params: Any) -> dict[str, Any]:
    method = METHODS.get(name)
    if method is None:
        return {"error": {"code": -32601, "message": "Method not found"}}
    try:
        call = method(**params) if isinstance(params, dict) else method(*params)
    except TypeError as error:  # an async function has not begun to run yet
        return {"error": {"code": -32602, "message": f"Invalid params: {error}"}}
    try:
        return {"result": await call}
    except Exception:
        logging.exception("%s failed", name)
        return {"error": {"code": -32603, "message": "Internal error"}}


async def response_to(text: str | bytes) -> dict[str, Any]:
    try:
        request = json.loads(text)
    except ValueError:
        return {"id": None, "error": {"code": -32700, "message": "Parse error"}}
    match request:
        case {"jsonrpc": "2.0", "method": str(name)}:
            number = {"id": request["id"]} if "id" in request else {}
            return {**number, **await outcome(name, request.get("params", []))}
    return {"id": None, "error": {"code": -32600, "message": "Invalid Request"}}


async def answer(ws: trio_ws.WebSocket, text: str | bytes, slots: trio.Semaphore) -> None:
    response = await response_to(text)
    if "id" in response:  # else it was a notification, which wants no answer
        await ws.send(json.dumps({"jsonrpc": "2.0", **response}))
    slots.release()


async def answer_calls(ws: trio_ws.WebSocket) -> None:
    slots = trio.Semaphore(16)  # calls at a time: while there are as many, nothing is read
    async with trio.open_nursery() as nursery:
        async for text in ws:
            await slots.acquire()
            nursery.start_soon(answer, ws, text, slots)
        nursery.cancel_scope.cancel()  # the client has gone: nobody waits for these


async def main(port: int) -> None:
    async with trio.open_nursery() as nursery:
        server = await nursery.start(trio_ws.serve, answer_calls, "127.0.0.1", port)
        print(f"listening on ws://127.0.0.1:{server.port}")


if __name__ == "__main__":
    try:
        trio.run(main, int(sys.argv[1]) if len(sys.argv) > 1 else 8765)
    except* KeyboardInterrupt:
        pass
