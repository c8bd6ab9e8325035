"""``--auth``, ``--bearer``, ``--allow-origin``, ``--subprotocol``: who is let in to a server."""

from __future__ import annotations

import base64
import inspect
from typing import TYPE_CHECKING, Final

from .._http import Origins, basic_auth, bearer_auth
from ..protocol.http import Response
from .failures import Usage, hide
from .secrets import read_lines, read_secret

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from .._http import ProcessRequest
    from ..protocol.http import Request
    from .options.serve import ServeOptions

#: What may stand in a token (RFC 9110, section 5.6.2), the alphanumeric apart.
_TOKEN_SIGNS: Final = frozenset("!#$%&'*+-.^_`|~")


def authentication(options: ServeOptions) -> ProcessRequest | None:
    """A hook that asks for what ``--auth`` and ``--bearer`` say: with both, either lets in.

    Raises:
      Usage: an entry makes no sense, or a file cannot be read.
    """
    checks = []
    if options.auth:
        checks.append(basic_auth(_passwords(_entries(options.auth, "--auth"))))
    if options.bearer:
        checks.append(bearer_auth(list(_tokens(_entries(options.bearer, "--bearer")))))
    return _either(checks) if checks else None


def _entries(given: Iterable[str], option: str) -> Iterator[str]:
    for one in given:
        if one.startswith("@"):
            lines = read_lines(one[1:], option)
            if not lines:
                raise Usage(f"{option}: there is nothing in {one[1:]}")
            yield from lines
        else:
            yield read_secret(one, option)


def _passwords(entries: Iterable[str]) -> dict[str, str]:
    known: dict[str, str] = {}
    for entry in entries:
        user, _, password = entry.partition(":")
        if not (user and password):
            # The entry may be a password that stands alone, so it is not repeated.
            raise Usage("--auth: write USER:PASSWORD, or @FILE with one of these a line")
        if user in known:
            raise Usage(f"--auth: the user {user} is given twice")
        for secret in (password, base64.b64encode(entry.encode()).decode()):
            hide(secret)
        known[user] = password
    return known


def _tokens(entries: Iterable[str]) -> Iterator[str]:
    for entry in entries:
        token = entry.strip()
        if not (token and token.isascii() and token.isprintable()) or " " in token:
            raise Usage("--bearer: a token is printable ASCII without spaces")
        hide(token)
        yield token


def _either(checks: Sequence[ProcessRequest]) -> ProcessRequest:
    """A hook that lets in what one of *checks* lets in."""

    async def process_request(request: Request) -> Response | None:
        challenges: list[tuple[str, str]] = []
        for check in checks:
            answer = check(request)
            refusal = await answer if inspect.isawaitable(answer) else answer
            if refusal is None:
                return None
            challenges += [
                ("WWW-Authenticate", one) for one in refusal.headers.get_all("www-authenticate")
            ]
        return Response.text(401, "Authentication is needed\n", challenges)

    return process_request


def origins_of(options: ServeOptions) -> tuple[str, ...]:
    """The ``origins`` of `serve`.

    Without ``--allow-origin``: any for ``--echo`` and ``--broadcast``, which have nothing to
    protect from other pages, as long as nobody has to say who he is; else the server's own.

    Raises:
      Usage: an entry is no origin.
    """
    if not options.allow_origin:
        return ("*",) if _is_open(options) else ("same",)
    try:
        Origins.parse(options.allow_origin)
    except ValueError as error:
        raise Usage(f"--allow-origin: {error}") from None
    return options.allow_origin


def _is_open(options: ServeOptions) -> bool:
    if options.auth or options.bearer:
        # A browser lends its user's password to any page that connects.
        return False
    return not (options.handler or options.exec or options.interactive or options.replay)


def subprotocols_of(options: ServeOptions) -> tuple[str, ...]:
    """The ``subprotocols`` of `serve`.

    Raises:
      Usage: an entry is no token, so no client could offer it.
    """
    for name in options.subprotocol:
        if not name or not all(c.isascii() and (c.isalnum() or c in _TOKEN_SIGNS) for c in name):
            raise Usage(f"--subprotocol {name}: not a name that can stand in a header")
    return options.subprotocol
