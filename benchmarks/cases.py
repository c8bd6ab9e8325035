"""What is measured, as a table."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Final, Literal

from .load.orders import Load
from .peers import OURS, RAW_TRIO

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .load.orders import Measurement
    from .peers import Feature, Peer

Unit = Literal[
    "messages/s", "MB/s", "connections/s", "KiB", "CPU ms/s per 1,000", "CPU us per message"
]

KIB: Final = 1024
MIB: Final = 1024 * KIB


@dataclass(frozen=True, kw_only=True)
class Case:
    """One row of the tables.

    Attributes:
      needs: what a peer must be able to do.
      only: the peers that it is about, if not all.
      rounds: at most so many of them, for what takes long.
      longer: how many times as long as others it takes, where all connections have their turn.
      remark: what a reader has to know to be fair.
    """

    name: str
    group: str
    title: str
    unit: Unit
    load: Load
    needs: tuple[Feature, ...] = ()
    only: tuple[Peer, ...] = ()
    rounds: int = 1_000
    longer: float = 1.0
    remark: str = ""

    @property
    def higher_is_better(self) -> bool:
        return self.unit.endswith("/s")

    @property
    def tls(self) -> bool:
        return "tls" in self.needs

    def value(self, measurement: Measurement) -> float:
        """The number that counts here, in the case's unit."""
        match self.unit:
            case "MB/s":
                return measurement.rate * self.load.size / 1e6
            case "KiB":
                return measurement.memory
            case "CPU ms/s per 1,000":
                return measurement.peer_busy * 1e3 / measurement.connections * 1_000
            case "CPU us per message":
                return measurement.peer_cpu_per_message
            case _:
                return measurement.rate

    def matches(self, patterns: Iterable[str]) -> bool:
        return any(fnmatchcase(self.name, pattern) for pattern in patterns)

    def lacking(self, peer: Peer) -> str:
        """Why *peer* has no part in it, "" if it has."""
        if self.only and peer not in self.only:
            return "not compared"
        return next((peer.without[need] for need in self.needs if need in peer.without), "")


def _round_trips(connections: int) -> Case:
    return Case(
        name=f"round-trips-{connections}",
        group="Round trips",
        title=f"64 B, {connections} connection{'s' * (connections > 1)}",
        unit="messages/s",
        load=Load(kind="echo", connections=connections),
    )


def _pipelined(connections: int, in_flight: int) -> Case:
    return Case(
        name=f"pipelined-{connections}x{in_flight}",
        group="Pipelined",
        title=f"64 B, {connections} x {in_flight} in flight",
        unit="messages/s",
        load=Load(kind="echo", connections=connections, in_flight=in_flight),
    )


def _bulk(size: int, kind: str, *, serving: bool) -> Case:
    small = size < MIB
    return Case(
        name=f"{'4k' if small else '1m'}-{kind}{'-client' if serving else ''}",
        group="Bulk, as client" if serving else "Bulk, as server",
        title=f"{'4 KiB, 4 x 64 in flight' if small else '1 MiB, one at a time'}, {kind}",
        unit="MB/s",
        load=Load(
            kind="echo",
            connections=4 if small else 1,
            in_flight=64 if small else 1,
            size=size,
            text=kind == "text",
            serving=serving,
        ),
        needs=("client",) if serving else (),
    )


def _client(kind: Literal["receive", "send"]) -> Case:
    return Case(
        name=f"client-{kind}",
        group="Client",
        title=f"64 B, {kind}",
        unit="messages/s",
        load=Load(kind=kind, serving=True, in_flight=2 if kind == "receive" else 0),
        needs=("receive",),
    )


def _deflate(size: int, title: str, in_flight: int) -> Case:
    return Case(
        name=f"deflate-{title.replace(' ', '').lower()}",
        group="permessage-deflate",
        title=f"JSON of {title}, 4 x {in_flight} in flight",
        unit="messages/s",
        load=Load(kind="echo", connections=4, in_flight=in_flight, size=size, compressed=True),
        needs=("compression",),
        remark="Window 12 bits, memory level 5, no threshold, windows kept between messages. "
        "aiohttp lets neither its memory level be set nor its level, which is zlib's fastest.",
    )


def _connects(*, tls: bool) -> Case:
    return Case(
        name=f"connects{'-tls' * tls}",
        group="Connects",
        title=f"opening and closing handshake, 32 at once{', TLS' * tls}",
        unit="connections/s",
        load=Load(kind="connects", connections=32),
        needs=("websocket", "tls") if tls else ("websocket",),
    )


def _growth(connections: int) -> Case:
    return Case(
        name=f"growth-{connections}",
        group="Growth",
        title=f"64 B round trips, {connections:,} connections",
        unit="CPU us per message",
        load=Load(kind="echo", connections=connections),
        only=(OURS, RAW_TRIO),
        rounds=3,
        longer=4.0,
    )


#: The numbers of connections at which a message should cost the same.
GROWTH: Final = (10, 100, 1_000, 5_000)
#: What a quick run leaves out: what is much like another, or takes long.
NOT_QUICK: Final = ("[41]?-text*", "growth-5000")

CASES: Final = (
    _round_trips(1),
    _round_trips(100),
    _pipelined(1, 500),
    _pipelined(20, 100),
    *(_bulk(size, kind, serving=False) for size in (4 * KIB, MIB) for kind in ("text", "binary")),
    *(_bulk(size, kind, serving=True) for size in (4 * KIB, MIB) for kind in ("text", "binary")),
    _client("receive"),
    _client("send"),
    Case(
        name="tls-round-trips",
        group="TLS",
        title="64 B round trips, 100 connections",
        unit="messages/s",
        load=Load(kind="echo", connections=100),
        needs=("tls",),
    ),
    Case(
        name="tls-bulk",
        group="TLS",
        title="64 KiB, 4 x 4 in flight, binary",
        unit="MB/s",
        load=Load(kind="echo", connections=4, in_flight=4, size=64 * KIB, text=False),
        needs=("tls",),
    ),
    _deflate(200, "200 B", 64),
    _deflate(20_000, "20 KB", 8),
    _connects(tls=False),
    _connects(tls=True),
    Case(
        name="idle",
        group="Idle",
        title="memory of each of 5,000 connections, heartbeats on",
        unit="KiB",
        load=Load(kind="idle", connections=5_000),
        needs=("websocket",),
        remark="trio-websocket has no heartbeats: its memory is without.",
    ),
    Case(
        name="heartbeats",
        group="Idle",
        title="CPU of 1,000 connections, a ping every 20 s",
        unit="CPU ms/s per 1,000",
        load=Load(kind="idle", connections=5_000),
        needs=("heartbeat",),
    ),
    *map(_growth, GROWTH),
)


def chosen(patterns: Iterable[str], *, quick: bool = False) -> tuple[Case, ...]:
    """The cases whose name matches any of the patterns; all, or the quick ones, without any."""
    patterns = tuple(patterns)
    if not patterns:
        return tuple(case for case in CASES if not (quick and case.matches(NOT_QUICK)))
    return tuple(case for case in CASES if case.matches(patterns))
