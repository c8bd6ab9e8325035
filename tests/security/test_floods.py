"""Attacks by number: connections without end."""

from __future__ import annotations

import os
import resource
import socket
import struct
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import pytest
import trio

from .scene import MIB, REQUEST, Scene, scene

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CONNECTS = 20_000
#: As many at a time: half of them say nothing, the others ask to be let in.
WAVE = 1_000
HELD = 3_000
#: How many handshakes a server has under way, and what it has open besides.
UNDER_WAY, OTHERS = 500, 40


@contextmanager
def many_files() -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (before[1], before[1]))
    if before[1] < HELD + 500:
        pytest.skip(f"only {before[1]} files may be open")
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def wave(port: int, count: int, source: str) -> list[socket.socket]:
    """*count* sockets that are connected, or will be."""
    opened = []
    for _ in range(count):
        one = socket.socket()
        one.setblocking(False)
        # What is closed is gone: no port waits for what might still come.
        one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        one.bind((source, 0))
        with suppress(BlockingIOError):
            one.connect(("127.0.0.1", port))
        opened.append(one)
    return opened


def files_of(place: Scene) -> int:
    return len(os.listdir(f"/proc/{place.process.pid}/fd"))


async def test_twenty_thousand_connects_keep_nobody_from_being_served(tmp_path: Path) -> None:
    options = {"max_connections": 200}
    async with scene(tmp_path, serve=options, timeouts={"open_timeout": 1.0}) as place:
        before = place.resident
        with many_files():
            for number in range(CONNECTS // WAVE):
                sockets = wave(place.port, WAVE, f"127.0.0.{2 + number}")
                for one in sockets[::2]:
                    with suppress(OSError):
                        one.send(REQUEST + b"\r\n")
                await place.served()
                assert files_of(place) < UNDER_WAY + options["max_connections"] + OTHERS
                for one in sockets:
                    one.close()
        async with place.attacker() as stranger:
            with trio.fail_after(20):
                await stranger.upgrade()
        assert place.resident - before < 32 * MIB


async def test_silent_ones_are_bounded_and_leave_in_time(tmp_path: Path) -> None:
    async with scene(tmp_path, timeouts={"open_timeout": 1.0}) as place:
        with many_files():
            sockets = wave(place.port, HELD, "127.0.0.99")
            # A newcomer waits for them, as long as they are given.
            async with place.attacker() as stranger:
                with trio.fail_after(20):
                    await stranger.upgrade()
                    assert files_of(place) < UNDER_WAY + OTHERS
            for one in sockets:
                one.close()
