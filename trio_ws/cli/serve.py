"""``trio-ws serve``: a server from its options, and how it is told to stop."""

from __future__ import annotations

import logging
import os
import shlex
import signal
import sys
from functools import partial
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

import trio

from .._http import all_of
from .._inherited import inherited_listeners
from .._peers import TrustedProxies
from .._server import DEFAULT_HOOKS, Server, serve
from .._settings import Compression, Limits
from .._url import host_port
from .admission import origins_of, subprotocols_of
from .engine import engine_of
from .exit_codes import ExitCode
from .failures import LocalFailure, Usage, redacted, say
from .handlers import handler_of
from .handlers.echo import Echo
from .heartbeats import heartbeat_of
from .options.serve import ServeFormat
from .place import Place, Siblings
from .site import site
from .tls import RenewableContext, server_tls
from .workers import supervise, workers_of
from .writer import write_to

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Awaitable, Callable

    from .._server import Handler
    from .._websocket import WebSocket
    from ..instrumentation import Hook
    from .handlers import Mode
    from .options.serve import ServeOptions
    from .recording import Recorder
    from .tls import SelfSigned

_logger: Final = logging.getLogger("trio_ws.cli")

#: Seconds that what is recorded has to be written in the end.
_LAST_WORDS = 5.0


def run(options: ServeOptions) -> None:
    """Serve until a signal says stop; exit with the right code."""
    place = Place.taken()
    _log(options, place)
    count = 1 if place is not None else workers_of(options)
    serving = partial(_supervise, options, count) if count > 1 else partial(_serve, options, place)
    code = trio.run(serving)
    if code:
        sys.exit(code)


class _Redacting(logging.Formatter):
    """Passwords and tokens of the command line never stand in the log."""

    def format(self, record: logging.LogRecord) -> str:
        return redacted(super().format(record))


def _log(options: ServeOptions, place: Place | None) -> None:
    handler = logging.StreamHandler(sys.stderr)
    who = "" if place is None else f"[{place.number}] "
    handler.setFormatter(_Redacting(f"%(asctime)s %(levelname)s {who}%(message)s"))
    # It logs each failed attempt with a traceback; ours says it in a line.
    logging.getLogger("coredis").setLevel(logging.CRITICAL)
    logging.basicConfig(level=options.log_level.upper(), handlers=[handler])


async def _supervise(options: ServeOptions, count: int) -> int:
    """Have *count* processes serve, and return the exit code."""

    def announce(address: object) -> None:
        _announce(f"{url_of(address, options)} with {count} workers", options, None)

    try:
        return await supervise(options, count, announce)
    except OSError as error:
        raise _cannot_listen(options, error) from error


async def _serve(options: ServeOptions, place: Place | None = None) -> int:
    """Serve, and return the exit code. In *place*, as one of several."""
    siblings = Siblings()
    with (
        server_tls(options) as (context, self_signed),
        trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals,
    ):
        recorder = _recorder(options)
        mode = handler_of(options, recorder)
        start = partial(
            serve,
            **_arguments(options, mode, recorder, None if place is None else siblings),
            **_listening(options, context, place),
        )
        async with trio.open_nursery() as nursery:
            stopping = trio.Event()
            await nursery.start(mode.run)
            if isinstance(context, RenewableContext):
                await nursery.start(_renew, options, context)
            if recorder is not None:
                nursery.start_soon(_record, recorder, stopping)
            try:
                server: Server = await nursery.start(start)
            except OSError as error:
                raise _cannot_listen(options, error) from error
            if place is None:
                _announce(url_of(server.addresses[0], options), options, self_signed)
            else:
                nursery.start_soon(_until_gone, siblings, place, stopping)
            await _first_of(partial(anext, signals), stopping.wait, mode.over.wait)
            code = await _drain(server, signals, options.drain_timeout)
            if recorder is not None and code == ExitCode.OK:
                with trio.move_on_after(_LAST_WORDS):
                    await recorder.wait_written()
            nursery.cancel_scope.cancel()
    return code


async def _until_gone(siblings: Siblings, place: Place, stopping: trio.Event) -> None:
    """Hear what the parent says; without one there is nobody to serve for."""
    await siblings.follow(place.control)
    stopping.set()


def _arguments(
    options: ServeOptions,
    mode: Mode,
    recorder: Recorder | None,
    siblings: Siblings | None = None,
) -> dict[str, Any]:
    """What the options ask of `serve`, TLS apart; of one of several with *siblings*.

    Raises:
      Usage: they make no sense.
    """
    hooks: list[Hook] = list(DEFAULT_HOOKS)
    answer_metrics = None
    if options.metrics:
        from .metrics import metrics

        count, answer_metrics = metrics(several=siblings is not None)
        hooks.append(count)
    if recorder is not None:
        hooks.append(recorder)
    if options.proxy_protocol and not options.trusted_proxy:
        raise Usage("--proxy-protocol needs --trusted-proxy: nobody else may say who asks")
    try:
        TrustedProxies(options.trusted_proxy)
    except ValueError as error:
        raise Usage(f"--trusted-proxy: {error}") from None
    # The mode's is asked last: what it counts stays true until the connection is open.
    healthy = (siblings or Siblings()).health(mode.troubles)
    answers = site(options, healthy, answer_metrics, echo=isinstance(mode, Echo))
    requests = [*answers, mode.process_request]
    return {
        "handler": _called(mode),
        "process_request": all_of(*requests),
        "origins": origins_of(options),
        "subprotocols": subprotocols_of(options),
        "compression": Compression() if options.compress else None,
        "max_connections": options.max_connections,
        "trusted_proxies": options.trusted_proxy,
        "proxy_protocol": options.proxy_protocol,
        "engine": engine_of(options.engine, compress=options.compress, stall=options.stall),
        "heartbeat": heartbeat_of(options.ping_interval, options.ping_timeout),
        "limits": Limits(max_message_size=options.max_size),
        "hooks": hooks,
    }


