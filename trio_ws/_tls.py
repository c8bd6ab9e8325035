"""TLS over a plain socket, by the standard library's `ssl.SSLSocket`.

`trio.SSLStream` does TLS over any stream, and its steps through that stream are most of what a
small message costs. Here OpenSSL reads and writes the socket itself, so that a connection can do
that without a checkpoint (see `TLSTransport`). It is what the package makes where there is a
socket below; a `trio.SSLStream` that is given works as well.

As with ``https_compatible=True``, no ``close_notify`` is sent, and none is missed: a WebSocket
has its own closing handshake.
"""

from __future__ import annotations

import os
import socket
import ssl
import sys
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Final, TypeVar, TypeVarTuple, Unpack

import trio

if TYPE_CHECKING:
    from collections.abc import Callable
    from os import PathLike

_T = TypeVar("_T")
_Args = TypeVarTuple("_Args")

#: The most that one call of OpenSSL's reads (RFC 8446, section 5.1).
RECORD_SIZE: Final = 16 * 1024


def _kernel_socket_type() -> type[trio.socket.SocketType]:
    with socket.socket() as sample:
        return type(trio.socket.from_stdlib_socket(sample))


#: A test may put a socket of its own making into a SocketStream: that one has no descriptor.
KERNEL_SOCKET: Final = _kernel_socket_type()


if sys.platform == "win32":

    def has_unread(tls: ssl.SSLSocket) -> bool:
        """Whether it is known that a read now will bring something."""
        return False

else:
    import fcntl
    import termios

    _unread: Final = bytearray(4)
    _NOTHING: Final = bytes(4)

    def has_unread(tls: ssl.SSLSocket) -> bool:
        """Whether it is known that a read now will bring something.

        This takes 1 us; a read that would have to wait is an exception that takes 20.
        """
        fcntl.ioctl(tls.fileno(), termios.FIONREAD, _unread)
        return _unread != _NOTHING


def load_certificate(
    ssl_context: ssl.SSLContext,
    certificate: str | PathLike[str],
    key: str | PathLike[str] | None = None,
    *,
    password: Callable[[], str] | str | None = None,
) -> None:
    """Load a certificate and its key into a context that may be in use, as when it was renewed.

    TLS handshakes that are still to come get the new one; open connections go on. The files are
    tried on a context of their own first: from half a renewal, nothing changes (on Linux, also
    where they change meanwhile). It reads files, and takes about a millisecond.

    A context has one certificate of each kind of key, of which the client may choose: after one for
    an EC key, one for an RSA key stands beside it. To replace that, make a new context.

    Args:
      ssl_context: a server's or a client's.
      certificate: a file in PEM, with the chain.
      key: its key, where that is a file of its own.
      password: of the key; by default, OpenSSL asks for one at the terminal where it needs it.

    Raises:
      OSError: a file cannot be read, or they are no certificate with its key (`ssl.SSLError`).
    """
    trial = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with ExitStack() as stack:
        # OpenSSL reads files only, and what fails halfway leaves a context without any key.
        certificate = _unchanging(certificate, stack)
        key = None if key is None else _unchanging(key, stack)
        for context in (trial, ssl_context):
            context.load_cert_chain(certificate, key, password)


if sys.platform == "linux":

    def _unchanging(path: str | PathLike[str], stack: ExitStack) -> str | PathLike[str]:
        """A copy in memory of what is in the file now, for as long as *stack* is open."""
        with open(path, "rb") as file:
            content = file.read()
        descriptor = os.memfd_create("certificate")
        stack.callback(os.close, descriptor)
        with open(descriptor, "wb", closefd=False) as copy:
            copy.write(content)
        return f"/proc/self/fd/{descriptor}"

else:

    def _unchanging(path: str | PathLike[str], stack: ExitStack) -> str | PathLike[str]:
        """The file itself: there are no files in memory."""
        return path


def tls_over(
    stream: trio.abc.Stream,
    context: ssl.SSLContext,
    *,
    server_hostname: str | None = None,
    server_side: bool = False,
) -> TLSStream | trio.SSLStream[trio.abc.Stream]:
    """TLS over *stream*, which it owns from now on; `do_handshake` comes next."""
    if isinstance(stream, trio.SocketStream) and isinstance(stream.socket, KERNEL_SOCKET):
        return TLSStream(stream, context, server_hostname=server_hostname, server_side=server_side)
    return trio.SSLStream(
        stream,
        context,
        server_hostname=server_hostname,
        server_side=server_side,
        https_compatible=True,
    )


