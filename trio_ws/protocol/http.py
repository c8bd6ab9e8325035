"""The HTTP that an opening handshake speaks of: headers, requests, responses."""

from __future__ import annotations

import http
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, TypeAlias

#: What can be made into `Headers`.
HeadersLike: TypeAlias = Mapping[str, str] | Iterable[tuple[str, str]]

#: How h11 shows bytes that it speaks of.
_H11_BYTES: Final = re.compile(r"""bytearray\(b(('|")(?:\\.|(?!\2).)*\2)\)""")
_MOST_SAID: Final = 120


class Headers(Mapping[str, str]):
    """HTTP headers: immutable, case-insensitive, with their order and spelling kept.

    ``headers["name"]`` joins repeated headers with a comma, as RFC 9110, section 5.3, allows;
    `get_all` keeps them apart.

    Args:
      headers: a mapping, or pairs of name and value.
    """

    __slots__ = ("raw",)

    #: The pairs as given.
    raw: tuple[tuple[str, str], ...]

    def __init__(self, headers: HeadersLike = ()) -> None:
        if isinstance(headers, Headers):
            self.raw = headers.raw
        elif isinstance(headers, Mapping):
            self.raw = tuple(headers.items())
        else:
            self.raw = tuple(headers)

    def get_all(self, name: str) -> tuple[str, ...]:
        """The values of every header called *name*, in order."""
        wanted = name.lower()
        return tuple(value for key, value in self.raw if key.lower() == wanted)

    def __getitem__(self, name: str) -> str:
        values = self.get_all(name)
        if not values:
            raise KeyError(name)
        return ", ".join(values)

    def __iter__(self) -> Iterator[str]:
        return iter({name.lower(): None for name, _ in self.raw})

    def __len__(self) -> int:
        return len({name.lower() for name, _ in self.raw})

    def __repr__(self) -> str:
        return f"Headers({list(self.raw)!r})"


@dataclass(frozen=True, slots=True)
class Request:
    """An HTTP request without a body.

    Attributes:
      method: ``GET`` for every WebSocket.
      target: path and query as sent, which is to say percent-encoded and not to be trusted.
      headers: as sent.
      http_version: ``1.1`` or ``1.0``.
    """

    method: str
    target: str
    headers: Headers
    http_version: str = "1.1"

    @property
    def path(self) -> str:
        """The target up to its first ``?``, still percent-encoded."""
        return self.target.partition("?")[0]

    @property
    def query(self) -> str:
        """The target after its first ``?``, still percent-encoded."""
        return self.target.partition("?")[2]


@dataclass(frozen=True, slots=True)
class Response:
    """An HTTP response.

    Attributes:
      status: the status code.
      headers: without those that frame the body, which are added when it is sent.
      body: the body.
      reason: the reason phrase; by default the status code's own.
    """

    status: int
    headers: Headers = field(default_factory=Headers)
    body: bytes = b""
    reason: str = ""

    @classmethod
    def text(cls, status: int, text: str, headers: HeadersLike = ()) -> Response:
        """A plain-text answer."""
        content_type = ("Content-Type", "text/plain; charset=utf-8")
        return cls(status, Headers([*Headers(headers).raw, content_type]), text.encode())


def reason_phrase(response: Response) -> str:
    """The response's reason phrase, or the usual one for its status.

    Raises:
      ValueError: it holds what would end the status line (RFC 9112, section 4).
    """
    if response.reason:
        if not (response.reason.isascii() and response.reason.isprintable()):
            raise ValueError(f"a reason phrase is printable ASCII, not {response.reason!a}")
        return response.reason
    try:
        return http.HTTPStatus(response.status).phrase
    except ValueError:
        return ""


def problem_in(error: Exception) -> str:
    """What h11 found wrong, in one line that is not too long, with bytes quoted as text is."""
    problem = _H11_BYTES.sub(r"\1", str(error))
    return problem if len(problem) <= _MOST_SAID else f"{problem[:_MOST_SAID]}..."
