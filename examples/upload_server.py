"""A server that takes a file of any size per connection, without holding it in memory.

::

    python examples/upload_server.py [PORT [DIRECTORY]]    # 8765 and "uploads" unless you say so
    python examples/upload_client.py FILE [URL]            # in another terminal
"""

import hashlib
import sys
from functools import partial
from pathlib import PurePath
from urllib.parse import unquote

import trio

import trio_ws

MAX_SIZE = 10 * 2**30  # bytes
# The file may begin to arrive before receive_stream() is called. However large it is, no more than
# Limits.inbox_bytes of it are held: beyond, the client has to wait.
LIMITS = trio_ws.Limits(max_message_size=None)


async def receive_file(directory: trio.Path, ws: trio_ws.WebSocket) -> None:
    """One message: the file's contents. Its name is in the URL."""
    # Only the last part: a client does not choose the directory.
    name = PurePath(unquote(ws.request.path)).name
    if name in {"", ".."}:
        await ws.aclose(1008, "that is no name for a file")
        return
    unfinished = directory / f".{ws.id}.part"
    try:
        size, digest = await receive_into(unfinished, ws)
        if size > MAX_SIZE:
            await ws.aclose(1009, f"no file may be over {MAX_SIZE} bytes")
            return
        await unfinished.replace(directory / name)
    finally:
        with trio.CancelScope(shield=True):
            await unfinished.unlink(missing_ok=True)
    print(f"received {name!r}, {size} bytes")
    await ws.send(digest)


async def receive_into(file: trio.Path, ws: trio_ws.WebSocket) -> tuple[int, str]:
    """Write the next message to *file*, as much as is allowed; return its size and SHA-256."""
    size, digest = 0, hashlib.sha256()
    async with await file.open("wb") as output, ws.receive_stream() as stream:
        async for piece in stream:
            data = piece.encode() if isinstance(piece, str) else piece
            size += len(data)
            if size > MAX_SIZE:
                break
            digest.update(data)
            await output.write(data)
    return size, digest.hexdigest()


async def main(port: int, directory: trio.Path) -> None:
    await directory.mkdir(exist_ok=True)
    serve = partial(trio_ws.serve, limits=LIMITS)
    async with trio.open_nursery() as nursery:
        server = await nursery.start(serve, partial(receive_file, directory), "127.0.0.1", port)
        print(f"listening on ws://127.0.0.1:{server.port}")


if __name__ == "__main__":
    arguments = dict(enumerate(sys.argv))
    try:
        trio.run(main, int(arguments.get(1, "8765")), trio.Path(arguments.get(2, "uploads")))
    except* KeyboardInterrupt:
        pass
