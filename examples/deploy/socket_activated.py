"""An echo server on the sockets that systemd has opened for it.

systemd listens before this program runs and while it is restarted, so nobody is refused: who
connects meanwhile waits in the socket's backlog. SIGTERM, which is how systemd stops a service,
closes the open connections in good order.

Run it by trio-ws.socket and trio-ws.service, or by hand:

    systemd-socket-activate --listen 127.0.0.1:8765 python socket_activated.py
"""

import signal
import sys
from functools import partial

import trio

import trio_ws


async def echo(ws: trio_ws.WebSocket) -> None:
    """Answer every message with itself."""
    async for message in ws:
        await ws.send(message)


async def main() -> None:
    """Serve until SIGTERM or Ctrl-C, then drain."""
    start = partial(
        trio_ws.serve,
        echo,
        listeners=trio_ws.inherited_listeners(),
        process_request=trio_ws.health(),
    )
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async with trio.open_nursery() as nursery:
            server: trio_ws.Server = await nursery.start(start)
            async for _ in signals:
                await server.drain(timeout=30, code=1012)
                break


if __name__ == "__main__":
    try:
        trio.run(main)
    except ValueError as error:
        sys.exit(f"{error}: start this by trio-ws.socket")
