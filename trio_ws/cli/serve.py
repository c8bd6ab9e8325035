"""``trio-ws serve``: the server, and how it is told to stop."""

from __future__ import annotations

import logging
import signal
import ssl
import sys
from functools import partial
from typing import TYPE_CHECKING

import trio

from .._server import Server, serve
from .._settings import Compression, Limits
from .exit_codes import ExitCode
from .failures import Usage, say
from .handlers import handler_of
from .heartbeats import heartbeat_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from .handlers import Mode
    from .options.serve import ServeOptions


def run(options: ServeOptions) -> None:
    """Serve until a signal says stop; exit with the right code."""
    if options.tls_key is not None and options.tls_cert is None:
        raise Usage("--tls-key needs its certificate: give --tls-cert as well")
    logging.basicConfig(
        level=options.log_level.upper(),
        format="%(asctime)s %(levelname)s %(message)s",
        stream=sys.stderr,
    )
    code = trio.run(_serve, options)
    if code:
        sys.exit(code)


def _ssl_context(options: ServeOptions) -> ssl.SSLContext | None:
    if options.tls_cert is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(options.tls_cert, options.tls_key)
    except ssl.SSLError as error:
        raise Usage(f"{options.tls_cert}: not a certificate with its key in PEM: {error}") from None
    return context


async def _serve(options: ServeOptions) -> int:
    """Serve, and return the exit code."""
    mode = handler_of(options)
    start = partial(
        serve,
        mode,
        options.host,
        options.port,
        ssl_context=_ssl_context(options),
        # An echo server has nothing to protect from other pages.
        origins="*",
        compression=Compression() if options.compress else None,
        heartbeat=heartbeat_of(options.ping_interval, options.ping_timeout),
        limits=Limits(max_message_size=options.max_size),
    )
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with trio.open_nursery() as nursery:
            await nursery.start(mode.run)
            server: Server = await nursery.start(start)
            print(f"serving {url_of(server, options)} (Ctrl-C to stop)", flush=True)
            code = await _stop_when_told(server, mode, signals, options.drain_timeout)
            nursery.cancel_scope.cancel()
    return code


def url_of(server: Server, options: ServeOptions) -> str:
    """Where the server can be reached, with the port that it really has."""
    scheme = "ws" if options.tls_cert is None else "wss"
    host = f"[{options.host}]" if ":" in options.host else options.host
    return f"{scheme}://{host}:{server.port}{options.path or ''}"


async def _stop_when_told(
    server: Server, mode: Mode, signals: AsyncIterator[int], timeout: float
) -> int:
    """Drain at the first signal, or when there is no more to do; at the second, stop waiting."""
    await _wait_told(mode, signals)
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


async def _wait_told(mode: Mode, signals: AsyncIterator[int]) -> None:
    async with trio.open_nursery() as nursery:

        async def first_signal() -> None:
            await anext(signals)
            nursery.cancel_scope.cancel()

        nursery.start_soon(first_signal)
        await mode.over.wait()
        nursery.cancel_scope.cancel()
