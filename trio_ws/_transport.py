"""What a connection asks of a byte stream, for plain sockets and for everything else.

A socket can be written without blocking and without a trip through the scheduler, also through
TLS: that is what keeps a lone reply at the speed of raw Trio. Other streams, and TLS that is not
over a socket or was given, go through `trio.abc.Stream`, which has no such call, so `write_now`
takes nothing there and the send task does the writing.
"""

from __future__ import annotations

import socket
import ssl
import sys
import threading
from abc import ABC, abstractmethod
from contextlib import suppress
from functools import lru_cache
from typing import TYPE_CHECKING, ClassVar, Final, TypeVar, TypeVarTuple, Unpack

import trio

from ._poller import POLLABLE
from ._tls import KERNEL_SOCKET, RECORD_SIZE, TLSStream, has_unread

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from ._websocket import BytesLike

_T = TypeVar("_T")
_Args = TypeVarTuple("_Args")

#: What one read asks for at first,
READ_SIZE: Final = 64 * 1024
#: and what it may ask for while large messages pour in: a read has a price, whatever it brings.
LARGE_READ_SIZE: Final = 256 * 1024
#: if the last brought no more messages than this: 256 KiB could put 40,000 small ones into an
#: inbox of 64.
_LARGE_READ_MESSAGES: Final = 64
#: What it asks for while messages come in tiny fragments, each of which takes 2 us: nobody else is
#: served meanwhile, and 256 KiB may be 40,000 of them.
SMALL_READ_SIZE: Final = 16 * 1024
#: Fragments of less than so many bytes, with their headers, are tiny.
_TINY: Final = 64
#: A large write goes to TLS or a stream in slices of this size, so that its progress can be seen.
#: Over TLS, slices of 16 KiB took 1.7 times the CPU; `Transport.acknowledged` sees more than
#: slices do.
WRITE_SLICE: Final = 64 * 1024
#: TLS records that are read in one step: with small ones, that is many calls. Messages of 64 bytes
#: in a record each took 75 us when they were read one in a step, and 10 us in all.
_RECORDS_AT_ONCE: Final = 64
#: Seconds that a peer may take to close after this side, a server, has said that it does.
_LINGER: Final = 1.0
#: Where Linux's ``struct tcp_info`` has ``tcpi_bytes_acked``.
_BYTES_ACKED: Final = slice(120, 128)


