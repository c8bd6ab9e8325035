"""`Membership`: a WebSocket in a topic, as its handler sees it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from types import TracebackType
    from typing import Self

    from .._websocket import WebSocket
    from ..backplane import Position
    from .members import Joined


class Membership:
    """A WebSocket's membership of a topic, for the length of a block: see `Hub.join`.

    Attributes:
      ws: the connection.
      topic: the topic's name.
    """

    __slots__ = ("_entered", "_join", "_joined", "topic", "ws")

    def __init__(self, ws: WebSocket, topic: str, join: Callable[[], Awaitable[Joined]]) -> None:
        self.ws = ws
        self.topic = topic
        self._join = join
        self._entered = False
        self._joined: Joined | None = None

    def __repr__(self) -> str:
        state = "left" if self.has_left else "not entered" if self._joined is None else "in"
        return f"<Membership of {self.ws.id} in {self.topic!a}: {state}>"

    async def __aenter__(self) -> Self:
        if self._entered:
            raise RuntimeError("a Membership can be entered once; join again for another")
        self._entered = True
        self._joined = await self._join()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._in().member.leave_now()

    @property
    def position(self) -> Position | None:
        """Where the topic was when it was joined; ``None`` where it has no ``history``.

        Tell it the client, if it may come back before it has seen a message: what came later, it
        can ask for with ``since=``.
        """
        return self._in().position

    @property
    def recovered(self) -> bool | None:
        """Whether all that came after ``since=`` is being sent; ``None`` where it was not asked.

        ``False``: nothing of it is, because some is no longer kept, or the sequence that it was a
        position in is gone. Then send the client what it needs to begin anew.
        """
        return self._in().recovered

    @property
    def has_left(self) -> bool:
        """Whether it is over: the block was left, the connection has ended, or it was evicted."""
        return self._joined is not None and self._joined.member.left

    @property
    def evicted(self) -> bool:
        """Whether it was made to leave because it was too slow; its connection closes with 1013."""
        return self._in().member.evicted

    @property
    def dropped(self) -> int:
        """Messages that its policy for slow members has dropped."""
        return self._in().member.dropped

    def leave(self) -> None:
        """Leave now, before the block's end. Idempotent."""
        self._in().member.leave_now()

    def _in(self) -> Joined:
        if self._joined is None:
            raise RuntimeError("use it in a block: async with hub.join(...) as membership")
        return self._joined
