"""``trio-ws serve --workers``: several processes on one port, and a parent that supervises them.

Theory of operation
===================

The parent opens the sockets and keeps them open. It serves nobody, so nothing that a client does
can end it. Each worker is the same command in a process of its own that inherits its sockets
(`Place`), and is told to stop by SIGTERM, as every server is.

Of TCP, every worker has a socket of its own, all on one port (``SO_REUSEPORT``): the kernel deals
new connections out to them. Since the parent has each open as well, a connection that is dealt to
a worker which is gone, or being replaced, is not refused: it waits in the backlog until the next
worker of that number accepts it. This is why the sockets are not the workers' own: closing one
resets what is in its backlog. A Unix socket, and those that the parent was given, are shared.

A worker that ends unasked is started again, at once the first time, then after a growing pause; one
that ends too often ends everything. SIGHUP replaces one after the other: the next one runs before
the last one stops. Where the parent dies without a word, workers see its end of their control
socket closed, and drain.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections import deque
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import trio

from .._inherited import inherited_listeners
from .._listen import BACKLOG, open_unix_socket, remove_socket
from .exit_codes import ExitCode
from .failures import Usage, say
from .options.serve import ServeFormat
from .place import PLACE, Place

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Generator

    from .options.serve import ServeOptions

_logger: Final = logging.getLogger("trio_ws.cli")

#: Seconds that a worker has until it serves.
_START_TIMEOUT: Final = 60.0
#: Seconds that a worker has on top of its drain before it is killed.
_GRACE: Final = 5.0
#: As many ends of one worker within as many seconds are one too many.
_ENDS, _WITHIN = 5, 60.0
#: The pause before a worker is started again, where it is not the first time, doubles from here.
_PAUSE: Final = 0.5


def workers_of(options: ServeOptions) -> int:
    """How many workers are asked for.

    Raises:
      Usage: that is no number, or what is to be done cannot be done by several.
    """
    if options.workers == "auto":
        # What this process may use, which is less than there are in a container.
        count = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    elif options.workers.isascii() and options.workers.isdigit() and int(options.workers):
        count = int(options.workers)
    else:
        raise Usage(f"--workers takes a number from 1 on, or auto, not {options.workers}")
    if count > 1:
        _check_divisible(options)
    return count


def _check_divisible(options: ServeOptions) -> None:
    for given, option, reason in (
        (options.interactive, "--interactive", "there is one terminal"),
        (options.shared, "--shared", "one process cannot be shared by several"),
        (options.tls_self_signed, "--tls-self-signed", "each would make its own: give --tls-cert"),
        (
            options.format is ServeFormat.JSONL,
            "--format jsonl",
            "it is one record of everything that happens",
        ),
    ):
        if given:
            raise Usage(f"{option} works with one worker only: {reason}")
    if options.broadcast and options.backplane is None:
        raise Usage(
            "--broadcast with several workers needs --backplane redis://HOST: clients of one would "
            "not hear those of another"
        )


async def supervise(options: ServeOptions, count: int, announce: Callable[[object], None]) -> int:
    """Run *count* workers until a signal says stop, and return the exit code.

    Args:
      options: as the workers will understand them too.
      count: how many.
      announce: says where they listen, once they do; given the first socket's address.

    Raises:
      Usage, OSError: nothing can be listened on.
    """
    with (
        _sockets(options, count) as shares,
        _environment(options) as environment,
        trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM, signal.SIGHUP) as signals,
    ):
        crew = _Crew(shares, environment, options.drain_timeout)
        return await crew.run(signals, announce)


# What workers are given


@contextmanager
def _sockets(options: ServeOptions, count: int) -> Generator[list[list[socket.socket]]]:
    """The sockets of each worker."""
    opened: list[socket.socket] = []
    path = None if options.unix_socket is None else os.fspath(options.unix_socket)
    try:
        if options.fd or options.systemd:
            opened = _given(options)
            yield [opened] * count
        elif path is not None:
            opened = [open_unix_socket(path)]
            yield [opened] * count
        else:
            shares: list[list[socket.socket]] = [[] for _ in range(count)]
            for family, address in _addresses(options.host, options.port):
                for share in shares:
                    share.append(_reusing(family, address))
                    opened.append(share[-1])
                    # Where any port would do, it is the same for all.
                    address = (address[0], share[-1].getsockname()[1], *address[2:])
            yield shares
    finally:
        for one in opened:
            one.close()
        if path is not None and not options.fd and not options.systemd:
            remove_socket(path)


def _given(options: ServeOptions) -> list[socket.socket]:
    try:
        listeners = inherited_listeners(options.fd or None)
    except ValueError as error:
        raise Usage(f"{'--fd' if options.fd else '--systemd'}: {error}") from None
    # The workers make listeners of their own of them.
    return [socket.socket(fileno=one.socket.detach()) for one in listeners]  # type: ignore[attr-defined]


def _addresses(host: str, port: int) -> list[tuple[socket.AddressFamily, tuple[object, ...]]]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    return [(family, address) for family, _, _, _, address in found]


def _reusing(family: socket.AddressFamily, address: tuple[object, ...]) -> socket.socket:
    one = socket.socket(family, socket.SOCK_STREAM)
    try:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        one.bind(address)
        one.listen(BACKLOG)
    except BaseException:
        one.close()
        raise
    return one


@contextmanager
def _environment(options: ServeOptions) -> Generator[dict[str, str]]:
    """The workers' environment, with a directory in it for their metrics, which they share."""
    environment = dict(os.environ)
    if not options.metrics:
        yield environment
        return
    folder = tempfile.mkdtemp(prefix="trio-ws-metrics-")
    try:
        yield {**environment, "PROMETHEUS_MULTIPROC_DIR": folder}
    finally:
        shutil.rmtree(folder, ignore_errors=True)