class Transport(ABC):
    """Reads, writes and closes.

    `writes_inline` tells whether `write_now` ever takes anything; `read_size` is how many bytes
    `receive` asks for, at most `LARGE_READ_SIZE`. Every call raises
    `trio.BrokenResourceError` when the network failed and `trio.ClosedResourceError` after
    `abort` or `aclose`.
    """

    __slots__ = ("local_address", "read_size", "remote_address")

    writes_inline: ClassVar[bool]
    read_size: int
    local_address: object
    remote_address: object

    @abstractmethod
    async def receive(self) -> bytes | memoryview:
        """What has arrived, at least one byte; empty at the end. Cancelled: nothing is lost.

        Use it up before the next checkpoint: the memory may be that of the next call's bytes.
        """

    def read_now(self) -> bytes | memoryview | None:
        """The same without waiting; ``None`` where nothing has arrived, or that is not known."""
        return None

    def choose_read_size(self, size: int, messages: int, fragments: int, room: int) -> None:
        """After a read of *size* bytes, where *room* bytes of messages may be held."""
        if fragments * _TINY > size:
            self.read_size = SMALL_READ_SIZE
        elif size >= READ_SIZE and messages <= _LARGE_READ_MESSAGES and room >= LARGE_READ_SIZE:
            self.read_size = LARGE_READ_SIZE
        elif size >= min(self.read_size, READ_SIZE):
            self.read_size = READ_SIZE

    @property
    def descriptor(self) -> int | None:
        """What can be polled for when `read_now` brings something; ``None`` where nothing can."""
        return None

    @abstractmethod
    def write_now(self, data: BytesLike) -> int:
        """Write what can be written without blocking; return how many bytes that was.

        What was not taken must come first in the next write, which TLS insists on.
        """

    def write_pieces_now(self, *pieces: BytesLike) -> int:
        """As `write_now`, of several pieces one after the other."""
        return self.write_now(b"".join(pieces))

    @abstractmethod
    async def write_some(self, data: memoryview) -> int:
        """Wait until at least one byte has been taken; return how many were.

        Cancelled: bytes may have been taken, so nothing more can be written afterwards.
        """

    def acknowledged(self) -> int:
        """How many bytes the peer's system has acknowledged; 0 where that is not known.

        It grows while a write of many bytes waits, over TLS for instance, of which nothing else
        tells how far it has come. Linux tells, of TCP.
        """
        owner = self._owner()
        if owner is None or sys.platform != "linux":
            return 0
        try:
            info = owner.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _BYTES_ACKED.stop)
        except OSError:
            # Closed, or a Unix socket.
            return 0
        return int.from_bytes(info[_BYTES_ACKED], sys.byteorder)

    @abstractmethod
    def _owner(self) -> trio.socket.SocketType | ssl.SSLSocket | None:
        """The socket at the bottom, if there is one."""

    @abstractmethod
    async def send_eof(self) -> None:
        """Say that nothing more will be written, where the stream can say so."""

    @abstractmethod
    async def linger(self) -> None:
        """Before closing first, where that would reset TCP: wait for the peer, a second at most."""

    @abstractmethod
    def abort(self) -> None:
        """Make every call under way and to come fail, and close if that needs no waiting."""

    @abstractmethod
    async def aclose(self) -> None:
        """Close. Cancelled: it is closed all the same."""


def make_transport(stream: trio.abc.Stream) -> Transport:
    """The fastest transport that works for *stream*, which it owns from now on."""
    if isinstance(stream, TLSStream):
        return TLSTransport(stream)
    if isinstance(stream, trio.SocketStream) and isinstance(stream.socket, KERNEL_SOCKET):
        return SocketTransport(stream)
    return StreamTransport(stream)


@lru_cache(maxsize=16)
def _one_of(address: object) -> object:
    """*address*, or one that is equal: a server's connections have one, of 146 bytes, together."""
    return address


def _address(ask: Callable[[], object]) -> object:
    """The address, or ``None`` from a peer that is gone already."""
    try:
        return ask()
    except OSError:
        return None


class _SharedBuffer(threading.local):
    """What every socket of a thread is read into: a buffer for each would be idle memory."""

    _view: memoryview | None = None

    def buffer(self) -> memoryview:
        if self._view is None:
            self._view = memoryview(bytearray(LARGE_READ_SIZE))
        return self._view


_shared: Final = _SharedBuffer()


class _WrittenInline(Transport):
    """What can be written without a checkpoint where it is ready."""

    __slots__ = ("_raw",)

    writes_inline = True

    _raw: socket.socket

    async def write_some(self, data: memoryview) -> int:
        while True:
            self._check_open()
            await trio.lowlevel.wait_writable(self._raw)
            written = self.write_now(data)
            if written:
                return written

    def _check_open(self) -> None:
        if self._raw.fileno() < 0:
            raise trio.ClosedResourceError("the transport was closed here")

    def _failure(self, error: OSError) -> trio.BrokenResourceError:
        """What to raise for *error*, unless it came of closing the transport here."""
        self._check_open()
        return trio.BrokenResourceError(f"the transport failed: {error}")


