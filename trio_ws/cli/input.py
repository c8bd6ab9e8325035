"""What is sent: where it comes from, where one message ends, and how it is written."""

from __future__ import annotations

import base64
import binascii
import json
import os
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final, Protocol

import trio

from .failures import Usage
from .options.client import Split

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterator

    from .options.client import SendingOptions

_READ_SIZE: Final = 64 * 1024
_STDIN: Final = 0
#: Characters at the end of what was read so far in which an error may be an incomplete value.
_UNDECIDED: Final = 12


@dataclass(frozen=True, slots=True)
class Encoding:
    """How messages are written: as text, as binary as they stand, in hexadecimal or Base64."""

    binary: bool = False
    hex: bool = False
    base64: bool = False

    @classmethod
    def of(cls, options: SendingOptions) -> Encoding:
        """What *options* ask for.

        Raises:
          Usage: they contradict each other.
        """
        if options.hex and options.base64:
            raise Usage("--hex and --base64 exclude each other")
        return cls(options.binary, options.hex, options.base64)

    def decode(self, data: bytes, where: str) -> str | bytes:
        """The message that *data* stands for.

        Raises:
          Usage: it is not written so; *where* says which it is.
        """
        try:
            if self.hex:
                return bytes.fromhex(data.decode())
            if self.base64:
                return base64.b64decode(b"".join(data.split()), validate=True)
            return data if self.binary else data.decode()
        except UnicodeDecodeError:
            expected = "hexadecimal" if self.hex else "UTF-8 text (--binary sends any bytes)"
        except binascii.Error:
            expected = "Base64"
        except ValueError:
            expected = "hexadecimal"
        raise Usage(f"{where} is not {expected}")

    @property
    def usual_split(self) -> Split:
        """Where messages end unless something else is asked for."""
        return Split.NONE if self.binary and not (self.hex or self.base64) else Split.LINE


async def messages_of(
    read: Callable[[], bytes], name: str, encoding: Encoding, split: Split
) -> AsyncGenerator[str | bytes]:
    """The messages in what *read* returns, which is called in a thread until it returns nothing.

    Args:
      read: returns some bytes; none at the end.
      name: of the input, for errors.
      encoding: how they are written.
      split: where they end.

    Raises:
      Usage: a message is not written so; the error says which.
    """
    pieces = _SPLITTERS[split]()
    number = 0
    data = b"."
    while data:
        data = await trio.to_thread.run_sync(read, abandon_on_cancel=True)
        try:
            for piece in pieces.feed(data):
                number += 1
                yield encoding.decode(piece, f"{pieces.unit} {number} of {name}")
        except _NotJSON as error:
            raise Usage(f"value {number + 1} of {name} is not JSON: {error}") from None


def read_stdin() -> bytes:
    """Some of standard input, past Python's buffer, whose lock an abandoned read would hold."""
    try:
        return os.read(_STDIN, _READ_SIZE)
    except OSError:
        # It was closed before we began.
        return b""


class _Splitter(Protocol):
    """Cuts bytes into messages.

    Attributes:
      unit: what a message is called.
    """

    unit: str

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The messages that *data* completes; when it is empty, what is left is the last."""


class _Delimited:
    """Messages that end with a byte; the last may lack it."""

    def __init__(self, delimiter: bytes, unit: str) -> None:
        self.unit = unit
        self._delimiter = delimiter
        self._rest: list[bytes] = []

    def feed(self, data: bytes) -> Iterator[bytes]:
        if not data:
            rest = b"".join(self._rest)
            return iter([rest] if rest else [])
        *whole, rest = data.split(self._delimiter)
        if whole:
            whole[0] = b"".join([*self._rest, whole[0]])
            self._rest.clear()
        self._rest.append(rest)
        return iter(whole)


class _Whole:
    """One message: everything."""

    unit = "message"

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def feed(self, data: bytes) -> Iterator[bytes]:
        if data:
            self._pieces.append(data)
        elif self._pieces:
            yield b"".join(self._pieces)


class _NotJSON(Exception):
    """What stands where a JSON value should."""


class _JSONValues:
    """JSON values one after the other, however they are laid out."""

    unit = "value"

    def __init__(self) -> None:
        self._decoder = json.JSONDecoder()
        self._text = ""
        self._undecoded = b""

    def feed(self, data: bytes) -> Iterator[bytes]:
        self._text = (self._text + self._decoded(data)).lstrip()
        while self._text and (end := self._end(last=not data)):
            value, self._text = self._text[:end], self._text[end:].lstrip()
            yield value.encode()

    def _decoded(self, data: bytes) -> str:
        """The text so far, but for a character that is cut in two."""
        joined, self._undecoded = self._undecoded + data, b""
        try:
            return joined.decode()
        except UnicodeDecodeError as error:
            if data and error.end == len(joined) and len(joined) - error.start < 4:
                self._undecoded = joined[error.start :]
                return joined[: error.start].decode()
            raise _NotJSON("it is not UTF-8 text") from None

    def _end(self, *, last: bool) -> int:
        """Where the first value ends; 0 where more is needed to know."""
        try:
            value, end = self._decoder.raw_decode(self._text)
        except json.JSONDecodeError as error:
            if last or self._is_wrong(error):
                raise _NotJSON(str(error)) from None
            return 0
        except RecursionError:
            raise _NotJSON("it is nested too deeply") from None
        # A number may go on.
        may_go_on = type(value) in (int, float) and end == len(self._text)
        return 0 if may_go_on and not last else end

    def _is_wrong(self, error: json.JSONDecodeError) -> bool:
        """Whether nothing that could follow would mend it."""
        if error.msg.startswith("Unterminated string"):
            return False
        return error.pos < len(self._text) - _UNDECIDED


_SPLITTERS: Final[dict[Split, Callable[[], _Splitter]]] = {
    Split.LINE: partial(_Delimited, b"\n", "line"),
    Split.NULL: partial(_Delimited, b"\0", "message"),
    Split.JSON: _JSONValues,
    Split.NONE: _Whole,
}
