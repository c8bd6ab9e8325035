"""How a message looks on stdout: as bytes, a line each unless it is asked for raw."""

from __future__ import annotations

import base64
import json
import re
import unicodedata
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Final

from .options.client import Color, Format

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

#: Characters of ordinary text that Python calls unprintable: those that join emoji, and parts of
#: words in Persian and Indic scripts.
_JOINERS: Final = frozenset("\u200c\u200d")
#: What JSON consists of; what is left over is white space.
_JSON_TOKEN: Final = re.compile(r'"(?:[^"\\]|\\.)*"|[\[\]{},:]|[^\s\[\]{},:"]+')
_INDENT: Final = "  "

_DIM: Final = "\x1b[2m"
_KEY: Final = "\x1b[34m"
_STRING: Final = "\x1b[32m"
_OTHER: Final = "\x1b[35m"
_RESET: Final = "\x1b[0m"


def wants_color(setting: Color, *, terminal: bool, environment: Mapping[str, str]) -> bool:
    """Whether there are colours: as asked, or else on a terminal, unless ``NO_COLOR`` says no."""
    if setting is not Color.AUTO:
        return setting is Color.ALWAYS
    return terminal and not environment.get("NO_COLOR") and environment.get("TERM") != "dumb"


@dataclass(frozen=True, slots=True, kw_only=True)
class Renderer:
    """Makes messages into output.

    Attributes:
      format: which of the formats; JSON lines are not made here.
      terminal: whether the output is one, which acts upon control characters.
      color: whether there are colours.
      timestamps: whether each message begins with when it came.
      prefix: what stands before that.
    """

    format: Format
    terminal: bool = False
    color: bool = False
    timestamps: bool = False
    prefix: str = ""

    def render(self, message: str | bytes, ts: float) -> bytes:
        """The output for *message*, which came at *ts*, in seconds since 1970."""
        if self.format is Format.RAW:
            return message if isinstance(message, bytes) else message.encode()
        # Under a prefix, no line of a message looks like one that is none.
        body = self._body(message).replace(b"\n", b"\n" + b" " * len(self.prefix))
        return b"%s%s%s\n" % (self.prefix.encode(), self._time(ts), body)

    def aside(self, text: str) -> bytes:
        """The output for *text*, a line that is about the messages."""
        return f"{_DIM}{text}{_RESET}\n".encode() if self.color else f"{text}\n".encode()

    def _time(self, ts: float) -> bytes:
        if not self.timestamps:
            return b""
        time = datetime.fromtimestamp(ts).astimezone().isoformat(timespec="milliseconds")
        return f"{_DIM}{time}{_RESET} ".encode() if self.color else f"{time} ".encode()

    def _body(self, message: str | bytes) -> bytes:
        data = message if isinstance(message, bytes) else message.encode()
        if self.format is Format.HEX:
            return data.hex(" ").encode()
        if self.format is Format.BASE64:
            return base64.b64encode(data)
        text = message if isinstance(message, str) else None
        if self.format is Format.PRETTY and text is not None:
            indented = pretty(text, color=self.color)
            if indented is not None:
                return indented.encode()
        return self._for_terminal(message) if self.terminal else data

    def _for_terminal(self, message: str | bytes) -> bytes:
        if isinstance(message, str):
            return escaped(message).encode()
        shown = f"binary, {len(message)} bytes: {message.hex(' ')}"
        return f"{_DIM}{shown}{_RESET}".encode() if self.color else shown.encode()


def escaped(text: str) -> str:
    """*text* without anything that a terminal would act upon, but for tabs and line ends."""
    return "".join(c if _is_harmless(c) or c in "\t\n" else ascii(c)[1:-1] for c in text)


def _is_harmless(character: str) -> bool:
    # Blanks of any width are, too.
    return (
        character.isprintable() or character in _JOINERS or unicodedata.category(character) == "Zs"
    )


def _escaped_json(string: str) -> str:
    """*string*, a token of JSON, as `escaped` but in JSON's own way."""
    return "".join(c if _is_harmless(c) else json.dumps(c)[1:-1] for c in string)


def pretty(text: str, *, color: bool = False) -> str | None:
    """*text* laid out with a member a line, where it is an object or array in JSON.

    Nothing else changes: numbers, strings and repeated keys stay as they were written, but for
    what a terminal would act upon, which is escaped as JSON allows.
    """
    try:
        if not isinstance(json.loads(text), dict | list):
            return None
    except (ValueError, RecursionError):
        return None
    return "".join(_laid_out(_JSON_TOKEN.findall(text), color))


def _laid_out(tokens: list[str], color: bool) -> Iterator[str]:
    depth = 0
    for token, following in zip(tokens, [*tokens[1:], ""], strict=True):
        if token in {"{", "["}:
            depth += 1
            yield token
            if following not in {"}", "]"}:
                yield _new_line(depth)
        elif token in {"}", "]"}:
            depth -= 1
            yield token
        elif token == ",":
            yield token + _new_line(depth)
        elif token == ":":
            yield ": "
        else:
            yield _value(token, is_key=following == ":", color=color)
        if following in {"}", "]"} and token not in {"{", "["}:
            yield _new_line(depth - 1)


def _new_line(depth: int) -> str:
    return "\n" + _INDENT * depth


def _value(token: str, *, is_key: bool, color: bool) -> str:
    shown = _escaped_json(token)
    if not color:
        return shown
    kind = _OTHER if not token.startswith('"') else _KEY if is_key else _STRING
    return f"{kind}{shown}{_RESET}"
