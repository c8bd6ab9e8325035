"""What is sent: where it comes from, where one message ends, and how it is written."""

from __future__ import annotations

import base64
import binascii
import errno
import json
import os
import re
import select
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final, Protocol

import trio

from .failures import LocalFailure, Usage
from .options.client import Split

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterator

    from .options.client import SendingOptions

_READ_SIZE: Final = 64 * 1024
_STDIN: Final = 0
#: Bytes of a message whose end does not come; servers take far less in one.
MAX_MESSAGE: Final = 256 << 20
#: Standard input is closed, or the terminal that it was has gone.
_NO_INPUT: Final = frozenset({errno.EBADF, errno.EIO})
#: What JSON consists of between strings: all of its structure is ASCII.
_JSON_TOKEN: Final = re.compile(rb'[\[\]{},:"]|[^\s\[\]{},:"]+')
_NESTING: Final = {b"[": 1, b"{": 1, b"]": -1, b"}": -1}
#: What matters within a string: its end, and what may hide it.
_IN_JSON_STRING: Final = re.compile(rb'"|\\.', re.DOTALL)


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
      LocalFailure: it cannot be read.
    """
    pieces = _SPLITTERS[split]()
    number = unfinished = 0
    data = b"."
    while data:
        try:
            data = await trio.to_thread.run_sync(read, abandon_on_cancel=True)
        except OSError as error:
            raise LocalFailure(f"cannot read {name}: {error.strerror}") from None
        unfinished += len(data)
        if unfinished > MAX_MESSAGE:
            where = f"{pieces.unit} {number + 1} of {name}"
            raise Usage(f"{where} is over {MAX_MESSAGE} bytes (is --split {split} right?)")
        try:
            for piece in pieces.feed(data):
                number += 1
                unfinished = 0
                yield encoding.decode(piece, f"{pieces.unit} {number} of {name}")
        except _NotJSON as error:
            raise Usage(f"value {number + 1} of {name} is not JSON: {error}") from None


def read_stdin() -> bytes:
    """Some of standard input, past Python's buffer, whose lock an abandoned read would hold."""
    while True:
        try:
            return os.read(_STDIN, _READ_SIZE)
        except BlockingIOError:
            # Whoever shares the pipe or terminal with us may have made it so.
            select.select([_STDIN], [], [])
        except OSError as error:
            if error.errno in _NO_INPUT:
                return b""
            raise


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


class _Lines(_Delimited):
    """Lines, which end with LF or CRLF; the last may lack it."""

    def __init__(self) -> None:
        super().__init__(b"\n", "line")

    def feed(self, data: bytes) -> Iterator[bytes]:
        return (line.removesuffix(b"\r") for line in super().feed(data))


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
    """JSON values one after the other, however they are laid out.

    What is wrong with one is seen when it is complete: until then, only its end is looked for.
    """

    unit = "value"

    def __init__(self) -> None:
        #: What was not handed out yet.
        self._text = bytearray()
        #: How far it was looked at, and what surrounds that place.
        self._at = 0
        self._depth = 0
        self._in_string = False

    def feed(self, data: bytes) -> Iterator[bytes]:
        self._text += data
        while (end := self._end(last=not data)) is not None:
            value = bytes(self._text[:end])
            del self._text[:end]
            self._at = self._depth = 0
            yield _checked(value)
        if not data and self._text.strip():
            yield _checked(bytes(self._text))

    def _end(self, *, last: bool) -> int | None:
        """Where the first value ends; ``None`` where more is needed to know."""
        while True:
            if self._in_string:
                if not self._leave_string():
                    return None
            else:
                token = _JSON_TOKEN.search(self._text, self._at)
                if token is None:
                    return None
                # A number or a word may go on.
                if token.end() == len(self._text) and _is_word(token) and not last:
                    return None
                self._at = token.end()
                self._in_string = token[0] == b'"'
                self._depth += _NESTING.get(token[0], 0)
            if not self._in_string and self._depth <= 0:
                return self._at

    def _leave_string(self) -> bool:
        """Go on to the end of the string, if it is there."""
        while (token := _IN_JSON_STRING.search(self._text, self._at)) is not None:
            self._at = token.end()
            if token[0] == b'"':
                self._in_string = False
                return True
        # What a backslash at the end hides is still to come.
        self._at = len(self._text) - self._text.endswith(b"\\", self._at)
        return False


def _is_word(token: re.Match[bytes]) -> bool:
    return token[0] not in {*_NESTING, b",", b":", b'"'}


def _checked(value: bytes) -> bytes:
    """*value* without the space around it, if it is JSON."""
    value = value.strip()
    try:
        # Numbers are nobody's business here, however many digits they have.
        json.loads(value.decode(), parse_int=str, parse_float=str)
    except UnicodeDecodeError:
        raise _NotJSON("it is not UTF-8 text") from None
    except json.JSONDecodeError as error:
        raise _NotJSON(str(error)) from None
    except RecursionError:
        raise _NotJSON("it is nested too deeply") from None
    return value


_SPLITTERS: Final[dict[Split, Callable[[], _Splitter]]] = {
    Split.LINE: _Lines,
    Split.NULL: partial(_Delimited, b"\0", "message"),
    Split.JSON: _JSONValues,
    Split.NONE: _Whole,
}
