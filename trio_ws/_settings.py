"""Limits, timeouts and compression: frozen settings that every connection shares.

One instance serves any number of connections: a connection holds a reference, never a copy.
Each field is validated on construction, so a bad number fails where it was written.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Final

KIB: Final = 1024
MIB: Final = 1024 * KIB


def _require_positive(settings: object, *, optional: frozenset[str] = frozenset()) -> None:
    for field in fields(settings):  # type: ignore[arg-type]
        value = getattr(settings, field.name)
        if value is None and field.name in optional:
            continue
        if not isinstance(value, int | float) or isinstance(value, bool) or not value > 0:
            wanted = "a positive number" + (" or None" if field.name in optional else "")
            raise ValueError(
                f"{type(settings).__name__}.{field.name} must be {wanted}, not {value!r}"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much a peer may make this side hold.

    Attributes:
      max_message_size: bytes of one message after inflating; beyond, the connection is closed
        with 1009. ``None`` for no bound. A message taken by ``receive_stream`` is never held
        whole, so the bound does not apply to it.
      max_inflate_ratio: how many times larger than its compressed form a message may become
        once it is larger than `inflate_ratio_floor`; beyond, 1009.
      inflate_ratio_floor: bytes up to which any ratio is accepted.
      inbox_messages: received messages that wait for ``receive`` before reading stops.
      inbox_bytes: the same bound in bytes, the part of an unfinished message included.
        Reading stops at whichever comes first; one larger message still passes.
      outbox_bytes: the high-water mark: ``send`` waits while more bytes than this are queued.
      control_frame_burst: control frames that a peer may send at once, not counting pongs that
        answer a ping.
      control_frame_rate: control frames a second that it may send after the burst;
        beyond, 1008.
      max_request_line: bytes of the request line of an opening handshake; beyond, 431.
      max_headers: header lines of an opening handshake; beyond, 431.
      max_head_size: bytes of the whole head of a request or response; beyond, 431.
      max_body_size: bytes kept of the body of an HTTP answer that was not 101.
      max_handshakes: opening handshakes under way on one server; further connections wait
        in the kernel's backlog.
    """

    max_message_size: int | None = MIB
    max_inflate_ratio: int = 100
    inflate_ratio_floor: int = 64 * KIB
    inbox_messages: int = 64
    inbox_bytes: int = MIB
    outbox_bytes: int = 64 * KIB
    control_frame_burst: int = 100
    control_frame_rate: float = 20.0
    max_request_line: int = 8 * KIB
    max_headers: int = 64
    max_head_size: int = 32 * KIB
    max_body_size: int = 64 * KIB
    max_handshakes: int = 500

    def __post_init__(self) -> None:
        _require_positive(self, optional=frozenset({"max_message_size"}))


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """How long things may take, in seconds.

    ``math.inf`` switches one off.

    Attributes:
      open_timeout: the whole opening, absolute: name resolution, TCP, proxy, TLS, HTTP and
        redirects on a client; TLS and HTTP on a server.
      close_timeout: the whole closing handshake; afterwards the transport is closed whatever
        the peer does.
      violation_timeout: the same, after the peer broke the protocol or a limit.
      write_stall: the connection is aborted when the peer's system accepts no byte of a
        waiting write for this long. Over TLS, where the system does not tell (it is not Linux),
        progress is seen per 64 KiB.
      assembly_timeout: the connection is closed when an unfinished message makes no
        progress for this long.
      handler_grace: what a server, or `supervise`, gives a handler whose connection is gone and
        whose inbox is read before it cancels the handler's scope, and what a server gives
        ``on_error``.
    """

    open_timeout: float = 10.0
    close_timeout: float = 10.0
    violation_timeout: float = 1.0
    write_stall: float = 20.0
    assembly_timeout: float = 60.0
    handler_grace: float = 10.0

    def __post_init__(self) -> None:
        _require_positive(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Compression:
    """How permessage-deflate (RFC 7692) is offered and used.

    Attributes:
      window_bits: base-two logarithm of this side's LZ77 window, 9 to 15. 12 costs a few
        percent of ratio against 15 and an eighth of the memory.
      peer_window_bits: the same for what the peer sends, 9 to 15: bounds what inflating costs
        here. ``None`` accepts what the peer prefers.
      context_takeover: whether this side keeps its window from message to message. Switched
        off, each connection holds less memory and compresses worse.
      peer_context_takeover: the same, asked of the peer.
      memory_level: zlib's ``memLevel``, 1 to 9.
      level: zlib's compression level, 1 to 9, or -1 for its default.
      threshold: bytes under which a message goes uncompressed.
    """

    window_bits: int = 12
    peer_window_bits: int | None = 12
    context_takeover: bool = True
    peer_context_takeover: bool = True
    memory_level: int = 5
    level: int = -1
    threshold: int = 512

    def __post_init__(self) -> None:
        if not 9 <= self.window_bits <= 15:
            raise ValueError(f"Compression.window_bits must be 9 to 15, not {self.window_bits!r}")
        if self.peer_window_bits is not None and not 9 <= self.peer_window_bits <= 15:
            raise ValueError(
                "Compression.peer_window_bits must be 9 to 15 or None, "
                f"not {self.peer_window_bits!r}"
            )
        if not 1 <= self.memory_level <= 9:
            raise ValueError(f"Compression.memory_level must be 1 to 9, not {self.memory_level!r}")
        if not (self.level == -1 or 1 <= self.level <= 9):
            raise ValueError(f"Compression.level must be -1 or 1 to 9, not {self.level!r}")
        if self.threshold < 0:
            raise ValueError(f"Compression.threshold must not be negative, not {self.threshold!r}")
