"""The bars that ratios should clear, as a table. One that is missed is said to be, no more."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from .peers import (
    AIOHTTP_UVLOOP,
    PICOWS_UVLOOP,
    RAW_TRIO,
    TRIO_WEBSOCKET,
    WEBSOCKETS_TRIO,
    WEBSOCKETS_UVLOOP,
)

if TYPE_CHECKING:
    from .peers import Peer


@dataclass(frozen=True)
class Bar:
    """A ratio of ours to a peer's that should be reached: at least, or for memory at most."""

    case: str
    peer: Peer
    ratio: float


#: Ratios in the order of `BAR_PEERS`; None is no bar.
_BARS: Final[dict[tuple[str, ...], tuple[float | None, ...]]] = {
    ("round-trips-100",): (4.5, 4.5, 1.2, 0.7, None, 1.0),
    ("pipelined-1x500", "pipelined-20x100"): (40, 32, 9, 5, 2.7, None),
    ("4k-text", "4k-binary"): (20, 10, 4.5, 1.8, 1.0, 0.6),
    ("1m-text", "1m-binary"): (18, 2.5, 1.4, 1.5, 1.0, 1.5),
    ("idle",): (0.5, 0.5, 0.8, 0.9, 0.5, None),
}
BAR_PEERS: Final = (
    TRIO_WEBSOCKET,
    WEBSOCKETS_TRIO,
    WEBSOCKETS_UVLOOP,
    AIOHTTP_UVLOOP,
    PICOWS_UVLOOP,
    RAW_TRIO,
)
BARS: Final = tuple(
    Bar(case, peer, ratio)
    for cases, ratios in _BARS.items()
    for case in cases
    for peer, ratio in zip(BAR_PEERS, ratios, strict=True)
    if ratio is not None
)
#: How much more a message may cost at any number of connections than at the least.
GROWTH_BAR: Final = 1.25