# The workers


@dataclass(eq=False)
class _Worker:
    """A process that serves, or is about to.

    Attributes:
      number: which of them it is, from 1.
      process: its process.
      control: this side of its control socket. Closed, it drains.
    """

    number: int
    process: trio.Process
    control: socket.socket

    def tell(self, state: list[dict[str, object]]) -> None:
        """Tell it how all of them are. One that does not listen misses it."""
        with suppress(OSError):
            self.control.send(json.dumps(state).encode() + b"\n", socket.MSG_DONTWAIT)

    def send_signal(self, number: int) -> None:
        if self.process.returncode is None:
            self.process.send_signal(number)


@dataclass(eq=False)
class _Slot:
    """The place of one worker after the other.

    Attributes:
      number: its number, from 1.
      sockets: what its workers listen on.
      worker: who has it now.
      lock: held by who is filling it.
      ends: when workers ended here that nobody had told to.
    """

    number: int
    sockets: list[socket.socket]
    worker: _Worker | None = None
    lock: trio.Lock = field(default_factory=trio.Lock)
    ends: deque[float] = field(default_factory=deque)


class _Crew:
    """All of them."""

    def __init__(
        self,
        shares: list[list[socket.socket]],
        environment: dict[str, str],
        drain_timeout: float,
    ) -> None:
        self._slots = [_Slot(number, share) for number, share in enumerate(shares, 1)]
        self._environment = environment
        self._patience = drain_timeout + _GRACE
        # Also those that are being replaced.
        self._alive: set[_Worker] = set()
        self._hangup = trio.Event()
        # The exit code, where it was not a signal that ended it.
        self._code: int | None = None

    async def run(self, signals: AsyncIterator[int], announce: Callable[[object], None]) -> int:
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._supervise, nursery, announce)
                async for number in signals:
                    if number != signal.SIGHUP:
                        break
                    self._hangup.set()
                nursery.cancel_scope.cancel()
            if self._code is None:
                return await self._drain(signals)
        finally:
            await self._end()
        return self._code

    async def _supervise(self, nursery: trio.Nursery, announce: Callable[[object], None]) -> None:
        # Whatever keeps one from starting keeps all of them, and is to be said once.
        failed = await self._fill(self._slots[0])
        if failed is not None:
            self._give_up(nursery, failed if failed > 0 else ExitCode.INTERNAL)
            return
        for slot in self._slots:
            nursery.start_soon(self._keep, slot, nursery)
        nursery.start_soon(self._roll_on_hangup)
        announce(self._slots[0].sockets[0].getsockname())

    def _give_up(self, nursery: trio.Nursery, code: int) -> None:
        self._code = code
        nursery.cancel_scope.cancel()

    # Starting

    async def _fill(self, slot: _Slot) -> int | None:
        """Have a worker in *slot*; return the exit code of one that ended before it served."""
        async with slot.lock:
            if slot.worker is not None:
                return None
            worker = await self._start(slot)
            if isinstance(worker, int):
                return worker
            slot.worker = worker
            self._tell()
            return None

    async def _start(self, slot: _Slot) -> _Worker | int:
        """A worker that serves; or the exit code of one that ended before it did."""
        ours, theirs = socket.socketpair()
        descriptors = [one.fileno() for one in slot.sockets]
        place = Place(slot.number, theirs.fileno(), tuple(descriptors))
        try:
            process = await trio.lowlevel.open_process(
                [sys.executable, "-m", "trio_ws.cli", *sys.argv[1:]],
                stdin=subprocess.DEVNULL,
                env={**self._environment, PLACE: place.text()},
                pass_fds=[theirs.fileno(), *descriptors],
                # A Ctrl-C at the terminal is the parent's to pass on, once.
                start_new_session=True,
            )
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        ours.setblocking(False)
        worker = _Worker(slot.number, process, ours)
        self._alive.add(worker)
        with trio.move_on_after(_START_TIMEOUT) as patience:
            await trio.lowlevel.wait_readable(ours)
            # A byte says that it serves; the end, that it will not.
            with suppress(ConnectionResetError):
                if ours.recv(1):
                    return worker
        if patience.cancelled_caught:
            _logger.error("worker %d does not serve after %.0f s", slot.number, _START_TIMEOUT)
            worker.send_signal(signal.SIGKILL)
        return await self._reap(worker)

    async def _reap(self, worker: _Worker) -> int:
        """Wait until it has ended; return its exit code."""
        code = await worker.process.wait()
        self._forget(worker)
        return code

    def _forget(self, worker: _Worker) -> None:
        if worker in self._alive:
            self._alive.remove(worker)
            worker.control.close()
            if folder := self._environment.get("PROMETHEUS_MULTIPROC_DIR"):
                from prometheus_client import multiprocess

                # What it counted stays; what it had open does not.
                pid = worker.process.pid
                multiprocess.mark_process_dead(pid, folder)  # type: ignore[no-untyped-call]

    def _tell(self) -> None:
        state: list[dict[str, object]] = [
            {"number": slot.number, "pid": None if slot.worker is None else slot.worker.process.pid}
            for slot in self._slots
        ]
        for worker in self._alive:
            worker.tell(state)

    # Keeping

    async def _keep(self, slot: _Slot, nursery: trio.Nursery) -> None:
        """Have a worker in *slot* always."""
        while True:
            worker = slot.worker
            if worker is not None:
                code = await self._reap(worker)
            elif (failed := await self._fill(slot)) is not None:
                code = failed
            else:
                continue
            async with slot.lock:
                if slot.worker is not worker:
                    # It was replaced.
                    continue
                slot.worker = None
            self._tell()
            _logger.error("worker %d %s", slot.number, _ending(code))
            if not await self._may_start(slot):
                say(f"worker {slot.number} ended {_ENDS} times within {_WITHIN:.0f} s: giving up")
                self._give_up(nursery, ExitCode.INTERNAL)
                return

    async def _may_start(self, slot: _Slot) -> bool:
        """Pause for what has ended lately; false: it ends too often."""
        now = trio.current_time()
        slot.ends.append(now)
        while slot.ends[0] <= now - _WITHIN:
            slot.ends.popleft()
        again = len(slot.ends) - 1
        if again + 1 >= _ENDS:
            return False
        await trio.sleep(_PAUSE * 2 ** (again - 1) if again else 0)
        return True

    # Replacing

    async def _roll_on_hangup(self) -> None:
        while True:
            await self._hangup.wait()
            # One that comes meanwhile means another round.
            self._hangup = trio.Event()
            await self._roll()

    async def _roll(self) -> None:
        """Replace one worker after the other, each by one that serves already."""
        for slot in self._slots:
            async with slot.lock:
                last = slot.worker
                worker = await self._start(slot)
                if isinstance(worker, int):
                    _logger.error(
                        "the next worker %d %s before it served: those that run stay",
                        slot.number,
                        _ending(worker),
                    )
                    return
                slot.worker = worker
                self._tell()
            if last is not None:
                last.send_signal(signal.SIGTERM)
                with trio.move_on_after(self._patience) as patience:
                    await self._reap(last)
                if patience.cancelled_caught:
                    _logger.error("worker %d did not stop in time, and is killed", slot.number)
                    last.send_signal(signal.SIGKILL)
        _logger.info("all workers were replaced")

    # Stopping

    async def _drain(self, signals: AsyncIterator[int]) -> int:
        """Let all of them drain at once; at the next signal, have them stop. The exit code."""
        code = ExitCode.OK
        self._send_all(signal.SIGTERM)
        with trio.move_on_after(self._patience) as patience:
            async with trio.open_nursery() as nursery:

                async def second_signal() -> None:
                    nonlocal code
                    async for number in signals:
                        if number != signal.SIGHUP:
                            break
                    code = ExitCode.INTERRUPTED if number == signal.SIGINT else ExitCode.TERMINATED
                    self._send_all(signal.SIGTERM)
                    patience.deadline = min(patience.deadline, trio.current_time() + _GRACE)

                nursery.start_soon(second_signal)
                async with trio.open_nursery() as reaping:
                    for worker in self._alive:
                        reaping.start_soon(self._reap, worker)
                nursery.cancel_scope.cancel()
        for worker in self._alive:
            say(f"worker {worker.number} did not stop in time, and is killed")
        return code

    def _send_all(self, number: int) -> None:
        for worker in self._alive:
            worker.send_signal(number)

    async def _end(self) -> None:
        """Leave nobody behind."""
        self._send_all(signal.SIGKILL)
        # A killed process ends; unless the system is in trouble.
        with trio.move_on_after(_GRACE, shield=True):
            for worker in tuple(self._alive):
                await self._reap(worker)


def _ending(code: int) -> str:
    if code < 0:
        return f"was ended by {signal.Signals(-code).name}"
    return f"ended with exit code {code}"
