"""Whom we compare ourselves with, and what each of them cannot do."""

from __future__ import annotations

import importlib.util
import json
import shutil
import sys
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

#: What a case may ask of a peer.
Feature = Literal["websocket", "tls", "compression", "client", "receive", "heartbeat"]

NODE: Final = Path(__file__).parent / "node"


@dataclass(frozen=True, kw_only=True, eq=False)
class Peer:
    """A program that echoes.

    Attributes:
      name: what it is called in tables.
      module: its file here; "" is the one that Node runs.
      packages: what it imports, and whose versions are recorded.
      without: features that it lacks, and how the table says so.
      raw: knows nothing of WebSockets, and echoes bytes.
    """

    name: str
    module: str
    packages: tuple[str, ...]
    without: Mapping[Feature, str] = field(default_factory=dict)
    raw: bool = False

    @property
    def command(self) -> tuple[str, ...]:
        if not self.module:
            return ("node", str(NODE / "peer.js"))
        return (sys.executable, "-m", f"benchmarks.peers.{self.module}")

    def missing(self) -> str:
        """Why it cannot run here, "" if it can."""
        if not self.module:
            return _missing_from_node()
        lacking = [name for name in self.packages if not _installed(name)]
        return f"not installed: {', '.join(lacking)}" if lacking else ""

    def versions(self) -> dict[str, str]:
        """Of its packages, as they are installed."""
        if self.module:
            return {name: version(name) for name in self.packages}
        package = json.loads((NODE / "node_modules" / "ws" / "package.json").read_text())
        return {"ws (npm)": package["version"]}


def _installed(distribution: str) -> bool:
    return importlib.util.find_spec(distribution.replace("-", "_")) is not None


def _missing_from_node() -> str:
    if shutil.which("node") is None:
        return "Node is not here"
    if not (NODE / "node_modules" / "ws").is_dir():
        return "not installed: npm ws"
    return ""


#: What a raw peer lacks is nothing to be told of.
RAW_NOTE: Final = "raw TCP"
_RAW: Final[Mapping[Feature, str]] = dict.fromkeys(
    ("websocket", "compression", "client", "receive", "heartbeat"), RAW_NOTE
)

OURS: Final = Peer(name="trio-ws", module="ours", packages=("trio-ws", "trio"))
TRIO_WEBSOCKET: Final = Peer(
    name="trio-websocket",
    module="trio_websocket",
    packages=("trio-websocket", "wsproto", "trio"),
    without={"compression": "has none", "heartbeat": "has none"},
)
WEBSOCKETS_TRIO: Final = Peer(
    name="websockets.trio", module="websockets_trio", packages=("websockets", "trio")
)
WEBSOCKETS_UVLOOP: Final = Peer(
    name="websockets+uvloop", module="websockets_uvloop", packages=("websockets", "uvloop")
)
AIOHTTP_UVLOOP: Final = Peer(
    name="aiohttp+uvloop", module="aiohttp_uvloop", packages=("aiohttp", "uvloop")
)
PICOWS_UVLOOP: Final = Peer(
    name="picows+uvloop",
    module="picows_uvloop",
    packages=("picows", "uvloop"),
    without={"compression": "its core API has none"},
)
NODE_WS: Final = Peer(name="ws (Node)", module="", packages=("ws",))
RAW_TRIO: Final = Peer(
    name="raw Trio TCP", module="raw_trio", packages=("trio",), without=_RAW, raw=True
)
RAW_EPOLL: Final = Peer(
    name="raw epoll",
    module="raw_epoll",
    packages=(),
    without={**_RAW, "tls": "plain TCP only"},
    raw=True,
)

#: In the order of the tables' columns.
PEERS: Final = (
    OURS,
    TRIO_WEBSOCKET,
    WEBSOCKETS_TRIO,
    WEBSOCKETS_UVLOOP,
    AIOHTTP_UVLOOP,
    PICOWS_UVLOOP,
    NODE_WS,
    RAW_TRIO,
    RAW_EPOLL,
)
