"""What every peer does, in whatever language: it sends back what it gets, and obeys.

A peer is a program. ``server`` makes it listen on a free port, which it prints as ``listening
PORT``; ``client URL`` makes it connect. It knows the subprotocol "chat". Options:

- ``--deflate`` switches permessage-deflate on.
- ``--tls FOLDER``: a server has the certificate and the key that are in its server.pem, and a
  client trusts its ca.pem.
- ``--refuse``: a server answers every opening handshake with 403.

Text that begins with a slash is a command:

- ``/subprotocol``: send the name of the subprotocol that was agreed upon.
- ``/fragments N``: send the next message back in N fragments.
- ``/ping DATA``: ping, and send ``pong DATA`` when the pong has come.
- ``/close CODE REASON``: begin the closing handshake.

When a connection has ended it prints ``closed CODE REASON``; a client that was refused, ``refused
STATUS``.
"""

from __future__ import annotations

import ssl
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

SUBPROTOCOL = "chat"


class Connection(Protocol):
    """What a library's connection has to be able to do."""

    def subprotocol(self) -> str | None: ...

    def messages(self) -> AsyncIterator[str | bytes]: ...

    async def send(self, message: str | bytes) -> None: ...

    async def send_fragments(self, fragments: list[str] | list[bytes]) -> None: ...

    async def ping(self, data: bytes) -> None:
        """Return when the pong has come."""

    async def close(self, code: int, reason: str) -> None: ...


async def converse(connection: Connection) -> None:
    """The conversation, for libraries of Python, asynchronous in whatever way."""
    fragments = 0
    async for message in connection.messages():
        if isinstance(message, str) and message.startswith("/"):
            command, _, rest = message[1:].partition(" ")
            if command == "fragments":
                fragments = int(rest)
            else:
                await _obey(connection, command, rest)
        elif fragments:
            await connection.send_fragments(_split(message, fragments))
            fragments = 0
        else:
            await connection.send(message)


async def _obey(connection: Connection, command: str, rest: str) -> None:
    if command == "subprotocol":
        await connection.send(connection.subprotocol() or "none")
    elif command == "ping":
        await connection.ping(rest.encode())
        await connection.send(f"pong {rest}")
    elif command == "close":
        code, _, reason = rest.partition(" ")
        await connection.close(int(code), reason)
    else:
        raise ValueError(f"no command: {command}")


def _split(message: str | bytes, count: int) -> list[str] | list[bytes]:
    size = -(-len(message) // count)
    if isinstance(message, str):
        return [message[start : start + size] for start in range(0, len(message), size)]
    return [message[start : start + size] for start in range(0, len(message), size)]


def say(*words: object) -> None:
    """Print a line that the test reads."""
    print(*words, flush=True)


def is_server() -> bool:
    return sys.argv[1] == "server"


def server_url() -> str:
    return sys.argv[2]


def deflates() -> bool:
    return "--deflate" in sys.argv


def refuses() -> bool:
    return "--refuse" in sys.argv


def tls_folder() -> Path | None:
    """Where the certificates are."""
    if "--tls" not in sys.argv:
        return None
    return Path(sys.argv[sys.argv.index("--tls") + 1])


def ssl_context() -> ssl.SSLContext | None:
    folder = tls_folder()
    if folder is None:
        return None
    if is_server():
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(folder / "server.pem")
        return context
    return ssl.create_default_context(cafile=folder / "ca.pem")
