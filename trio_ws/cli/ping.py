"""``trio-ws ping``: how long the server takes to answer, again and again."""

from __future__ import annotations

import json
import math
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import trio

from .._client import connected
from .._dial import Stage
from .._errors import ConnectionClosed
from .._url import parse_url
from .bench.histogram import Histogram
from .connecting import destination_of
from .failures import TimedOut, cleared, say
from .figures import counted, milliseconds
from .opening import Opening
from .signals import interruptible
from .writer import write_stdout

if TYPE_CHECKING:
    from .._websocket import PendingPing, WebSocket
    from .connecting import Destination
    from .options.ping import PingOptions

#: Seconds for the summary to be written, to somebody who may have stopped reading.
_PATIENCE: Final = 1.0


@dataclass
class Summary:
    """What is known at the end.

    Attributes:
      sent: pings sent.
      on_their_way: those that need not be called lost: the end came too soon for them.
      times: round trips of those that were answered.
    """

    sent: int = 0
    on_their_way: int = 0
    times: Histogram = field(default_factory=Histogram)
    _squares: float = 0.0

    def received(self, seconds: float) -> None:
        """A pong has come after *seconds*."""
        self.times.record(seconds)
        self._squares += seconds * seconds

    @property
    def lost(self) -> int:
        """Pings without a pong that had their time."""
        return self.sent - self.times.count - self.on_their_way

    @property
    def loss(self) -> float:
        """The lost ones as a share of those whose fate is known."""
        return self.lost / max(1, self.sent - self.on_their_way)

    @property
    def mdev(self) -> float | None:
        """How far round trips are from their average, as the root of the mean square."""
        mean = self.times.mean
        if mean is None:
            return None
        return math.sqrt(max(0.0, self._squares / self.times.count - mean * mean))

    def to_json(self) -> dict[str, Any]:
        """The summary, in seconds."""
        times = self.times
        return {
            "sent": self.sent,
            "received": times.count,
            "lost": self.lost,
            "on_their_way": self.on_their_way,
            "loss": self.loss,
            "min": times.minimum if times.count else None,
            "avg": times.mean,
            "p95": times.percentile(95),
            "max": times.maximum if times.count else None,
            "mdev": self.mdev,
        }

    def lines(self, host: str) -> list[str]:
        """The summary for people."""
        times = self.times
        counts = [f"{counted(self.sent, 'ping')} sent", f"{counted(times.count, 'pong')} received"]
        if self.on_their_way:
            counts.append(f"{self.on_their_way} on their way")
        counts.append(f"{100 * self.loss:.3g}% lost")
        told = [f"--- {host} ping statistics ---", ", ".join(counts)]
        if times.count:
            values = (times.minimum, times.mean, times.percentile(95), times.maximum, self.mdev)
            shown = "/".join(milliseconds(value or 0.0) for value in values)
            told.append(f"round trip min/avg/p95/max/mdev = {shown} ms")
        return told


def run(options: PingOptions) -> None:
    """Ping until it is over.

    Raises:
      TimedOut: no pong came.
      ConnectionClosed: the connection ended too soon, and not in good order.
    """
    destination = destination_of(options)
    trio.run(_run, options, destination)


async def _run(options: PingOptions, destination: Destination) -> None:
    target = parse_url(destination.url)
    opening = Opening()
    session = _Session(options, target.host)
    async with interruptible():
        opening.begin(Stage.CONNECT)
        with opening.watching_names():
            async with connected(
                destination.url, hooks=(), on_stage=opening.begin, **destination.options
            ) as ws:
                opening.begin(Stage.OPEN)
                await session.tell(f"connected to {target}: {opening}")
                await session.ping(ws)
    if not session.summary.times.count:
        raise TimedOut(f"no pong came from {target.host}")


class _Session:
    """The pings of one connection."""

    def __init__(self, options: PingOptions, host: str) -> None:
        self.summary = Summary()
        self._options = options
        self._host = host
        self._in_flight: dict[PendingPing, float] = {}
        # Lines come from several tasks.
        self._writing = trio.Lock()

    async def tell(self, line: str) -> None:
        """A line of output, unless only the summary is wanted."""
        if not (self._options.quiet or self._options.json):
            async with self._writing:
                await write_stdout(f"{cleared(line)}\n".encode())

    async def ping(self, ws: WebSocket) -> None:
        """Ping until it is over, and tell the summary, however it ends."""
        deadline = self._options.deadline
        try:
            with trio.move_on_after(math.inf if deadline is None else deadline):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._until_closed, ws, nursery.cancel_scope)
                    await self._send_pings(ws)
                    # Where the connection has ended, whoever receives has to say why.
                    if ws.close_reason is None:
                        nursery.cancel_scope.cancel()
        finally:
            await self._tell_summary(ws)

    async def _until_closed(self, ws: WebSocket, scope: trio.CancelScope) -> None:
        """Throw messages away, as pongs may lie behind them, until the connection ends."""
        async for _ in ws:
            pass
        say(f"connection closed: {ws.close_reason}")
        scope.cancel()

    async def _send_pings(self, ws: WebSocket) -> None:
        due = trio.current_time()
        async with trio.open_nursery() as nursery:
            while True:
                try:
                    ping = ws.start_ping()
                except ConnectionClosed:
                    # Whoever receives says why.
                    return
                self.summary.sent += 1
                self._in_flight[ping] = trio.current_time()
                if self.summary.sent == self._options.count:
                    break
                nursery.start_soon(self._await_pong, ping, self.summary.sent)
                due += self._options.interval
                await trio.sleep_until(due)
            # A pong answers all pings before its own, so the last one decides.
            if not await self._in_time(ping, self.summary.sent):
                nursery.cancel_scope.cancel()

    async def _await_pong(self, ping: PendingPing, number: int) -> None:
        """Tell of the pong, and before that, where it is late, that it is."""
        try:
            if not await self._in_time(ping, number):
                await self.tell(
                    f"no pong from {self._host} yet: seq={number} after {self._options.timeout:g} s"
                )
                await self._wait(ping)
                await self._tell_pong(ping, number, " (late)")
        finally:
            ping.forget()

    async def _in_time(self, ping: PendingPing, number: int) -> bool:
        """Wait for the pong as long as `PingOptions.timeout` says; return whether it came."""
        with trio.move_on_after(self._options.timeout) as patience:
            await self._wait(ping)
        if patience.cancelled_caught:
            return False
        await self._tell_pong(ping, number)
        return True

    async def _wait(self, ping: PendingPing) -> None:
        # Whoever receives says why there will be no pong.
        with suppress(ConnectionClosed):
            self.summary.received(await ping.wait())
            del self._in_flight[ping]

    async def _tell_pong(self, ping: PendingPing, number: int, note: str = "") -> None:
        if ping.round_trip is not None:
            time = milliseconds(ping.round_trip)
            await self.tell(f"pong from {self._host}: seq={number} time={time} ms{note}")

    async def _tell_summary(self, ws: WebSocket) -> None:
        if ws.close_reason is None:
            patient_until = trio.current_time() - self._options.timeout
            self.summary.on_their_way = sum(t > patient_until for t in self._in_flight.values())
        if self._options.json:
            told = [json.dumps(self.summary.to_json())]
        else:
            told = self.summary.lines(self._host)
        # Whoever stops a ping wants to see this.
        with trio.CancelScope(shield=True), trio.move_on_after(_PATIENCE):
            for line in told:
                await write_stdout(f"{cleared(line)}\n".encode())
