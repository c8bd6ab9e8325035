"""What a receiver has to make of a stream, told as plainly as RFC 6455 and RFC 7692 tell it.

Everything is looked at a byte at a time, in the order in which it comes, and nothing is fast.
That is its use: `trio_ws.protocol.Machine` must say the same.
"""

from __future__ import annotations

import codecs
import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from trio_ws.protocol import Close, Event, Failure, Ping, Pong

if TYPE_CHECKING:
    from collections.abc import Iterator

_TEXT, _BINARY, _CLOSE, _PING, _PONG = 1, 2, 8, 9, 10


class _Broken(Exception):
    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


class _NoMore(Exception):
    """The stream ends here."""


@dataclass
class _Stream:
    data: bytes
    position: int = 0

    def byte(self) -> int:
        if self.position == len(self.data):
            raise _NoMore
        self.position += 1
        return self.data[self.position - 1]

    def number(self, size: int) -> int:
        return int.from_bytes([self.byte() for _ in range(size)], "big")


@dataclass
class _Message:
    text: bool
    compressed: bool
    size: int = 0
    content: bytearray = field(default_factory=bytearray)

    def __post_init__(self) -> None:
        self._utf8 = codecs.getincrementaldecoder("utf-8")()

    def add(self, data: bytes, max_size: int) -> None:
        self.check(data[: max_size - len(self.content)])
        self.content += data
        if len(self.content) > max_size:
            raise _Broken(1009)

    def check(self, data: bytes, *, final: bool = False) -> None:
        if self.text:
            try:
                self._utf8.decode(data, final)
            except UnicodeDecodeError:
                raise _Broken(1007) from None

    def whole(self) -> str | bytes:
        self.check(b"", final=True)
        return self.content.decode() if self.text else bytes(self.content)


@dataclass
class Model:
    """One receiver.

    Args:
      client: whether the receiver is the client, to whom nothing is masked.
      max_size: bytes that a message may have.
      deflate: whether permessage-deflate was agreed upon, with windows of 15 bits.
      takeover: whether a compressed message may refer to those before it.
      reads_on: whether data behind a last block is read, as RFC 7692, section 7.2.3.5, has it.
    """

    client: bool
    max_size: int
    deflate: bool
    takeover: bool
    reads_on: bool = True

    def __post_init__(self) -> None:
        self._message: _Message | None = None
        self._inflater = zlib.decompressobj(-15)

    def receive(self, data: bytes) -> list[Event]:
        """All that *data* brings; of a `Failure` only the code."""
        events: list[Event] = []
        try:
            # What came before something that is wrong counts.
            events.extend(self._events(_Stream(data)))
        except _Broken as broken:
            events.append(Failure(broken.code, ""))
        except _NoMore:
            pass
        return events

    def _events(self, stream: _Stream) -> Iterator[Event]:
        while True:
            first = stream.byte()
            final, rsv1, opcode = first & 0x80, first & 0x40, first & 0x0F
            if opcode not in (0, _TEXT, _BINARY, _CLOSE, _PING, _PONG) or first & 0x30:
                raise _Broken(1002)
            control = opcode >= _CLOSE
            if control and (not final or rsv1):
                raise _Broken(1002)
            length, key = self._rest_of_header(stream, control=control)
            if control:
                payload = bytes(stream.byte() ^ key[place % 4] for place in range(length))
                yield self._control(opcode, payload)
                if opcode == _CLOSE:
                    return
                continue
            message = self._begin(opcode, bool(rsv1))
            if not message.compressed and message.size + length > self.max_size:
                raise _Broken(1009)
            message.size += length
            for place in range(length):
                self._add(message, bytes([stream.byte() ^ key[place % 4]]))
            if final:
                if message.compressed:
                    self._add(message, b"\x00\x00\xff\xff")
                    if not self.takeover:
                        self._inflater = zlib.decompressobj(-15)
                self._message = None
                yield message.whole()

    def _rest_of_header(self, stream: _Stream, *, control: bool) -> tuple[int, bytes]:
        second = stream.byte()
        masked, length = second >> 7, second & 0x7F
        if bool(masked) is self.client or (control and length > 125):
            raise _Broken(1002)
        if length == 126:
            length = stream.number(2)
            if length < 126:
                raise _Broken(1002)
        elif length == 127:
            length = stream.number(8)
            if length < 1 << 16 or length >> 63:
                raise _Broken(1002)
        return length, bytes(stream.byte() for _ in range(4)) if masked else b"\0\0\0\0"

    def _begin(self, opcode: int, rsv1: bool) -> _Message:
        if opcode:
            if self._message is not None or (rsv1 and not self.deflate):
                raise _Broken(1002)
            self._message = _Message(text=opcode == _TEXT, compressed=rsv1)
        elif self._message is None or rsv1:
            raise _Broken(1002)
        return self._message

    def _add(self, message: _Message, data: bytes) -> None:
        if not message.compressed:
            message.add(data, self.max_size)
            return
        while True:
            try:
                # A byte more than is accepted, in case that what follows is wrong.
                bound = self.max_size - len(message.content) + 1
                inflated = self._inflater.decompress(data, bound)
            except zlib.error:
                raise _Broken(1007) from None
            message.add(inflated, self.max_size)
            if not (self._inflater.eof and self.reads_on):
                return
            # A block that says it is the last one ends the stream, not the message.
            data = self._inflater.unused_data
            self._inflater = zlib.decompressobj(-15)
            if not data:
                return

    def _control(self, opcode: int, payload: bytes) -> Event:
        if opcode == _PING:
            return Ping(payload)
        if opcode == _PONG:
            return Pong(payload)
        if not payload:
            return Close(1005, "")
        code = int.from_bytes(payload[:2], "big")
        defined = 1000 <= code <= 1014 and code not in (1004, 1005, 1006)
        if len(payload) == 1 or not (defined or 3000 <= code <= 4999):
            raise _Broken(1002)
        try:
            return Close(code, payload[2:].decode())
        except UnicodeDecodeError:
            raise _Broken(1007) from None
