"""The headers that hold lists (RFC 6455, section 9.1, and RFC 9110, section 5.6).

Every parser here looks at each character once: there is no pattern that could backtrack, so
the time is linear in the input, whatever the input.
"""

from __future__ import annotations

import string
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

_TOKEN_CHARACTERS: Final = frozenset(string.ascii_letters + string.digits + "!#$%&'*+-.^_`|~")
_BLANK: Final = " \t"


@dataclass(frozen=True, slots=True)
class Extension:
    """One extension, offered or agreed upon.

    Attributes:
      name: a registered name, such as ``permessage-deflate``.
      parameters: pairs in their order; the value is ``None`` where the name stands alone.
    """

    name: str
    parameters: tuple[tuple[str, str | None], ...] = ()

    def __str__(self) -> str:
        return format_extensions([self])


def is_token(text: str) -> bool:
    """Whether *text* is a token (RFC 9110, section 5.6.2)."""
    return bool(text) and _TOKEN_CHARACTERS.issuperset(text)


def parse_tokens(value: str) -> tuple[str, ...]:
    """A comma-separated list of tokens; empty elements are skipped (RFC 9110, section 5.6.1).

    Raises:
      ValueError: an element is not a token.
    """
    tokens = [element.strip(_BLANK) for element in value.split(",")]
    for token in tokens:
        if token and not is_token(token):
            raise ValueError(f"not a token: {token[:40]!r}")
    return tuple(token for token in tokens if token)


def parse_extensions(value: str) -> tuple[Extension, ...]:
    """A ``Sec-WebSocket-Extensions`` header.

    Raises:
      ValueError: it does not follow the grammar.
    """
    scanner = _Scanner(value)
    extensions: list[Extension] = []
    while True:
        scanner.skip(_BLANK + ",")
        if scanner.at_end:
            return tuple(extensions)
        extensions.append(_extension(scanner))
        if not scanner.at_end and scanner.peek() != ",":
            raise scanner.error("a comma or a semicolon")


def _extension(scanner: _Scanner) -> Extension:
    name = scanner.token()
    parameters = []
    scanner.skip(_BLANK)
    while scanner.accept(";"):
        scanner.skip(_BLANK)
        parameters.append(_parameter(scanner))
        scanner.skip(_BLANK)
    return Extension(name, tuple(parameters))


def _parameter(scanner: _Scanner) -> tuple[str, str | None]:
    name = scanner.token()
    scanner.skip(_BLANK)
    if not scanner.accept("="):
        return name, None
    scanner.skip(_BLANK)
    if scanner.accept('"'):
        return name, scanner.quoted_token()
    return name, scanner.token()


def format_extensions(extensions: Iterable[Extension]) -> str:
    """The header value that says *extensions*."""
    return ", ".join(
        "; ".join(
            [one.name]
            + [name if value is None else f"{name}={value}" for name, value in one.parameters]
        )
        for one in extensions
    )


class _Scanner:
    """A position in a text that only moves forwards."""

    __slots__ = ("_position", "_text")

    def __init__(self, text: str) -> None:
        self._text = text
        self._position = 0

    @property
    def at_end(self) -> bool:
        return self._position == len(self._text)

    def peek(self) -> str:
        return self._text[self._position]

    def skip(self, characters: str) -> None:
        while not self.at_end and self.peek() in characters:
            self._position += 1

    def accept(self, character: str) -> bool:
        if self.at_end or self.peek() != character:
            return False
        self._position += 1
        return True

    def token(self) -> str:
        start = self._position
        while not self.at_end and self.peek() in _TOKEN_CHARACTERS:
            self._position += 1
        if start == self._position:
            raise self.error("a token")
        return self._text[start : self._position]

    def quoted_token(self) -> str:
        """The rest of a quoted string, which must hold a token (RFC 6455, section 9.1)."""
        characters = []
        while not self.accept('"'):
            self.accept("\\")
            if self.at_end:
                raise self.error("a closing quote")
            characters.append(self.peek())
            self._position += 1
        value = "".join(characters)
        if not is_token(value):
            raise self.error("a token between the quotes")
        return value

    def error(self, wanted: str) -> ValueError:
        return ValueError(f"{wanted} was expected at character {self._position + 1}")
