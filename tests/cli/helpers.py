"""What the tests of the client command share."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from trio_ws.cli.options.client import ClientOptions

if TYPE_CHECKING:
    from collections.abc import Iterator

URL = "ws://testserver/feed"


def client_options(**changes: Any) -> ClientOptions:
    """The usual options but for *changes*, without a heartbeat that a clock could jump to."""
    return ClientOptions(**{"url": URL, "ping_interval": 0.0, "proxy": "none", **changes})


@contextmanager
def redirected(descriptor: int, target: int) -> Iterator[None]:
    """*descriptor* leads to *target* for the length of the block."""
    saved = os.dup(descriptor)
    os.dup2(target, descriptor)
    try:
        yield
    finally:
        os.dup2(saved, descriptor)
        os.close(saved)


@contextmanager
def fed(data: bytes) -> Iterator[None]:
    """Standard input is a pipe with *data* in it, and its end."""
    reading, writing = os.pipe()
    os.write(writing, data)
    os.close(writing)
    try:
        with redirected(0, reading):
            yield
    finally:
        os.close(reading)


def read_available(descriptor: int) -> bytes:
    """What a pipe holds now."""
    os.set_blocking(descriptor, False)
    pieces = []
    try:
        while piece := os.read(descriptor, 1 << 16):
            pieces.append(piece)
    except BlockingIOError:
        pass
    return b"".join(pieces)
