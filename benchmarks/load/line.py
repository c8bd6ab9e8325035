"""One connection of an exchange: counts what comes by its bytes, and sends what it may."""

from __future__ import annotations

import contextlib
import ssl
from itertools import accumulate
from typing import TYPE_CHECKING

from .. import wire
from .orders import LoadError

if TYPE_CHECKING:
    import socket

    from .traffic import Traffic

_NOT_NOW = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)
#: Fits a second-level cache. What is in the buffer is done with when the next receives.
_BUFFER_SIZE = 256 * 1024
_SHARED = memoryview(bytearray(_BUFFER_SIZE))


class Line:
    """One connection: what it owes the peer, and how far into a reply the peer is."""

    __slots__ = (
        "_buffer", "_ends", "_opening", "_opening_byte", "_period", "_position", "_receive_into",
        "_reply_size", "_rest", "_send", "_sent", "_stretch", "_tail", "_tls", "owed", "received",
        "sent_at", "stream",
    )  # fmt: skip

    def __init__(self, stream: socket.socket, traffic: Traffic, stretch: memoryview) -> None:
        self.stream = stream
        stream.setblocking(False)
        self._tls = isinstance(stream, ssl.SSLSocket)
        self._receive_into = stream.recv_into
        self._send = stream.send
        self._buffer = _SHARED
        self._stretch = stretch
        self._ends = (0, *accumulate(map(len, traffic.messages)))
        self._period = traffic.period
        self._position = 0  # in the period, of the next byte to send
        self._reply_size = traffic.reply_size
        self._opening = b"" if traffic.raw else traffic.opening
        self._opening_byte = self._opening[0] if self._opening else 0
        self._rest = 0  # bytes of an unfinished reply
        self._tail = b""  # the same, where replies differ in size
        self._sent = 0  # messages allowed so far
        self.owed = 0  # bytes that may be sent and are not
        self.received = 0
        self.sent_at = 0.0

    def allow(self, messages: int) -> None:
        """Send so many more messages."""
        if len(self._ends) == 2:
            self.owed += messages * self._period
        else:
            self.owed += self._reach(self._sent + messages) - self._reach(self._sent)
            self._sent += messages
        self.push()

    def _reach(self, messages: int) -> int:
        """Bytes of the first so many messages."""
        rounds, within = divmod(messages, len(self._ends) - 1)
        return rounds * self._period + self._ends[within]

    def push(self) -> None:
        """Send what is owed, as far as the socket takes it."""
        try:
            while self.owed:
                start = self._position
                sent = self._send(self._stretch[start : start + self.owed])
                self.owed -= sent
                self._position = (start + sent) % self._period
        except _NOT_NOW:
            pass

    def pull(self) -> int:
        """Receive what is there: how many replies that completed."""
        done = 0
        try:
            while size := self._receive_into(self._buffer):
                self.received += size
                done += self._counted(size)
                if size < _BUFFER_SIZE and not self._tls:
                    return done
            raise LoadError("the peer closed the connection early")
        except _NOT_NOW:
            return done

    def _counted(self, size: int) -> int:
        """How many replies end in the first *size* bytes of the buffer.

        By arithmetic, unless a byte where a reply should begin says that it is none: then there
        is a ping, which has to be answered. Letters never look like that byte.
        """
        whole = self._reply_size
        if not whole or self._tail:
            return self._parsed(size)
        done, rest = divmod(self._rest + size, whole)
        opening_byte = self._opening_byte
        if opening_byte:
            first = whole - self._rest if self._rest else 0
            last = size - (rest or whole)
            buffer = self._buffer
            if (first < size and buffer[first] != opening_byte) or (
                last > first and buffer[last] != opening_byte
            ):
                return self._parsed(size)
        self._rest = rest
        return done

    def _parsed(self, size: int) -> int:
        """The same, frame by frame."""
        data = self._tail + bytes(self._buffer[:size])
        at = done = 0
        if self._rest:
            at = self._reply_size - self._rest
            if at > size:
                self._rest += size
                return 0
            self._rest, done = 0, 1
        while 0 <= (end := wire.frame_end(data, at)) <= len(data):
            if data[at] & 0xF == wire.PING:
                self._answer(data[at:end])
            else:
                done += 1
            at = end
        self._tail = data[at:]
        if self._reply_size and self._tail[:1] == self._opening:
            self._rest, self._tail = len(self._tail), b""
        return done

    def _answer(self, ping: bytes) -> None:
        """At once, or never: where the socket is full, other bytes tell that we are alive."""
        if not self.owed:
            key = b"" if ping[1] & 0x80 else wire.MASKING_KEY
            with contextlib.suppress(*_NOT_NOW):
                self._send(wire.frame(wire.PONG, wire.payload(ping), key=key))

    @property
    def whole(self) -> bool:
        """Whether nothing but whole replies has come."""
        return not self._rest and not self._tail
