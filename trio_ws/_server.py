"""The server: accept, shake hands, and supervise one handler per connection.

One task per connection does it all: it takes the connection through its opening handshake,
then holds its nursery and runs its handler. What goes wrong there ends there.
"""

from __future__ import annotations

import errno
import inspect
import logging
import random
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import trio

from ._engines import DEFAULT_ENGINE, check_engine, maker_of
from ._errors import is_end_of
from ._heartbeat import DEFAULT_HEARTBEAT, check_policy, start_heartbeat
from ._http import Origins
from ._listen import addresses_of, close_all, open_listeners
from ._peers import TrustedProxies, address_of, group_of, name_of, receive_proxy_header
from ._settings import Limits, Timeouts
from ._tls import TLSStream
from .instrumentation import HandlerCrashed, Hooks, log_record
from .protocol.handshake import BadRequest, ServerHandshake
from .protocol.http import Response
from .protocol.machine import encode_close
from .protocol.proxy import BadProxyHeader

if TYPE_CHECKING:
    import ssl
    from collections.abc import Awaitable, Callable, Iterable, Sequence
    from os import PathLike
    from typing import TypeAlias

    from ._connection import Connection
    from ._engines import Engine
    from ._heartbeat import HeartbeatPolicy
    from ._http import ProcessRequest
    from ._settings import Compression
    from ._websocket import WebSocket
    from .instrumentation import Hook
    from .protocol.http import HeadersLike, Request

    Handler: TypeAlias = Callable[[WebSocket], Awaitable[object]]
    OnError: TypeAlias = Callable[[WebSocket, Exception], Awaitable[object] | object]
    SubprotocolChoice: TypeAlias = Sequence[str] | Callable[[Request, Sequence[str]], str | None]

_logger: Final = logging.getLogger("trio_ws.server")

DEFAULT_LIMITS: Final = Limits()
DEFAULT_TIMEOUTS: Final = Timeouts()
DEFAULT_HOOKS: Final = (log_record,)
_RECEIVE_SIZE: Final = 64 * 1024
#: Seconds to read on after a refusal, so that closing does not reset it away.
_LINGER: Final = 1.0
#: Seconds between tries to accept while descriptors or memory are short.
_ACCEPT_PAUSE: Final = 0.1
_ACCEPT_SHORTAGES: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS})
_CRASHED: Final = Response.text(500, "Internal server error\n")
#: What the peer or the network may do to a handshake.
_NETWORK_FAILURES: Final = (OSError, trio.BrokenResourceError, trio.ClosedResourceError)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerStatistics:
    """A snapshot of one server's counters.

    Attributes:
      connections: open now, or ended while their handlers still run: what ``max_connections``
        bounds.
      handshakes: opening handshakes under way now.
      accepted: connections opened since the start.
      refused: requests answered with something other than 101, health checks included.
      crashed: handlers that raised.
      uptime: seconds since the start. That of each connection is in `WebSocket.statistics`.
    """

    connections: int
    handshakes: int
    accepted: int
    refused: int
    crashed: int
    uptime: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _Options:
    """What `serve` was asked for, the addresses apart."""

    process_request: tuple[ProcessRequest, ...]
    origins: Origins
    subprotocols: SubprotocolChoice
    compression: Compression | None
    headers: HeadersLike
    max_connections: int | None
    max_connections_per_host: int | None
    trusted_proxies: TrustedProxies
    proxy_protocol: bool
    engine: Engine
    heartbeat: HeartbeatPolicy | None
    on_error: OnError | None
    limits: Limits
    timeouts: Timeouts
    hooks: Hooks


