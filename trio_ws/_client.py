"""The client: dial, shake hands, follow redirects, and hold the connection's nursery."""

from __future__ import annotations

import base64
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final, TypedDict

import trio

from ._dial import Stage, nobody_cares, open_stream
from ._engines import DEFAULT_ENGINE, check_engine, maker_of
from ._errors import (
    ConnectionRejected,
    HandshakeTimeout,
    InvalidHandshake,
    InvalidURL,
    RedirectRefused,
    TooManyRedirects,
)
from ._heartbeat import DEFAULT_HEARTBEAT, check_policy, start_heartbeat
from ._settings import Limits, Timeouts
from ._url import Target, parse_url
from .instrumentation import NO_HOOKS, HandshakeAnswered, Hooks, log_record
from .protocol.handshake import BadResponse, ClientHandshake
from .protocol.http import Headers, Response

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Sequence

    from ._connection import Connection
    from ._dial import Address
    from ._engines import Engine
    from ._heartbeat import HeartbeatPolicy
    from ._settings import Compression
    from ._websocket import WebSocket
    from .instrumentation import Hook
    from .protocol.handshake import Negotiated
    from .protocol.http import HeadersLike

DEFAULT_LIMITS: Final = Limits()
DEFAULT_TIMEOUTS: Final = Timeouts()
DEFAULT_HOOKS: Final = (log_record,)
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
#: What must not follow a redirect to another origin.
_CREDENTIALS: Final = frozenset({"authorization", "cookie", "proxy-authorization"})
_RECEIVE_SIZE: Final = 64 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class _Options:
    """What `connect` was asked for, the URL apart."""

    headers: Headers
    origin: str | None
    subprotocols: Sequence[str]
    compression: Compression | None
    ssl_context: ssl.SSLContext | None
    server_hostname: str | None
    proxy: str | None
    address: Address | None
    engine: Engine
    limits: Limits
    timeouts: Timeouts
    hooks: Hooks
    on_stage: Callable[[Stage], None]
    # Repr'd nowhere: it may be anything.
    stream: trio.abc.Stream | None = field(repr=False)


