"""How long each stage of the opening of a connection takes."""

from __future__ import annotations

import socket
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import trio

from .._dial import Stage
from .figures import shown

if TYPE_CHECKING:
    from collections.abc import Generator

_NAMES: Final = {Stage.TLS: "TLS"}


class Opening(trio.abc.HostnameResolver):
    """A stopwatch, to be told of each stage as it begins.

    Looking up the host is a part of connecting that nobody tells of. So that it can be told
    apart, the lookups within `watching_names` go through here.

    Attributes:
      spent: seconds, by stage; over all redirects.
    """

    def __init__(self) -> None:
        self.spent: dict[Stage, float] = {}
        self._stage: Stage | None = None
        self._since = 0.0

    def begin(self, stage: Stage) -> None:
        """The last stage is over, and *stage* begins."""
        now = trio.current_time()
        if self._stage is not None:
            self._spend(self._stage, now - self._since)
        self._stage, self._since = stage, now

    def _spend(self, stage: Stage, seconds: float) -> None:
        self.spent[stage] = self.spent.get(stage, 0.0) + seconds

    def __str__(self) -> str:
        known = [stage for stage in Stage if stage in self.spent]
        return ", ".join(
            f"{_NAMES.get(stage, stage)} {shown(self.spent[stage])}" for stage in known
        )

    @contextmanager
    def watching_names(self) -> Generator[None]:
        """Time the lookups of all tasks while the block lasts."""
        before = trio.socket.set_custom_hostname_resolver(self)
        try:
            yield
        finally:
            trio.socket.set_custom_hostname_resolver(before)

    async def getaddrinfo(self, *arguments: Any) -> Any:
        """What the socket module's function of this name does, timed."""
        began = trio.current_time()
        try:
            return await trio.to_thread.run_sync(
                socket.getaddrinfo, *arguments, abandon_on_cancel=True
            )
        finally:
            took = trio.current_time() - began
            self._spend(Stage.RESOLVE, took)
            self._since += took

    async def getnameinfo(self, sockaddr: Any, flags: int) -> Any:
        """As the socket module's function of this name; nothing here needs it."""
        return await trio.to_thread.run_sync(
            socket.getnameinfo, sockaddr, flags, abandon_on_cancel=True
        )
