"""Plain HTTP on a WebSocket port, and who is let in: hooks, authentication, origins.

A hook sees a request before it becomes a connection. It returns ``None`` to let it go on, or the
`Response` to answer it with.
"""

from __future__ import annotations

import base64
import hmac
import inspect
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

from .protocol.http import Response

if TYPE_CHECKING:
    from .protocol.http import Request

#: A hook, sync or async.
ProcessRequest: TypeAlias = Callable[["Request"], "Response | Awaitable[Response | None] | None"]
_Verdict: TypeAlias = bool | Awaitable[bool]

_DEFAULT_PORTS: Final = {"http": 80, "https": 443, "ws": 80, "wss": 443}
#: An origin as browsers send it (RFC 6454, section 6.1): scheme, host, perhaps a port.
#: Names are in ASCII there, so anything else in one is an attempt to be taken for another;
#: ``*`` is for patterns, and no host's name.
_HOST: Final = re.compile(r"([a-z0-9_.*-]+|\[[0-9a-f:.]+\])(?::([0-9]{1,5}))?")
_ORIGIN: Final = re.compile(rf"([a-z][a-z0-9+.-]*)://{_HOST.pattern}")


def all_of(*hooks: ProcessRequest) -> ProcessRequest:
    """A hook that asks each of *hooks* in turn: the first answer wins."""

    async def process_request(request: Request) -> Response | None:
        for hook in hooks:
            response = await _awaited(hook(request))
            if response is not None:
                return response
        return None

    return process_request


async def _awaited(answer: Response | Awaitable[Response | None] | None) -> Response | None:
    return await answer if inspect.isawaitable(answer) else answer


def health(path: str = "/healthz") -> ProcessRequest:
    """A hook that answers ``GET`` or ``HEAD`` on *path* with 200, for probes and balancers."""

    def process_request(request: Request) -> Response | None:
        if request.path != path or "upgrade" in request.headers:
            return None
        return Response.text(200, "ok\n", [("Cache-Control", "no-store")])

    return process_request


# Authentication


def basic_auth(
    credentials: Mapping[str, str] | Callable[[str, str], bool | Awaitable[bool]],
    *,
    realm: str = "trio-ws",
) -> ProcessRequest:
    """A hook that asks for a user and a password (RFC 7617).

    Args:
      credentials: passwords by user, compared in constant time; or a callable, sync or async,
        that is given both and says whether to let them in.
      realm: what the user is told that the password is for.
    """
    check = credentials if callable(credentials) else _check_password(credentials)

    async def process_request(request: Request) -> Response | None:
        given = _parse_basic(_authorization(request, "basic"))
        if given is not None and await _verdict(check(*given)):
            return None
        return _unauthorized(f'Basic realm="{quoted}", charset="UTF-8"')

    quoted = _quoted(realm)
    return process_request


def bearer_auth(
    tokens: Iterable[str] | Callable[[str], bool | Awaitable[bool]], *, realm: str = "trio-ws"
) -> ProcessRequest:
    """A hook that asks for a bearer token (RFC 6750).

    Args:
      tokens: those that are let in, compared in constant time; or a callable, sync or async,
        that is given one and says whether to let it in.
      realm: what the user is told that the token is for.
    """
    check = tokens if callable(tokens) else _check_token(tokens)

    async def process_request(request: Request) -> Response | None:
        token = _authorization(request, "bearer")
        if token and await _verdict(check(token)):
            return None
        return _unauthorized(f'Bearer realm="{quoted}"')

    quoted = _quoted(realm)
    return process_request


async def _verdict(verdict: _Verdict) -> bool:
    return bool(await verdict if inspect.isawaitable(verdict) else verdict)


def _check_password(passwords: Mapping[str, str]) -> Callable[[str, str], bool]:
    known = {user: password.encode() for user, password in passwords.items()}

    def check(user: str, password: str) -> bool:
        # An unknown user is compared as well, and so takes no less time than a wrong password.
        right = hmac.compare_digest(known.get(user, b"\0"), password.encode())
        return right and user in known

    return check


def _check_token(tokens: Iterable[str]) -> Callable[[str], bool]:
    if isinstance(tokens, str):
        raise TypeError("tokens are given as an iterable of strings, not as one string")
    known = [token.encode() for token in tokens]
    if b"" in known:
        raise ValueError("an empty token would let everybody in")

    def check(token: str) -> bool:
        given = token.encode()
        # Every one is compared, whichever fits.
        return sum(hmac.compare_digest(one, given) for one in known) > 0

    return check


