"""The load of one process: it opens connections, sends, and measures what comes back.

Three phases follow each other. Connections are opened, over the ramp; when each has opened or
failed, messages flow, at first unmeasured; when the time is over, replies are waited for.

With a rate, the n-th message is due n / rate seconds after the flow began, on one connection
after the other, whatever became of those before it. Its round trip counts from then. So a server
that stops for a second is charged with a second for what was due at its beginning, half a second
for what was due in the middle, and so on, and not with one slow reply: to measure only what was
really sent while it stopped is *coordinated omission*. A message counts where it was due while it
was measured. One that has no reply in the end, or that the peer did not even take, counts with
the time that it has waited, so that what never comes back does not improve the percentiles.

Without a rate, each connection keeps as many messages on their way as its pipeline holds, and a
round trip counts from the sending.

Each connection has two tasks here: one receives, one sends what could not be sent at once.
"""

from __future__ import annotations

import itertools
import math
from collections import deque
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Final, NoReturn

import trio

from ..._client import connect
from ..._errors import ConnectionClosed, TrioWSError
from ..connecting import destination_of
from .payloads import Payloads
from .tally import Tally

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from ..._websocket import WebSocket
    from ..connecting import Destination
    from ..options.bench import BenchOptions

#: Seconds for the last replies.
PATIENCE: Final = 5.0
#: Seconds: the closing handshakes of a thousand connections must not keep anybody waiting.
_CLOSE_TIMEOUT: Final = 2.0
#: Seconds: the kernel's timer is that coarse, as epoll counts in milliseconds, and rounds up.
_COARSE: Final = 0.0012
#: Seconds after the time is over for what was due before, and is late only because everything
#: takes its time. What is not sent by then counts as not sent.
_GRACE: Final = 1.0
#: Messages that may be sent late in a row before the other tasks have their turn.
_TURN: Final = 64


def destination_for(options: BenchOptions) -> Destination:
    """Where *options* lead, such that replies are accepted and closing does not take long."""
    destination = destination_of(replace(options, max_size=max(options.max_size, options.size)))
    timeouts = replace(destination.options["timeouts"], close_timeout=_CLOSE_TIMEOUT)
    return replace(destination, options={**destination.options, "timeouts": timeouts})


class Load:
    """The share of one process.

    Args:
      destination: where to.
      options: what is asked for in all.
      share: which share it is, from 0 on.
      settled: told, when each connection has opened or failed, how many have opened. It returns,
        when the others have come as far, this share's rate; ``None`` for none.

    Attributes:
      tally: what has been counted so far.
    """

    def __init__(
        self,
        destination: Destination,
        options: BenchOptions,
        *,
        share: int = 0,
        settled: Callable[[int], Awaitable[float | None]],
    ) -> None:
        self.tally = Tally()
        self.payloads = Payloads(options.size, binary=options.binary, seed=share)
        self.numbers = itertools.count()
        self.pipeline = 0
        #: When what is due counts, by ``trio.current_time()``.
        self.measured_from = self.measured_to = math.inf
        self._destination = destination
        self._options = options
        self._share = range(share, options.connections, options.processes)
        self._report_settled = settled
        self._unsettled = len(self._share)
        self._all_settled = trio.Event()
        self._began = 0.0
        self._conversations: list[Conversation] = []
        self._closing = trio.lowlevel.ParkingLot()
        self._offered = 0

    def update(self) -> Tally:
        """The tally as of now."""
        if self.measured_from < math.inf:
            until = min(trio.current_time(), self.measured_to)
            self.tally.window = max(0.0, until - self.measured_from)
        return self.tally

    async def run(self) -> None:
        """All of it.

        Cancellation: the tally holds what was measured until then.
        """
        self._began = trio.current_time()
        try:
            async with trio.open_nursery() as nursery:
                for index in self._share:
                    nursery.start_soon(self._hold_open, index)
                await self._all_settled.wait()
                await self._flow(await self._report_settled(self.tally.opened))
        finally:
            self.update()
            self.measured_to = min(self.measured_to, trio.current_time())

    # Connections

    async def _hold_open(self, index: int) -> None:
        """One connection: open it, converse, close it."""
        options = self._options
        await trio.sleep_until(self._began + options.ramp * index / options.connections)
        began = trio.current_time()
        opened = False
        try:
            async with connect(self._destination.url, hooks=(), **self._destination.options) as ws:
                opened = True
                self.tally.connecting.record(trio.current_time() - began)
                self.tally.opened += 1
                self.tally.open += 1
                try:
                    conversation = Conversation(self, ws)
                    self._conversations.append(conversation)
                    self._settle()
                    await conversation.run()
                finally:
                    self.tally.open -= 1
                    self._closing.unpark_all()
        except (TrioWSError, OSError) as error:
            self.tally.broken += opened
            self.tally.failed(error)
        finally:
            if not opened:
                self._settle()

    def _settle(self) -> None:
        self._unsettled -= 1
        if not self._unsettled:
            self._all_settled.set()

    # The flow

    async def _flow(self, rate: float | None) -> None:
        """Let messages flow for as long as was asked for, and collect the last replies."""
        if not self._conversations:
            return
        began = trio.current_time()
        self.measured_from = began + self._options.warmup
        self.measured_to = self.measured_from + self._options.duration
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._until_nobody_is_left, nursery.cancel_scope)
            if rate is None:
                self._fill(self._options.pipeline or 1)
                await trio.sleep_until(self.measured_to)
            else:
                with trio.move_on_at(self.measured_to + _GRACE):
                    await self._pace(began, rate)
            nursery.cancel_scope.cancel()
        self.measured_to = min(self.measured_to, trio.current_time())
        if rate is not None:
            self._count_what_was_due(began, rate)
        await self._collect()

    async def _until_nobody_is_left(self, scope: trio.CancelScope) -> None:
        while self.tally.open:
            await self._closing.park()
        scope.cancel()

    def _fill(self, pipeline: int) -> None:
        self.pipeline = pipeline
        for conversation in self._conversations:
            for _ in range(pipeline):
                conversation.offer(trio.current_time())

    async def _pace(self, began: float, rate: float) -> None:
        """Offer each message when it is due, or at once where that is over."""
        clock = trio.lowlevel.current_clock().current_time
        taking_turns = itertools.cycle(self._conversations)
        while (due := began + self._offered / rate) < self.measured_to:
            if self._offered % _TURN == 0:
                await trio.lowlevel.checkpoint()
            while (ahead := due - clock()) > 0:
                # Sleep for most of it, and spin for the rest.
                if ahead > _COARSE:
                    await trio.sleep(ahead - _COARSE)
                else:
                    await trio.lowlevel.checkpoint()
            next(taking_turns).offer(due)
            self._offered += 1
        await trio.sleep_until(self.measured_to)

    def _count_what_was_due(self, began: float, rate: float) -> None:
        """This process was too slow for the rate: what it did not come to is not forgotten."""
        while (due := began + self._offered / rate) < self.measured_to:
            self._offered += 1
            self.count_unsent(due)

    def count_unsent(self, due: float) -> None:
        """A message was due, and was not sent before the end."""
        if due >= self.measured_from:
            self.tally.unsent += 1
            self.tally.round_trips.record(trio.current_time() - due)

    async def _collect(self) -> None:
        for conversation in self._conversations:
            conversation.no_more()
        with trio.move_on_after(PATIENCE):
            for conversation in self._conversations:
                await conversation.idle.wait()
        for conversation in self._conversations:
            conversation.end()


