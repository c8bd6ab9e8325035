"""Raw TCP on Trio: what any WebSocket on Trio can reach at most."""

from __future__ import annotations

from contextlib import suppress

import trio

from .arguments import Arguments, announce, parsed


async def echo(stream: trio.abc.Stream) -> None:
    # Over TLS, a peer that just goes is an error.
    with suppress(trio.BrokenResourceError):
        async for data in stream:
            await stream.send_all(data)


async def serve(arguments: Arguments) -> None:
    context = arguments.ssl_context
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    announce(listeners[0].socket.getsockname()[1])
    if context is None:
        await trio.serve_listeners(echo, listeners)
    else:
        await trio.serve_listeners(echo, [trio.SSLListener(one, context) for one in listeners])


if __name__ == "__main__":
    trio.run(serve, parsed())
