"""Raw TCP on epoll and nothing else: how fast the load generator can be answered at most."""

from __future__ import annotations

import select
import socket
from collections import defaultdict

from .arguments import announce

_EVENTS = select.EPOLLIN | select.EPOLLOUT | select.EPOLLET
_SIZE = 256 * 1024


class Echo:
    """One connection."""

    __slots__ = ("_backlog", "_socket")

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._backlog = b""

    def ready(self) -> bool:
        """Echo what is there; whether there may be more."""
        try:
            while True:
                if self._backlog:
                    self._backlog = self._backlog[self._socket.send(self._backlog) :]
                data = self._socket.recv(_SIZE)
                if not data:
                    return False
                sent = self._socket.send(data)
                self._backlog = data[sent:]
                if len(data) < _SIZE and not self._backlog:
                    return True
        except BlockingIOError as _:
            return True


def main() -> None:
    listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
    announce(listener.getsockname()[1])
    poll = select.epoll()
    poll.register(listener, select.EPOLLIN)
    echoes: dict[int, Echo] = {}
    sockets: dict[int, socket.socket] = defaultdict()
    while True:
        for descriptor, _ in poll.poll():
            if descriptor == listener.fileno():
                connection, _ = listener.accept()
                connection.setblocking(False)
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                sockets[connection.fileno()] = connection
                echoes[connection.fileno()] = Echo(connection)
                poll.register(connection, _EVENTS)
            elif not echoes[descriptor].ready():
                del echoes[descriptor]
                sockets.pop(descriptor).close()


if __name__ == "__main__":
    main()