def _listening(
    options: ServeOptions, context: ssl.SSLContext | None, place: Place | None = None
) -> dict[str, Any]:
    """Where the options say to listen, as arguments of `serve`; in *place*, where that says.

    Raises:
      Usage: there is no such socket, or they contradict each other.
    """
    if place is not None:
        return {"listeners": inherited_listeners(place.sockets, ssl_context=context)}
    if options.fd or options.systemd:
        if (options.fd and options.systemd) or options.unix_socket is not None:
            raise Usage("choose one of --fd, --systemd and --unix-socket")
        try:
            listeners = inherited_listeners(options.fd or None, ssl_context=context)
        except ValueError as error:
            raise Usage(f"{'--fd' if options.fd else '--systemd'}: {error}") from None
        return {"listeners": listeners}
    if options.unix_socket is not None:
        return {"unix_socket": options.unix_socket, "ssl_context": context}
    return {"host": options.host, "port": options.port, "ssl_context": context}


def _called(mode: Mode) -> Handler:
    """*mode* without its ``process_request``, which would be asked twice."""

    async def run(ws: WebSocket) -> None:
        await mode(ws)

    return run


def _cannot_listen(options: ServeOptions, error: OSError) -> OSError:
    where = options.unix_socket or host_port(options.host, options.port)
    return OSError(error.errno, f"cannot listen on {where}: {error.strerror or error}")


def _recorder(options: ServeOptions) -> Recorder | None:
    if options.format is not ServeFormat.JSONL:
        return None
    from .recording import Recorder

    if sys.stdout is None:
        raise LocalFailure("--format jsonl writes to stdout, and that is closed")
    return Recorder(write_to(sys.stdout.fileno(), "stdout"))


async def _record(recorder: Recorder, stopping: trio.Event) -> None:
    """Have it written; when nobody reads it any more, there is nothing left to serve for."""
    await recorder.run()
    stopping.set()


# What is said


def _announce(url: str, options: ServeOptions, self_signed: SelfSigned | None) -> None:
    serving = f"serving {url} (Ctrl-C to stop)"
    if options.format is ServeFormat.JSONL:
        say(serving)
    else:
        print(serving, flush=True)
    if options.console and url.startswith(("ws:", "wss:")):
        say(f"console at {_page_of(url, options)}")
    if self_signed is not None:
        say(f"certificate for {', '.join(self_signed.names)}; SHA-256 {self_signed.fingerprint}")
        say(f"to trust it: trio-ws client --cacert {shlex.quote(self_signed.authority)} {url}")


def _page_of(url: str, options: ServeOptions) -> str:
    return f"http{url.removesuffix(options.path or '').removeprefix('ws')}/"


def url_of(address: object, options: ServeOptions) -> str:
    """Where a server on *address* can be reached, with the port that it really has."""
    scheme = "wss" if options.tls_cert is not None or options.tls_self_signed else "ws"
    path = options.path or ""
    match address:
        case (str(host), int(port), *_):
            given = options.fd or options.systemd
            return f"{scheme}://{host_port(host if given else options.host, port)}{path}"
        case str(name) if name:
            where = quote(os.fsencode(os.path.abspath(name)), safe="/")
            return f"{scheme}+unix:{where}{f':{path}' if path else ''}"
        case bytes(name):
            # Of an abstract socket, which Linux has and URLs of ours have not.
            return f"{scheme} at @{quote(name[1:])}"
    raise AssertionError(f"no address of a server: {address!r}")


# Signals


async def _renew(
    options: ServeOptions,
    context: RenewableContext,
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Load the certificate again at each SIGHUP."""
    with trio.open_signal_receiver(signal.SIGHUP) as signals:
        task_status.started()
        async for _ in signals:
            try:
                context.renew()
            except Usage as error:
                _logger.error("the certificate stays as it was: %s", error)
            else:
                _logger.info("the certificate was loaded again from %s", options.tls_cert)


async def _drain(server: Server, signals: AsyncIterator[int], timeout: float) -> int:
    """Drain; at the next signal, wait no longer. Return the exit code."""
    count = len(server.connections)
    if count:
        say(f"closing {count} connection{'s' if count > 1 else ''}; once more to stop at once")
    code = ExitCode.OK
    async with trio.open_nursery() as nursery:

        async def second_signal() -> None:
            nonlocal code
            number = await anext(signals)
            code = ExitCode.INTERRUPTED if number == signal.SIGINT else ExitCode.TERMINATED
            nursery.cancel_scope.cancel()

        nursery.start_soon(second_signal)
        await server.drain(timeout)
        nursery.cancel_scope.cancel()
    return code


async def _first_of(*waits: Callable[[], Awaitable[object]]) -> None:
    """Wait until one of *waits* is over, and cancel the others."""
    async with trio.open_nursery() as nursery:

        async def wait(one: Callable[[], Awaitable[object]]) -> None:
            await one()
            nursery.cancel_scope.cancel()

        for one in waits:
            nursery.start_soon(wait, one)
