"""Frames and opening handshakes as bytes, for a load generator that makes them beforehand.

Independent of `trio_ws`, so that what measures it cannot share its mistakes.
"""

from __future__ import annotations

import base64
import hashlib
import struct
import zlib
from typing import Final

TEXT: Final = 0x1
BINARY: Final = 0x2
CLOSE: Final = 0x8
PING: Final = 0x9
PONG: Final = 0xA

#: Any key but zero will do, so that masking and unmasking are real work.
MASKING_KEY: Final = b"\x37\xfa\x21\x3d"
SERVER_MAX_WINDOW_BITS: Final = 12
DEFLATE: Final = (
    f"permessage-deflate; client_max_window_bits; server_max_window_bits={SERVER_MAX_WINDOW_BITS}"
)
_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_SYNC_TAIL: Final = b"\x00\x00\xff\xff"  # RFC 7692 section 7.2.1


def request(extensions: str = "") -> bytes:
    """A client's opening handshake."""
    offer = f"Sec-WebSocket-Extensions: {extensions}\r\n" if extensions else ""
    return (
        "GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{offer}\r\n"
    ).encode()


def response(head: bytes) -> bytes:
    """The answer to the opening handshake *head*."""
    fields = (line.partition(b":") for line in head.split(b"\r\n"))
    key = next(value for name, _, value in fields if name.lower() == b"sec-websocket-key")
    digest = hashlib.sha1(key.strip() + _GUID).digest()
    return (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: " + base64.b64encode(digest) + b"\r\n\r\n"
    )


def frame(opcode: int, payload: bytes, *, key: bytes = b"", compressed: bool = False) -> bytes:
    """One unfragmented frame, masked if there is a *key*."""
    head = bytes([0x80 | (0x40 if compressed else 0) | opcode])
    mask = 0x80 if key else 0
    if len(payload) < 126:
        head += bytes([mask | len(payload)])
    elif len(payload) < 65_536:
        head += struct.pack("!BH", mask | 126, len(payload))
    else:
        head += struct.pack("!BQ", mask | 127, len(payload))
    return head + key + (masked(payload, key) if key else payload)


def masked(payload: bytes, key: bytes) -> bytes:
    """*payload* masked with *key*; masking twice unmasks."""
    size = len(payload)
    keys = (key * (size // 4 + 1))[:size]
    return (int.from_bytes(payload, "big") ^ int.from_bytes(keys, "big")).to_bytes(size, "big")


def frame_end(data: bytes | bytearray, start: int = 0) -> int:
    """Where the frame that begins at *start* ends, or -1 while its header is incomplete."""
    if len(data) < start + 2:
        return -1
    length, at = data[start + 1] & 0x7F, start + 2
    if length >= 126:
        wide = 2 if length == 126 else 8
        if len(data) < at + wide:
            return -1
        length, at = int.from_bytes(data[at : at + wide], "big"), at + wide
    return at + (4 if data[start + 1] & 0x80 else 0) + length


def payload(data: bytes) -> bytes:
    """What the whole frame *data* carries, unmasked."""
    length = data[1] & 0x7F
    at = 2 if length < 126 else 4 if length == 126 else 10
    if data[1] & 0x80:
        return masked(data[at + 4 :], data[at : at + 4])
    return data[at:]


def deflated(message: bytes) -> bytes:
    """*message* compressed by itself: a sender may use the window of earlier ones, or not."""
    compressor = zlib.compressobj(wbits=-SERVER_MAX_WINDOW_BITS)
    return (compressor.compress(message) + compressor.flush(zlib.Z_SYNC_FLUSH))[:-4]


def inflated(data: bytes) -> bytes:
    return zlib.decompressobj(wbits=-15).decompress(data + _SYNC_TAIL)
