"""Reconnecting: when to try again, and `Client`, which does it.

`Client` runs each connection in a task of its own nursery, so that no generator ever holds a
nursery open across a ``yield``. Whoever wants the next connection waits for it in
`Client.next_connection`, which does the connecting, the judging and the waiting in the
caller's task, so that cancelling the caller ends it wherever it is. The connection before has
always been closed, transport and all, by then.
"""

from __future__ import annotations

import inspect
import logging
import math
import socket
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal, Self

import trio

from ._backoff import DEFAULT_BACKOFF, Backoff, Sequence
from ._client import DEFAULT_HOOKS, DEFAULT_TIMEOUTS, check_options, connected, supervised
from ._close import ClosedBy, CloseReason
from ._dial import Stage
from ._endpoints import Endpoint, Targets
from ._errors import (
    ConnectionClosed,
    ConnectionRejected,
    GaveUp,
    HandshakeError,
    HandshakeTimeout,
    InvalidURL,
    ProxyError,
    is_end_of,
)
from ._events import Audience, EventStream
from .classification import Failure, Verdict, default
from .instrumentation import Connected, Connecting, Disconnected, Stopped, Waiting

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
    from types import TracebackType
    from typing import TypeAlias, Unpack

    from ._client import ConnectOptions
    from ._connection import Connection
    from ._endpoints import TargetLike
    from ._websocket import WebSocket
    from .classification import ShouldRetry
    from .instrumentation import Hook

    OnConnect: TypeAlias = Callable[[WebSocket], Awaitable[object]]

#: Everything about reconnecting can be had from here.
__all__ = [
    "DEFAULT_BACKOFF",
    "Backoff",
    "Client",
    "ConnectionContext",
    "Connections",
    "Endpoint",
    "EventStream",
    "supervise",
]

_logger: Final = logging.getLogger("trio_ws.reconnect")