class TLSStream(trio.abc.HalfCloseableStream):
    """TLS over a socket, as a stream: what the opening handshake is read from and written to.

    `do_handshake` must be called first. Reading and writing may go on at the same time.

    Raises:
      trio.BrokenResourceError: the network, or TLS, failed; the ``__cause__`` tells which.
      trio.ClosedResourceError: it was closed here.

    Cancellation: a cancelled `do_handshake` or `send_all` leaves it good for closing only.

    Attributes:
      socket: the socket below; an `ssl.SSLSocket` once the TLS handshake has begun.
    """

    def __init__(
        self,
        stream: trio.SocketStream,
        context: ssl.SSLContext,
        *,
        server_hostname: str | None = None,
        server_side: bool = False,
    ) -> None:
        self.socket: trio.socket.SocketType | ssl.SSLSocket = stream.socket
        self._context = context
        # As bytes, which `ssl` leaves alone: its own encoding is that of 2003.
        self._server_hostname = None if server_hostname is None else server_hostname.encode()
        self._server_side = server_side

    async def do_handshake(self) -> None:
        tls = self._started()
        await self._when_ready(tls.do_handshake)

    def _started(self) -> ssl.SSLSocket:
        if isinstance(self.socket, ssl.SSLSocket):
            return self.socket
        owner = self.socket
        if owner.fileno() < 0:
            raise trio.ClosedResourceError("the stream was closed here")
        try:
            # A peer that is gone already has no address, and `ssl` would not begin.
            owner.getpeername()
            self.socket = self._wrapped(owner)
        except OSError as error:
            raise trio.BrokenResourceError(f"the transport failed: {error}") from error
        return self.socket

    def _wrapped(self, owner: trio.socket.SocketType) -> ssl.SSLSocket:
        # The descriptor has one owner at a time: Trio's socket, this one, that of `ssl`.
        raw = socket.socket(owner.family, owner.type, owner.proto, fileno=owner.detach())
        try:
            raw.setblocking(False)
            return self._context.wrap_socket(
                raw,
                server_side=self._server_side,
                server_hostname=self._server_hostname,
                do_handshake_on_connect=False,
            )
        finally:
            raw.close()

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        rest = memoryview(data)
        if not rest:
            await trio.lowlevel.checkpoint()
        while rest:
            # A call that could not be done is repeated with the same bytes: OpenSSL wants that.
            rest = rest[await self._when_ready(self._started().send, rest) :]

    async def wait_send_all_might_not_block(self) -> None:
        await trio.lowlevel.wait_writable(self._started())

    async def send_eof(self) -> None:
        """Say, below TLS, that nothing more will be sent: what comes can still be received."""
        self.shutdown()
        await trio.lowlevel.checkpoint()

    def shutdown(self) -> None:
        """The same as `send_eof`, at once."""
        with suppress(OSError):
            # TLS's own shutdown() would end the receiving, too.
            socket.socket.shutdown(self.tls, socket.SHUT_WR)

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        return await self._when_ready(self._started().recv, max_bytes or RECORD_SIZE)

    async def _when_ready(self, call: Callable[[Unpack[_Args]], _T], *args: *_Args) -> _T:
        await trio.lowlevel.checkpoint()
        while True:
            try:
                return call(*args)
            except ssl.SSLWantReadError:
                await trio.lowlevel.wait_readable(self.socket)
            except ssl.SSLWantWriteError:
                await trio.lowlevel.wait_writable(self.socket)
            except OSError as error:
                # `ssl.SSLError` is one.
                if self.socket.fileno() < 0:
                    raise trio.ClosedResourceError("the stream was closed here") from None
                raise trio.BrokenResourceError(f"the transport failed: {error}") from error

    @property
    def tls(self) -> ssl.SSLSocket:
        """The socket, once the TLS handshake has begun."""
        assert isinstance(self.socket, ssl.SSLSocket), "do_handshake() comes first"
        return self.socket

    def close(self) -> None:
        """Close at once. Whoever waits for the socket gets `trio.ClosedResourceError`."""
        if isinstance(self.socket, ssl.SSLSocket) and self.socket.fileno() >= 0:
            trio.lowlevel.notify_closing(self.socket)
        self.socket.close()

    async def aclose(self) -> None:
        self.close()
        await trio.lowlevel.checkpoint()


class TLSListener(trio.abc.Listener[TLSStream]):
    """Accepts TLS on a plain listener, `transport_listener`, which it owns."""

    def __init__(
        self, transport_listener: trio.abc.Listener[trio.SocketStream], context: ssl.SSLContext
    ) -> None:
        self.transport_listener = transport_listener
        self._context = context

    async def accept(self) -> TLSStream:
        stream = await self.transport_listener.accept()
        return TLSStream(stream, self._context, server_side=True)

    async def aclose(self) -> None:
        await self.transport_listener.aclose()
