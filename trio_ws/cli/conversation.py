"""A conversation: what is sent, what comes, and when it is over."""

from __future__ import annotations

import math
from contextlib import aclosing, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import trio

from .._errors import ConnectionClosed, GaveUp
from .._keep_connected import ReconnectingWebSocket
from .failures import Usage

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence

    from .._websocket import WebSocket
    from .goal import Goal
    from .output import Output

    Messages = AsyncGenerator[str | bytes]

#: Quiet seconds until bad input ends it, where it would go on for longer.
_LINGER_AT_MOST: Final = 2.0
#: What calls on a connection that has ended raise.
_ENDED = (ConnectionClosed, GaveUp, trio.ClosedResourceError)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is to be said, and when it is over.

    Attributes:
      goal: what is waited for.
      given: what is sent in any case, in order.
      more: what is sent after that, until it ends or the goal is reached.
      delay: seconds between two messages.
      linger: quiet seconds after the last message that was sent or came, until it is over;
        infinite: until the server closes. Where there is a goal, only that is waited for.
      heartbeat: sent again and again, and the seconds between.
    """

    goal: Goal
    given: Sequence[Callable[[], Messages]] = ()
    more: Callable[[], Messages] | None = None
    delay: float = 0.0
    linger: float = math.inf
    heartbeat: tuple[str, float] | None = None


class Conversation:
    """One conversation.

    Args:
      ws: over what.
      plan: what is said, and when it is over.
      output: what shows it.
      talk: sends what somebody types, after what is given, until they have had enough.
    """

    def __init__(
        self,
        ws: WebSocket,
        plan: Plan,
        output: Output,
        talk: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self._ws = ws
        self._plan = plan
        self._output = output
        self._talk = talk
        #: Ends the receiving when it is over.
        self._listening = trio.CancelScope()
        self._is_showing = False
        self._given_sent = False
        self._has_sent = False
        self._input_ended = False
        self._bad_input: Usage | None = None

    async def run(self) -> None:
        """Send and receive until it is over.

        Raises:
          Unmet: the goal was not reached.
          ConnectionClosedError: the connection ended, and not in good order.
          GaveUp: reconnecting ended.
          Usage: the input is not what it should be.
        """
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._send)
            if self._plan.heartbeat is not None:
                nursery.start_soon(self._send_heartbeats, *self._plan.heartbeat)
            with self._listening:
                await self._receive()
            nursery.cancel_scope.cancel()
        if self._bad_input is not None:
            raise self._bad_input
        self._plan.goal.check()

    async def _receive(self) -> None:
        goal = self._plan.goal
        # Closed here: somebody typed so.
        with suppress(trio.ClosedResourceError):
            async for message in self._ws:
                # What comes beyond the goal, while there is something to be sent, is nobody's.
                if not goal.is_reached:
                    goal.count_in(message)
                    await self._show(message)
                self._look_whether_it_is_over()

    async def _show(self, message: str | bytes) -> None:
        # It is quiet when nothing comes, not when nobody reads what came.
        self._is_showing = True
        self._listening.deadline = math.inf
        try:
            await self._output.received(message)
        finally:
            self._is_showing = False

    def _look_whether_it_is_over(self) -> None:
        goal = self._plan.goal
        if self._is_showing:
            return
        if goal.is_reached:
            if self._given_sent or self._bad_input is not None:
                self._listening.cancel()
        elif self._bad_input is not None:
            self._listening.deadline = trio.current_time() + min(self._plan.linger, _LINGER_AT_MOST)
        elif self._input_ended and not goal.is_set:
            self._listening.deadline = trio.current_time() + self._plan.linger

    # Sending

    async def _send(self) -> None:
        plan = self._plan
        try:
            for messages in plan.given:
                await self._send_all(messages())
            self._given_sent = True
            self._look_whether_it_is_over()
            if self._talk is not None:
                await self._talk()
                self._listening.cancel()
            if plan.more is not None:
                await self._send_all(plan.more())
        except Usage as error:
            # What was sent before is answered first.
            self._bad_input = error
        except _ENDED:
            # Whoever receives says why, once what came before is shown.
            if self._is_for_want_of_a_connection:
                raise
            return
        self._input_ended = True
        self._look_whether_it_is_over()

    @property
    def _is_for_want_of_a_connection(self) -> bool:
        """Whether nothing has ended, and there will be another."""
        return isinstance(self._ws, ReconnectingWebSocket) and self._ws.close_reason is None

    async def _send_all(self, messages: Messages) -> None:
        async with aclosing(messages):
            async for message in messages:
                if self._has_sent and self._plan.delay:
                    await trio.sleep(self._plan.delay)
                await self._ws.send(message)
                self._has_sent = True
                await self._output.sent(message)

    async def _send_heartbeats(self, message: str, interval: float) -> None:
        while True:
            await trio.sleep(interval)
            if isinstance(self._ws, ReconnectingWebSocket) and not self._ws.is_connected:
                continue
            try:
                await self._ws.send(message)
            except _ENDED:
                # As above. While there is no connection, there is nothing to keep alive.
                if not self._is_for_want_of_a_connection:
                    return
            else:
                await self._output.sent(message)
