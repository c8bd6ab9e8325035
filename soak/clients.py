"""The clients: those that stay, those that come and go, members of rooms, and rude ones."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import trio

import trio_ws
from trio_ws.testing import Faults

from .account import Run, message, number_of

if TYPE_CHECKING:
    import ssl
    from collections.abc import Awaitable, Callable
    from random import Random

_HEARTBEAT = trio_ws.Heartbeat(interval=5, timeout=5)
_BACKOFF = trio_ws.Backoff(initial=0.2, maximum=2, intensity=None)
#: What any of the rude ones' acts may take, in seconds.
_RUDE = 20
_KEY = b"\x01\x02\x03\x04"
_REQUEST = (
    b"GET /echo/rude HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)
#: What rude ones say before they are open, and after.
_BEFORE = [
    b"",
    b"GET / HT",
    b"\x16\x03\x01\x02\x00\x01",
    _REQUEST + b"X: " + b"y" * 50_000,
    _REQUEST + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n",
    b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n" + _REQUEST + b"\r\n",
]
_AFTER = [
    b"\x81\x01a",
    b"\xc9\x80" + _KEY,
    b"\x82\xff\x7f\xff\xff\xff\xff\xff\xff\xff" + _KEY,
    b"\x01\x81" + _KEY + b"a" + (b"\x00\x80" + _KEY) * 10_000,
    (b"\x89\xfd" + _KEY + bytes(125)) * 300,
    b"\x81\x82" + _KEY + b"\xff\xff",
    b"\x88\x82" + _KEY + b"\x00\x00",
]


def bad_network(random: Random) -> Faults:
    """What one direction of one connection suffers from."""
    after: dict[str, Any] = {}
    kind = random.choice(["reset_after", "end_after", "stall_after", None, None])
    if kind is not None:
        after = {kind: int(random.expovariate(1 / 60_000))}
    return Faults(
        latency=random.choice([0, 0.01, 0.05]),
        jitter=random.choice([0, 0.02]),
        segment=random.choice([None, 200, 1400]),
        bandwidth=random.choice([50_000, 1e6, 1e9]),
        buffer=random.choice([4096, 65536]),
        **after,
    )


@dataclass(slots=True)
class Figures:
    """What clients did.

    Attributes:
      sent: by each client that stays, how many messages.
      delays: seconds to an echo, of those with a good network, since they were last taken.
      acts: how often what was done.
      wrong: what must not be.
    """

    sent: dict[str, int] = field(default_factory=dict)
    delays: list[float] = field(default_factory=list)
    acts: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)


class Clients:
    """All of them, until `over`.

    Args:
      good: the URL of each of the server's ports, over a good network.
      bad: the same over one that fails.
      context: trusts the server's certificate.
      random: where chance comes from.
    """

    def __init__(
        self, good: dict[str, str], bad: dict[str, str], context: ssl.SSLContext, random: Random
    ) -> None:
        self._good = good
        self._bad = bad
        self._context = context
        self._random = random
        self.over = trio.Event()
        self.figures = Figures()

    async def warm_up(self) -> None:
        """Speak to each port once."""
        for url in self._good.values():
            async with trio_ws.connect(f"{url}/echo/first", **self._options(url)) as ws:
                await ws.send(message(0, 1000))
                await ws.receive()

    async def run(self, count: int) -> None:
        """*count* clients, of which two thirds stay and the others do something else."""
        async with trio.open_nursery() as nursery:
            start = nursery.start_soon
            for number in range(count):
                await trio.sleep(0.01)
                kind = ("plain", "tls", "plain", "engine")[number % 4]
                match number % 12:
                    case 0 | 1:
                        start(self._stay, f"good-{number}", kind, self._good, 0.25)
                    case 2 | 3 | 4 | 5 | 6 | 7:
                        start(self._stay, f"bad-{number}", kind, self._bad, 1.0)
                    case 8 | 9:
                        start(self._talk, number, self._bad["tls" if number % 2 else "plain"])
                    case 10:
                        start(self._again, self._come_and_go)
                    case 11:
                        start(self._again, self._be_rude)

    async def _again(self, act: Callable[[], Awaitable[None]]) -> None:
        while not self.over.is_set():
            await act()
            await self._pause(0.5)

    async def _pause(self, mean: float) -> None:
        with trio.move_on_after(self._random.expovariate(1 / mean)):
            await self.over.wait()

    def _options(self, url: str) -> dict[str, Any]:
        options: dict[str, Any] = {"heartbeat": _HEARTBEAT, "hooks": [], "proxy": None}
        if url.startswith("wss:"):
            options["ssl_context"] = self._context
        return options

    def _size(self) -> int:
        return 60_000 if self._random.random() < 0.005 else int(self._random.expovariate(1 / 400))

    # Those that stay

    async def _stay(self, name: str, kind: str, urls: dict[str, str], pause: float) -> None:
        """Send numbered messages over whatever connection there is, and look at the echoes."""
        url = f"{urls[kind]}/echo/{name}"
        sizes: dict[int, int] = {}
        sent_at: dict[int, float] = {}
        options = self._options(url)
        if kind != "engine" and self._random.random() < 0.5:
            options["compression"] = trio_ws.Compression()
        async with (
            trio_ws.keep_connected(url, backoff=_BACKOFF, **options) as ws,
            trio.open_nursery() as nursery,
        ):

            async def receive() -> None:
                last = -1
                async for echo in ws:
                    number = number_of(echo)
                    if number <= last:
                        self.figures.wrong.append(f"{name}: echo {number} after {last}")
                    if echo != message(number, sizes[number]):
                        self.figures.wrong.append(f"{name}: echo {number} is another message")
                    if urls is self._good:
                        self.figures.delays.append(trio.current_time() - sent_at[number])
                    for answered in range(last + 1, number + 1):
                        sizes.pop(answered, None)
                        sent_at.pop(answered, None)
                    last = number
                    self.figures.acts["echoes"] += 1

            nursery.start_soon(receive)
            number = 0
            while not self.over.is_set():
                sizes[number], sent_at[number] = self._size(), trio.current_time()
                await ws.send(message(number, sizes[number]))
                number += 1
                self.figures.sent[name] = number
                await self._pause(pause)
            # The server has the rest when it answers the close.
            nursery.cancel_scope.cancel()

    # Members of rooms

    async def _talk(self, number: int, url: str) -> None:
        """Publish to a room, and look at what comes of what all its members publish."""
        url = f"{url}/room/{number % 5}"
        async with trio_ws.Client(url, backoff=_BACKOFF, **self._options(url)) as client:
            while not self.over.is_set():
                ws = await client.next_connection()
                if ws is None:
                    break
                run = Run()
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._listen, ws, run, nursery.cancel_scope)
                    with suppress(trio_ws.ConnectionClosed):
                        while not self.over.is_set():
                            await ws.send(f"from {number}")
                            self.figures.acts["published"] += 1
                            await self._pause(3.0)
                    nursery.cancel_scope.cancel()
                if run.wrong is not None:
                    now, before = run.wrong
                    self.figures.wrong.append(f"{url}: {now} after {before} for {number}")

    async def _listen(self, ws: trio_ws.WebSocket, run: Run, scope: trio.CancelScope) -> None:
        with suppress(trio_ws.ConnectionClosed):
            async for text in ws:
                run.add(number_of(text))
                self.figures.acts["delivered"] += 1
        scope.cancel()

    # Those that come and go

    async def _come_and_go(self) -> None:
        """Connect, say something, and leave in one of the ways in which people leave."""
        random = self._random
        kind = random.choice(["plain", "tls", "engine"])
        url = random.choice([self._good, self._bad])[kind] + "/echo/passer-by"
        way = random.choice(["close", "abort", "cancel", "raise"])
        with trio.move_on_after(random.uniform(0, 2) if way == "cancel" else _RUDE):
            with suppress(OSError, trio_ws.HandshakeError, trio_ws.ConnectionClosed, KeyError):
                async with trio_ws.connect(url, **self._options(url)) as ws:
                    for number in range(random.randint(0, 5)):
                        await ws.send(message(number, self._size()))
                        if random.random() < 0.5:
                            await ws.receive()
                    if way == "abort":
                        ws.abort()
                    if way == "raise":
                        raise KeyError
        self.figures.acts[f"left: {way}"] += 1

    # Rude ones

    async def _be_rude(self) -> None:
        act = self._random.choice([self._stammer, self._break_rules, self._not_read])
        with trio.move_on_after(_RUDE), suppress(OSError, trio.BrokenResourceError):
            await act()
        self.figures.acts[f"rude: {act.__name__.strip('_').replace('_', ' ')}"] += 1

    async def _connected(self) -> trio.SocketStream:
        host, _, port = self._good["plain"].removeprefix("ws://").partition(":")
        return await trio.open_tcp_stream(host, int(port))

    async def _stammer(self) -> None:
        """Not get as far as a request, or send a bad one."""
        async with await self._connected() as stream:
            await stream.send_all(self._random.choice(_BEFORE))
            while await stream.receive_some():
                pass

    async def _break_rules(self) -> None:
        """Break a rule of the protocol."""
        async with await self._connected() as stream:
            await stream.send_all(_REQUEST + b"\r\n" + self._random.choice(_AFTER))
            while await stream.receive_some():
                pass

    async def _not_read(self) -> None:
        """Ask for much, and not read it."""
        async with await self._connected() as stream:
            size = b"%d" % self._random.choice([100, 10_000, 300_000])
            await stream.send_all(_REQUEST.replace(b"/echo/rude", b"/pour/" + size) + b"\r\n")
            await trio.sleep(self._random.uniform(0, 10))
