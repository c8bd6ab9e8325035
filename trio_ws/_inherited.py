"""Listening sockets that were opened by somebody else: systemd, a parent process, a shell."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING, Any, Final

import trio

from ._tls import TLSListener

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterable

#: Of systemd's descriptors, the first (see sd_listen_fds(3)).
_FIRST: Final = 3
_VARIABLES: Final = ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "LISTEN_PIDFDID")


def inherited_listeners(
    descriptors: Iterable[int] | None = None, *, ssl_context: ssl.SSLContext | None = None
) -> list[trio.abc.Listener[Any]]:
    """Listeners on sockets that this process was started with, for ``serve(listeners=...)``.

    By default those of systemd's socket activation (``LISTEN_FDS``). Programs that this one starts
    inherit neither the sockets nor systemd's variables, which are removed from the environment: a
    second call finds none. Call it within ``trio.run``.

    A socket that stays open while its server restarts refuses nobody: who connects meanwhile waits
    in its backlog.

    Args:
      descriptors: the sockets' numbers instead, as a parent process or a shell has arranged.
      ssl_context: for ``wss``.

    Raises:
      ValueError: systemd has handed over none; or a descriptor is given twice, not open, no
        socket, or not a stream socket that listens. None of them is closed.
    """
    numbers = _of_systemd() if descriptors is None else list(descriptors)
    for number in numbers:
        # The first to be closed would close the other's as well.
        if numbers.count(number) > 1:
            raise ValueError(f"descriptor {number} is given twice")
    sockets: list[socket.socket] = []
    try:
        sockets.extend(map(_listening, numbers))
    except BaseException:
        # As they were: they are not this function's.
        for one in sockets:
            one.detach()
        raise
    listeners: list[trio.abc.Listener[Any]] = []
    for one in sockets:
        one.set_inheritable(False)
        plain = trio.SocketListener(trio.socket.from_stdlib_socket(one))
        listeners.append(plain if ssl_context is None else TLSListener(plain, ssl_context))
    return listeners


def _of_systemd() -> list[int]:
    # A child of the process that they were meant for has inherited the variables only.
    meant = os.environ.get("LISTEN_PID") == str(os.getpid())
    count = os.environ.get("LISTEN_FDS", "")
    if not meant or not (count.isascii() and count.isdigit() and int(count)):
        raise ValueError("systemd has handed no sockets to this process (LISTEN_PID, LISTEN_FDS)")
    for name in _VARIABLES:
        os.environ.pop(name, None)
    return list(range(_FIRST, _FIRST + int(count)))


def _listening(number: int) -> socket.socket:
    try:
        found = socket.socket(fileno=number)
    except OSError as error:
        raise ValueError(f"descriptor {number} is no socket: {error.strerror}") from None
    try:
        listens = found.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
        if found.type != socket.SOCK_STREAM or not listens:
            raise ValueError(f"descriptor {number} is no stream socket that listens")
    except BaseException:
        found.detach()
        raise
    return found
