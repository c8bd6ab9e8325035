"""Attacks by number: connections without end."""

from __future__ import annotations

import os
import resource
import select
import socket
import struct
import time
from collections import Counter
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import pytest
import trio

from .scene import MIB, PATIENCE, REQUEST, Scene, scene

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


class Wave:
    """*count* connects from one address, every other of which asks to be let in."""

    def __init__(self, port: int, count: int, source: str) -> None:
        self._poll = select.poll()
        #: Those that have had no answer and were not cut, by descriptor.
        self._waiting: dict[int, socket.socket] = {}
        self._let_in: list[socket.socket] = []
        self.answers: Counter[bytes] = Counter()
        for number, one in enumerate(wave(port, count, source)):
            if number % 2:
                # A handshake that is still under way in the kernel sends it when it is done.
                one.setblocking(True)
                one.sendall(REQUEST + b"\r\n")
                one.setblocking(False)
            self._waiting[one.fileno()] = one
            self._poll.register(one, select.POLLIN)

    async def run(self) -> None:
        """Until each is answered or cut. Who is let in stays as long; the others leave."""
        while self._waiting:
            for descriptor, _ in self._poll.poll(0):
                self._poll.unregister(descriptor)
                one = self._waiting.pop(descriptor)
                with suppress(ConnectionResetError):
                    answer = one.recv(len(b"HTTP/1.1 101"))[9:]
                self.answers[answer] += 1
                if answer == b"101":
                    self._let_in.append(one)
                else:
                    one.close()
            await trio.sleep(0.01)
        for one in self._let_in:
            one.close()


async def test_twenty_thousand_connects_keep_nobody_from_being_served(tmp_path: Path) -> None:
    options = {"max_connections": 200}
    answers: Counter[bytes] = Counter()
    peak = 0
    start = time.monotonic()
    async with scene(tmp_path, serve=options, timeouts={"open_timeout": 0.3}) as place:
        before = place.resident
        with many_files():
            for number in range(CONNECTS // WAVE):
                one = Wave(place.port, WAVE, f"127.0.0.{2 + number}")
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(one.run)
                    with trio.fail_after(PATIENCE):
                        while nursery.child_tasks:
                            peak = max(peak, files_of(place))
                            await place.served()
                answers += one.answers
        assert peak < UNDER_WAY + options["max_connections"] + OTHERS
        # The last of them are gone as soon as the victim has read that they are.
        with trio.fail_after(PATIENCE):
            while files_of(place) > OTHERS:
                await place.served()
        async with place.attacker() as stranger:
            with trio.fail_after(PATIENCE):
                await stranger.upgrade()
        growth = place.resident - before
        # Nobody was forgotten: the silent ones were cut, and the others had an answer.
        assert answers.total() == CONNECTS
        assert set(answers) <= {b"", b"101", b"503"}
        assert answers[b"101"] >= options["max_connections"] - 1
        assert growth < 32 * MIB
        # A line each, but for those who were let in and are in it when they leave as well.
        assert len(place.lines) <= CONNECTS + 1
        assert all(line.isprintable() for line in place.lines)
    seconds = time.monotonic() - start
    print(f"{answers}, {seconds:.1f} s, {peak} files, {growth / MIB:.1f} MiB")


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