class Server:
    """A running server, as `serve` hands it to ``nursery.start``."""

    def __init__(
        self, handler: Handler, listeners: Sequence[trio.abc.Listener[Any]], options: _Options
    ) -> None:
        self._handler = handler
        self._listeners = listeners
        # Asked for now: a closed socket has no address.
        self._addresses = addresses_of(listeners)
        self._options = options
        # Made once: one for each connection, with its arguments, would take 260 bytes.
        self._afterwards = self._end_handler
        self._connections: dict[str, Connection] = {}
        self._hosts: Counter[str] = Counter()
        self._slots = trio.Semaphore(options.limits.max_handshakes)
        self._accepting = trio.CancelScope()
        self._running = trio.CancelScope()
        self._finished = trio.Event()
        self._draining = False
        self._handshakes = 0
        self._accepted = 0
        self._refused = 0
        self._crashed = 0
        self._started_at = trio.current_time()

    def __repr__(self) -> str:
        state = "draining" if self._draining else "open"
        addresses = ", ".join(map(str, self.addresses))
        return f"<Server on {addresses}: {state}, {len(self._connections)} connections>"

    # What is known about it

    @property
    def addresses(self) -> tuple[object, ...]:
        """The listeners' addresses, as the socket module gives them."""
        return self._addresses

    @property
    def port(self) -> int:
        """The TCP port of the first listener that has one; useful after asking for port 0.

        Raises:
          ValueError: no listener is a TCP socket.
        """
        for address in self.addresses:
            if isinstance(address, tuple):
                return int(address[1])
        raise ValueError("this server listens on no TCP port")

    @property
    def connections(self) -> tuple[WebSocket, ...]:
        """The open connections at this moment: a copy, so that they may change meanwhile.

        Those whose end has begun are not among them, though their handlers may still run.
        """
        return tuple(one for one in self._connections.values() if one.close_reason is None)

    def statistics(self) -> ServerStatistics:
        """A snapshot of the counters."""
        return ServerStatistics(
            connections=len(self._connections),
            handshakes=self._handshakes,
            accepted=self._accepted,
            refused=self._refused,
            crashed=self._crashed,
            uptime=trio.current_time() - self._started_at,
        )

    def close_connection(self, connection_id: str, code: int = 1000, reason: str = "") -> bool:
        """Begin to close one connection; its handler sees what it would had the peer closed.

        Args:
          connection_id: the connection's `WebSocket.id`.
          code: as for `WebSocket.aclose`.
          reason: the text beside it, at most 123 bytes of UTF-8.

        Returns:
          Whether such a connection was open. It is closed within ``Timeouts.close_timeout``.

        Raises:
          ValueError: the code may not be sent, or the reason is too long.
        """
        encode_close(code, reason)
        connection = self._connections.get(connection_id)
        if connection is None or connection.close_reason is not None:
            return False
        connection.close_soon(code, reason)
        return True

    # Draining

    async def drain(
        self, timeout: float = 30.0, *, code: int = 1001, reason: str = "", spread: float = 0.0
    ) -> None:
        """Stop in good order; `serve` returns when this is done.

        Stops accepting, answers handshakes under way with 503, closes each open connection and
        waits for its handler. A handler sees what it would see had the peer closed.

        Args:
          timeout: seconds after which handlers that still run are cancelled.
          code: the close code; 1001 says "going away", 1012 "restarting".
          reason: the text beside it, at most 123 bytes of UTF-8.
          spread: seconds over which the closes are spread, so that clients do not all come back
            in one instant. Part of *timeout*.

        Cancellation: the server stays as it is, no longer accepting. Call again to go on.
        """
        self._draining = True
        self._accepting.cancel()
        with trio.move_on_after(timeout):
            await self._close_all(code, reason, spread)
            await self._finished.wait()
        self._running.cancel()
        await self._finished.wait()

    async def _close_all(self, code: int, reason: str, spread: float) -> None:
        remaining = list(self._connections.values())
        random.shuffle(remaining)
        pause = spread / len(remaining) if remaining else 0.0
        for connection in remaining:
            connection.close_soon(code, reason)
            if pause:
                await trio.sleep(pause)

    # Accepting

    async def run(self, task_status: trio.TaskStatus[Server]) -> None:
        """Serve until cancelled, or drained."""
        try:
            with self._running:
                async with trio.open_nursery() as connections:
                    with self._accepting:
                        async with trio.open_nursery() as accepting:
                            for listener in self._listeners:
                                accepting.start_soon(self._accept, listener, connections)
                            task_status.started(self)
                    await close_all(self._listeners)
        finally:
            self._finished.set()

    async def _accept(self, listener: trio.abc.Listener[Any], connections: trio.Nursery) -> None:
        short = False
        while True:
            await self._slots.acquire()
            try:
                stream = await listener.accept()
            except OSError as error:
                self._slots.release()
                if error.errno not in _ACCEPT_SHORTAGES:
                    raise
                if not short:
                    _logger.error("cannot accept connections for now: %s", error)
                short = True
                await trio.sleep(_ACCEPT_PAUSE)
            except BaseException:
                self._slots.release()
                raise
            else:
                if short:
                    _logger.error("accepting connections again")
                short = False
                connections.start_soon(self._serve_stream, stream)

    # One connection

    async def _serve_stream(self, stream: trio.abc.Stream) -> None:
        opened: _Opened | None = None
        address = address_of(stream)
        self._handshakes += 1
        try:
            try:
                opened = await self._open(stream, address)
            finally:
                self._handshakes -= 1
                self._slots.release()
                if opened is None:
                    await trio.aclose_forcefully(stream)
            # The connection owns the socket, and the object around it would take 180 bytes more.
            del stream
            if opened is not None:
                await self._supervise(opened)
        except Exception:
            # What handlers and hooks raise is caught elsewhere. This is a bug of ours, or a header
            # that cannot be sent, and costs one connection.
            _logger.exception("%s: internal error", name_of(address))
        finally:
            if opened is not None:
                self._forget(opened)

    async def _open(self, stream: trio.abc.Stream, address: object) -> _Opened | None:
        """The opening handshake. ``None``: there is no connection, and the log says why."""
        peer = name_of(address)
        outcome: _Opened | bytes | None = None
        with trio.move_on_after(self._options.timeouts.open_timeout) as scope:
            try:
                outcome = await self._shake_hands(stream, address)
            except EOFError:
                _logger.debug("%s: came and went without a word", peer)
            except BadProxyHeader as error:
                self._refused += 1
                _logger.info("%s: refused: %s", peer, error)
            except _NETWORK_FAILURES as error:
                _logger.debug("%s: opening handshake failed: %s", peer, error.__cause__ or error)
        if scope.cancelled_caught:
            _logger.info("%s: refused: no complete opening handshake in time", peer)
        if not isinstance(outcome, bytes):
            return outcome
        # The log has its line: it is nobody's business what becomes of the answer.
        with trio.move_on_at(scope.deadline), suppress(*_NETWORK_FAILURES):
            await _answer(stream, outcome)
        return None

    async def _shake_hands(self, stream: trio.abc.Stream, address: object) -> _Opened | bytes:
        """The connection, or the answer that refuses it."""
        proxies = self._options.trusted_proxies
        known = True
        if self._options.proxy_protocol and proxies.trust(address):
            source = await receive_proxy_header(stream)
            # Of whom the proxy does not know, it cannot have checked the headers either.
            known = source is not None
            address = source if known else address
        if isinstance(stream, TLSStream | trio.SSLStream):
            await stream.do_handshake()
        handshake = ServerHandshake(limits=self._options.limits)
        try:
            request = await _read_request(stream, handshake)
            if proxies and known:
                address = proxies.client_of(address, request.headers)
            refusal = await self._refusal(request)
            # Nothing is awaited from here until the connection runs, so no bound is overrun.
            refusal = refusal or self._lack_of_room(address)
            if refusal is None:
                return self._admit(stream, handshake, request, address)
        except BadRequest as error:
            _logger.info("%s: refused: %s", name_of(address), ascii(str(error))[1:-1])
            refusal = error.response
        except (EOFError, *_NETWORK_FAILURES):
            raise
        except Exception:
            # The application's choice of subprotocol or headers, or a bug of ours.
            _logger.exception("%s: the opening handshake crashed", name_of(address))
            refusal = _CRASHED
        else:
            _logger.debug(
                "%s: %s answered with %d", name_of(address), ascii(request.target), refusal.status
            )
        self._refused += 1
        return handshake.reject(refusal)

    async def _refusal(self, request: Request) -> Response | None:
        """What the hooks and the origin check answer instead of 101, if anything."""
        try:
            for hook in self._options.process_request:
                answer = hook(request)
                response = await answer if inspect.isawaitable(answer) else answer
                if response is not None:
                    return response
        except Exception:
            _logger.exception("process_request failed for %s", ascii(request.target))
            return _CRASHED
        return self._options.origins.check(request)

    def _lack_of_room(self, address: object) -> Response | None:
        options = self._options
        retry = [("Retry-After", "5")]
        if self._draining:
            # Without a time: there may be another on this port by now.
            return Response.text(503, "This server is going away\n")
        if (
            options.max_connections is not None
            and len(self._connections) >= options.max_connections
        ):
            return Response.text(503, "This server has as many connections as it takes\n", retry)
        per_host = options.max_connections_per_host
        if per_host is not None and self._hosts[group_of(address)] >= per_host:
            return Response.text(503, "Too many connections from your address\n", retry)
        return None

    def _admit(
        self, stream: trio.abc.Stream, handshake: ServerHandshake, request: Request, address: object
    ) -> _Opened:
        options = self._options
        head, negotiated = handshake.accept(
            subprotocols=options.subprotocols,
            compression=options.compression,
            headers=options.headers,
        )
        connection = maker_of(options.engine)(
            stream,
            request,
            negotiated,
            client=False,
            compression=options.compression,
            limits=options.limits,
            timeouts=options.timeouts,
            hooks=options.hooks,
        )
        if self._options.trusted_proxies:
            connection.remote_address = address
        self._connections[connection.id] = connection
        group = group_of(address)
        self._hosts[group] += 1
        self._accepted += 1
        return _Opened(connection, head, handshake.trailing_data, group)

    def _forget(self, opened: _Opened) -> None:
        del self._connections[opened.connection.id]
        self._hosts[opened.group] -= 1
        if not self._hosts[opened.group]:
            del self._hosts[opened.group]

    async def _supervise(self, opened: _Opened) -> None:
        """Run the handler beside its connection's tasks, until all of them are done."""
        connection = opened.connection
        async with trio.open_nursery() as nursery:
            connection.start(
                nursery,
                opened.leftover,
                preamble=opened.head,
                afterwards=self._afterwards,
            )
            opened.head = opened.leftover = b""
            heartbeat = start_heartbeat(
                nursery, connection, self._options.heartbeat, self._options.hooks
            )
            try:
                try:
                    await self._handler(connection)
                except Exception as error:
                    code = await self._handler_raised(connection, error)
                else:
                    code = 1000
                await connection.aclose(code)
            finally:
                if heartbeat is not None:
                    heartbeat.cancel()
                connection.abandon()
            nursery.cancel_scope.cancel()

    async def _handler_raised(self, connection: Connection, error: Exception) -> int:
        """The code to close with."""
        if is_end_of(connection.id, error):
            return 1000
        self._crashed += 1
        if self._options.hooks:
            self._options.hooks.tell(
                HandlerCrashed(
                    id=connection.id,
                    target=connection.request.target,
                    remote_address=connection.remote_address,
                    error=error,
                )
            )
        if self._options.on_error is not None:
            await self._call_on_error(self._options.on_error, connection, error)
        return 1011

    async def _call_on_error(
        self, on_error: OnError, connection: Connection, error: Exception
    ) -> None:
        bound = self._options.timeouts.handler_grace
        try:
            with trio.move_on_after(bound) as scope:
                answer = on_error(connection, error)
                if inspect.isawaitable(answer):
                    await answer
            if scope.cancelled_caught:
                _logger.error("%s: on_error was not done within %g s", connection.id, bound)
        except Exception as second:
            if not is_end_of(connection.id, second):
                _logger.exception("%s: on_error failed", connection.id)

    async def _end_handler(self, connection: Connection, nursery: trio.Nursery) -> None:
        """Cancel a handler that goes on without its connection."""
        reason = connection.close_reason
        await connection.wait_read()
        await trio.sleep(self._options.timeouts.handler_grace)
        _logger.info(
            "%s: the handler, still running %g s after its connection ended (%s), is cancelled",
            connection.id,
            self._options.timeouts.handler_grace,
            reason,
        )
        nursery.cancel_scope.cancel()