class SocketTransport(_WrittenInline):
    """A plain socket, read and written without a checkpoint where it is ready."""

    __slots__ = ("_buffer", "_socket")

    def __init__(self, stream: trio.SocketStream) -> None:
        self.read_size = READ_SIZE
        owner = self._socket = stream.socket
        self.local_address = _one_of(_address(owner.getsockname))
        self.remote_address = _address(owner.getpeername)
        # A second object over the same descriptor, which Trio's socket goes on owning: each
        # call of Trio's takes a trip through the scheduler, also when the socket is ready.
        self._raw = socket.socket(owner.family, owner.type, owner.proto, fileno=owner.fileno())
        self._buffer = _shared.buffer()

    async def receive(self) -> memoryview:
        while True:
            self._check_open()
            await trio.lowlevel.wait_readable(self._raw)
            data = self.read_now()
            if data is not None:
                return data

    def read_now(self) -> memoryview | None:
        try:
            return self._buffer[: self._raw.recv_into(self._buffer, self.read_size)]
        except (BlockingIOError, InterruptedError):
            return None
        except OSError as error:
            raise self._failure(error) from error

    @property
    def descriptor(self) -> int | None:
        return self._raw.fileno() if POLLABLE else None

    def write_now(self, data: BytesLike) -> int:
        try:
            return self._raw.send(data)
        except OSError as error:
            return self._nothing_written(error)

    def write_pieces_now(self, *pieces: BytesLike) -> int:
        try:
            return self._raw.sendmsg(pieces)
        except OSError as error:
            return self._nothing_written(error)

    def _nothing_written(self, error: OSError) -> int:
        if isinstance(error, BlockingIOError | InterruptedError):
            return 0
        raise self._failure(error) from error

    def _owner(self) -> trio.socket.SocketType | None:
        return self._socket

    async def send_eof(self) -> None:
        with suppress(OSError):
            self._raw.shutdown(socket.SHUT_WR)

    async def linger(self) -> None:
        # A peer's close frame is its last byte.
        pass

    def abort(self) -> None:
        self._raw.detach()
        # This wakes whoever waits for the descriptor with ClosedResourceError.
        self._socket.close()

    async def aclose(self) -> None:
        self.abort()


class TLSTransport(_WrittenInline):
    """TLS over a plain socket, read and written without a checkpoint where it is ready."""

    __slots__ = ("_buffer", "_stream")

    _raw: ssl.SSLSocket

    def __init__(self, stream: TLSStream) -> None:
        self.read_size = READ_SIZE
        self._stream = stream
        tls = self._raw = stream.tls
        self.local_address = _address(tls.getsockname)
        self.remote_address = _address(tls.getpeername)
        self._buffer = _shared.buffer()

    async def receive(self) -> memoryview:
        while True:
            self._check_open()
            if self._raw.pending():
                await trio.lowlevel.checkpoint()
            else:
                await trio.lowlevel.wait_readable(self._raw)
            data = self.read_now()
            if data is not None:
                return data

    def read_now(self) -> memoryview | None:
        buffer, filled, tls = self._buffer, 0, self._raw
        try:
            for _ in range(_RECORDS_AT_ONCE):
                # A record at a time, which always fits: nothing is left decrypted, where the
                # socket does not tell of it.
                count = tls.recv_into(buffer[filled:], RECORD_SIZE)
                filled += count
                if not count or filled + RECORD_SIZE > self.read_size or not has_unread(tls):
                    break
        except ssl.SSLWantReadError:
            return buffer[:filled] if filled else None
        except OSError as error:
            # Among them `ssl.SSLWantWriteError`: a new handshake in the midst of TLS 1.2, with a
            # peer that does not read. Key updates of TLS 1.3 are answered with the next write;
            # OpenSSL gives up where a second one comes while that write waits.
            if not filled:
                raise self._failure(error) from error
            count = 0
        if filled and not count:
            # The end, behind what it will be told after: until then the socket is to be readable.
            with suppress(OSError):
                socket.socket.shutdown(tls, socket.SHUT_RD)
        return buffer[:filled]

    @property
    def descriptor(self) -> int | None:
        # The opening handshake may have left something decrypted.
        return None if self._raw.pending() or not POLLABLE else self._raw.fileno()

    def write_now(self, data: BytesLike) -> int:
        taken = 0
        try:
            if len(data) <= WRITE_SLICE:
                return self._raw.send(data)
            rest = memoryview(data)
            while taken < len(rest):
                taken += self._raw.send(rest[taken : taken + WRITE_SLICE])
        except ssl.SSLWantWriteError:
            pass
        except OSError as error:
            # Among them `ssl.SSLWantReadError`: a new handshake in the midst of TLS 1.2.
            raise self._failure(error) from error
        return taken

    def _owner(self) -> ssl.SSLSocket:
        return self._raw

    async def send_eof(self) -> None:
        self._stream.shutdown()

    async def linger(self) -> None:
        # Behind its last message, a peer's TLS may say close_notify (RFC 8446, section 6.1). Who
        # closes with that unread, or before it, resets TCP, and that is an error to the peer.
        await self.send_eof()
        with trio.move_on_after(_LINGER), suppress(trio.BrokenResourceError):
            while await self.receive():
                pass

    def abort(self) -> None:
        self._stream.close()

    async def aclose(self) -> None:
        self._stream.close()


