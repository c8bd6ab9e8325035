"""An echo server on the sockets that systemd has opened for it.

systemd listens before this program runs and while it is restarted, so nobody is refused: who
connects meanwhile waits in the socket's backlog. SIGTERM, which is how systemd stops a service,
closes the open connections in good order.

Run it by trio-ws.socket and trio-ws.service, or by hand:

    systemd-socket-activate --listen 127.0.0.1:8765 python socket_activated.py
"""

import os
import signal
import socket
import sys
from functools import partial

import trio

import trio_ws

#: The first of the descriptors (see sd_listen_fds(3)).
FIRST = 3


async def echo(ws: trio_ws.WebSocket) -> None:
    """Answer every message with itself."""
    async for message in ws:
        await ws.send(message)


def inherited_listeners() -> list[trio.SocketListener]:
    """What systemd hands over; it must be called within ``trio.run``."""
    if os.environ.get("LISTEN_PID") != str(os.getpid()):
        sys.exit("no sockets were handed over: start this by trio-ws.socket")
    listeners = []
    for descriptor in range(FIRST, FIRST + int(os.environ["LISTEN_FDS"])):
        # Programs that this one starts are not to have it.
        os.set_inheritable(descriptor, False)
        listening = trio.socket.from_stdlib_socket(socket.socket(fileno=descriptor))
        listeners.append(trio.SocketListener(listening))
    return listeners


async def main() -> None:
    """Serve until SIGTERM or Ctrl-C, then drain."""
    start = partial(
        trio_ws.serve,
        echo,
        listeners=inherited_listeners(),
        process_request=trio_ws.health(),
    )
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async with trio.open_nursery() as nursery:
            server: trio_ws.Server = await nursery.start(start)
            async for _ in signals:
                await server.drain(timeout=30, code=1012)
                break


if __name__ == "__main__":
    trio.run(main)
