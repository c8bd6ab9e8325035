"""Reconnecting: when to try again, and `Client`, which does it.

`Client` runs each connection in a task of its own nursery, so that no generator ever holds a
nursery open across a ``yield``. Whoever wants the next connection waits for it in
`Client.next_connection`, which does the connecting, the judging and the waiting in the
caller's task, so that cancelling the caller ends it wherever it is. The connection before has
always been closed, transport and all, by then.
"""

from __future__ import annotations

import inspect
import math
import random
import socket
from collections import deque
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal, Self

import trio

from ._client import DEFAULT_HOOKS, ConnectOptions, connected, supervised
from ._dial import Stage
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
from ._heartbeat import check_policy
from ._url import parse_url
from .classification import Failure, Verdict, default
from .instrumentation import (
    Connected,
    Connecting,
    Disconnected,
    Hooks,
    Stopped,
    Waiting,
)
from .protocol.http import Headers

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Sequence
    from types import TracebackType
    from typing import TypeAlias, Unpack

    from ._close import CloseReason
    from ._websocket import WebSocket
    from .classification import ShouldRetry
    from .instrumentation import Hook, ReconnectEvent
    from .protocol.http import HeadersLike

    SingleTarget: TypeAlias = "str | Endpoint"
    TargetLike: TypeAlias = (
        SingleTarget | Sequence[SingleTarget] | Callable[[], Awaitable[SingleTarget]]
    )
    OnConnect: TypeAlias = Callable[[WebSocket], Awaitable[object]]