@dataclass(slots=True)
class _Opened:
    """A connection whose handshake is done but for sending the answer."""

    connection: Connection
    head: bytes
    leftover: bytes
    #: See `group_of`.
    group: str


async def _read_request(stream: trio.abc.Stream, handshake: ServerHandshake) -> Request:
    while True:
        data = bytes(await stream.receive_some(_RECEIVE_SIZE))
        if not data:
            handshake.receive_eof()
            raise EOFError
        request = handshake.receive_data(data)
        if request is not None:
            return request


async def _answer(stream: trio.abc.Stream, response: bytes) -> None:
    """Send a whole HTTP answer and see it off: input left unread would reset it away."""
    await stream.send_all(response)
    if isinstance(stream, trio.abc.HalfCloseableStream):
        await stream.send_eof()
        with trio.move_on_after(_LINGER):
            while await stream.receive_some(_RECEIVE_SIZE):
                pass
    else:
        await stream.aclose()


async def serve(
    handler: Handler,
    host: str | None = None,
    port: int | None = None,
    *,
    listeners: Iterable[trio.abc.Listener[Any]] | None = None,
    unix_socket: str | PathLike[str] | None = None,
    ssl_context: ssl.SSLContext | None = None,
    process_request: ProcessRequest | None = None,
    origins: str | Iterable[str] = "same",
    subprotocols: SubprotocolChoice = (),
    compression: Compression | None = None,
    headers: HeadersLike = (),
    max_connections: int | None = None,
    max_connections_per_host: int | None = None,
    trusted_proxies: Iterable[str] = (),
    proxy_protocol: bool = False,
    engine: Engine = DEFAULT_ENGINE,
    heartbeat: HeartbeatPolicy | None = DEFAULT_HEARTBEAT,
    on_error: OnError | None = None,
    limits: Limits = DEFAULT_LIMITS,
    timeouts: Timeouts = DEFAULT_TIMEOUTS,
    hooks: Iterable[Hook] = DEFAULT_HOOKS,
    task_status: trio.TaskStatus[Server] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve WebSocket connections until cancelled or drained.

    ::

        async def echo(ws: trio_ws.WebSocket) -> None:
            async for message in ws:
                await ws.send(message)

        trio.run(trio_ws.serve, echo, "127.0.0.1", 8765)

    Args:
      handler: called with each open connection, in a task of its own. When it returns, the
        connection is closed with 1000; when it raises, with 1011, and the log has the traceback.
        It need not catch what says that its own connection has ended. When the connection has
        ended and everything received is read, it has ``Timeouts.handler_grace`` seconds until it
        is cancelled. A handler with a method ``process_request``, such as `Router`, is asked
        before a connection is accepted.
      host: the address or name to listen on; ``None`` for every address of this machine.
      port: the TCP port; 0 takes any free one, which `Server.port` tells.
      listeners: listeners to use as well as, or instead of, *host* and *port*. They are closed.
      unix_socket: the path of a Unix socket to listen on as well, or instead.
      ssl_context: serves ``wss`` on every TCP and Unix listener that is opened here.
      process_request: a hook, sync or async, that sees every HTTP request: it returns ``None`` to
        let it go on or a `Response` to answer it. See `basic_auth`, `bearer_auth`, `health`.
      origins: which ``Origin`` headers are let in: ``"same"`` (the host asked for), ``"*"``, or
        patterns such as ``"https://*.example.com"``. Others are answered 403. Requests without
        one, which are not a browser's, always pass.
      subprotocols: those that the server speaks, by preference, or a callable that is given the
        request and what the client offers, and returns its choice or ``None``.
      compression: how permessage-deflate is used with clients that offer it; ``None``: not at all.
      headers: additional headers of the 101 answer.
      max_connections: 503 with ``Retry-After`` beyond.
      max_connections_per_host: the same for one address (of IPv6, one /64 network).
      trusted_proxies: addresses and networks (``"10.0.0.0/8"``) of proxies that say for whom they
        ask; ``"unix"`` for whoever connects to a Unix socket, ``"*"`` for everybody. From them,
        ``X-Forwarded-For`` is believed, from its end up to the first address that is not one of
        theirs: that is `WebSocket.remote_address` (with port 0), is logged, and is counted by
        *max_connections_per_host*. From all others it is ignored.
      proxy_protocol: *trusted_proxies* begin each connection with a header of the PROXY protocol,
        version 1 or 2, which says the same for any protocol, TLS included. Without one they are
        not served; all others are served without, and refused with one. From where a header names
        nobody, the address is the proxy's, and ``X-Forwarded-For`` is not believed.
      engine: what connections run on; see `connect`.
      heartbeat: how a dead peer is noticed: by default a ping every 20 seconds, to be answered
        within 20; see `Heartbeat`. ``None``: not at all.
      on_error: sync or async, called with the connection and what its handler raised, before
        this side closes with 1011: to count it, to report it, to send a last word where the
        connection is still open. It has ``Timeouts.handler_grace`` seconds.
      limits: bounds on what a peer may make this side hold.
      timeouts: bounds on how long things may take.
      hooks: told what happens to every connection; see `trio_ws.instrumentation`. By default,
        one that writes to the log.
      task_status: gives ``nursery.start`` the `Server`.

    Raises:
      OSError: an address cannot be listened on.
      ValueError: the arguments contradict each other, or a trusted network is none.
      NotSupportedByEngine: *engine* cannot do what another of them asks for.

    Cancellation: abrupt and prompt: handlers are cancelled and every transport is closed. Use
    `Server.drain` to stop in good order.
    """
    check_policy(heartbeat)
    check_engine(engine, compression=compression, timeouts=timeouts)
    trusted = TrustedProxies(trusted_proxies)
    if proxy_protocol and not trusted:
        raise ValueError("proxy_protocol needs trusted_proxies: nobody else may say who asks")
    options = _Options(
        process_request=_hooks(process_request, handler),
        origins=Origins.parse(origins),
        subprotocols=subprotocols if callable(subprotocols) else tuple(subprotocols),
        compression=compression,
        headers=headers,
        max_connections=max_connections,
        max_connections_per_host=max_connections_per_host,
        trusted_proxies=trusted,
        proxy_protocol=proxy_protocol,
        engine=engine,
        heartbeat=heartbeat,
        on_error=on_error,
        limits=limits,
        timeouts=timeouts,
        hooks=Hooks(hooks),
    )
    async with open_listeners(host, port, listeners, unix_socket, ssl_context) as opened:
        await Server(handler, opened, options).run(task_status)


def _hooks(process_request: ProcessRequest | None, handler: Handler) -> tuple[ProcessRequest, ...]:
    routing = getattr(handler, "process_request", None)
    return tuple(hook for hook in (process_request, routing) if hook is not None)
