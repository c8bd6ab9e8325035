"""What is tried with every peer, whoever is the server."""

from __future__ import annotations

import random
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

import pytest
import trio

from trio_ws import ClosedBy, CloseReason, Compression, ConnectionClosed

from .peers.conversation import SUBPROTOCOL

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from trio_ws import WebSocket
    from trio_ws._engines import Engine

MIB = 1 << 20
#: A code of the standard's, registered ones, and an application's; reasons up to the bound.
CLOSINGS = (
    (1000, ""),
    (1000, "done"),
    (1008, "against the rules"),
    (3000, "unauthorized"),
    (4999, "näxt, 次"),
    (4000, "r" * 123),
)
#: What may be asked for in permessage-deflate: windows from the smallest to the largest, and none.
COMPRESSIONS = (
    Compression(),
    Compression(window_bits=9, peer_window_bits=9),
    Compression(window_bits=15, peer_window_bits=None),
    Compression(context_takeover=False, peer_context_takeover=False),
)


class Remote(Protocol):
    """What a case asks of the peer, beside what it says over the connection."""

    async def closed(self) -> tuple[int, str]:
        """How the connection ended, in the peer's eyes."""


@dataclass(frozen=True)
class Case:
    """Something to try.

    Attributes:
      name: what it is called in the table.
      run: tries it; given our connection, the peer, and a detail.
      details: variants, of which each needs a connection of its own.
      deflate: whether permessage-deflate is on; the details say how.
      engines: those of ours that can.
      tls: whether it goes over TLS.
    """

    name: str
    run: Callable[[WebSocket, Remote, Any], Awaitable[None]]
    details: tuple[Any, ...] = (None,)
    deflate: bool = False
    engines: tuple[Engine, ...] = ("built-in", "trio-websocket")
    tls: bool = False

    def variants(self) -> Iterator[tuple[Any, dict[str, Any]]]:
        """Each detail, with the options of `connect` and `serve`; and so on each engine."""
        for engine in self.engines:
            for detail in self.details:
                yield (
                    detail,
                    {
                        "subprotocols": [SUBPROTOCOL],
                        "compression": detail if self.deflate else None,
                        "heartbeat": None,
                        "engine": engine,
                    },
                )


async def _echo(ws: WebSocket, message: str | bytes) -> None:
    await ws.send(message)
    reply = await ws.receive()
    assert reply == message
    assert type(reply) is type(message)


async def text(ws: WebSocket, peer: Remote, _: None) -> None:
    for message in ("hello", "", "\0", "äöü 次 \U0001f600", "x" * 126, "é" * 40_000):
        await _echo(ws, message)


async def binary(ws: WebSocket, peer: Remote, _: None) -> None:
    for message in (b"hello", b"", b"\0", bytes(range(256)), bytes(70_000)):
        await _echo(ws, message)


