"""Frames and handshakes of the load generator, by the examples of RFC 6455 and RFC 7692."""

from __future__ import annotations

import pytest

from benchmarks import wire

HELLO = bytes.fromhex("810548656c6c6f")
MASKED_HELLO = bytes.fromhex("818537fa213d7f9f4d5158")


def test_frames_of_the_rfc() -> None:
    assert wire.frame(wire.TEXT, b"Hello") == HELLO
    assert wire.frame(wire.TEXT, b"Hello", key=wire.MASKING_KEY) == MASKED_HELLO


@pytest.mark.parametrize("size", [0, 125, 126, 65_535, 65_536])
@pytest.mark.parametrize("key", [b"", wire.MASKING_KEY])
def test_what_goes_in_comes_out(size: int, key: bytes) -> None:
    content = b"x" * size
    frame = wire.frame(wire.BINARY, content, key=key)
    assert wire.frame_end(frame) == len(frame)
    assert wire.payload(frame) == content


def test_the_end_of_a_frame_is_known_when_its_header_is_complete() -> None:
    frame = wire.frame(wire.BINARY, b"x" * 126)
    assert [wire.frame_end(frame[:size]) for size in range(6)] == [-1, -1, -1, -1, 130, 130]
    assert wire.frame_end(HELLO + frame, len(HELLO)) == len(HELLO) + 130


def test_response_to_the_handshake_of_the_rfc() -> None:
    head = wire.request()
    assert b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n" in head
    assert b"\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n" in wire.response(head)


def test_deflate() -> None:
    assert wire.inflated(bytes.fromhex("f248cdc9c90700")) == b"Hello"
    assert wire.inflated(wire.deflated(b"Hello" * 100)) == b"Hello" * 100
    assert b"permessage-deflate" in wire.request(wire.DEFLATE)