def _authorization(request: Request, scheme: str) -> str | None:
    """What follows *scheme* in the one Authorization header, if that is so."""
    values = request.headers.get_all("authorization")
    if len(values) != 1:
        return None
    given, _, rest = values[0].strip().partition(" ")
    return rest.strip() if given.lower() == scheme else None


def _parse_basic(encoded: str | None) -> tuple[str, str] | None:
    if encoded is None:
        return None
    try:
        user, colon, password = base64.b64decode(encoded, validate=True).decode().partition(":")
    except ValueError:
        # Not base64, not ASCII, or not UTF-8 inside.
        return None
    return (user, password) if colon else None


def _quoted(text: str) -> str:
    if not (text.isascii() and text.isprintable()):
        raise ValueError("a realm must be printable ASCII")
    return text.replace("\\", "\\\\").replace('"', '\\"')


def _unauthorized(challenge: str) -> Response:
    return Response.text(401, "Authentication is needed\n", [("WWW-Authenticate", challenge)])


# Origins


@dataclass(frozen=True, slots=True)
class _Pattern:
    """One entry of a list of origins; ``None`` matches anything."""

    scheme: str | None
    host: str
    port: int | None

    def matches(self, scheme: str, host: str, port: int | None) -> bool:
        if self.scheme is not None and (self.scheme, self.port) != (scheme, port):
            return False
        if self.host.startswith("*."):
            return host.endswith(self.host[1:]) and len(host) > len(self.host) - 1
        return host == self.host


@dataclass(frozen=True, slots=True)
class Origins:
    """Which ``Origin`` headers are let in (RFC 6455, section 10.2).

    Attributes:
      any: whether all are.
      same: whether those are whose host is the one asked for.
      patterns: those that are besides.
    """

    any: bool = False
    same: bool = False
    patterns: tuple[_Pattern, ...] = ()

    @classmethod
    def parse(cls, setting: str | Iterable[str]) -> Origins:
        """From what `serve` takes: ``"*"``, ``"same"``, or an iterable that may hold either.

        Raises:
          ValueError: an entry is neither an origin nor a host.
        """
        entries = [setting] if isinstance(setting, str) else list(setting)
        return cls(
            "*" in entries,
            "same" in entries,
            tuple(_parse_pattern(one) for one in entries if one not in {"*", "same"}),
        )

    def check(self, request: Request) -> Response | None:
        """``None`` when *request* is let in, else the 403."""
        values = request.headers.get_all("origin")
        # Only browsers send one, and it is browsers that must be kept from lending their
        # cookies to other sites.
        if self.any or not values:
            return None
        if len(values) == 1 and self._allows(values[0].strip().lower(), request):
            return None
        return Response.text(403, "Connections from this origin are not accepted\n")

    def _allows(self, origin: str, request: Request) -> bool:
        match = _ORIGIN.fullmatch(origin)
        if match is None:
            return False
        scheme, host = match[1], match[2]
        port = int(match[3]) if match[3] else _DEFAULT_PORTS.get(scheme)
        if self.same and (host, port) == _host_asked_for(request, scheme):
            return True
        return any(pattern.matches(scheme, host, port) for pattern in self.patterns)


def _host_asked_for(request: Request, scheme: str) -> tuple[str, int | None] | None:
    match = _HOST.fullmatch(request.headers.get("host", "").strip().lower())
    if match is None:
        return None
    return match[1], int(match[2]) if match[2] else _DEFAULT_PORTS.get(scheme)


def _parse_pattern(entry: str) -> _Pattern:
    lowered = entry.strip().lower()
    match = _ORIGIN.fullmatch(lowered)
    if match is not None:
        scheme, host = match[1], match[2]
        port = int(match[3]) if match[3] else _DEFAULT_PORTS.get(scheme)
        pattern = _Pattern(scheme, host, port)
    elif (match := _HOST.fullmatch(lowered)) is not None and match[2] is None:
        pattern = _Pattern(None, match[1], None)
    else:
        raise ValueError(
            f"not an origin: {entry!r}; write 'https://example.com', 'example.com', "
            "'*.example.com', 'same' or '*'"
        )
    if "*" in pattern.host.removeprefix("*."):
        raise ValueError(
            f"not an origin: {entry!r}; '*' stands for leading labels only, as in '*.example.com'"
        )
    return pattern