class Conversation:
    """The messages of one connection.

    Attributes:
      idle: no further message will be sent, and no reply is missing.
    """

    def __init__(self, load: Load, ws: WebSocket) -> None:
        self.idle = trio.Event()
        self._load = load
        self._ws = ws
        #: When each message that has no reply was due, by its number.
        self._waiting: dict[int, float] = {}
        #: When each message was due that the connection would not take at once.
        self._backlog: deque[float] = deque()
        self._backlogged = trio.lowlevel.ParkingLot()
        self._scope = trio.CancelScope()
        self._over = False
        self._ended = False

    async def run(self) -> None:
        """Receive, until `end`.

        Raises:
          ConnectionClosed: the connection ended first.
        """
        failure: ConnectionClosed | None = None
        try:
            with self._scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._send_backlog)
                    try:
                        await self._receive()
                    except ConnectionClosed as error:
                        failure = error
                    nursery.cancel_scope.cancel()
        finally:
            self._ended = True
            self.idle.set()
        if failure is not None:
            for due in (*self._waiting.values(), *self._backlog):
                self._count_lost(due)
            raise failure

    def offer(self, due: float) -> None:
        """A message is due at *due*: send it, as soon as the connection takes it."""
        if self._ended:
            self._count_lost(due)
        elif self._backlog:
            self._backlog.append(due)
        else:
            number = next(self._load.numbers)
            try:
                self._ws.send_nowait(self._load.payloads.make(number))
            except trio.WouldBlock:
                self._backlog.append(due)
                self._backlogged.unpark()
            except ConnectionClosed:
                # Whoever receives says why.
                self._count_lost(due)
            else:
                self._sent(number, due)

    def _sent(self, number: int, due: float) -> None:
        self._waiting[number] = due
        load = self._load
        if not load.pipeline and due >= load.measured_from:
            load.tally.late.record(trio.current_time() - due)

    def _count_lost(self, due: float) -> None:
        if due >= self._load.measured_from:
            self._load.tally.lost += 1

    async def _send_backlog(self) -> None:
        # Whoever receives says why the connection has ended.
        with suppress(ConnectionClosed):
            while not self._over:
                while self._backlog:
                    number = next(self._load.numbers)
                    await self._ws.send(self._load.payloads.make(number))
                    self._sent(number, self._backlog.popleft())
                await self._backlogged.park()

    async def _receive(self) -> NoReturn:
        clock = trio.lowlevel.current_clock().current_time
        load, waiting = self._load, self._waiting
        tally, number_of, record = (
            load.tally,
            load.payloads.number_of,
            load.tally.round_trips.record,
        )
        while True:
            message = await self._ws.receive()
            now = clock()
            due = waiting.pop(number_of(message), None)
            if due is None:
                tally.count("a message came that is not the echo of one on its way")
                continue
            tally.replies += 1
            if load.measured_from <= now < load.measured_to:
                tally.answered += 1
            if due >= load.measured_from:
                record(now - due)
            if self._over:
                if not waiting:
                    self.idle.set()
            elif load.pipeline:
                self.offer(now)

    def no_more(self) -> None:
        """Send nothing any more; replies are still counted."""
        self._over = True
        self._backlogged.unpark()
        if not self._waiting:
            self.idle.set()

    def end(self) -> None:
        """Leave the connection, and count what has no reply."""
        self._scope.cancel()
        if self._ended:
            return
        self._ended = True
        for due in self._waiting.values():
            if due >= self._load.measured_from:
                self._load.tally.unanswered += 1
                self._load.tally.round_trips.record(trio.current_time() - due)
        for due in self._backlog:
            self._load.count_unsent(due)