class StreamTransport(Transport):
    """Any `trio.abc.Stream`: in-memory, TLS through TLS, what was given."""

    __slots__ = ("_abort_scopes", "_aborted", "_stream")

    writes_inline = False

    def __init__(self, stream: trio.abc.Stream) -> None:
        self.read_size = READ_SIZE
        self._stream = stream
        self._aborted = False
        owner = self._owner()
        # Closing a socket wakes who waits for it. Elsewhere each call gets a scope to be cancelled
        # by, which takes over 10 us.
        self._abort_scopes: set[trio.CancelScope] | None = (
            None if isinstance(owner, KERNEL_SOCKET | ssl.SSLSocket) else set()
        )
        self.local_address = None if owner is None else _one_of(_address(owner.getsockname))
        self.remote_address = None if owner is None else _address(owner.getpeername)

    async def receive(self) -> bytes:
        return bytes(await self._unless_aborted(self._stream.receive_some, self.read_size))

    def write_now(self, data: BytesLike) -> int:
        return 0

    async def write_some(self, data: memoryview) -> int:
        piece = data[:WRITE_SLICE]
        await self._unless_aborted(self._stream.send_all, piece)
        return len(piece)

    def _owner(self) -> trio.socket.SocketType | ssl.SSLSocket | None:
        return underlying_socket(self._stream)

    async def send_eof(self) -> None:
        if isinstance(self._stream, trio.abc.HalfCloseableStream):
            await self._unless_aborted(self._stream.send_eof)

    async def linger(self) -> None:
        # What lies below, and whether it may be half closed, is the stream's own business.
        pass

    def abort(self) -> None:
        self._aborted = True
        for scope in self._abort_scopes or ():
            scope.cancel()
        below = _bottom(self._stream)
        if isinstance(below, TLSStream):
            below.close()
        elif below is not None:
            below.socket.close()

    async def aclose(self) -> None:
        if self._aborted:
            await trio.aclose_forcefully(self._stream)
        else:
            await self._stream.aclose()

    async def _unless_aborted(
        self, call: Callable[[Unpack[_Args]], Awaitable[_T]], *args: *_Args
    ) -> _T:
        if self._aborted:
            raise trio.ClosedResourceError("the transport was closed here")
        if self._abort_scopes is None:
            return await call(*args)
        scope = trio.CancelScope()
        self._abort_scopes.add(scope)
        try:
            with scope:
                return await call(*args)
        finally:
            self._abort_scopes.discard(scope)
        raise trio.ClosedResourceError("the transport was closed here")


def underlying_socket(
    stream: trio.abc.Stream,
) -> trio.socket.SocketType | ssl.SSLSocket | None:
    """The socket at the bottom of *stream*, below any TLS, or ``None``."""
    below = _bottom(stream)
    return None if below is None else below.socket


def _bottom(stream: trio.abc.Stream) -> trio.SocketStream | TLSStream | None:
    while isinstance(stream, trio.SSLStream):
        stream = stream.transport_stream
    return stream if isinstance(stream, trio.SocketStream | TLSStream) else None
