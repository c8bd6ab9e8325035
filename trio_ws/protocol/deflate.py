"""permessage-deflate (RFC 7692): what to agree upon, and the codec.

A codec holds a compressor and a decompressor, each made when first needed: an idle connection
holds neither. Inflating is bounded *while* it goes on: zlib is never asked for more than the
message may still have, so a bomb costs what a legal message costs.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from .extensions import Extension

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .._settings import Compression, Limits
    from .masking import Buffer

NAME: Final = "permessage-deflate"
#: What Z_SYNC_FLUSH ends with; it is not sent (RFC 7692, section 7.2.1).
_TAIL: Final = b"\x00\x00\xff\xff"
_MAX_WINDOW_BITS: Final = 15
#: How much a streamed message is inflated at once, at the most.
_STREAM_STEP: Final = 1 << 20
#: Blocks of one message that say they are the last. Each costs a new decompressor and may be of
#: two bytes that inflate to nothing, which no other bound meets. Who sends any sends one a
#: message, or one a fragment.
_MAX_LAST_BLOCKS: Final = 1000
#: How much is looked at at once behind a last block: what is left over is copied each time.
_STEP_BEHIND_LAST: Final = 1024


class NegotiationError(ValueError):
    """The server's answer does not fit the offer; the connection must be failed."""


class InflateError(Exception):
    """The data is not what a deflate compressor makes."""


class InflatedTooBig(Exception):
    """The message inflates to more than is accepted.

    Attributes:
      inflated: what was accepted of the last piece, up to the bound.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.inflated: list[bytes] = []


@dataclass(frozen=True, slots=True)
class DeflateParameters:
    """What was agreed upon (RFC 7692, section 7.1).

    Attributes:
      server_no_context_takeover: the server starts each message with an empty window.
      client_no_context_takeover: the client does.
      server_max_window_bits: base-two logarithm of the server's window, 8 to 15.
      client_max_window_bits: the same of the client's.
    """

    server_no_context_takeover: bool = False
    client_no_context_takeover: bool = False
    server_max_window_bits: int = _MAX_WINDOW_BITS
    client_max_window_bits: int = _MAX_WINDOW_BITS

    def _as_extension(self) -> Extension:
        """The element of the server's answer that says this."""
        parameters: list[tuple[str, str | None]] = []
        if self.server_no_context_takeover:
            parameters.append(("server_no_context_takeover", None))
        if self.client_no_context_takeover:
            parameters.append(("client_no_context_takeover", None))
        if self.server_max_window_bits < _MAX_WINDOW_BITS:
            parameters.append(("server_max_window_bits", str(self.server_max_window_bits)))
        if self.client_max_window_bits < _MAX_WINDOW_BITS:
            parameters.append(("client_max_window_bits", str(self.client_max_window_bits)))
        return Extension(NAME, tuple(parameters))


def offer(compression: Compression) -> tuple[Extension, ...]:
    """What a client offers. It keeps to its own bounds whether or not the server asks for them."""
    parameters: list[tuple[str, str | None]] = []
    if not compression.peer_context_takeover:
        parameters.append(("server_no_context_takeover", None))
    if not compression.context_takeover:
        parameters.append(("client_no_context_takeover", None))
    if compression.peer_window_bits is not None:
        parameters.append(("server_max_window_bits", str(compression.peer_window_bits)))
    bits = None if compression.window_bits == _MAX_WINDOW_BITS else str(compression.window_bits)
    parameters.append(("client_max_window_bits", bits))
    return (Extension(NAME, tuple(parameters)),)


def choose(
    offers: Iterable[Extension], compression: Compression
) -> tuple[DeflateParameters, Extension] | None:
    """The server's choice: the first offer that it can keep, and the answer; ``None`` declines."""
    for offered in offers:
        if offered.name == NAME:
            parameters = _accept(offered, compression)
            if parameters is not None:
                return parameters, parameters._as_extension()
    return None


def _accept(offered: Extension, compression: Compression) -> DeflateParameters | None:
    try:
        wanted = _Parsed.of(offered, value_optional=True)
    except ValueError:
        return None
    server_bits = min(wanted.server_bits or _MAX_WINDOW_BITS, compression.window_bits)
    if server_bits == 8:
        # zlib cannot deflate with a window of 256 bytes.
        return None
    client_bits = wanted.client_bits or _MAX_WINDOW_BITS
    if wanted.client_bits_offered and compression.peer_window_bits is not None:
        client_bits = min(client_bits, compression.peer_window_bits)
    return DeflateParameters(
        wanted.server_no_takeover or not compression.context_takeover,
        wanted.client_no_takeover or not compression.peer_context_takeover,
        server_bits,
        client_bits,
    )