async def a_mebibyte(ws: WebSocket, peer: Remote, _: None) -> None:
    await _echo(ws, random.Random(1).randbytes(MIB))
    await _echo(ws, "0123456789abcdef" * (MIB // 16))


async def many_messages(ws: WebSocket, peer: Remote, _: None) -> None:
    """Sent without waiting for the replies, which come in order."""
    chance = random.Random(2)
    messages: list[str | bytes] = []
    for number in range(2000):
        size = chance.choice((0, 1, 125, 126, chance.randrange(3000), chance.randrange(3000)))
        if number % 250 == 0:
            size += 65_536
        data = chance.randbytes(size)
        # Not what begins a command.
        messages.append("=" + data.decode("latin-1") if chance.random() < 0.5 else data)
    async with trio.open_nursery() as nursery:

        async def send() -> None:
            for message in messages:
                await ws.send(message)

        nursery.start_soon(send)
        for message in messages:
            assert await ws.receive() == message


async def fragments_to_the_peer(ws: WebSocket, peer: Remote, _: None) -> None:
    # Hexadecimal digits deflate to a half, not to a hundredth, which is refused.
    large = random.Random(4).randbytes(35_000).hex().encode()
    for parts in (["frag", "", "ments é", "次"], [b"frag", b"", large]):
        await ws.send(parts)
        whole = b"".join(parts) if isinstance(parts[0], bytes) else "".join(parts)
        assert await ws.receive() == whole


async def fragments_from_the_peer(ws: WebSocket, peer: Remote, _: None) -> None:
    message: str | bytes
    for message in ("é" * 3000, bytes(range(256)) * 40):
        await ws.send("/fragments 5")
        await ws.send(message)
        async with ws.receive_stream() as stream:
            pieces = [piece async for piece in stream]
        assert len(pieces) >= 5
        assert type(message)().join(pieces) == message  # type: ignore[arg-type]


def _agreed(ws: WebSocket) -> set[str]:
    """The parameters of permessage-deflate, which must have been agreed upon."""
    (extension,) = ws.extensions
    assert extension.name == "permessage-deflate"
    return {name for name, _ in extension.parameters}


async def compression(ws: WebSocket, peer: Remote, asked: Compression) -> None:
    without_takeover = {"server_no_context_takeover", "client_no_context_takeover"}
    assert asked.context_takeover == without_takeover.isdisjoint(_agreed(ws))
    chance = random.Random(3)
    words = [f"word{number}" for number in range(100)]
    message = " ".join(chance.choices(words, k=14_000))
    for _again in range(3):
        await _echo(ws, message)
        await _echo(ws, message.encode())
    statistics = ws.statistics()
    plain = 6 * len(message)
    assert statistics.bytes_received < plain / 2
    assert statistics.bytes_sent < plain / 2


async def compressed_many(ws: WebSocket, peer: Remote, _: Compression) -> None:
    _agreed(ws)
    await many_messages(ws, peer, None)


async def compressed_fragments_to_the_peer(ws: WebSocket, peer: Remote, _: Compression) -> None:
    _agreed(ws)
    await fragments_to_the_peer(ws, peer, None)


async def compressed_fragments_from_the_peer(ws: WebSocket, peer: Remote, _: Compression) -> None:
    _agreed(ws)
    await fragments_from_the_peer(ws, peer, None)


async def pings_to_the_peer(ws: WebSocket, peer: Remote, _: None) -> None:
    assert await ws.ping(b"with this") >= 0
    assert await ws.ping() >= 0
    assert await ws.ping(bytes(125)) >= 0
    await _echo(ws, "and a message behind them")


async def pings_from_the_peer(ws: WebSocket, peer: Remote, _: None) -> None:
    for data in ("a", "x" * 125):
        await ws.send(f"/ping {data}")
        assert await ws.receive() == f"pong {data}"


async def subprotocol(ws: WebSocket, peer: Remote, _: None) -> None:
    assert ws.subprotocol == SUBPROTOCOL
    await ws.send("/subprotocol")
    assert await ws.receive() == SUBPROTOCOL


async def closed_here(ws: WebSocket, peer: Remote, closing: tuple[int, str]) -> None:
    await _echo(ws, "first")
    await ws.aclose(*closing)
    assert ws.close_reason == CloseReason(*closing, ClosedBy.LOCAL)
    assert await peer.closed() == closing


async def closed_by_the_peer(ws: WebSocket, peer: Remote, closing: tuple[int, str]) -> None:
    code, reason = closing
    await ws.send(f"/close {code} {reason}")
    with pytest.raises(ConnectionClosed) as closed:
        await ws.receive()
    assert closed.value.reason == CloseReason(code, reason, ClosedBy.REMOTE)
    assert await peer.closed() == closing


async def over_tls(ws: WebSocket, peer: Remote, close: Any) -> None:
    await a_mebibyte(ws, peer, None)
    await many_messages(ws, peer, None)
    await close(ws, peer, (4000, "done"))


#: What the second engine has no way to do.
_deflating = partial(Case, details=COMPRESSIONS, deflate=True, engines=("built-in",))

CASES = (
    Case("text", text),
    Case("binary", binary),
    Case("1 MiB", a_mebibyte),
    Case("2,000 messages", many_messages),
    Case("fragments to the peer", fragments_to_the_peer),
    # They are counted by receive_stream().
    Case("fragments from the peer", fragments_from_the_peer, engines=("built-in",)),
    _deflating("compression", compression),
    _deflating("compression: 2,000 messages", compressed_many),
    _deflating("compression: fragments to the peer", compressed_fragments_to_the_peer),
    _deflating("compression: fragments from the peer", compressed_fragments_from_the_peer),
    Case("pings to the peer", pings_to_the_peer),
    Case("pings from the peer", pings_from_the_peer),
    Case("subprotocol", subprotocol),
    Case("closed by us", closed_here, CLOSINGS),
    Case("closed by the peer", closed_by_the_peer, CLOSINGS),
    Case("over TLS", over_tls, (closed_here, closed_by_the_peer), tls=True),
)
