"""Chat in rooms, in the browser: the page and the WebSockets come from one port.

::

    python examples/chat_server.py [PORT]              # 8765 unless you say so; 0 takes a free one

Then open the address that it prints, in two tabs.
"""

import json
import sys
from collections import defaultdict
from functools import partial
from pathlib import Path
from urllib.parse import parse_qs

import trio

import trio_ws

PAGE = Path(__file__).with_name("chat.html").read_bytes()
LIMITS = trio_ws.Limits(max_message_size=4096)  # bytes; what is longer closes with 1009


rooms: defaultdict[str, set[trio_ws.WebSocket]] = defaultdict(set)
router = trio_ws.Router()


@router.route("/rooms/{room}")
async def chat(ws: trio_ws.WebSocket, room: str) -> None:
    name = parse_qs(ws.request.query).get("name", ["somebody"])[0]
    rooms[room].add(ws)
    try:
        publish(room, event=f"{name} joined")
        async for text in ws:
            publish(room, name=name, text=str(text))
    finally:
        rooms[room].remove(ws)
        publish(room, event=f"{name} left")
        if not rooms[room]:
            del rooms[room]


def publish(room: str, **message: str) -> None:
    """Send to everybody in *room*, waiting for nobody."""
    text = json.dumps(message)
    for member in rooms[room]:
        try:
            member.send_nowait(text)
        except trio.WouldBlock:
            member.abort()  # it does not read, and nobody is to wait for it
        except (trio_ws.ConnectionClosed, trio.ClosedResourceError):
            pass  # it is about to leave


def page(request: trio_ws.Request) -> trio_ws.Response | None:
    if request.path != "/":
        return None  # the router's business
    return trio_ws.Response(200, trio_ws.Headers({"Content-Type": "text/html"}), PAGE)


async def main(port: int) -> None:
    serve = partial(trio_ws.serve, process_request=page, limits=LIMITS)
    async with trio.open_nursery() as nursery:
        server = await nursery.start(serve, router, "127.0.0.1", port)
        print(f"listening on http://127.0.0.1:{server.port}")


if __name__ == "__main__":
    try:
        trio.run(main, int(sys.argv[1]) if len(sys.argv) > 1 else 8765)
    except* KeyboardInterrupt:
        pass