def check_response(response: Extension, compression: Compression) -> DeflateParameters:
    """The client's view of the server's answer to `offer`.

    Raises:
      NegotiationError: the answer is malformed or goes beyond the offer (section 7.1.2).
    """
    if response.name != NAME:
        raise NegotiationError(f"the extension {response.name} was not offered")
    try:
        agreed = _Parsed.of(response, value_optional=False)
    except ValueError as error:
        raise NegotiationError(str(error)) from None
    server_bits = agreed.server_bits or _MAX_WINDOW_BITS
    if compression.peer_window_bits is not None and server_bits > compression.peer_window_bits:
        raise NegotiationError("the server did not keep to server_max_window_bits")
    if not compression.peer_context_takeover and not agreed.server_no_takeover:
        raise NegotiationError("the server did not agree to server_no_context_takeover")
    client_bits = min(agreed.client_bits or _MAX_WINDOW_BITS, compression.window_bits)
    if client_bits == 8:
        raise NegotiationError("client_max_window_bits=8 is not supported")
    return DeflateParameters(
        agreed.server_no_takeover,
        agreed.client_no_takeover or not compression.context_takeover,
        server_bits,
        client_bits,
    )


@dataclass(slots=True)
class _Parsed:
    """The parameters of one offer or answer, each checked by itself."""

    server_no_takeover: bool = False
    client_no_takeover: bool = False
    server_bits: int | None = None
    client_bits: int | None = None
    client_bits_offered: bool = False

    @classmethod
    def of(cls, extension: Extension, *, value_optional: bool) -> _Parsed:
        """Parse; *value_optional*: an offer may name client_max_window_bits without a value."""
        names = [name for name, _ in extension.parameters]
        if len(set(names)) < len(names):
            raise ValueError("a parameter of permessage-deflate is given twice")
        parsed = cls()
        for name, value in extension.parameters:
            parsed._take(name, value, value_optional=value_optional)
        return parsed

    def _take(self, name: str, value: str | None, *, value_optional: bool) -> None:
        if name == "server_no_context_takeover" and value is None:
            self.server_no_takeover = True
        elif name == "client_no_context_takeover" and value is None:
            self.client_no_takeover = True
        elif name == "server_max_window_bits" and value is not None:
            self.server_bits = _window_bits(value)
        elif name == "client_max_window_bits" and (value is not None or value_optional):
            self.client_bits_offered = True
            self.client_bits = None if value is None else _window_bits(value)
        else:
            raise ValueError(f"bad parameter of permessage-deflate: {name}")


def _window_bits(value: str) -> int:
    if value not in _WINDOW_BITS:
        raise ValueError(f"window bits must be 8 to 15, not {value[:20]!r}")
    return int(value)


_WINDOW_BITS: Final = frozenset(str(bits) for bits in range(8, _MAX_WINDOW_BITS + 1))


# Compared by identity: hashing the fields took longer than all else for a member of a topic.
@dataclass(frozen=True, slots=True, eq=False)
class DeflateSetting:
    """What the compressed form of a message by itself depends on.

    Attributes:
      window_bits: base-two logarithm of the sender's window, 9 to 15.
      level: zlib's compression level.
      memory_level: zlib's ``memLevel``.
      threshold: bytes under which a message had better go uncompressed.
    """

    window_bits: int
    level: int
    memory_level: int
    threshold: int


@lru_cache(maxsize=64)
def _setting(window_bits: int, compression: Compression) -> DeflateSetting:
    """One instance for all connections that have the same."""
    return DeflateSetting(
        window_bits, compression.level, compression.memory_level, compression.threshold
    )


def compress_alone(payload: Buffer, setting: DeflateSetting) -> bytes:
    """Compress a whole message, so that it refers to nothing before it."""
    compressor = _new_compressor(setting)
    compressed = compressor.compress(payload) + compressor.flush(zlib.Z_SYNC_FLUSH)
    return compressed.removesuffix(_TAIL) or b"\x00"


def _new_compressor(setting: DeflateSetting) -> zlib._Compress:
    return zlib.compressobj(
        setting.level, zlib.DEFLATED, -setting.window_bits, setting.memory_level
    )


