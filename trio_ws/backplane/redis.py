"""`RedisBackplane`: joins the hubs of many processes over Redis, with `coredis`."""

from __future__ import annotations

import math
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from .._client import supervised
from ._interface import Backplane

try:
    import coredis
    from coredis.retry import NoRetryPolicy
except ImportError as error:
    raise ImportError(
        "trio_ws.backplane.redis needs coredis: pip install 'trio-ws[redis]'", name="coredis"
    ) from error

from ._redis_link import RedisLink

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from ._interface import Link, Receiver

__all__ = ["RedisBackplane"]


class RedisBackplane(Backplane):
    """Joins the hubs of all processes that use the same Redis, and the same prefix.

    ::

        backplane = RedisBackplane("redis://localhost:6379/0")
        async with trio_ws.Hub(backplane=backplane) as hub:
            ...

    Members of this process get each other's messages also while Redis is gone; see `Hub.connected`
    and the records of `trio_ws.instrumentation`. It comes back by itself. Redis must be of version
    6 or newer.

    Args:
      url: ``redis://[user:password@]host[:port][/database]``, ``rediss://`` for TLS, or
        ``unix://path``. Or a function without arguments that makes a client of coredis: a
        ``Redis``, what a ``Sentinel`` gives for its primary, or a ``RedisCluster``. Give it
        ``stream_timeout`` and ``connect_timeout``, and, but for a ``Sentinel``'s, whose it is
        already, ``retry_policy=NoRetryPolicy()``.
      prefix: what the names of keys and channels begin with.
      timeout: seconds in which Redis has to answer, and a message to come back. Then it is taken
        for gone.
      options: for coredis's ``Redis.from_url``, such as ``ssl_context``.
    """

    def __init__(
        self,
        url: str | Callable[[], Any],
        *,
        prefix: str = "trio-ws:",
        timeout: float = 5.0,
        **options: Any,
    ) -> None:
        if not (timeout > 0 and math.isfinite(timeout)):
            raise ValueError(f"timeout must be a positive number of seconds, not {timeout!r}")
        self._prefix = prefix
        self._timeout = timeout
        self._url = url
        self._options = options

    def __repr__(self) -> str:
        # Without the URL, which may hold a password.
        return f"<RedisBackplane {self._prefix!a}>"

    def make_client(self) -> Any:
        """A new client, for one session."""
        if callable(self._url):
            return self._url()
        return coredis.Redis.from_url(
            self._url,
            retry_policy=NoRetryPolicy(),
            stream_timeout=self._timeout,
            connect_timeout=self._timeout,
            **self._options,
        )

    @asynccontextmanager
    async def connect(self, receiver: Receiver) -> AsyncGenerator[Link]:
        """A link for the length of the block; see `Backplane.connect`.

        Entering waits for the first attempt to reach Redis, *timeout* seconds at most.
        """
        link = RedisLink(self.make_client, receiver, prefix=self._prefix, timeout=self._timeout)
        async with supervised(link.close) as nursery:
            await nursery.start(link.run)
            yield link