#: Seconds over which clients come back after 1012, "service restart" (the IANA registry).
_RESTART_SPREAD: Final = (5.0, 30.0)
#: Events that a stream holds before it drops the oldest.
_EVENTS_HELD: Final = 100
_POSITIONAL: Final = (
    inspect.Parameter.POSITIONAL_ONLY,
    inspect.Parameter.POSITIONAL_OR_KEYWORD,
)
#: What says that there is no connection. Anything else, from a user's callback, surfaces as
#: itself when it is not to be retried.
_FAILURES: Final = (HandshakeError, InvalidURL, OSError, ConnectionClosed)


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """How long to wait before the next attempt, and when to stop trying.

    The n-th delay is at most ``initial * factor ** (n - 1)`` seconds and never over `maximum`.
    The sequence starts again only after a connection that stayed open for `stable_after` seconds
    and delivered something: a handshake is not success.

    Attributes:
      initial: seconds.
      factor: by which the bound grows, at least 1.
      maximum: seconds.
      jitter: ``"full"`` draws each delay between 0 and its bound, so that clients that were cut
        off together do not come back together; ``"none"`` takes the bound.
      stable_after: seconds.
      max_attempts: attempts in a sequence; ``None`` for no bound.
      max_elapsed: seconds from the beginning of a sequence after which no attempt begins.
      intensity: ``(n, seconds)``: more than *n* connections that were lost before they were
        stable, within *seconds*, are a failure of their own kind. ``None`` for no bound.
      rng: gives numbers from 0 to 1.
    """

    initial: float = 0.5
    factor: float = 2.0
    maximum: float = 60.0
    jitter: Literal["full", "none"] = "full"
    stable_after: float = 10.0
    max_attempts: int | None = None
    max_elapsed: float | None = None
    intensity: tuple[int, float] | None = (5, 60.0)
    rng: Callable[[], float] = field(default=random.random, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not (self.initial > 0 and self.maximum >= self.initial and self.factor >= 1):
            raise ValueError(
                "Backoff needs 0 < initial <= maximum and factor >= 1, not "
                f"initial={self.initial!r}, maximum={self.maximum!r}, factor={self.factor!r}"
            )
        if self.jitter not in ("full", "none"):
            raise ValueError(f"Backoff.jitter is 'full' or 'none', not {self.jitter!r}")
        if not self.stable_after >= 0:
            raise ValueError(f"Backoff.stable_after must not be negative: {self.stable_after!r}")
        if self.max_attempts is not None and self.max_attempts < 1:
            raise ValueError(f"Backoff.max_attempts must be at least 1: {self.max_attempts!r}")
        if self.max_elapsed is not None and not self.max_elapsed > 0:
            raise ValueError(f"Backoff.max_elapsed must be positive: {self.max_elapsed!r}")
        if self.intensity is not None and not (self.intensity[0] >= 0 and self.intensity[1] > 0):
            raise ValueError(f"Backoff.intensity must be (n >= 0, seconds > 0): {self.intensity!r}")

    def bound(self, failures: int) -> float:
        """The most that the delay after so many *failures* in a row can be, in seconds."""
        try:
            return min(self.maximum, self.initial * float(self.factor) ** (failures - 1))
        except OverflowError:
            return self.maximum

    def delay(self, failures: int) -> float:
        """A delay after so many *failures* in a row, at least 1, in seconds."""
        bound = self.bound(failures)
        return bound * self.rng() if self.jitter == "full" else bound


DEFAULT_BACKOFF: Final = Backoff()


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A URL with headers of its own, for targets that need them.

    Attributes:
      url: as for `connect`.
      headers: sent besides those in the options, and instead of those of the same name.
    """

    url: str
    headers: HeadersLike = field(default=(), repr=False)


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


@dataclass(slots=True)
class _Session:
    """One connection and the task that holds it."""

    ws: WebSocket
    context: ConnectionContext
    opened_at: float
    #: The code to close with when it is let go.
    code: int = 1000
    let_go: trio.Event = field(default_factory=trio.Event)
    gone: trio.Event = field(default_factory=trio.Event)


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
        an async callable that is asked anew at every attempt, for instance for a fresh token.
      on_connect: called with every new connection before anything else is sent: to log in, to
        subscribe again. What it raises of its own surfaces as itself.
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
        check_policy(options.get("heartbeat"))
        if not callable(target):
            # What is wrong for ever is said at once.
            several = [target] if isinstance(target, str | Endpoint) else list(target)
            if not several:
                raise ValueError("there must be at least one target")
            for one in several:
                parse_url(one.url if isinstance(one, Endpoint) else one)
            target = several
        self._target = target
        self._on_connect = on_connect
        self._on_connect_timeout = on_connect_timeout
        self._backoff = backoff
        self._should_retry = should_retry
        self._hooks = tuple(hooks)
        self._told = Hooks(self._hooks)
        self._options = options
        self._streams: list[EventStream] = []
        self._nursery: trio.Nursery | None = None
        self._ended = False
        self._scope: Any = None
        self._session: _Session | None = None
        self._waiting: trio.Event | None = None
        self._stopped: GaveUp | Literal["done"] | None = None
        # The sequence of attempts under way.
        self._attempt = 0
        self._failures = 0
        self._resume_at = -math.inf
        self._stage = Stage.RESOLVE
        self._since = 0.0
        self._lost_at = 0.0
        self._short_lived: deque[float] = deque()
        self._renewed = False
        self._at_once_allowed = True
        self._turn = 0
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
        self._since = self._lost_at = trio.current_time()
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
            self._ended = True
            for stream in self._streams:
                stream.end()

    # What users see

    def connections(self) -> Connections:
        """The connections, one after the other: iterate over it with ``async for``.

        Asking for the next closes the one before, if it is still open. Iteration ends when the
        server closed with 1000, or whatever else ``should_retry`` calls done.

        Raises:
          GaveUp: while iterating: a failure that another attempt cannot mend, or one too many.

        Cancellation: at any point. ``break`` leaves the last connection open until the client's
        block ends.
        """
        return Connections(self)

    def events(self) -> EventStream:
        """What happens from now on, for whoever wants to watch."""
        stream = EventStream()
        if self._ended:
            stream.end()
        self._streams.append(stream)
        return stream

    def retry_now(self) -> None:
        """Cut the present wait short, if there is one."""
        if self._waiting is not None:
            self._waiting.set()

    async def next_connection(self) -> WebSocket | None:
        """The next connection, or ``None`` when there is nothing more to do; see `connections`."""
        if self._nursery is None:
            raise RuntimeError("use the client in an async with block: async with Client(...)")
        await trio.lowlevel.checkpoint()
        if self._stopped is None and self._session is not None:
            self._judge(await self._end_session(self._session))
        while self._stopped is None:
            await self._pause()
            try:
                return await self._try_once()
            except Exception as error:
                failure = self._failed_attempt(error)
            self._judge(failure)
        if isinstance(self._stopped, GaveUp):
            raise self._stopped
        return None

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
        self._attempt += 1
        self._stage = Stage.RESOLVE
        endpoint = await self._choose()
        self._shown = _shown(endpoint.url)
        self._tell(Connecting(target=self._shown, attempt=self._attempt))
        session: _Session = await self._nursery.start(self._hold, endpoint)
        now = trio.current_time()
        self._session = session
        self._number += 1
        offline = now - self._lost_at
        again = self._number > 1
        self._tell(
            Connected(target=self._shown, attempt=self._attempt, offline=offline, again=again)
        )
        return session.ws

    async def _choose(self) -> Endpoint:
        if callable(self._target):
            chosen = await self._target()
        else:
            chosen = self._target[self._turn % len(self._target)]
        return chosen if isinstance(chosen, Endpoint) else Endpoint(chosen)

    async def _hold(self, endpoint: Endpoint, *, task_status: trio.TaskStatus[_Session]) -> None:
        """Connect, and hold the connection until it is let go."""
        options = self._options.copy()
        options["headers"] = _merged(options.get("headers", ()), endpoint.headers)
        async with connected(
            endpoint.url, hooks=self._hooks, on_stage=self._reached, **options
        ) as ws:
            await self._prepare(ws)
            context = ConnectionContext(
                number=self._number + 1,
                attempt=self._attempt,
                target=self._shown,
                previous=self._previous,
            )
            session = _Session(ws, context, trio.current_time())
            task_status.started(session)
            try:
                await session.let_go.wait()
                await ws.aclose(session.code)
            finally:
                session.gone.set()

    async def _prepare(self, ws: WebSocket) -> None:
        if self._on_connect is None:
            return
        self._stage = Stage.ON_CONNECT
        with trio.move_on_after(self._on_connect_timeout):
            await self._on_connect(ws)
            return
        raise HandshakeTimeout(f"on_connect was not done within {self._on_connect_timeout:g} s")

    def _reached(self, stage: Stage) -> None:
        self._stage = stage

    async def _let_go(self, code: int = 1000) -> None:
        """Close the present connection, and wait until its transport is closed."""
        if self._session is not None:
            self._session.code = code
            self._session.let_go.set()
            await self._session.gone.wait()

    # Judging

    async def _end_session(self, session: _Session) -> Failure:
        """See the connection off; return why another is needed."""
        await self._let_go()
        now = trio.current_time()
        statistics = session.ws.statistics()
        open_for = statistics.uptime
        reason = session.ws.close_reason
        assert reason is not None
        self._session = None
        self._previous = reason
        delivered = statistics.messages_received > 0 or statistics.latency is not None
        self._tell(Disconnected(target=self._shown, reason=reason, open_for=open_for))
        self._lost_at = now
        if open_for >= self._backoff.stable_after and delivered:
            self._attempt = self._failures = 0
            self._since = now
            self._at_once_allowed = True
            self._short_lived.clear()
        else:
            self._short_lived.append(now)
        self._renewed = False
        return Failure(
            stage=Stage.OPEN,
            exception=_ending_of(session.ws),
            reason=reason,
            attempt=self._attempt,
            elapsed=now - self._since,
            open_for=open_for,
        )

    def _failed_attempt(self, error: Exception) -> Failure:
        """What *error*, which ended an attempt, tells."""
        status = status_of(error)
        failure = Failure(
            stage=stage_of(error, self._stage),
            exception=error,
            status=status,
            reason=error.reason if isinstance(error, ConnectionClosed) else None,
            attempt=self._attempt,
            elapsed=trio.current_time() - self._since,
            retry_after=retry_after_of(error),
            may_renew=callable(self._target) and not self._renewed,
        )
        self._renewed = self._renewed or status in (401, 403)
        return failure

    def _judge(self, failure: Failure) -> None:
        """Stop, or say when the next attempt is due."""
        verdict = self._verdict(failure)
        self._turn += 1
        self._failures += 1
        if verdict is Verdict.DONE:
            self._stop("done", None)
            return
        if verdict is Verdict.FATAL and not isinstance(failure.exception, _FAILURES):
            # A callback's own: not about the connection.
            raise failure.exception
        delay = self._delay(failure, verdict)
        problem = self._problem(failure, verdict, delay)
        if problem is not None:
            gave_up = GaveUp(
                f"{self._shown}: {problem}", attempts=failure.attempt, elapsed=failure.elapsed
            )
            gave_up.__cause__ = failure.exception
            self._stop(gave_up, problem)
            return
        self._tell(
            Waiting(target=self._shown, delay=delay, attempt=self._attempt + 1, cause=str(failure))
        )
        self._resume_at = trio.current_time() + delay

    def _verdict(self, failure: Failure) -> Verdict:
        if failure.reason is not None and isinstance(failure.exception, trio.ClosedResourceError):
            # Closed here, and yet the next connection is asked for.
            return Verdict.RETRY
        judgement = self._should_retry(failure)
        if isinstance(judgement, Verdict):
            return judgement
        return Verdict.RETRY if judgement else Verdict.FATAL

    def _problem(self, failure: Failure, verdict: Verdict, delay: float) -> str | None:
        """Why no other attempt follows, if so."""
        backoff = self._backoff
        if verdict is Verdict.FATAL:
            return str(failure)
        if backoff.max_attempts is not None and self._attempt >= backoff.max_attempts:
            return f"{_counted(self._attempt)} failed; the last: {failure}"
        if backoff.max_elapsed is not None and failure.elapsed + delay >= backoff.max_elapsed:
            return f"not connected within {backoff.max_elapsed:g} s; the last: {failure}"
        if backoff.intensity is not None:
            bound, seconds = backoff.intensity
            while self._short_lived and self._short_lived[0] < trio.current_time() - seconds:
                self._short_lived.popleft()
            if len(self._short_lived) > bound:
                return (
                    f"{len(self._short_lived)} connections within {seconds:g} s were lost as soon "
                    f"as they were open; the last: {failure}"
                )
        return None

    def _delay(self, failure: Failure, verdict: Verdict) -> float:
        backoff = self._backoff
        delay = backoff.delay(self._failures)
        if verdict is Verdict.RETRY_AT_ONCE and self._at_once_allowed:
            self._at_once_allowed = False
            delay = 0.0
        if failure.reason is not None and failure.reason.code == 1012:
            shortest, longest = _RESTART_SPREAD
            delay = max(delay, shortest + (longest - shortest) * backoff.rng())
        if failure.retry_after is not None:
            # A floor; what the backoff draws on top keeps clients apart.
            delay += failure.retry_after
        return delay

    # Telling

    def _stop(self, why: GaveUp | Literal["done"], cause: str | None) -> None:
        self._stopped = why
        self._tell(Stopped(target=self._shown, attempts=self._attempt, cause=cause))

    def _tell(self, event: ReconnectEvent) -> None:
        for stream in self._streams:
            stream.put(event)
        self._told.tell(event)


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
                await (handler(ws, client.context) if wants_context else handler(ws))
            except Exception as error:
                if not is_end_of(ws.id, error):
                    raise
            reason = ws.close_reason
            if reason is None or isinstance(_ending_of(ws), trio.ClosedResourceError):
                return


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


def _merged(common: HeadersLike, own: HeadersLike) -> Headers:
    """Both, where *own* takes precedence."""
    mine = Headers(own)
    kept = [(name, value) for name, value in Headers(common).raw if name not in mine]
    return Headers([*kept, *mine.raw])


def _shown(url: str) -> str:
    """*url* for people: without credentials, and without a query, which may hold a token."""
    try:
        return str(parse_url(url)).partition("?")[0]
    except InvalidURL as error:
        # A callable may bring anything.
        return error.url


def _counted(attempts: int) -> str:
    return "1 attempt" if attempts == 1 else f"{attempts} attempts"


def stage_of(error: Exception, reached: Stage) -> Stage:
    """The stage at which *error* came up, where *reached* was the last to begin."""
    return Stage.RESOLVE if isinstance(error, socket.gaierror) else reached


def status_of(error: Exception) -> int | None:
    """The HTTP status in *error*, if it is an HTTP answer."""
    return error.status if isinstance(error, ConnectionRejected | ProxyError) else None


def retry_after_of(error: Exception) -> float | None:
    """Seconds that the server asks for in *error* (RFC 9110, section 10.2.3)."""
    if isinstance(error, ConnectionRejected) and error.status in {429, 503}:
        return error.retry_after
    return None
