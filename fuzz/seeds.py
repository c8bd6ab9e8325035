"""Where fuzzing begins: for each target, inputs that lead far into it."""

from __future__ import annotations

import json
from typing import Final

from trio_ws.protocol import Opcode, encode_frame
from trio_ws.protocol.deflate import DeflateSetting, compress_alone
from trio_ws.protocol.proxy import SIGNATURE

from .targets import TARGETS

_KEY: Final = b"\x37\xfa\x21\x3d"
#: Deflated, and as it goes on the wire (RFC 7692, section 7.2.3.1).
_HELLO: Final = bytes.fromhex("f248cdc9c90700")
_DEFLATED_BAD_TEXT: Final = compress_alone(b"\xff" + bytes(2000), DeflateSetting(15, 6, 8, 0))

_REQUEST: Final = (
    b"GET /chat?room=1 HTTP/1.1\r\nHost: example.com\r\nUpgrade: websocket\r\n"
    b"Connection: keep-alive, Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    b"Sec-WebSocket-Version: 13\r\nOrigin: http://example.com\r\n"
    b"Sec-WebSocket-Protocol: chat, superchat\r\n"
    b"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\r\n"
)
_ANSWER: Final = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Protocol: chat\r\n"
    b"Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=12\r\n\r\n\x81\x02hi"
)
_ENTRY: Final = {"ts": 1.5, "conn": "1", "type": "message", "dir": "in", "op": "text", "data": "ü"}


def _frame(opcode: Opcode, payload: bytes = b"", key: bytes = _KEY, **bits: bool) -> bytes:
    return encode_frame(opcode, payload, key, **bits)


def _streams(key: bytes) -> list[bytes]:
    """Frames, as a client or a server sends them."""
    text, binary, more = Opcode.TEXT, Opcode.BINARY, Opcode.CONTINUATION
    return [
        _frame(text, "häl€😀".encode(), key) + _frame(binary, bytes(200), key),
        _frame(text, b"a", key, fin=False)
        + _frame(Opcode.PING, b"p", key)
        + _frame(more, b"\xc3", key, fin=False)
        + _frame(more, b"\xa4", key),
        _frame(text, _HELLO, key, rsv1=True) * 2,
        _frame(binary, _HELLO[:3], key, fin=False, rsv1=True) + _frame(more, _HELLO[3:], key),
        _frame(binary, b"\x03\x00", key, rsv1=True) + _frame(text, _HELLO, key, rsv1=True),
        _frame(Opcode.CLOSE, b"\x03\xe8bye", key) + _frame(text, b"late", key),
        _frame(Opcode.CLOSE, b"", key),
        _frame(Opcode.CLOSE, b"\x03", key),
        _frame(Opcode.PONG, bytes(125), key) + _frame(text, b"\xed\xa0\x80", key),
        _frame(binary, bytes(301), key),
        _frame(binary, bytes(301), key)[:8],
        bytes([0x82, 0x7F | (0x80 if key else 0)]) + b"\x7f" + b"\xff" * 7 + key,
    ]


def _choosing(streams: list[bytes], *starts: bytes) -> list[bytes]:
    return [start + stream for start in starts for stream in streams]


_MACHINE: Final = [
    *_choosing(_streams(_KEY), b"\x02\x01\x00", b"\x06\x03\x05", b"\x00\x07\x00"),
    *_choosing(_streams(b""), b"\x03\x01\x00", b"\x07\x03\x05"),
]
#: More than one thing is wrong with each: which is named once depended on how it was cut.
_TWICE_WRONG: Final = [
    # Bytes that are no UTF-8 before the bound.
    b"\x06\x03\x05" + _frame(Opcode.TEXT, _DEFLATED_BAD_TEXT, rsv1=True),
    # What is no deflate, behind the bound and just behind it.
    bytes.fromhex("060a05c2aaecfedece" + "de" * 50 + "fe01dedede07"),
    bytes.fromhex("070307425b5b5b5b5b5b5b5b5b5b5b5b5b5b5ba7a4" + "5b" * 10)
    + bytes.fromhex("28" + "38" * 15 + "3782303f3f5b5b5b5bc2f9f5"),
]

