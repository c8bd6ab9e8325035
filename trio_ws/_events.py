"""Who is told what happens to a reconnecting client: its hooks, and streams of events."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final
from weakref import WeakSet

import trio

from .instrumentation import Hooks

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .instrumentation import Hook, ReconnectEvent

#: Events that a stream holds before it drops the oldest.
_EVENTS_HELD: Final = 100


class EventStream(trio.abc.ReceiveChannel["ReconnectEvent"]):
    """What happens to a `Client`, from the time it was asked for: iterate over it.

    It holds 100 events; when nobody takes them, the oldest make room. It ends with the client.

    Attributes:
      dropped: events that made room.
    """

    def __init__(self) -> None:
        self.dropped = 0
        self._events: deque[ReconnectEvent] = deque()
        self._waiters = trio.lowlevel.ParkingLot()
        self._ended = False
        self._closed = False

    async def receive(self) -> ReconnectEvent:
        """The next event. Cancellation: nothing is lost.

        Raises:
          trio.EndOfChannel: the client has ended.
          trio.ClosedResourceError: the stream was closed.
        """
        await trio.lowlevel.checkpoint()
        while not self._events:
            if self._closed:
                raise trio.ClosedResourceError
            if self._ended:
                raise trio.EndOfChannel
            await self._waiters.park()
        return self._events.popleft()

    async def aclose(self) -> None:
        """Take no more events."""
        self._closed = True
        self._events.clear()
        self._waiters.unpark_all()
        await trio.lowlevel.checkpoint()

    def put(self, event: ReconnectEvent) -> None:
        """Append an event."""
        if self._closed:
            return
        if len(self._events) >= _EVENTS_HELD:
            self._events.popleft()
            self.dropped += 1
        self._events.append(event)
        self._waiters.unpark()

    def end(self) -> None:
        """No more will come."""
        self._ended = True
        self._waiters.unpark_all()


class Audience:
    """A client's hooks and streams of events."""

    def __init__(self, hooks: Iterable[Hook]) -> None:
        self._hooks = Hooks(hooks)
        # Weak: nobody can take events from a stream that was dropped, closed or not.
        self._streams: WeakSet[EventStream] = WeakSet()
        self._ended = False

    def stream(self) -> EventStream:
        """A new stream, of what happens from now on."""
        stream = EventStream()
        if self._ended:
            stream.end()
        self._streams.add(stream)
        return stream

    def tell(self, event: ReconnectEvent) -> None:
        """Tell everybody."""
        for stream in self._streams:
            stream.put(event)
        self._hooks.tell(event)

    def end(self) -> None:
        """Nothing more will happen."""
        self._ended = True
        for stream in self._streams:
            stream.end()
