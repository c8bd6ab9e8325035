"""The peers: which there are, how they are started, and what they cannot do."""

from __future__ import annotations

import re
import shutil
import ssl
import subprocess
import sys
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import trio
import trustme

import trio_ws

from ..e2e.processes import Running, environment, launched
from ..requirements import require_tool
from .cases import CASES
from .peers.conversation import SUBPROTOCOL

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Mapping
    from contextlib import AbstractAsyncContextManager
    from typing import Self

ROOT = Path(__file__).resolve().parent.parent.parent
NODE = Path(__file__).parent / "node"

_LIBCURL_NEEDED = "pip install 'trio-ws[interop]', with a libcurl that knows ws"
_NO_DEFLATE = dict.fromkeys(
    (case.name for case in CASES if case.deflate), "it has no permessage-deflate"
)

#: Connections of a server, in the order in which they came.
Accepted: TypeAlias = "trio.MemoryReceiveChannel[trio_ws.WebSocket]"


@dataclass(frozen=True)
class Peer:
    """A library that others use.

    Attributes:
      name: as it is known.
      program: a module of ``peers``, or a file of ``node``.
      cannot: cases that it has no way to take part in, and why.
      roles: what it can be.
    """

    name: str
    program: str
    cannot: Mapping[str, str] = field(default_factory=dict)
    roles: tuple[str, ...] = ("server", "client")

    @property
    def runs_on_node(self) -> bool:
        return self.program.endswith(".js")

    def command(self, *arguments: str) -> list[str]:
        if self.runs_on_node:
            return ["node", str(NODE / self.program), *arguments]
        return [sys.executable, "-m", f"tests.interop.peers.{self.program}", *arguments]

    def require(self) -> None:
        """Skip the test where it is missing."""
        if self.runs_on_node:
            require_node()
        elif self.program.startswith("websockets"):
            there = find_spec("websockets") is not None
            require_tool("websockets", available=there, reason="pip install 'trio-ws[interop]'")
        elif self.program == "libcurl":
            require_tool("pycurl", available=_libcurl_is_there(), reason=_LIBCURL_NEEDED)


PEERS = (
    Peer("websockets, asyncio", "websockets_asyncio"),
    Peer("websockets, Trio", "websockets_trio"),
    Peer(
        "trio-websocket",
        "trio_websocket",
        {**_NO_DEFLATE, "fragments from the peer": "it sends no fragments"},
    ),
    Peer("ws (Node)", "ws_peer.js"),
    Peer("WebSocket-Node", "websocket_peer.js", _NO_DEFLATE),
    Peer("libcurl", "libcurl", _NO_DEFLATE, roles=("client",)),
)


def _libcurl_is_there() -> bool:
    """Whether there is a pycurl whose libcurl was built with WebSockets."""
    if find_spec("pycurl") is None:
        return False
    pycurl = import_module("pycurl")
    return hasattr(pycurl.Curl, "ws_send") and "ws" in pycurl.version_info()[8]


def require_node() -> None:
    """Skip the test where Node, or what npm installs there, is missing."""
    there = shutil.which("node") is not None and (NODE / "node_modules/ws").is_dir()
    require_tool("npm-interop", available=there, reason="npm --prefix tests/interop/node install")


def curl_with_ws() -> str | None:
    """A curl that was built with WebSockets, where there is one."""
    # The second is where unpack_curl.sh puts one.
    for found in (shutil.which("curl"), shutil.which("curl", path=ROOT / "build" / "curl")):
        if found is not None:
            version = subprocess.run([found, "--version"], capture_output=True, text=True)
            if re.search(r"^Protocols:.* ws\b", version.stdout, re.MULTILINE):
                return found
    return None


class Program:
    """A peer's process, as the cases see it."""

    def __init__(self, process: Running) -> None:
        self._process = process

    async def refused(self) -> int:
        """The status that the peer, a client, was refused with."""
        word, status = (await self._process.line()).split()
        assert word == "refused"
        return int(status)

    async def closed(self) -> tuple[int, str]:
        """How the connection ended, in the peer's eyes."""
        word, code, reason = (await self._process.line()).split(" ", 2)
        assert word == "closed"
        return int(code), reason


