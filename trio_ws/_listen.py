"""Listeners: TCP, TLS and Unix sockets to accept connections on."""

from __future__ import annotations

import os
import socket
import stat
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

import trio

from ._tls import TLSListener

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncGenerator, Iterable, Sequence
    from os import PathLike

#: Connections that wait to be accepted; the kernel's ``somaxconn`` bounds it further.
BACKLOG = 4096


@asynccontextmanager
async def open_listeners(
    host: str | None,
    port: int | None,
    listeners: Iterable[trio.abc.Listener[Any]] | None,
    unix_socket: str | PathLike[str] | None,
    ssl_context: ssl.SSLContext | None,
) -> AsyncGenerator[Sequence[trio.abc.Listener[Any]]]:
    """Open what was asked for, and close it, and what was given, at the end of the block.

    Raises:
      OSError: an address cannot be listened on.
      ValueError: nothing was asked for, or a host without a port.
    """
    given = list(listeners or ())
    opened: list[trio.abc.Listener[Any]] = []
    made: str | None = None
    try:
        if port is not None:
            opened += await trio.open_tcp_listeners(port, host=host, backlog=BACKLOG)
        elif host is not None:
            raise ValueError("a host needs a port: serve(handler, host, port)")
        if unix_socket is not None:
            bound = open_unix_socket(os.fspath(unix_socket))
            opened.append(trio.SocketListener(trio.socket.from_stdlib_socket(bound)))
            made = os.fspath(unix_socket)
        if not opened and not given:
            raise ValueError("nothing to listen on: give a port, listeners or a unix_socket")
        if ssl_context is not None:
            opened = [TLSListener(listener, ssl_context) for listener in opened]
        yield [*opened, *given]
    finally:
        if made is not None:
            remove_socket(made)
        await close_all([*opened, *given])


async def close_all(listeners: Iterable[trio.abc.Listener[Any]]) -> None:
    """Close every one of *listeners*. Cancelled, or one of them failing: every one all the same."""
    async with AsyncExitStack() as stack:
        for listener in listeners:
            stack.push_async_callback(trio.aclose_forcefully, listener)


def addresses_of(listeners: Iterable[trio.abc.Listener[Any]]) -> tuple[object, ...]:
    """The addresses of those *listeners* that are sockets."""
    return tuple(
        one.socket.getsockname()
        for one in map(_below_tls, listeners)
        if isinstance(one, trio.SocketListener)
    )


def _below_tls(listener: trio.abc.Listener[Any]) -> trio.abc.Listener[Any]:
    while isinstance(listener, TLSListener | trio.SSLListener):
        listener = listener.transport_listener
    return listener


def open_unix_socket(path: str) -> socket.socket:
    """A Unix socket that listens at *path*, where a server that is gone may have left its own.

    Raises:
      OSError: it cannot be there.
    """
    _remove_stale_socket(path)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.bind(path)
        sock.listen(BACKLOG)
    except BaseException:
        sock.close()
        raise
    return sock


def _remove_stale_socket(path: str) -> None:
    """Make way where a server that is gone has left its socket behind."""
    try:
        if not stat.S_ISSOCK(os.stat(path).st_mode):
            return
    except OSError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            remove_socket(path)
        except OSError:
            pass


def remove_socket(path: str) -> None:
    """Remove the socket at *path*, if that is one."""
    with suppress(OSError):
        if stat.S_ISSOCK(os.stat(path).st_mode):
            os.unlink(path)
