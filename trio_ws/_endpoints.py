"""Where a reconnecting client connects to: one target, several in turn, or whatever is asked."""

from __future__ import annotations

import inspect
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ._errors import InvalidURL
from ._url import parse_url
from .protocol.http import Headers

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from typing import TypeAlias

    from .protocol.http import HeadersLike

    SingleTarget: TypeAlias = "str | Endpoint"
    TargetLike: TypeAlias = (
        SingleTarget | Sequence[SingleTarget] | Callable[[], Awaitable[SingleTarget]]
    )


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A URL with headers of its own, for targets that need them.

    Attributes:
      url: as for `connect`.
      headers: sent besides those in the options, and instead of those of the same name.
    """

    url: str
    headers: HeadersLike = field(default=(), repr=False)

    @property
    def shown(self) -> str:
        """The URL for people: without credentials, and without a query, which may hold a token."""
        try:
            return str(parse_url(self.url)).partition("?")[0]
        except InvalidURL as error:
            # A callable may bring anything.
            return error.url

    def merged_headers(self, common: HeadersLike) -> Headers:
        """*common* and its own, where its own take precedence."""
        own = Headers(self.headers)
        kept = [(name, value) for name, value in Headers(common).raw if name not in own]
        return Headers([*kept, *own.raw])


class Targets:
    """What a client was given as its target.

    Attributes:
      renewable: whether it is a callable, which may bring other credentials.

    Raises:
      InvalidURL: a URL that cannot be connected to.
      ValueError: there is no target.
      TypeError: it is neither a URL nor an `Endpoint`; for a callable, when it is asked.
    """

    def __init__(self, target: TargetLike) -> None:
        self._turn = 0
        self._ask: Callable[[], Awaitable[SingleTarget]] | None = None
        self._several: list[Endpoint] = []
        self.renewable = callable(target)
        if callable(target):
            self._ask = target
            return
        # What is wrong for ever is said at once.
        several = [target] if isinstance(target, str | Endpoint) else list(target)
        if not several:
            raise ValueError("there must be at least one target")
        self._several = [_endpoint(one) for one in several]
        for one in self._several:
            parse_url(one.url)

    async def choose(self) -> Endpoint:
        """The one whose turn it is. Raises what the callable raises."""
        if self._ask is not None:
            answer: object = self._ask()
            if not inspect.isawaitable(answer):
                kind = type(answer).__name__
                raise TypeError(f"a callable as the target must be async, not return a {kind}")
            return _endpoint(await answer)
        return self._several[self._turn % len(self._several)]

    def next_turn(self) -> None:
        """It is the next one's turn, if there are several."""
        self._turn += 1


def _endpoint(target: object) -> Endpoint:
    if isinstance(target, str):
        return Endpoint(target)
    if isinstance(target, Endpoint) and isinstance(target.url, str):
        return target
    # The type only: what it holds may be a secret.
    if isinstance(target, Endpoint):
        raise TypeError(f"the url of an Endpoint must be a str, not {type(target.url).__name__}")
    raise TypeError(f"a target must be a URL or an Endpoint, not {type(target).__name__}")