@asynccontextmanager
async def connect(
    url: str,
    *,
    headers: HeadersLike = (),
    origin: str | None = None,
    subprotocols: Sequence[str] = (),
    compression: Compression | None = None,
    ssl_context: ssl.SSLContext | None = None,
    server_hostname: str | None = None,
    proxy: str | None = "environment",
    address: Address | None = None,
    stream: trio.abc.Stream | None = None,
    max_redirects: int = 5,
    engine: Engine = DEFAULT_ENGINE,
    heartbeat: HeartbeatPolicy | None = DEFAULT_HEARTBEAT,
    limits: Limits = DEFAULT_LIMITS,
    timeouts: Timeouts = DEFAULT_TIMEOUTS,
    hooks: Iterable[Hook] = DEFAULT_HOOKS,
) -> AsyncGenerator[WebSocket]:
    """Connect to a WebSocket server, and close at the end of the block.

    ::

        async with trio_ws.connect("wss://example.com/feed") as ws:
            await ws.send("hello")
            print(await ws.receive())

    Args:
      url: ``ws://``, ``wss://``, or ``ws+unix:/path/to/socket:/resource``. A user and password in
        it are sent as Basic credentials.
      headers: additional request headers, a mapping or pairs. An ``Authorization`` here takes
        precedence over the URL's user and password.
      origin: the ``Origin`` header; browsers send it, other clients need not.
      subprotocols: those this client speaks, by preference (RFC 6455, section 1.9).
      compression: how to offer permessage-deflate; ``None`` does not offer it.
      ssl_context: for ``wss``; by default `ssl.create_default_context`.
      server_hostname: the name to ask for (SNI) and to check the certificate against, where it
        is not the URL's host. A redirect to another host is checked against that.
      proxy: a proxy's URL (``http``, ``https``, ``socks5``, ``socks5h``, ``socks4``), ``None`` for
        none, or ``"environment"`` for what ``HTTPS_PROXY``, ``HTTP_PROXY``, ``ALL_PROXY`` and
        ``NO_PROXY`` say.
      address: what to dial instead of the URL's host and port: a host and a port, or the path
        of a Unix socket. The URL still says what is asked for, and whose certificate is due;
        ``NO_PROXY`` is about what is dialled. A redirect to another origin is dialled as it says.
      stream: a byte stream to the server, which is used instead of dialling, and closed. TLS,
        where wanted, is the caller's business then; redirects are not followed.
      max_redirects: how many redirects to follow. Credentials and cookies are dropped when one
        leads to another origin; one from ``wss`` to ``ws`` is refused.
      engine: what the connection runs on: ``"built-in"``, or ``"trio-websocket"``, the library of
        that name; docs/explanation/engines.md says what that one cannot do.
      heartbeat: how a dead server is noticed: by default a ping every 20 seconds, to be answered
        within 20; see `Heartbeat`. ``None``: not at all.
      limits: bounds on what the server may make this side hold.
      timeouts: bounds on how long things may take. ``Timeouts.open_timeout`` is over everything
        from name resolution to the last redirect.
      hooks: told what happens to the connection; see `trio_ws.instrumentation`.

    Yields:
      The open `WebSocket`. Leaving the block closes it with 1000, or 1011 when an exception leaves
      the block, or 1001 when the block was cancelled. The exception leaves it as itself.

    Raises:
      InvalidURL: *url* cannot be connected to.
      NotSupportedByEngine: *engine* cannot do what another option asks for.
      OSError: the server could not be reached: refused, unreachable, unknown host, cut off,
        or a certificate that does not verify (`ssl.SSLError`).
      ConnectionRejected: the server answered with something other than 101.
      InvalidHandshake: the server's answer breaks RFC 6455.
      HandshakeTimeout: not open within ``Timeouts.open_timeout`` seconds.
      ProxyError: the proxy refused.

    Cancellation: at any point; nothing is left behind.
    """
    async with connected(
        url,
        headers=headers,
        origin=origin,
        subprotocols=subprotocols,
        compression=compression,
        ssl_context=ssl_context,
        server_hostname=server_hostname,
        proxy=proxy,
        address=address,
        stream=stream,
        max_redirects=max_redirects,
        engine=engine,
        heartbeat=heartbeat,
        limits=limits,
        timeouts=timeouts,
        hooks=hooks,
    ) as ws:
        yield ws


class ConnectOptions(TypedDict, total=False):
    """The options of `connect` that a reconnecting client takes as well, with its meanings."""

    headers: HeadersLike
    origin: str | None
    subprotocols: Sequence[str]
    compression: Compression | None
    ssl_context: ssl.SSLContext | None
    server_hostname: str | None
    proxy: str | None
    address: Address | None
    max_redirects: int
    engine: Engine
    heartbeat: HeartbeatPolicy | None
    limits: Limits
    timeouts: Timeouts


def check_options(options: ConnectOptions) -> None:
    """Refuse now what would fail every attempt later.

    Raises:
      TypeError: the heartbeat is no policy.
      ValueError, NotSupportedByEngine: as in `check_engine`.
    """
    check_policy(options.get("heartbeat"))
    check_engine(
        options.get("engine", DEFAULT_ENGINE),
        compression=options.get("compression"),
        timeouts=options.get("timeouts", DEFAULT_TIMEOUTS),
    )


