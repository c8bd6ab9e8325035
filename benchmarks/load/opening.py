"""Open connections for the load, in either role: one after the other, blocking."""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

from .. import wire
from .orders import TOO_MUCH, LoadError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .orders import Load

#: Seconds in which a peer has to answer anything at all.
PATIENCE = 20.0


def connect(load: Load) -> socket.socket:
    """Connect to the peer, and do the opening handshake."""
    with ExitStack() as unless_it_succeeds:
        stream = unless_it_succeeds.enter_context(_transport(load))
        if not load.raw:
            extensions = wire.DEFLATE if load.compressed else ""
            stream.sendall(wire.request(extensions))
            check_response(read_head(stream), extensions)
        unless_it_succeeds.pop_all()
        return stream


def _transport(load: Load) -> socket.socket:
    stream = socket.create_connection(("127.0.0.1", load.port), PATIENCE)
    stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return tls_context().wrap_socket(stream) if load.tls else stream


def tls_context() -> ssl.SSLContext:
    """One that trusts anybody: checking would take as long as what is measured."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def check_response(head: bytes, extensions: str = "") -> None:
    status = head.split(b"\r\n", 1)[0]
    if b" 101" not in status:
        raise LoadError(f"the peer answered the opening handshake with {status.decode()!r}")
    if extensions and b"permessage-deflate" not in head:
        raise LoadError("the peer did not accept permessage-deflate")


def accept(listener: socket.socket) -> socket.socket:
    """Accept one connection of the peer, a client, and answer its opening handshake."""
    listener.settimeout(PATIENCE)
    stream, _ = listener.accept()
    stream.settimeout(PATIENCE)
    stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    stream.sendall(wire.response(read_head(stream)))
    return stream


def read_head(stream: socket.socket) -> bytes:
    """Byte by byte at its end, so that nothing of what follows is taken."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        seen = b"" if isinstance(stream, ssl.SSLSocket) else stream.recv(4096, socket.MSG_PEEK)
        end = seen.find(b"\r\n\r\n")
        head += received(stream, end + 4 if end >= 0 else max(1, len(seen) - 3))
    return head


def received(stream: socket.socket, size: int) -> bytes:
    """Exactly *size* bytes."""
    data = bytearray()
    while len(data) < size:
        more = stream.recv(min(size - len(data), 1 << 18))
        if not more:
            raise LoadError("the peer closed the connection early")
        data += more
    return bytes(data)


def received_frame(stream: socket.socket) -> bytes:
    """Exactly one frame that is not a ping."""
    while True:
        frame = received_frame_or_ping(stream)
        if frame[0] & 0xF != wire.PING:
            return frame


def received_frame_or_ping(stream: socket.socket) -> bytes:
    """Exactly one frame."""
    data = received(stream, 2)
    while (end := wire.frame_end(data)) < 0:
        data += received(stream, 1)
    return data + received(stream, end - len(data))


def close(streams: Sequence[socket.socket], *, raw: bool) -> None:
    """Close all, and wait until the server has too: what it still does would disturb the next."""
    goodbye = wire.frame(wire.CLOSE, struct.pack("!H", 1000), key=wire.MASKING_KEY)
    for stream in streams:
        with contextlib.suppress(OSError):
            stream.settimeout(1.0)
            if not raw:
                stream.sendall(goodbye)
            elif not isinstance(stream, ssl.SSLSocket):
                stream.shutdown(socket.SHUT_WR)
    deadline = time.monotonic() + 5.0
    for stream in streams:
        with contextlib.suppress(OSError):
            _check_end(stream.recv(1 << 16), raw=raw)
            while time.monotonic() < deadline and stream.recv(1 << 16):
                pass
        stream.close()


def _check_end(data: bytes, *, raw: bool) -> None:
    """Nothing but the end is left, or pings."""
    if data and (raw or data[0] & 0xF < wire.CLOSE):
        raise LoadError(TOO_MUCH)
