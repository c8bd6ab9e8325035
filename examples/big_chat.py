"""Chat with rooms, presence and history, in several processes that Redis joins.

::

    python examples/big_chat.py                    # or, from the same folder:
    REDIS_URL=redis://localhost trio-ws serve examples.big_chat:chat --workers 2

Then open http://localhost:8765 in two tabs.
"""

import json
import os
from contextlib import suppress
from pathlib import Path
from urllib.parse import parse_qs, unquote

import trio

import trio_ws
from trio_ws.backplane import Position
from trio_ws.backplane.redis import RedisBackplane

PAGE = Path(__file__).with_name("big_chat.html").read_bytes()


def numbered(message: str | bytes, position: Position | None) -> str:
    """Members get each message with its position, which they give when they come back."""
    return json.dumps({**json.loads(message), "position": str(position or "")})


class Chat(trio_ws.Hub):
    """A handler that is a hub, which is entered before the first connection."""

    def __init__(self) -> None:
        url = os.environ.get("REDIS_URL")
        backplane = RedisBackplane(url, prefix="big-chat:") if url else None
        history = trio_ws.History(messages=200, seconds=3600)
        super().__init__(backplane=backplane, history=history, stamp=numbered)

    def process_request(self, request: trio_ws.Request) -> trio_ws.Response | None:
        page = trio_ws.Response(200, trio_ws.Headers({"Content-Type": "text/html"}), PAGE)
        return page if request.path == "/" else None

    async def __call__(self, ws: trio_ws.WebSocket) -> None:
        query = parse_qs(ws.request.query)
        room = unquote(ws.request.path.removeprefix("/rooms/"))
        name = query.get("name", ["somebody"])[0]
        since = Position.OLDEST
        with suppress(KeyError, ValueError):
            since = Position.parse(query["since"][0])
        async with (
            self.join(ws, room, since=since, info={"name": name}) as membership,
            self.presence(room) as watch,
            trio.open_nursery() as nursery,
        ):
            if not membership.recovered:
                await ws.send(json.dumps({"gap": True}))
            nursery.start_soon(self._tell_members, ws, watch)
            async for text in ws:
                await self.publish(room, json.dumps({"name": name, "text": str(text)}))
            nursery.cancel_scope.cancel()

    async def _tell_members(self, ws: trio_ws.WebSocket, watch: trio_ws.PresenceWatch) -> None:
        while True:
            names = sorted({str(member.info["name"]) for member in watch.members})
            await ws.send(json.dumps({"members": names}))
            await watch.receive()


chat = Chat()


async def main() -> None:
    async with chat:
        await trio_ws.serve(chat, "127.0.0.1", 8765)


if __name__ == "__main__":
    trio.run(main)
