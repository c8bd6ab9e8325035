"""What a server answers over plain HTTP, and in which order.

1. ``/healthz``, to anybody: probes have no password.
2. Without the credentials asked for, 401: everything below is behind them.
3. ``/metrics``, where asked for. Prometheus can send credentials.
4. The console at exactly ``/``, where asked for.
5. The files of ``--static``, which answers every plain request that is left.
6. Requests for a WebSocket at another path than ``--path``, 404.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from .._routing import Router
from .admission import authentication
from .failures import Usage

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .._http import ProcessRequest
    from .options.serve import ServeOptions


def site(
    options: ServeOptions,
    healthy: ProcessRequest,
    metrics: ProcessRequest | None = None,
    *,
    echo: bool = False,
) -> Iterator[ProcessRequest]:
    """The hooks, in their order.

    Args:
      options: of the command.
      healthy: what answers ``/healthz``.
      metrics: what answers ``/metrics``.
      echo: whether every message is answered with itself, which the console makes use of.

    Raises:
      Usage: an option makes no sense.
    """
    yield healthy
    admission = authentication(options)
    if admission is not None:
        yield admission
    if metrics is not None:
        yield metrics
    if options.console:
        from .console import console

        yield console(path=options.path or "/", subprotocols=options.subprotocol, echo=echo)
    if options.static is not None:
        from .static import static_files

        if not options.static.is_dir():
            raise Usage(f"--static {options.static}: there is no such directory")
        yield static_files(options.static)
    if options.path is not None:
        yield _only(options.path)


def _only(path: str) -> ProcessRequest:
    """A hook that answers 404 for every other path."""
    router = Router()
    try:
        # It is asked which paths there are, and never runs a handler.
        router.add(path, trio.sleep_forever)
    except ValueError as error:
        raise Usage(f"--path {path}: {error}") from None
    return router.process_request