@asynccontextmanager
async def connected(
    url: str,
    *,
    headers: HeadersLike = (),
    origin: str | None = None,
    subprotocols: Sequence[str] = (),
    compression: Compression | None = None,
    ssl_context: ssl.SSLContext | None = None,
    server_hostname: str | None = None,
    proxy: str | None = "environment",
    address: Address | None = None,
    stream: trio.abc.Stream | None = None,
    max_redirects: int = 5,
    engine: Engine = DEFAULT_ENGINE,
    heartbeat: HeartbeatPolicy | None = DEFAULT_HEARTBEAT,
    limits: Limits = DEFAULT_LIMITS,
    timeouts: Timeouts = DEFAULT_TIMEOUTS,
    hooks: Iterable[Hook] = DEFAULT_HOOKS,
    on_stage: Callable[[Stage], None] = nobody_cares,
) -> AsyncGenerator[Connection]:
    """`connect`, which also tells *on_stage* how far it has come."""
    check_policy(heartbeat)
    check_engine(engine, compression=compression, timeouts=timeouts)
    options = _Options(
        headers=Headers(headers),
        origin=origin,
        subprotocols=tuple(subprotocols),
        compression=compression,
        ssl_context=ssl_context,
        server_hostname=server_hostname,
        proxy=proxy,
        address=address,
        engine=engine,
        limits=limits,
        timeouts=timeouts,
        hooks=Hooks(hooks),
        on_stage=on_stage,
        stream=stream,
    )
    connection, leftover = await _open(parse_url(url), options, max_redirects)
    async with hold_open(connection, leftover, heartbeat=heartbeat, hooks=options.hooks):
        yield connection


@asynccontextmanager
async def hold_open(
    connection: Connection,
    leftover: bytes = b"",
    *,
    heartbeat: HeartbeatPolicy | None,
    hooks: Hooks = NO_HOOKS,
) -> AsyncGenerator[None]:
    """Run *connection*'s tasks for the length of the block, then close it.

    An exception from the block leaves it as itself, never in a group.
    """
    async with supervised(connection.aclose) as nursery:
        connection.start(nursery, leftover)
        pulse = start_heartbeat(nursery, connection, heartbeat, hooks)
        try:
            yield
        finally:
            if pulse is not None:
                pulse.cancel()


@asynccontextmanager
async def supervised(close: Callable[[int], Awaitable[None]]) -> AsyncGenerator[trio.Nursery]:
    """A nursery for the length of the block, whose tasks are done with when the block is left.

    *close* is awaited then, with the close code that says how it was left, and what still runs
    is cancelled. An exception from the block, or from one of the tasks, leaves it as itself, never
    in a group.
    """
    failure: BaseException | None = None
    try:
        async with trio.open_nursery() as nursery:
            try:
                yield nursery
            except BaseException as error:
                # Kept aside, or the nursery would wrap it in a group.
                failure = error
            try:
                await close(_close_code(failure))
            except trio.Cancelled as cancelled:
                failure = failure or cancelled
            nursery.cancel_scope.cancel()
    except BaseException as error:
        crash = _alone(error)
        if failure is None or not isinstance(crash, trio.Cancelled):
            # No background task is meant to raise, so what one does raise is never hidden. Where
            # it cancelled the block, that is only its echo.
            if failure is not None and not isinstance(failure, trio.Cancelled):
                crash.__context__ = failure
            failure = crash
    if failure is not None:
        raise failure


def _alone(error: BaseException) -> BaseException:
    """What is wrong: of a group, what is more than cancellation, by itself where it is one."""
    if not isinstance(error, BaseExceptionGroup):
        return error
    crashes = error.split(trio.Cancelled)[1]
    if crashes is None or len(crashes.exceptions) == 1:
        return _alone((crashes or error).exceptions[0])
    return crashes


def _close_code(failure: BaseException | None) -> int:
    """The code that tells the peer how the block was left."""
    if failure is None:
        return 1000
    # From a nursery in the block, it comes in a group.
    group = BaseExceptionGroup("", [failure])
    return 1001 if group.split((trio.Cancelled, KeyboardInterrupt))[1] is None else 1011


