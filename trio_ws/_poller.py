"""Waits for many sockets at once, in one task.

A task that waits for its own socket takes two system calls and a dozen of Trio's functions for
each read, and a second task has to run before the message is received. Here the sockets of a
Trio run stay registered, and those that are ready are read one after the other in a single
step: with a hundred connections that exchange small messages, a quarter of the time is spared. An
idle connection spares the coroutines that wait.
"""

from __future__ import annotations

import select
import sys
from contextlib import suppress
from time import perf_counter
from typing import Final, Protocol

import trio

#: As many sockets are read in one step at most, and for as many seconds; then everybody else has
#: a turn.
_AT_ONCE: Final = 128
_STEP_SECONDS: Final = 0.002
#: Whether this system has what it takes; elsewhere each connection waits for itself.
POLLABLE: Final = sys.platform == "linux"


class Reader(Protocol):
    """What a socket is read by."""

    def read_ready(self) -> None:
        """The socket is readable: read it, or have it discarded. Must not raise."""

    def read_no_more(self) -> None:
        """The run ends, and nobody will say when the socket is readable. Must not raise."""


class Poller:
    """The sockets of one Trio run that are to be read whenever they are ready."""

    __slots__ = ("_epoll", "_readers", "_started")

    def __init__(self) -> None:
        self._epoll: select.epoll | None = None
        self._readers: dict[int, Reader] = {}
        self._started = False

    def add(self, descriptor: int, reader: Reader) -> bool:
        """Have *reader* called whenever the socket is ready, until `discard`.

        False where that cannot be: there is no descriptor left for an epoll, or the run ends.
        """
        if not self._started:
            self._started = True
            with suppress(OSError):
                self._epoll = select.epoll()
                trio.lowlevel.spawn_system_task(self._read_sockets, self._epoll)
        if self._epoll is None:
            return False
        try:
            self._epoll.register(descriptor, select.EPOLLIN)
        except OSError:
            return False
        self._readers[descriptor] = reader
        return True

    def discard(self, descriptor: int, reader: Reader) -> None:
        """The opposite of `add`; to be called before the socket is closed. Idempotent."""
        # The number may belong to another socket by now.
        if self._readers.get(descriptor) is reader:
            del self._readers[descriptor]
            # Closing a socket unregisters it as well.
            with suppress(OSError):
                if self._epoll is not None:
                    self._epoll.unregister(descriptor)

    async def _read_sockets(self, epoll: select.epoll) -> None:
        late: list[int] = []
        try:
            while True:
                await trio.lowlevel.wait_readable(epoll.fileno())
                ends = perf_counter() + _STEP_SECONDS
                ready = [descriptor for descriptor, _ in epoll.poll(0, _AT_ONCE)]
                if late:
                    # They come first. Epoll tells of all that are ready in the same order each
                    # time, and one that takes all of a step would take all of every step.
                    first = [descriptor for descriptor in late if descriptor in ready]
                    ready = [*first, *(one for one in ready if one not in first)]
                    late = []
                for place, descriptor in enumerate(ready, 1):
                    # One that was read before may have ended another.
                    reader = self._readers.get(descriptor)
                    if reader is not None:
                        reader.read_ready()
                    if perf_counter() > ends:
                        late = ready[place:]
                        break
        finally:
            self._epoll = None
            epoll.close()
            for reader in list(self._readers.values()):
                reader.read_no_more()
            self._readers.clear()


_pollers: Final[trio.lowlevel.RunVar[Poller]] = trio.lowlevel.RunVar("trio_ws._poller")


def poller_of_this_run() -> Poller:
    try:
        return _pollers.get()
    except LookupError:
        poller = Poller()
        _pollers.set(poller)
        return poller
