"""What the tests of the commands share."""

from __future__ import annotations

import os
import sys
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any

from prompt_toolkit.application import create_app_session
from prompt_toolkit.input import create_input
from prompt_toolkit.output import create_output

from trio_ws.cli import editing
from trio_ws.cli.options.client import ClientOptions

from ..terminal import Window

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator
    from contextlib import AbstractContextManager

    import pytest

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


def own_app_session() -> AbstractContextManager[object]:
    """A session of prompt_toolkit's with the terminal that is standard input and output now.

    Without being told, it would take those that an earlier test was the first to ask for.
    """
    return create_app_session(input=create_input(), output=create_output())


@asynccontextmanager
async def open_window(monkeypatch: pytest.MonkeyPatch, **size: int) -> AsyncGenerator[Window]:
    """A window that is this process's terminal."""
    async with Window.open(**size) as window:
        with window.is_standard(monkeypatch), own_app_session():
            monkeypatch.setattr("sys.stderr", sys.stdout)
            monkeypatch.setattr(editing, "_STDOUT", window.theirs)
            yield window
