"""A client that uploads a file in fragments, and shows how far it has come.

::

    python examples/upload_server.py                   # first, in another terminal
    python examples/upload_client.py FILE [URL]        # ws://127.0.0.1:8765 unless you say so
"""

import hashlib
import sys
from collections.abc import AsyncGenerator
from urllib.parse import quote

import trio

import trio_ws

FRAGMENT = 256 * 1024  # bytes


async def upload(ws: trio_ws.WebSocket, path: trio.Path) -> str:
    """Send what is in the file as one message; return its SHA-256."""
    digest = hashlib.sha256()
    size = (await path.stat()).st_size
    async with await path.open("rb") as file:

        async def fragments() -> AsyncGenerator[bytes]:
            sent = 0
            while True:
                data = await file.read(FRAGMENT)
                # The last one is empty: an empty file, too, is a message of one fragment.
                yield data
                if not data:
                    return
                # It goes on when the connection has taken this one.
                digest.update(data)
                sent += len(data)
                print(f"sent {sent} of {size} bytes")

        await ws.send(fragments())
    return digest.hexdigest()


async def main(path: trio.Path, url: str) -> None:
    try:
        async with trio_ws.connect(f"{url}/{quote(path.name)}") as ws:
            digest = await upload(ws, path)
            arrived = await ws.receive() == digest
    except (OSError, trio_ws.TrioWSError) as error:
        sys.exit(f"cannot upload {path} to {url}: {error}")
    if not arrived:
        sys.exit("the server has received something else")
    print("the server has it all")


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit("usage: python examples/upload_client.py FILE [URL]")
    try:
        trio.run(
            main,
            trio.Path(sys.argv[1]),
            sys.argv[2] if len(sys.argv) > 2 else "ws://127.0.0.1:8765",
        )
    except* KeyboardInterrupt:
        pass
