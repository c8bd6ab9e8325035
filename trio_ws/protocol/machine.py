"""One side of an open connection: bytes in, events out; events in, bytes out.

Theory of operation
===================

There are two directions, and each is a small machine of its own.

**Receiving** goes through these states; it never goes back::

    OPEN ----- close frame ----------> CLOSED     (`close_received` is set)
      \\------ broken rule or limit --> FAILED     (`failure` is set)

In OPEN, bytes become events: a message (a plain ``str`` or ``bytes``), `Part`, `Ping`, `Pong`.
`Close` or `Failure` is the last event there ever is; bytes after it are thrown away
(RFC 6455, sections 1.4 and 7.1.7).

**Sending** is OPEN until `send_close`, and refuses everything afterwards (section 5.5.1).
The two are independent: after sending a close frame, messages may still arrive; after
receiving one, a reply may still be sent.

Rules that everything here keeps:

1. Work is linear in the bytes received, whatever way the stream is cut: payload bytes of a
   data frame are consumed as they come, so what is carried over to the next call is at most
   a header and a control frame.
2. Fragments are joined into one buffer as they come. A million empty fragments cost nothing.
3. A rule broken is a rule reported as soon as its bytes are there: a bad header before its
   payload, a bad UTF-8 byte in the middle of a frame, a size before anything is stored.
4. Events that came before a broken rule are handed out first, in the same list.
"""

from __future__ import annotations

import codecs
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias, cast

from .._close import MAX_REASON_BYTES, may_be_sent
from .._settings import Limits
from .deflate import InflatedTooBig, InflateError
from .frames import (
    MAX_CONTROL_PAYLOAD,
    FrameHeader,
    Opcode,
    Violation,
    encode_frame,
    encode_header,
    encode_message,
    parse_header,
    take_whole_messages,
    utf8_of,
)
from .masking import SPEEDUPS, MaskedPayload, MaskingKeys, append_unmasked, unmasked

if SPEEDUPS:
    from ._speedups import fill_payload, new_payload

if TYPE_CHECKING:
    from .deflate import PerMessageDeflate
    from .masking import Buffer
    from .prepared import Prepared, PreparedRun