SEEDS: Final[dict[str, list[bytes]]] = {
    "frames": [
        bytes.fromhex(text)
        for text in (
            "810548656c6c6f",
            "818537fa213d7f9f4d5158",
            "01034865",
            "8900",
            "c107f248",
            "827e0100",
            "827f0000000000010000",
            "82ffffffffffffffffff",
            "827e007d",
            "8a8037fa213d",
        )
    ],
    "machine": _MACHINE + _TWICE_WRONG,
    "streaming": _MACHINE,
    "deflate": [
        b"\x01\x03\x00" + _HELLO,
        b"\x00\x00\x00" + _HELLO,
        b"\x01\x01\x02" + b"\x00\x05\x00\xfa\xffHello\x00",
        b"\x01\x00\x00" + b"\xf3\x48\xcd\xc9\xc9\x07\x00\x00",
        b"\x01\x00\x00" + b"\xec\xc1\x01\x01\x00\x00\x00\x80\x90\xfe\xaf\xee\x08\x0a" + bytes(40),
        b"\x01\x04\x00" + b"a" * 1000,
    ],
    "extensions": [
        b"permessage-deflate",
        b"permessage-deflate; client_max_window_bits; server_max_window_bits=10",
        b'permessage-deflate; client_max_window_bits="15"; server_no_context_takeover, other; a=b',
        b'a; b="\\c\\d", , ;;',
        b"b" + b" " * 50 + b"x",
    ],
    "server_handshake": [
        *_choosing([_REQUEST, _REQUEST + b"\x81\x80behind"], b"\0\0\0", b"\0\x01\x07"),
        b"\0\x20\0" + _REQUEST.replace(b"Host: example.com\r\n", b""),
        b"\0\x20\0" + _REQUEST.replace(b"Origin", b"Content-Length"),
        b"\0\x20\0" + _REQUEST.replace(b"13", b"8, 13"),
        b"\0\0\0" + _REQUEST.replace(b"\r\n", b"\n"),
        b"\0\0\0" + _REQUEST.replace(b"GET", b"POST"),
        b"\0\0\0GET / HTTP/1.0\r\n\r\n",
    ],
    "client_handshake": [
        *_choosing([_ANSWER], b"\0\0\0", b"\0\x01\x09"),
        b"\0\0\0HTTP/1.1 103 Early Hints\r\nLink: <a>\r\n\r\n" + _ANSWER,
        b"\0\x05\0HTTP/1.1 403 Forbidden\r\nContent-Length: 3\r\n\r\nno!",
        b"\0\x05\0HTTP/1.1 302 Found\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nno\r\n0\r\n\r\n",
        b"\0\0\0HTTP/1.0 500 Oops\r\n\r\n" + bytes(200),
    ],
    "proxy": [
        b"PROXY TCP4 192.0.2.1 192.0.2.2 5000 80\r\n",
        b"PROXY TCP6 2001:db8::1 ::1 5000 80\r\n",
        b"PROXY UNKNOWN\r\n",
        SIGNATURE + b"\x21\x11\x00\x0c" + b"\xc0\x00\x02\x01\xc0\x00\x02\x02\x13\x88\x00\x50",
        SIGNATURE + b"\x21\x21\x00\x24" + bytes(36),
        SIGNATURE + b"\x21\x31\x00\xd8/tmp/socket" + bytes(205),
        SIGNATURE + b"\x20\x00\x00\x00",
    ],
    "url": [
        text.encode()
        for text in (
            "ws://example.com",
            "wss://user:p%40ss@example.com:8443/a%20b?q=1",
            "ws://[::1]:80/",
            "ws://[fe80::1%25eth0]/x",
            "ws+unix:///tmp/socket:/path?q",
            "ws://bücher.example/ü?ö",
            ":8765/chat",
            "localhost:1",
        )
    ],
    "json_lines": [
        json.dumps(_ENTRY).encode() + b"\n\n",
        json.dumps({**_ENTRY, "op": "binary", "enc": "base64", "data": "AP8="}).encode(),
        b'{"ts":1,"type":"close","dir":"out","code":1000,"reason":"bye"}\n',
        b'{"ts":1,"type":"retry","delay":1.5,"attempt":2,"code":503,"reason":"busy"}\n',
        b'{"ts":NaN,"type":"open"}\n',
        b'{"ts":1,"type":"message","data":"\\ud800"}\n',
        b"[" * 2000,
    ],
    "speedups": _choosing(
        [
            b"".join(_streams(b"")[:2]),
            b"".join(_streams(_KEY)[:2]),
            bytes(range(256)),
            "häl€😀".encode() * 9,
        ],
        b"\x00\x00\x00\xff",
        b"\x0f\x03\x01\x28",
        b"\x09\x00\x02\x01",
    ),
}
assert SEEDS.keys() == TARGETS.keys()
