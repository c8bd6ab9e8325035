"""What ``trio-ws serve`` gets wrong on purpose, for whoever tests a client.

The faults work with every mode: its handler sees a `WebSocket` that keeps messages back, ends or
falls silent. What is drawn by chance is the same for the same ``--seed``, and for each connection
by its number, whatever the others do.
"""

from __future__ import annotations

import itertools
import math
import re
from dataclasses import dataclass, replace
from random import Random
from typing import TYPE_CHECKING, Final

import trio

from .._close import may_be_sent
from .._connection import Connection
from ..protocol.http import Response
from .delayed import Delayed
from .failures import Usage
from .handlers.mode import Around, Mode
from .wrapper import Wrapper

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from .._websocket import BytesLike, MessageStream, Sendable, WebSocket
    from ..protocol.http import Request
    from .options.serve import ServeOptions

#: Seconds that what was sent before a cut gets to be written.
_WRITING: Final = 1.0
_NUMBER: Final = r"([0-9]+(?:\.[0-9]+)?)"
_POINT: Final = re.compile(rf"([0-9]+)|{_NUMBER}s")
_RANGE: Final = re.compile(rf"{_NUMBER}s?(?:-{_NUMBER}s?)?")
_REJECT: Final = re.compile(rf"([0-9]{{3}})(?::{_NUMBER})?")


@dataclass(frozen=True, slots=True)
class Point:
    """When in a connection's life: after so many messages, or so many seconds.

    Attributes:
      messages: how many; ``None``: it is not messages that count.
      seconds: how many; infinite: it is not time that counts.
    """

    messages: int | None = None
    seconds: float = math.inf

    @property
    def is_at_once(self) -> bool:
        """Whether it is before anything else."""
        return self.messages == 0 or self.seconds == 0


AT_ONCE: Final = Point(messages=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Faults:
    """What goes wrong.

    Attributes:
      latency: the least and the most seconds that a message to the client is held back.
      end: when the connection ends.
      close_code: how it ends; ``None``: TCP is cut.
      stall: when nothing is read any more.
      no_pong: whether pings go unanswered.
      reject: the status that opening handshakes are answered with, and how likely.
      seed: of what is drawn by chance.
    """

    latency: tuple[float, float] | None = None
    end: Point | None = None
    close_code: int | None = None
    stall: Point | None = None
    no_pong: bool = False
    reject: tuple[int, float] | None = None
    seed: int | None = None

    def around(self, mode: Mode) -> Mode:
        """*mode* with these faults."""
        return Faulty(mode, self)


class Faulty(Around):
    """A mode with faults."""

    def __init__(self, inner: Mode, faults: Faults) -> None:
        super().__init__(inner)
        self._faults = faults
        self._numbers = itertools.count()
        self._rejecting = self._random("reject")

    def process_request(self, request: Request) -> Response | Awaitable[Response | None] | None:
        if self._faults.reject is not None and "upgrade" in request.headers:
            status, probability = self._faults.reject
            if self._rejecting.random() < probability:
                return _rejection(status)
        return super().process_request(request)

    async def __call__(self, ws: WebSocket) -> None:
        if not isinstance(ws, Connection):
            raise TypeError(f"faults need the built-in engine, not {type(ws).__name__}")
        ws.answers_pings = not self._faults.no_pong
        end, stall = self._faults.end, self._faults.stall
        if stall is not None and stall.is_at_once:
            ws.stop_reading()
        if end is not None and end.is_at_once:
            await self._end(ws)
        else:
            await self._handle(ws)

    async def _handle(self, connection: Connection) -> None:
        end, stall = self._faults.end or Point(), self._faults.stall or Point()
        counted = _Counted(connection, end.messages, stall.messages)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._end_when_due, counted, connection, end.seconds)
            nursery.start_soon(_stall_after, connection, stall.seconds)
            error = await self._run_handler(self._held_back(counted, nursery))
            if counted.due.is_set():
                # Who hears of the end first must not cut it short.
                await connection.wait_closed()
            nursery.cancel_scope.cancel()
        if error is not None:
            raise error

    async def _run_handler(self, ws: WebSocket) -> Exception | None:
        """Run the mode's own handler; return what it raised, for no group is to be around it."""
        error: Exception | None = None
        try:
            await super().__call__(ws)
        except Exception as raised:
            error = raised
        if isinstance(ws, Delayed):
            await ws.wait_sent()
        return error

    def _held_back(self, ws: WebSocket, nursery: trio.Nursery) -> WebSocket:
        if self._faults.latency is None:
            return ws
        random, (least, most) = self._random(next(self._numbers)), self._faults.latency
        delayed = Delayed(ws, lambda: random.uniform(least, most))
        nursery.start_soon(delayed.run)
        return delayed

    async def _end_when_due(
        self, counted: _Counted, connection: Connection, seconds: float
    ) -> None:
        with trio.move_on_after(seconds):
            await counted.due.wait()
        counted.due.set()
        await self._end(connection)

    async def _end(self, connection: Connection) -> None:
        if self._faults.close_code is not None:
            await connection.aclose(self._faults.close_code)
            return
        with trio.move_on_after(_WRITING):
            await connection.wait_written()
        connection.abort()

    def _random(self, purpose: object) -> Random:
        seed = self._faults.seed
        return Random() if seed is None else Random(f"{seed}/{purpose}")