_POSITIONAL: Final = (
    inspect.Parameter.POSITIONAL_ONLY,
    inspect.Parameter.POSITIONAL_OR_KEYWORD,
)
#: What says that there is no connection. Anything else, from a user's callback, surfaces as
#: itself when it is not to be retried.
_FAILURES: Final = (HandshakeError, InvalidURL, OSError, ConnectionClosed)
#: How a connection ends whose tasks are cancelled.
_CANCELLED: Final = CloseReason(1001, "", ClosedBy.LOCAL, clean=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionContext:
    """How a connection came about.

    Attributes:
      number: 1 for the client's first connection.
      attempt: which attempt of its sequence it was.
      target: the URL, without credentials.
      previous: why the connection before ended; ``None`` for the first.
    """

    number: int
    attempt: int
    target: str
    previous: CloseReason | None


@dataclass(slots=True)
class _Session:
    """One connection, from when `Client._hold` has opened it."""

    ws: Connection
    context: ConnectionContext
    #: Whether it was closed here, by choice; known once it has ended.
    by_choice: bool = False
    #: Its end is told, and its transport is closed.
    gone: trio.Event = field(default_factory=trio.Event)


class _NotReady(Exception):
    """The connection was lost in ``on_connect``, or that took too long: an attempt failed."""

    def __init__(self, why: Exception) -> None:
        super().__init__(why)
        self.why = why


class Client:
    """A client that connects again, as an async context manager.

    ::

        async with trio_ws.Client("wss://example.com/feed") as client:
            async for ws in client.connections():
                async for message in ws:
                    ...

    `supervise` and `keep_connected` are simpler where they fit.

    Args:
      target: a URL, an `Endpoint`, several of them, which are taken in turn when one fails, or
        an async callable that is asked anew at every attempt, for instance for a fresh token; it
        has ``Timeouts.open_timeout`` seconds to answer.
      on_connect: called with every new connection before anything else is sent: to log in, to
        subscribe again. When the connection is lost meanwhile, that is one more failed attempt,
        and it need not catch what says so. What it raises of its own, an `OSError` included,
        surfaces as itself, and so does `trio.ClosedResourceError` when it closed the connection.
      on_connect_timeout: seconds that it gets.
      backoff: how long to wait, and when to stop.
      should_retry: which failures are worth another attempt: see `trio_ws.classification`.
      hooks: told what happens to the client and its connections; by default, the log is.
      options: as for `connect`.

    Leaving the block closes the connection with 1000, or 1011 when an exception leaves the block,
    or 1001 when it was cancelled. Exceptions leave it as themselves.

    Raises:
      InvalidURL: a URL that cannot be connected to.
      ValueError: there is no target.
    """

    def __init__(
        self,
        target: TargetLike,
        *,
        on_connect: OnConnect | None = None,
        on_connect_timeout: float = 10.0,
        backoff: Backoff = DEFAULT_BACKOFF,
        should_retry: ShouldRetry = default,
        hooks: Iterable[Hook] = DEFAULT_HOOKS,
        **options: Unpack[ConnectOptions],
    ) -> None:
        check_options(options)
        self._targets = Targets(target)
        self._on_connect = on_connect
        self._on_connect_timeout = on_connect_timeout
        self._should_retry = should_retry
        self._hooks = tuple(hooks)
        self._audience = Audience(self._hooks)
        self._options = options
        self._nursery: trio.Nursery | None = None
        self._scope: Any = None
        self._session: _Session | None = None
        self._sought = False
        self._waiting: trio.Event | None = None
        self._stopped: GaveUp | Literal["done"] | None = None
        self._sequence = Sequence(backoff)
        self._resume_at = -math.inf
        self._stage = Stage.RESOLVE
        self._lost_at = 0.0
        self._number = 0
        self._shown = "?"
        self._previous: CloseReason | None = None

    def __repr__(self) -> str:
        if self._stopped is not None:
            state = "stopped"
        elif self._waiting is not None:
            state = "waiting"
        else:
            state = "connecting" if self._session is None else repr(self._session.ws)
        return f"<Client of {self._shown}: {state}>"

    async def __aenter__(self) -> Self:
        if self._scope is not None:
            raise RuntimeError("a Client can be entered once")
        self._scope = self._running()
        await self._scope.__aenter__()
        self._lost_at = trio.current_time()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        result: bool | None = await self._scope.__aexit__(exc_type, exc_value, traceback)
        return result

    @asynccontextmanager
    async def _running(self) -> AsyncGenerator[None]:
        try:
            async with supervised(self._let_go) as self._nursery:
                yield
        finally:
            self._nursery = self._session = None
            if self._stopped is None:
                self._stop("done", None)
            self._audience.end()

    # What users see

    def connections(self) -> Connections:
        """The connections, one after the other: iterate over it with ``async for``.

        Asking for the next closes the one before, if it is still open. One that was closed here,
        so or by `WebSocket.aclose`, is no failure: ``should_retry`` is not asked, nothing is
        counted, and the next comes after the backoff's first delay at most. Iteration ends when the
        server closed with 1000, or whatever else ``should_retry`` calls done.

        Raises:
          GaveUp: while iterating: a failure that another attempt cannot mend, or one too many.

        Cancellation: at any point. ``break`` leaves the last connection open until the client's
        block ends.
        """
        return Connections(self)

    def events(self) -> EventStream:
        """What happens from now on, for whoever wants to watch."""
        return self._audience.stream()

    def retry_now(self) -> None:
        """Cut the present wait short, if there is one."""
        self._resume_at = -math.inf
        if self._waiting is not None:
            self._waiting.set()

    async def next_connection(self) -> WebSocket | None:
        """The next connection, or ``None`` when there is nothing more to do; see `connections`.

        Raises:
          GaveUp: as there.
          trio.BusyResourceError: another task is waiting for the next connection.

        Cancellation: at any point. An attempt that is cut off does not count, and a wait that is
        cut off goes on at the next call.
        """
        if self._nursery is None:
            raise RuntimeError("use the client in an async with block: async with Client(...)")
        if self._sought:
            raise trio.BusyResourceError("another task is waiting for the next connection")
        self._sought = True
        self._sequence.start_clock(trio.current_time())
        try:
            await trio.lowlevel.checkpoint()
            return await self._next()
        finally:
            self._sought = False
            self._sequence.stop_clock(trio.current_time())

    async def _next(self) -> WebSocket | None:
        if self._stopped is None and self._session is not None:
            session = self._session
            await self._let_go()
            self._session = None
            if session.by_choice:
                delay = self._sequence.delay_after_choice()
                self._wait(delay, cause=str(session.ws.close_reason))
            else:
                self._judge(self._failure_of(session))
        while self._stopped is None:
            await self._pause()
            number = self._number
            try:
                return await self._try_once()
            except _NotReady as error:
                failure = self._failed_attempt(error.why)
            except Exception as error:
                if self._stage is Stage.ON_CONNECT:
                    # What on_connect raised of its own says nothing about the connection.
                    raise
                failure = self._failed_attempt(error)
            except BaseException:
                if self._number == number:
                    # Cancelled before there was a connection, whose end would count instead.
                    self._sequence.drop_attempt()
                raise
            self._judge(failure)
        if isinstance(self._stopped, GaveUp):
            # Else the traceback of the time before would grow.
            raise self._stopped.with_traceback(None)
        return None

    @asynccontextmanager
    async def handling(self) -> AsyncGenerator[None]:
        """For the length of a handler of the present connection: end it if it goes on without.

        As on a server: when the connection has ended and everything received is read, the block
        has ``Timeouts.handler_grace`` seconds until it is cancelled, or a handler that waits for
        something else would keep the client from connecting again for ever.
        """
        assert self._session is not None
        ws = self._session.ws
        seconds = self._options.get("timeouts", DEFAULT_TIMEOUTS).handler_grace
        async with supervised(_leave_open) as nursery:
            with trio.CancelScope() as scope:
                nursery.start_soon(_cancel_in_time, scope, ws, seconds)
                yield

    @property
    def context(self) -> ConnectionContext | None:
        """How the present connection came about; ``None`` while there is none."""
        return None if self._session is None else self._session.context

    # Connecting

    async def _pause(self) -> None:
        """Wait until the next attempt is due, or `retry_now`."""
        # Kept on the client: a wait that was cancelled is not over.
        if trio.current_time() < self._resume_at:
            self._waiting = trio.Event()
            try:
                with trio.move_on_at(self._resume_at):
                    await self._waiting.wait()
            finally:
                self._waiting = None
        self._resume_at = -math.inf

    async def _try_once(self) -> WebSocket:
        assert self._nursery is not None
        self._sequence.begin_attempt()
        self._stage = Stage.RESOLVE
        endpoint = await self._choose()
        self._shown = endpoint.shown
        self._audience.tell(Connecting(target=self._shown, attempt=self._sequence.attempt))
        session: _Session = await self._nursery.start(self._hold, endpoint)
        return session.ws

    async def _choose(self) -> Endpoint:
        seconds = self._options.get("timeouts", DEFAULT_TIMEOUTS).open_timeout
        with trio.move_on_after(seconds):
            return await self._targets.choose()
        raise HandshakeTimeout(f"the target was not known within {seconds:g} s")

    async def _hold(self, endpoint: Endpoint, *, task_status: trio.TaskStatus[_Session]) -> None:
        """Connect, and hold the connection until it has ended, and that is told."""
        options = self._options.copy()
        options["headers"] = endpoint.merged_headers(options.get("headers", ()))
        session: _Session | None = None
        try:
            async with connected(
                endpoint.url, hooks=self._hooks, on_stage=self._reached, **options
            ) as ws:
                await self._prepare(ws)
                session = self._opened(ws)
                task_status.started(session)
                try:
                    await ws.wait_closed()
                except trio.Cancelled:
                    # The connection's own task may have been cancelled first.
                    session.by_choice = ws.close_reason in (None, _CANCELLED)
                    raise
        finally:
            if session is not None:
                self._ended(session)

    async def _prepare(self, ws: Connection) -> None:
        if self._on_connect is None:
            return
        self._stage = Stage.ON_CONNECT
        with trio.move_on_after(self._on_connect_timeout):
            try:
                await self._on_connect(ws)
            except Exception as error:
                if is_end_of(ws.id, error) and not ws.closed_here:
                    raise _NotReady(_ending_of(ws)) from error
                raise
            if ws.closed_here:
                raise _ending_of(ws)
            return
        raise _NotReady(
            HandshakeTimeout(f"on_connect was not done within {self._on_connect_timeout:g} s")
        )

    def _reached(self, stage: Stage) -> None:
        self._stage = stage

    def _opened(self, ws: Connection) -> _Session:
        self._number += 1
        attempt = self._sequence.attempt
        context = ConnectionContext(
            number=self._number, attempt=attempt, target=self._shown, previous=self._previous
        )
        self._session = session = _Session(ws, context)
        offline = trio.current_time() - self._lost_at
        self._audience.tell(
            Connected(target=self._shown, attempt=attempt, offline=offline, again=self._number > 1)
        )
        return session

    def _ended(self, session: _Session) -> None:
        """Take note that the connection has ended, and its transport is closed."""
        statistics = session.ws.statistics()
        reason = session.ws.close_reason
        assert reason is not None
        session.by_choice = session.by_choice or session.ws.closed_here
        self._previous = reason
        self._lost_at = now = trio.current_time()
        delivered = statistics.messages_received > 0 or statistics.latency is not None
        if session.by_choice:
            self._sequence.connection_closed(now, delivered=delivered)
        else:
            self._sequence.connection_lost(now, open_for=statistics.uptime, delivered=delivered)
        self._audience.tell(
            Disconnected(
                target=self._shown,
                reason=reason,
                open_for=statistics.uptime,
                by_choice=session.by_choice,
            )
        )
        session.gone.set()

    async def _let_go(self, code: int = 1000) -> None:
        """Close the present connection, and wait until its transport is closed."""
        if self._session is not None:
            await self._session.ws.aclose(code)
            await self._session.gone.wait()

    # Judging

    def _failure_of(self, session: _Session) -> Failure:
        """Why another connection is needed than that of *session*."""
        return Failure(
            stage=Stage.OPEN,
            exception=_ending_of(session.ws),
            reason=session.ws.close_reason,
            attempt=self._sequence.attempt,
            elapsed=self._sequence.elapsed(trio.current_time()),
            open_for=session.ws.statistics().uptime,
        )

    def _failed_attempt(self, error: Exception) -> Failure:
        """What *error*, which ended an attempt, tells."""
        status = status_of(error)
        return Failure(
            stage=stage_of(error, self._stage),
            exception=error,
            status=status,
            reason=error.reason if isinstance(error, ConnectionClosed) else None,
            attempt=self._sequence.attempt,
            elapsed=self._sequence.elapsed(trio.current_time()),
            retry_after=retry_after_of(error),
            may_renew=self._sequence.may_renew(status) and self._targets.renewable,
        )

    def _judge(self, failure: Failure) -> None:
        """Stop, or say when the next attempt is due."""
        verdict = self._verdict(failure)
        self._targets.next_turn()
        delay = self._sequence.delay_after(failure, verdict)
        if verdict is Verdict.DONE:
            self._stop("done", None)
            return
        now = trio.current_time()
        if verdict is Verdict.FATAL:
            if not isinstance(failure.exception, _FAILURES):
                # A callback's own: not about the connection.
                raise failure.exception
            problem: str | None = str(failure)
        else:
            problem = self._sequence.problem(failure, delay, now=now)
        if problem is not None:
            gave_up = GaveUp(
                f"{self._shown}: {problem}", attempts=failure.attempt, elapsed=failure.elapsed
            )
            gave_up.__cause__ = failure.exception
            self._stop(gave_up, problem)
            return
        self._wait(delay, cause=str(failure))

    def _verdict(self, failure: Failure) -> Verdict:
        judgement: object = self._should_retry(failure)
        if isinstance(judgement, Verdict):
            return judgement
        if isinstance(judgement, bool):
            return Verdict.RETRY if judgement else Verdict.FATAL
        if inspect.iscoroutine(judgement):
            judgement.close()
        hint = ", and must not be async" if inspect.isawaitable(judgement) else ""
        raise TypeError(f"should_retry must return a Verdict or a bool, not {judgement!r}{hint}")

    def _wait(self, delay: float, *, cause: str) -> None:
        """Let the next attempt begin after *delay* seconds."""
        self._resume_at = trio.current_time() + delay
        self._audience.tell(
            Waiting(
                target=self._shown, delay=delay, attempt=self._sequence.attempt + 1, cause=cause
            )
        )

    def _stop(self, why: GaveUp | Literal["done"], cause: str | None) -> None:
        self._stopped = why
        self._audience.tell(
            Stopped(target=self._shown, attempts=self._sequence.attempt, cause=cause)
        )


class Connections:
    """What `Client.connections` returns: an async iterator of open connections."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> WebSocket:
        ws = await self._client.next_connection()
        if ws is None:
            raise StopAsyncIteration
        return ws


async def supervise(
    handler: Callable[..., Awaitable[object]],
    target: TargetLike,
    *,
    on_connect: OnConnect | None = None,
    on_connect_timeout: float = 10.0,
    backoff: Backoff = DEFAULT_BACKOFF,
    should_retry: ShouldRetry = default,
    hooks: Iterable[Hook] = DEFAULT_HOOKS,
    **options: Unpack[ConnectOptions],
) -> None:
    """Run *handler* once per connection, until it returns of its own accord.

    ::

        async def feed(ws: trio_ws.WebSocket) -> None:
            async for message in ws:
                print(message)

        await trio_ws.supervise(feed, "wss://example.com/feed")

    When the connection ends, the handler need not catch what its calls raise then: whether it
    lets that out or returns, it is called again with the next connection, if there is to be one.
    When it returns or closes while the connection is open, it is done. What it raises of its own,
    the end of another connection included, surfaces as itself, and closes the connection with
    1011.

    Args:
      handler: called with the connection, and, if it requires a second positional argument, with
        its `ConnectionContext`.
      target, on_connect, on_connect_timeout, backoff, should_retry, hooks, options: as for
        `Client`.

    Raises:
      GaveUp: a failure that another attempt cannot mend, or one too many. Its ``__cause__`` is
        the last failure.

    Cancellation: at any point.
    """
    wants_context = _wants_context(handler)
    async with Client(
        target,
        on_connect=on_connect,
        on_connect_timeout=on_connect_timeout,
        backoff=backoff,
        should_retry=should_retry,
        hooks=hooks,
        **options,
    ) as client:
        async for ws in client.connections():
            try:
                async with client.handling():
                    await (handler(ws, client.context) if wants_context else handler(ws))
            except Exception as error:
                if not is_end_of(ws.id, error):
                    raise
            reason = ws.close_reason
            if reason is None or isinstance(_ending_of(ws), trio.ClosedResourceError):
                return


async def _leave_open(code: int) -> None:
    """What is left is a block, not a connection."""


async def _cancel_in_time(scope: trio.CancelScope, ws: Connection, seconds: float) -> None:
    reason = await ws.wait_closed()
    await ws.wait_read()
    await trio.sleep(seconds)
    _logger.info(
        "%s: the handler, still running %g s after its connection ended (%s), is cancelled",
        ws.id,
        seconds,
        reason,
    )
    scope.cancel()


def _wants_context(handler: Callable[..., object]) -> bool:
    """Whether *handler* must be given a second argument; one that has a default keeps that."""
    try:
        parameters = list(inspect.signature(handler).parameters.values())
    except (TypeError, ValueError):
        return False
    positional = [one for one in parameters if one.kind in _POSITIONAL]
    return len(positional) > 1 and positional[1].default is inspect.Parameter.empty


def _ending_of(ws: WebSocket) -> Exception:
    """What calls on *ws*, which has ended, raise."""
    try:
        ws.start_ping().forget()
    except (ConnectionClosed, trio.ClosedResourceError) as error:
        return error.with_traceback(None)
    raise AssertionError(f"{ws!r} has not ended")


def stage_of(error: Exception, reached: Stage) -> Stage:
    """The stage at which *error* came up, where *reached* was the last to begin."""
    unknown_host = isinstance(error, socket.gaierror) and reached is Stage.CONNECT
    return Stage.RESOLVE if unknown_host else reached


def status_of(error: Exception) -> int | None:
    """The HTTP status in *error*, if it is an HTTP answer."""
    return error.status if isinstance(error, ConnectionRejected | ProxyError) else None


def retry_after_of(error: Exception) -> float | None:
    """Seconds that the server asks for in *error* (RFC 9110, section 10.2.3)."""
    if isinstance(error, ConnectionRejected) and error.status in {429, 503}:
        return error.retry_after
    return None