async def _open(target: Target, options: _Options, max_redirects: int) -> tuple[Connection, bytes]:
    with trio.move_on_after(options.timeouts.open_timeout):
        return await _follow(target, options, max_redirects)
    raise HandshakeTimeout(f"{target}: not open within {options.timeouts.open_timeout:g} s")


async def _follow(
    target: Target, options: _Options, redirects_left: int
) -> tuple[Connection, bytes]:
    asked = target
    while True:
        try:
            return await _attempt(target, _options_for(target, asked, options))
        except ConnectionRejected as error:
            location = error.headers.get("location")
            if error.status not in _REDIRECTS or location is None or options.stream is not None:
                raise
            if redirects_left == 0:
                raise TooManyRedirects(error.response) from None
            redirects_left -= 1
            following = _redirected(target, location, error.response)
            if following.origin != target.origin:
                options = replace(options, headers=_without_credentials(options.headers))
            target = following


def _options_for(target: Target, asked: Target, options: _Options) -> _Options:
    """*options* without what was said of *asked* and is not true of *target*."""
    return replace(
        options,
        address=options.address if target.origin == asked.origin else None,
        server_hostname=options.server_hostname if target.host == asked.host else None,
    )


def _redirected(target: Target, location: str, response: Response) -> Target:
    try:
        following = target.join(location)
    except InvalidURL as error:
        raise RedirectRefused(response, error.problem) from None
    if target.secure and not following.secure:
        raise RedirectRefused(response, "it leads from wss to ws")
    return following


def _without_credentials(headers: Headers) -> Headers:
    return Headers((name, value) for name, value in headers.raw if name.lower() not in _CREDENTIALS)


async def _attempt(target: Target, options: _Options) -> tuple[Connection, bytes]:
    """One try at one URL: a connection and what arrived behind the handshake, or an error."""
    stream = options.stream or await open_stream(
        target,
        ssl_context=options.ssl_context,
        server_hostname=options.server_hostname,
        proxy=options.proxy,
        address=options.address,
        on_stage=options.on_stage,
    )
    options.on_stage(Stage.HANDSHAKE)
    try:
        handshake = ClientHandshake(
            host=target.host_header,
            target=target.resource,
            headers=_with_basic_auth(options.headers, target.userinfo),
            origin=options.origin,
            subprotocols=options.subprotocols,
            compression=options.compression,
            limits=options.limits,
        )
        answer = await _shake_hands(stream, handshake, target)
        response = answer if isinstance(answer, Response) else answer.response
        if options.hooks:
            options.hooks.tell(
                HandshakeAnswered(target=str(target), request=handshake.request, response=response)
            )
        if isinstance(answer, Response):
            raise ConnectionRejected(answer)
    except BaseException:
        await trio.aclose_forcefully(stream)
        raise
    connection = maker_of(options.engine)(
        stream,
        handshake.request,
        answer,
        client=True,
        compression=options.compression,
        limits=options.limits,
        timeouts=options.timeouts,
        hooks=options.hooks,
    )
    return connection, handshake.trailing_data


def _with_basic_auth(headers: Headers, userinfo: tuple[str, str] | None) -> Headers:
    if userinfo is None or "authorization" in headers:
        return headers
    credentials = base64.b64encode(":".join(userinfo).encode()).decode()
    return Headers([*headers.raw, ("Authorization", f"Basic {credentials}")])


async def _shake_hands(
    stream: trio.abc.Stream, handshake: ClientHandshake, target: Target
) -> Negotiated | Response:
    try:
        await stream.send_all(handshake.request_bytes())
        while True:
            data = bytes(await stream.receive_some(_RECEIVE_SIZE))
            answer = handshake.receive_data(data) if data else handshake.receive_eof()
            if answer is not None:
                return answer
            if not data:
                raise ConnectionResetError(f"{target}: closed without an answer")
    except trio.BrokenResourceError as error:
        raise ConnectionResetError(f"{target}: cut off in the opening handshake") from error
    except BadResponse as error:
        raise InvalidHandshake(f"{target}: {error}") from None