class _Counted(Wrapper[Connection]):
    """Counts messages, and sees when they are enough.

    Attributes:
      due: set when the connection is to end. Nothing goes either way from then on.
    """

    def __init__(self, inner: Connection, end_after: int | None, stall_after: int | None) -> None:
        super().__init__(inner)
        self.due = trio.Event()
        self._end_after = math.inf if end_after is None else end_after
        self._stall_after = math.inf if stall_after is None else stall_after
        self._sent = 0
        self._received = 0

    async def send(self, message: Sendable, *, compress: bool | None = None) -> None:
        if self.due.is_set():
            await self._inner.wait_closed()
        await self._inner.send(message, compress=compress)
        self._count_sent()

    def send_nowait(self, message: str | BytesLike, *, compress: bool | None = None) -> None:
        if self.due.is_set() and self._inner.close_reason is None:
            raise trio.WouldBlock
        self._inner.send_nowait(message, compress=compress)
        self._count_sent()

    async def receive(self) -> str | bytes:
        if not self.due.is_set():
            message = await self._inner.receive()
            self._count_received()
            if not self.due.is_set():
                return message
        await self._inner.wait_closed()
        return await self._inner.receive()

    def receive_stream(self) -> MessageStream:
        stream = self._inner.receive_stream()
        self._count_received()
        return stream

    def _count_sent(self) -> None:
        self._sent += 1
        if self._sent >= self._end_after:
            self.due.set()

    def _count_received(self) -> None:
        self._received += 1
        if self._received > self._end_after:
            self.due.set()
        if self._received >= self._stall_after:
            self._inner.stop_reading()


async def _stall_after(connection: Connection, seconds: float) -> None:
    await trio.sleep(seconds)
    connection.stop_reading()


def _rejection(status: int) -> Response:
    if status == 304:
        # It has no body (RFC 9110, section 15.4.5).
        return Response(status)
    return Response.text(status, "Rejected, as --reject asks\n")


# From options


def faults_of(options: ServeOptions) -> Faults | None:
    """The faults that *options* ask for; ``None`` where there are none.

    Raises:
      Usage: one of them makes no sense.
    """
    faults = Faults(
        latency=_latency(options.latency),
        end=_point("--drop-after", options.drop_after),
        close_code=_close_code(options.close_code),
        stall=_point("--stall", options.stall),
        no_pong=options.no_pong,
        reject=_reject(options.reject),
        seed=options.seed,
    )
    if faults.close_code is not None and faults.end is None:
        faults = replace(faults, end=AT_ONCE)
    return None if faults == Faults(seed=options.seed) else faults


def _point(option: str, given: str | None) -> Point | None:
    if given is None:
        return None
    match = _POINT.fullmatch(given)
    if match is None:
        raise Usage(f"{option} {given}: give a number of messages (3) or of seconds (1.5s)")
    return Point(int(match[1])) if match[1] else Point(seconds=float(match[2]))


def _latency(given: str | None) -> tuple[float, float] | None:
    if given is None:
        return None
    match = _RANGE.fullmatch(given)
    least, most = (float(match[1]), float(match[2] or match[1])) if match else (1.0, 0.0)
    if least > most:
        raise Usage(f"--latency {given}: give seconds (0.2) or a range of them (0.1-0.5)")
    return least, most


def _close_code(code: int | None) -> int | None:
    if code is not None and not may_be_sent(code):
        raise Usage(
            f"--close-code {code}: no close frame may hold it; 1000 to 1014 but 1004 to 1006, and "
            "3000 to 4999 may"
        )
    return code


def _reject(given: str | None) -> tuple[int, float] | None:
    if given is None:
        return None
    match = _REJECT.fullmatch(given)
    status, probability = (int(match[1]), float(match[2] or 1)) if match else (0, 0.0)
    if not 300 <= status <= 599 or probability > 1:
        raise Usage(
            f"--reject {given}: give a status from 300 to 599, and perhaps how likely it is to be "
            "the answer (503:0.5)"
        )
    return status, probability