@dataclass(frozen=True)
class Certificates:
    """What both sides of TLS need.

    Attributes:
      folder: has ca.pem, which is to be trusted, and server.pem, for 127.0.0.1.
      server: has the certificate.
      client: trusts it.
    """

    folder: Path
    server: ssl.SSLContext
    client: ssl.SSLContext

    @classmethod
    def made(cls, folder: Path) -> Self:
        authority = trustme.CA()
        authority.cert_pem.write_to_path(str(folder / "ca.pem"))
        issued = authority.issue_cert("127.0.0.1")
        issued.private_key_and_cert_chain_pem.write_to_path(str(folder / "server.pem"))
        server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        issued.configure_cert(server)
        return cls(folder, server, ssl.create_default_context(cafile=folder / "ca.pem"))


#: Opens a connection with a peer, given options of ours.
Connect: TypeAlias = "Callable[..., AbstractAsyncContextManager[tuple[trio_ws.WebSocket, Program]]]"


@asynccontextmanager
async def serving(
    peer: Peer, *options: str, tls: Certificates | None = None
) -> AsyncGenerator[Connect]:
    """A peer as the server: one process for all connections."""
    async with _started(peer, "server", *options, tls=tls) as process:
        port = (await process.line()).removeprefix("listening ")
        url = f"{'ws' if tls is None else 'wss'}://127.0.0.1:{port}/"
        context = None if tls is None else tls.client

        @asynccontextmanager
        async def connect(**ours: Any) -> AsyncGenerator[tuple[trio_ws.WebSocket, Program]]:
            async with trio_ws.connect(url, proxy=None, ssl_context=context, **ours) as ws:
                yield ws, Program(process)

        yield connect


@asynccontextmanager
async def connecting(
    peer: Peer, *options: str, tls: Certificates | None = None
) -> AsyncGenerator[Connect]:
    """A peer as the client: a process for each connection."""
    encryption = {} if tls is None else {"ssl_context": tls.server}

    @asynccontextmanager
    async def connect(**ours: Any) -> AsyncGenerator[tuple[trio_ws.WebSocket, Program]]:
        async with accepting(**encryption, **ours) as (url, accepted):
            async with _started(peer, "client", url, *options, tls=tls) as process:
                yield await accepted.receive(), Program(process)

    yield connect


@asynccontextmanager
async def refused(peer: Peer, url: str) -> AsyncGenerator[Program]:
    """A peer as a client that is not let in."""
    async with _started(peer, "client", url) as process:
        yield Program(process)


ROLES: dict[str, Callable[..., AbstractAsyncContextManager[Connect]]] = {
    "server": serving,
    "client": connecting,
}


def _started(
    peer: Peer, *arguments: str, tls: Certificates | None = None
) -> AbstractAsyncContextManager[Running]:
    encryption = [] if tls is None else ["--tls", str(tls.folder)]
    return launched(
        peer.command(*arguments, *encryption), cwd=ROOT, env=environment(PYTHONWARNINGS="default")
    )


@asynccontextmanager
async def accepting(**options: Any) -> AsyncGenerator[tuple[str, Accepted]]:
    """A server that hands its connections out, and keeps each until it has ended."""
    # What browsers have asked for they insist on.
    options = {"subprotocols": [SUBPROTOCOL], **options}
    send, receive = trio.open_memory_channel[trio_ws.WebSocket](10)

    async def handle(ws: trio_ws.WebSocket) -> None:
        send.send_nowait(ws)
        await ws.wait_closed()

    async with trio.open_nursery() as nursery:
        serve = partial(trio_ws.serve, handle, "127.0.0.1", 0, **options)
        server: trio_ws.Server = await nursery.start(serve)
        scheme = "wss" if "ssl_context" in options else "ws"
        yield f"{scheme}://127.0.0.1:{server.port}/", receive
        nursery.cancel_scope.cancel()