class PerMessageDeflate:
    """The codec of one connection.

    Args:
      parameters: as negotiated.
      client: whether this side is the client.
      compression: level, memory, and threshold of what is sent.
      limits: bounds on what is received.

    Attributes:
      setting: what a message that is compressed for many connections depends on.
      threshold: bytes under which a message had better go uncompressed.
    """

    __slots__ = (
        "_compressed",
        "_compressor",
        "_decompressor",
        "_inflated",
        "_last_blocks",
        "_last_blocks_counted",
        "_limits",
        "_own_takeover",
        "_peer_bits",
        "_peer_takeover",
        "setting",
        "threshold",
    )

    def __init__(
        self,
        parameters: DeflateParameters,
        *,
        client: bool,
        compression: Compression,
        limits: Limits,
    ) -> None:
        server = parameters.server_max_window_bits, not parameters.server_no_context_takeover
        clients = parameters.client_max_window_bits, not parameters.client_no_context_takeover
        own_bits, self._own_takeover = clients if client else server
        self._peer_bits, self._peer_takeover = server if client else clients
        self._limits = limits
        self.setting = _setting(own_bits, compression)
        self.threshold = compression.threshold
        self._compressor: zlib._Compress | None = None
        self._decompressor: zlib._Decompress | None = None
        # Of the message under way.
        self._compressed = 0
        self._inflated = 0
        self._last_blocks = 0
        self._last_blocks_counted = 0

    def compress(self, data: Buffer, *, final: bool = True) -> bytes:
        """Compress a message, or with *final* false the next fragment of one.

        Every fragment is flushed, so that the peer can read it as soon as it arrives; only the
        last one loses the four bytes that the flush ends with (section 7.2.1).
        """
        if self._compressor is None:
            self._compressor = _new_compressor(self.setting)
        compressed = self._compressor.compress(data) + self._compressor.flush(zlib.Z_SYNC_FLUSH)
        if not final:
            return compressed
        if not self._own_takeover:
            self._compressor = None
        return compressed.removesuffix(_TAIL) or b"\x00"

    def start_afresh(self) -> None:
        """Refer back to nothing that was sent so far: the peer has been sent other data since.

        Between messages only.
        """
        self._compressor = None

    def inflate(self, data: Buffer, *, final: bool, limited: bool = True) -> bytes:
        """Inflate the next piece of the message under way.

        Args:
          data: what has come of it.
          final: whether it ends here.
          limited: whether ``Limits.max_message_size`` applies; a streamed message is bounded
            by the ratio only.

        Raises:
          InflateError: the data is not valid.
          InflatedTooBig: the message is, or would become, too large. Little more than the bound
            has been inflated by then.
        """
        self._compressed += len(data)
        pieces: list[bytes] = []
        try:
            self._inflate(data, pieces, limited=limited)
            if final:
                self._inflate(_TAIL, pieces, limited=limited)
                self._compressed = self._inflated = self._last_blocks = 0
                if not self._peer_takeover:
                    self._decompressor = None
        except InflatedTooBig as error:
            # The last byte is the one that is too many.
            error.inflated = [*pieces[:-1], pieces[-1][:-1]]
            raise
        return b"".join(pieces)

    def count_last_blocks(self) -> int:
        """How many blocks said that they were the last since this was last asked."""
        count, self._last_blocks_counted = self._last_blocks_counted, 0
        return count

    def _inflate(self, data: Buffer, pieces: list[bytes], *, limited: bool) -> None:
        view, position, step = memoryview(data), 0, len(data)
        while True:
            if self._decompressor is None:
                # zlib refuses raw streams of 8 bits; a larger window reads them as well.
                self._decompressor = zlib.decompressobj(-max(9, self._peer_bits))
            bound = self._bound(limited=limited)
            taken = view[position : position + step]
            try:
                piece = self._decompressor.decompress(taken, bound)
            except zlib.error as error:
                raise InflateError(str(error)) from None
            self._inflated += len(piece)
            pieces.append(piece)
            self._check(limited=limited)
            position += len(taken)
            if self._decompressor.eof:
                # A block that says it is the last one ends the stream, not the message (7.2.3.5).
                position -= len(self._decompressor.unused_data)
                self._decompressor = None
                step = _STEP_BEHIND_LAST
                self._count_last_block()
            else:
                position -= len(self._decompressor.unconsumed_tail)
            if position == len(view) and len(piece) < bound:
                return

    def _count_last_block(self) -> None:
        self._last_blocks += 1
        self._last_blocks_counted += 1
        if self._last_blocks > _MAX_LAST_BLOCKS:
            raise InflateError(f"more than {_MAX_LAST_BLOCKS} last blocks in a message")

    def _bound(self, *, limited: bool) -> int:
        """How much may be inflated before `_check` must look: one byte more than is legal."""
        floor, ratio = self._limits.inflate_ratio_floor, self._limits.max_inflate_ratio
        most = max(floor, self._compressed * ratio)
        if limited and self._limits.max_message_size is not None:
            most = min(most, self._limits.max_message_size)
        return min(most - self._inflated + 1, _STREAM_STEP)

    def _check(self, *, limited: bool) -> None:
        size, largest = self._inflated, self._limits.max_message_size
        if limited and largest is not None and size > largest:
            raise InflatedTooBig(f"message over {largest} bytes")
        floor, ratio = self._limits.inflate_ratio_floor, self._limits.max_inflate_ratio
        if size > floor and size > self._compressed * ratio:
            raise InflatedTooBig(f"message inflates more than {ratio} times")
