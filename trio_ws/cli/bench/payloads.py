"""Messages that can be told apart when they come back."""

from __future__ import annotations

import random
import string
from contextlib import suppress
from typing import Final

#: What each message begins with: its number, in hexadecimal or in bytes.
NUMBER_SIZE: Final = 16
_NONE: Final = -1
_ALPHABET: Final = string.ascii_letters + string.digits


class Payloads:
    """Messages of *size* bytes, each a number and what never changes.

    The rest is random, so that compression has something to do, and another for each *seed*.
    """

    def __init__(self, size: int, *, binary: bool, seed: int) -> None:
        chance = random.Random(seed)
        length = size - NUMBER_SIZE
        self._size = size
        self._rest: str | bytes
        if binary:
            self._rest = chance.randbytes(length)
        else:
            self._rest = "".join(chance.choices(_ALPHABET, k=length))

    def make(self, number: int) -> str | bytes:
        """The message with this number."""
        if isinstance(self._rest, bytes):
            return number.to_bytes(NUMBER_SIZE, "big") + self._rest
        return f"{number:016x}{self._rest}"

    def number_of(self, message: str | bytes) -> int:
        """The number of a message; -1 where `make` has never made it."""
        rest = self._rest
        if len(message) != self._size:
            return _NONE
        if isinstance(message, bytes):
            if isinstance(rest, bytes) and message.endswith(rest):
                return int.from_bytes(message[:NUMBER_SIZE], "big")
        elif isinstance(rest, str) and message.endswith(rest):
            with suppress(ValueError):
                return int(message[:NUMBER_SIZE], 16)
        return _NONE
