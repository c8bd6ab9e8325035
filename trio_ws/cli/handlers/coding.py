"""Between messages and the bytes that a process reads and writes."""

from __future__ import annotations

import codecs
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .mode import Message


class Undecodable(Exception):
    """What a process writes cannot be made into messages; the message says why."""


class Coding(ABC):
    """One process's way of taking and giving messages."""

    @abstractmethod
    def encode(self, message: Message) -> bytes:
        """What the process is to read."""

    @abstractmethod
    def decode(self, data: bytes) -> Iterator[Message]:
        """The messages that *data*, written by the process, completes. ``b""`` is its end.

        Raises:
          Undecodable: the output makes no messages.
        """


class Lines(Coding):
    """A text message is a line, without its end.

    Args:
      max_size: bytes of the longest line.
    """

    def __init__(self, max_size: int) -> None:
        self._max_size = max_size
        self._pieces: list[bytes] = []
        self._size = 0

    def encode(self, message: Message) -> bytes:
        return _encoded(message) + b"\n"

    def decode(self, data: bytes) -> Iterator[Message]:
        *lines, rest = data.split(b"\n")
        for line in lines:
            yield self._completed(line)
        self._keep(rest)
        if not data and self._size:
            # The last line has no end.
            yield self._completed(b"")

    def _completed(self, piece: bytes) -> str:
        self._keep(piece)
        line = b"".join(self._pieces).removesuffix(b"\r")
        self._pieces.clear()
        self._size = 0
        try:
            return line.decode()
        except UnicodeDecodeError:
            raise Undecodable("the output is not UTF-8 text; --binary sends bytes") from None

    def _keep(self, piece: bytes) -> None:
        self._size += len(piece)
        if self._size > self._max_size:
            raise Undecodable(f"a line of the output is over {self._max_size} bytes")
        if piece:
            self._pieces.append(piece)


class Bytes(Coding):
    """Bytes as they come are binary messages."""

    def encode(self, message: Message) -> bytes:
        return _encoded(message)

    def decode(self, data: bytes) -> Iterator[Message]:
        if data:
            yield data


class Text(Coding):
    """Bytes as they come are text messages, cut between characters."""

    def __init__(self) -> None:
        # A terminal shows something for what is not text as well.
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def encode(self, message: Message) -> bytes:
        return _encoded(message)

    def decode(self, data: bytes) -> Iterator[Message]:
        text = self._decoder.decode(data, final=not data)
        if text:
            yield text


def _encoded(message: Message) -> bytes:
    return message.encode() if isinstance(message, str) else message
