"""Connections opened and closed, as many as the peer can do."""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
import struct
import time
from typing import TYPE_CHECKING

from .. import wire
from . import opening
from .orders import LoadError, Measurement
from .stopwatch import Stopwatch

if TYPE_CHECKING:
    from collections.abc import Generator

    from .orders import Load

_REQUEST = wire.request()
_GOODBYE = wire.frame(wire.CLOSE, struct.pack("!H", 1000), key=wire.MASKING_KEY)


class Connects:
    """*load.connections* at once, each opened, closed by the closing handshake, and replaced."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._context = opening.tls_context() if load.tls else None
        self._poll = select.epoll()
        self._lives: dict[int, Generator[int]] = {}
        self.done = 0

    def measure(self) -> Measurement:
        try:
            for _ in range(self._load.connections):
                self._begin()
            self._run(self._load.warm_up)
            self.done = 0
            stopwatch = Stopwatch(self._load.pid)
            seconds = self._run(self._load.seconds)
            return stopwatch.measurement(self.done, seconds)
        finally:
            for life in self._lives.values():
                life.close()

    def _run(self, seconds: float) -> float:
        start = last = now = time.perf_counter()
        before = self.done
        while now - start < seconds or last < now:
            for descriptor, _ in self._poll.poll(1.0):
                self._go_on(descriptor)
            now = time.perf_counter()
            if self.done != before:
                before, last = self.done, now
            elif now - last > opening.PATIENCE:
                raise LoadError(f"no connection for {opening.PATIENCE:g} s")
        return last - start

    def _begin(self) -> None:
        stream = socket.socket()
        stream.setblocking(False)
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        stream.connect_ex(("127.0.0.1", self._load.port))
        life = self._life(stream)
        self._poll.register(stream.fileno(), next(life))
        self._lives[stream.fileno()] = life

    def _go_on(self, descriptor: int) -> None:
        life = self._lives[descriptor]
        for wanted in life:
            self._poll.modify(descriptor, wanted)
            return
        del self._lives[descriptor]
        self._begin()

    def _life(self, stream: socket.socket) -> Generator[int]:
        """From connecting to the end; yields what it waits for."""
        try:
            yield select.EPOLLOUT
            if self._context is not None:
                # Its descriptor is that of the socket that it replaces.
                stream = self._context.wrap_socket(stream, do_handshake_on_connect=False)
                yield from _shaken_hands(stream)
            answer = yield from _opened(stream)
            self.done += 1
            stream.send(_GOODBYE)
            # Some close TCP without an answer if the close comes as early as this.
            with contextlib.suppress(LoadError, ConnectionResetError):
                while not answer:
                    answer = yield from _received(stream)
        finally:
            stream.close()


def _opened(stream: socket.socket) -> Generator[int, None, bytes]:
    """The opening handshake: what came behind it."""
    stream.send(_REQUEST)
    data = b""
    while b"\r\n\r\n" not in data:
        data += yield from _received(stream)
    head, _, rest = data.partition(b"\r\n\r\n")
    opening.check_response(head)
    return rest


def _shaken_hands(stream: ssl.SSLSocket) -> Generator[int]:
    while True:
        try:
            stream.do_handshake()
        except ssl.SSLWantReadError:
            yield select.EPOLLIN
        except ssl.SSLWantWriteError:
            yield select.EPOLLOUT
        else:
            return


def _received(stream: socket.socket) -> Generator[int, None, bytes]:
    while True:
        try:
            data = stream.recv(4096)
        except (BlockingIOError, ssl.SSLWantReadError):
            yield select.EPOLLIN
        else:
            if not data:
                raise LoadError("the peer closed the connection early")
            return data