_NO_BOUND: Final = (1 << 63) - 1
#: A message of so many bytes in one frame gets a payload of its own as soon as its header is
#: there. With that and what else spares copies, echoing 1 MiB went from 2.45 to 1.20 ms.
_LARGE: Final = 1 << 15
_LARGEST_AT_ONCE: Final = 1 << 26
_new_utf8_decoder: Final = codecs.getincrementaldecoder("utf-8")
#: One pool for the process: every client connection draws its keys from it.
_masking_keys: Final = MaskingKeys()


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of a message that is received as a stream.

    Attributes:
      data: ``str`` for a text message, ``bytes`` for a binary one. May be empty.
      final: whether the message ends here.
    """

    data: str | bytes
    final: bool

    def __len__(self) -> int:
        """Characters of a text, bytes of a binary message."""
        return len(self.data)


@dataclass(frozen=True, slots=True)
class Ping:
    """A ping (RFC 6455, section 5.5.2), to be answered with a pong of the same payload."""

    payload: bytes


@dataclass(frozen=True, slots=True)
class Pong:
    """A pong (RFC 6455, section 5.5.3)."""

    payload: bytes


@dataclass(frozen=True, slots=True)
class Close:
    """A close frame (RFC 6455, section 5.5.1). ``code`` is 1005 where the frame held none."""

    code: int
    reason: str


@dataclass(frozen=True, slots=True)
class Failure:
    """The peer broke a rule: close with this code and read no further (section 7.1.7)."""

    code: int
    reason: str


Event: TypeAlias = str | bytes | Part | Ping | Pong | Close | Failure


class LocalProtocolError(Exception):
    """This side tried what the protocol forbids, such as a message after its close frame."""


class Machine:
    """The protocol state of one side of an open connection.

    Not safe for concurrent use, and it has no need to be: no call blocks.

    Args:
      client: whether this side is the client, which masks what it sends (section 5.3).
      limits: `Limits.max_message_size` is kept here; the rest is for others.
      deflate: the negotiated permessage-deflate codec, if any.
      masking_keys: where a client's masking keys come from; for tests.

    Attributes:
      client: as given.
      close_received: the peer's close frame.
      close_sent: this side's close frame.
      failure: the broken rule, once there is one.
      messages_only: whether the last `receive_data` brought whole messages and nothing else.
      streaming: while true, a message that is not whole in one piece comes as `Part` events,
        and `Limits.max_message_size` does not apply to it. See `start_streaming`.
    """

    __slots__ = (
        "_assembly",
        "_carry",
        "_deflate",
        "_fragments",
        "_frame_fin",
        "_frame_key",
        "_frame_left",
        "_frame_position",
        "_masking_keys",
        "_max_size",
        "_sending",
        "client",
        "close_received",
        "close_sent",
        "failure",
        "messages_only",
        "streaming",
    )

    def __init__(
        self,
        *,
        client: bool,
        limits: Limits | None = None,
        deflate: PerMessageDeflate | None = None,
        masking_keys: MaskingKeys | None = None,
    ) -> None:
        limits = limits or Limits()
        self.client = client
        self.close_received: Close | None = None
        self.close_sent: Close | None = None
        self.failure: Failure | None = None
        self.messages_only = True
        self.streaming = False
        bound = limits.max_message_size
        self._max_size = _NO_BOUND if bound is None else min(bound, _NO_BOUND)
        self._deflate = deflate
        self._masking_keys = masking_keys or _masking_keys
        # Receiving: what the last call left, the message under way, the data frame under way.
        self._carry = b""
        self._assembly: _Assembly | None = None
        self._frame_left = 0
        self._frame_position = 0
        self._frame_key = b""
        self._frame_fin = True
        self._fragments = 0
        # Sending: the fragmented message under way.
        self._sending: _Fragmented | None = None

    def __repr__(self) -> str:
        role = "client" if self.client else "server"
        receiving = self.failure or self.close_received or "open"
        return f"<Machine {role}, receiving: {receiving}, sending: {self.close_sent or 'open'}>"

    # Receiving

    @property
    def mid_message(self) -> bool:
        """Whether part of a frame or of a message has arrived and the rest has not."""
        return self._assembly is not None or bool(self._carry)

    @property
    def held_bytes(self) -> int:
        """Bytes of the unfinished message that are held here."""
        return 0 if self._assembly is None else len(self._assembly)

    def count_fragments(self) -> int:
        """How many data frames and last blocks were taken one by one since this was last asked."""
        count, self._fragments = self._fragments, 0
        return count if self._deflate is None else count + self._deflate.count_last_blocks()

    def receive_data(self, data: Buffer) -> list[Event]:
        """Take bytes from the peer and return what they bring, in order.

        Never raises for what the peer does: a broken rule is a `Failure`, the last event. Of
        *data*, nothing is referred to afterwards.
        """
        events: list[Event] = []
        self.messages_only = True
        if self.close_received is not None or self.failure is not None:
            return events
        if self._carry:
            data = self._carry + data
        elif not SPEEDUPS:
            # Python finds its way through bytes faster than through a memoryview.
            data = bytes(data)
        try:
            position = self._receive(data, events)
            self._carry = bytes(data[position:])
        except Violation as violation:
            self.failure = Failure(violation.code, violation.reason)
            self._add_event(events, self.failure)
            self._stop_receiving()
        return events

    def _add_event(self, events: list[Event], event: Event) -> None:
        """Append what is not a whole message."""
        events.append(event)
        self.messages_only = False

    def start_streaming(self) -> Part | None:
        """Have messages come in parts from now on.

        Returns:
          What has arrived of the message under way, if anything has: it comes before every
          part that `receive_data` will return.
        """
        self.streaming = True
        if self._assembly is None or not len(self._assembly):
            return None
        self._assembly.parted = True
        return self._assembly.take_part(final=False)

    def _stop_receiving(self) -> None:
        self._carry = b""
        self._assembly = None

    def _receive(self, data: Buffer, events: list[Event]) -> int:
        """Consume what can be consumed of *data*; return how much that was."""
        position, end = 0, len(data)
        masked = not self.client
        while position < end:
            if self._frame_left:
                position = self._take_payload(data, position, events)
                continue
            if self._assembly is None:
                # Whole messages are events, and so is a list of them.
                position = take_whole_messages(
                    data, position, masked, self._max_size, cast("list[str | bytes]", events)
                )
                if position == end:
                    break
            header = parse_header(data, position, masked=masked)
            if header is None:
                break
            if header.opcode < Opcode.CLOSE:
                self._begin_data_frame(header)
                position = self._take_payload(data, header.payload_start, events)
                continue
            stop = header.payload_start + header.length
            if stop > end:
                break
            payload = unmasked(data[header.payload_start : stop], header.key)
            self._add_event(events, self._control_event(header, payload))
            position = stop
            if self.close_received is not None:
                self._stop_receiving()
                return end
        return position

    def _begin_data_frame(self, header: FrameHeader) -> None:
        if header.opcode is Opcode.CONTINUATION:
            if self._assembly is None:
                raise Violation(1002, "continuation frame without a message to continue")
            if header.rsv1:
                raise Violation(1002, "reserved bit set on a continuation frame")
        else:
            if self._assembly is not None:
                raise Violation(1002, "new message before the last one was finished")
            if header.rsv1 and self._deflate is None:
                raise Violation(1002, "compressed message without permessage-deflate")
            self._assembly = self._new_assembly(header)
        if self._assembly.deflate is None and not self.streaming:
            self._check_size(len(self._assembly) + header.length)
        self._fragments += 1
        self._frame_left = header.length
        self._frame_position = 0
        self._frame_key = header.key
        self._frame_fin = header.fin

    def _new_assembly(self, header: FrameHeader) -> _Assembly:
        deflate = self._deflate if header.rsv1 else None
        whole = header.fin and deflate is None and not self.streaming
        # Not more than it may have, whatever the header says. In C, what is not filled yet takes
        # no memory; in Python it would.
        largest = min(self._max_size, _LARGEST_AT_ONCE) if SPEEDUPS else 0
        worthwhile = _LARGE <= header.length <= largest
        return _Assembly(
            text=header.opcode is Opcode.TEXT,
            deflate=deflate,
            size=header.length if whole and worthwhile else 0,
        )

    def _check_size(self, size: int) -> None:
        if size > self._max_size:
            raise Violation(1009, f"message over {self._max_size} bytes")

    def _take_payload(self, data: Buffer, position: int, events: list[Event]) -> int:
        """Consume payload of the data frame under way, as much of it as is there."""
        assembly = self._assembly
        assert assembly is not None
        stop = min(len(data), position + self._frame_left)
        self._frame_left -= stop - position
        final = self._frame_fin and not self._frame_left
        piece, key, offset = data[position:stop], self._frame_key, self._frame_position
        self._frame_position += stop - position
        if assembly.deflate is None:
            assembly.add(piece, key, offset, final=final)
        else:
            assembly.inflate(unmasked(piece, key, offset), final=final, limited=not self.streaming)
        if not self.streaming:
            self._check_size(len(assembly))
        if final:
            self._assembly = None
        if final or (self.streaming and len(assembly)):
            self._hand_out(assembly, events, final=final)
        return stop

    def _hand_out(self, assembly: _Assembly, events: list[Event], *, final: bool) -> None:
        part = assembly.take_part(final=final)
        if final and not assembly.parted:
            # It came whole, so it is just a message.
            events.append(part.data)
        else:
            self._add_event(events, part)
        assembly.parted = True

    def _control_event(self, header: FrameHeader, payload: bytes) -> Event:
        if header.opcode is Opcode.PING:
            return Ping(payload)
        if header.opcode is Opcode.PONG:
            return Pong(payload)
        self.close_received = _parse_close(payload)
        return self.close_received

    # Sending

    def send_message(self, message: str | bytes, compress: bool | None = None) -> bytes:
        """A whole message as one frame.

        Args:
          message: ``str`` goes as text, ``bytes`` as binary.
          compress: ``None`` lets the threshold decide; ``False`` and ``True`` overrule it.
            Without permessage-deflate, nothing is ever compressed.

        Raises:
          UnicodeEncodeError: the text holds a lone surrogate, which UTF-8 cannot say.
          LocalProtocolError: after `send_close`, or between the parts of another message.
        """
        if self.close_sent is not None or self._sending is not None:
            self._refuse_message()
        if self._deflate is not None and (frame := self._compressed(message, compress)):
            return frame
        return encode_message(message, self._masking_keys.next() if self.client else b"")

    def send_pieces(self, message: str | bytes) -> tuple[bytes, memoryview | MaskedPayload] | None:
        """A whole message as header and payload, which need not be copied to be joined.

        ``None``: it may have to be compressed; see `send_message`.

        Raises:
          UnicodeEncodeError, LocalProtocolError: as in `send_message`.
        """
        if self._deflate is not None:
            return None
        if self.close_sent is not None or self._sending is not None:
            self._refuse_message()
        opcode = Opcode.BINARY
        payload: bytes | memoryview
        if isinstance(message, str):
            opcode = Opcode.TEXT
            # A view of other text would have the string keep its UTF-8 for good.
            payload = utf8_of(message) if message.isascii() else message.encode()
        else:
            payload = message
        if not self.client:
            return encode_header(opcode, len(payload)), memoryview(payload)
        key = self._masking_keys.next()
        return encode_header(opcode, len(payload), key), MaskedPayload(payload, key)

    def send_prepared(self, prepared: Prepared | PreparedRun) -> bytes:
        """Messages that go to many, as frames. Not for a client, which masks each of its own.

        Raises:
          LocalProtocolError: as in `send_message`.
        """
        assert not self.client
        if self.close_sent is not None or self._sending is not None:
            self._refuse_message()
        if self._deflate is None:
            return prepared.frames(None)[0]
        frames, compressed = prepared.frames(self._deflate.setting)
        if compressed:
            self._deflate.start_afresh()
        return frames

    def _compressed(self, message: str | bytes, compress: bool | None) -> bytes | None:
        """The message as a compressed frame; ``None`` where it is to go as it is."""
        assert self._deflate is not None
        text = isinstance(message, str)
        payload = message.encode() if isinstance(message, str) else message
        if len(payload) < self._deflate.threshold if compress is None else not compress:
            return None
        opcode = Opcode.TEXT if text else Opcode.BINARY
        return self._frame(opcode, self._deflate.compress(payload), rsv1=True)

    def send_part(self, data: str | bytes, *, final: bool, compress: bool | None = None) -> bytes:
        """The next fragment of a message (RFC 6455, section 5.4).

        The first fragment decides between text and binary, and whether the message is
        compressed. Between the first and the final one only control frames may be sent.

        Raises:
          TypeError: text and binary are mixed in one message.
          UnicodeEncodeError: as in `send_message`.
          LocalProtocolError: after `send_close`.
        """
        if self.close_sent is not None:
            self._refuse_message()
        text = isinstance(data, str)
        payload = data.encode() if isinstance(data, str) else data
        first = self._sending is None
        if self._sending is None:
            compressed = self._deflate is not None and compress is not False
            self._sending = _Fragmented(text=text, compressed=compressed)
        sending = self._sending
        if sending.text is not text:
            raise TypeError("the fragments of one message must be all str or all bytes")
        if sending.compressed:
            assert self._deflate is not None
            payload = self._deflate.compress(payload, final=final)
        if final:
            self._sending = None
        opcode = Opcode.CONTINUATION if not first else Opcode.TEXT if text else Opcode.BINARY
        return self._frame(opcode, payload, fin=final, rsv1=first and sending.compressed)

    def send_ping(self, payload: bytes = b"") -> bytes:
        """A ping frame; *payload* is at most 125 bytes (section 5.5.2)."""
        return self._control_frame(Opcode.PING, payload)

    def send_pong(self, payload: bytes = b"") -> bytes:
        """A pong frame, which also may go unasked (section 5.5.3)."""
        return self._control_frame(Opcode.PONG, payload)

    def send_close(self, code: int = 1000, reason: str = "") -> bytes:
        """The close frame; nothing can be sent after it.

        Args:
          code: 1005 sends a close frame without a code.
          reason: at most 123 bytes of UTF-8.

        Raises:
          ValueError: the code may not stand in a close frame, or the reason is too long.
          LocalProtocolError: a close frame has been sent already.
        """
        payload = encode_close(code, reason)
        frame = self._control_frame(Opcode.CLOSE, payload)
        self.close_sent = Close(code, reason)
        return frame

    def _refuse_message(self) -> None:
        if self.close_sent is not None:
            raise LocalProtocolError("nothing can be sent after the close frame")
        raise LocalProtocolError("the last message's final fragment has not been sent yet")

    def _control_frame(self, opcode: Opcode, payload: bytes) -> bytes:
        if self.close_sent is not None:
            raise LocalProtocolError("nothing can be sent after the close frame")
        if len(payload) > MAX_CONTROL_PAYLOAD:
            raise ValueError(f"a control frame carries at most 125 bytes, not {len(payload)}")
        return self._frame(opcode, payload)

    def _frame(
        self, opcode: Opcode, payload: bytes, *, fin: bool = True, rsv1: bool = False
    ) -> bytes:
        key = self._masking_keys.next() if self.client else b""
        return encode_frame(opcode, payload, key, fin=fin, rsv1=rsv1)


class _Fragmented:
    """The fragmented message that is being sent."""

    __slots__ = ("compressed", "text")

    def __init__(self, *, text: bool, compressed: bool) -> None:
        self.text = text
        self.compressed = compressed


class _Assembly:
    """The message that is being received: inflated, checked and joined as it comes.

    Args:
      text: whether it is text.
      deflate: what inflates it, if it is compressed.
      size: how many bytes it has, where that is known and worth a payload of its own.
    """

    __slots__ = ("_buffer", "_decoder", "_filled", "_payload", "deflate", "parted", "text")

    def __init__(self, *, text: bool, deflate: PerMessageDeflate | None, size: int = 0) -> None:
        self.text = text
        self.deflate = deflate
        self.parted = False
        self._buffer = bytearray()
        self._payload = new_payload(size) if size else None
        self._filled = 0
        self._decoder: codecs.IncrementalDecoder | None = None

    def __len__(self) -> int:
        """Bytes that are held."""
        return len(self._buffer) if self._payload is None else self._filled

    def add(self, piece: Buffer, key: bytes, offset: int, *, final: bool) -> None:
        """Take what has arrived of a message that is not compressed."""
        before = len(self)
        if self._payload is None:
            is_ascii = append_unmasked(self._buffer, piece, key, offset)
        else:
            is_ascii = fill_payload(self._payload, before, piece, key, offset)
            self._filled += len(piece)
        if self.text:
            self._check_utf8(before, is_ascii=is_ascii, final=final)

    def inflate(self, piece: bytes, *, final: bool, limited: bool) -> None:
        """Take what has arrived of a compressed message."""
        assert self.deflate is not None
        before = len(self)
        try:
            inflated = self.deflate.inflate(piece, final=final, limited=limited)
        except InflatedTooBig as error:
            if self.text:
                # A wrong byte before the bound is found first, whatever way the stream is cut.
                for accepted in error.inflated:
                    self._decode(accepted)
            raise Violation(1009, str(error)) from error
        except InflateError as error:
            raise Violation(1007, "compressed data is not valid") from error
        self._buffer += inflated
        if self.text:
            self._check_utf8(before, is_ascii=inflated.isascii(), final=final)

    def _check_utf8(self, start: int, *, is_ascii: bool, final: bool) -> None:
        """Fail on the first byte from *start* that cannot be UTF-8 (RFC 6455, section 8.1)."""
        # Most text is ASCII, and that was found out at memory speed.
        if self._decoder is not None or not is_ascii:
            held = self._buffer if self._payload is None else self._payload
            self._decode(held[start : len(self)], final=final)

    def _decode(self, data: Buffer, *, final: bool = False) -> None:
        if self._decoder is None:
            self._decoder = _new_utf8_decoder()
        try:
            self._decoder.decode(data, final)
        except UnicodeDecodeError as error:
            raise Violation(1007, "text is not valid UTF-8") from error

    def take_part(self, *, final: bool) -> Part:
        """Hand out what is held; of a text, what makes whole characters."""
        held: bytes | bytearray = self._buffer
        if self._payload is not None:
            # Of what is not full yet nobody may see the rest.
            held = self._payload if self._filled == len(self._payload) else self._filled_part()
            self._payload = None
        self._buffer = bytearray()
        if not self.text:
            return Part(bytes(held), final)
        if not final and self._decoder is not None:
            unfinished = len(self._decoder.getstate()[0])
            if unfinished:
                split = len(held) - unfinished
                held, self._buffer = held[:split], bytearray(held[split:])
        return Part(held.decode(), final)

    def _filled_part(self) -> bytes:
        assert self._payload is not None
        return self._payload[: self._filled]


def _parse_close(payload: bytes) -> Close:
    if not payload:
        return Close(1005, "")
    if len(payload) == 1:
        raise Violation(1002, "close frame with half a code")
    code = int.from_bytes(payload[:2], "big")
    if not may_be_sent(code):
        raise Violation(1002, f"close code {code} must not be sent")
    try:
        return Close(code, payload[2:].decode())
    except UnicodeDecodeError as error:
        raise Violation(1007, "close reason is not valid UTF-8") from error


def encode_close(code: int, reason: str) -> bytes:
    """The payload of a close frame.

    Raises:
      ValueError: *code* may not be sent (section 7.4), *reason* is over 123 bytes of UTF-8,
        or there is a reason but no code (1005).
    """
    if code == 1005:
        if reason:
            raise ValueError("a close frame without a code (1005) cannot carry a reason")
        return b""
    if not may_be_sent(code):
        raise ValueError(f"close code {code} must not be sent: use 1000 to 1014 or 3000 to 4999")
    encoded = reason.encode()
    if len(encoded) > MAX_REASON_BYTES:
        raise ValueError(f"a close reason is at most 123 bytes of UTF-8, not {len(encoded)}")
    return code.to_bytes(2, "big") + encoded
