"""Fixtures: connected pairs on both engines, over memory, sockets and TLS."""

from __future__ import annotations

import signal
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, get_args

import pytest
import trio.testing
import trustme

from trio_ws import testing
from trio_ws._engines import Engine

from .pairs import OpenPair, Streams, socket_streams, tls_streams

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator

    from trio_ws.testing import Pair


if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell starts what runs in the background so, and the programs that tests interrupt would
    # inherit it.
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def tls_contexts() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    import ssl as ssl_module

    authority = trustme.CA()
    client = ssl_module.create_default_context()
    server = ssl_module.create_default_context(ssl_module.Purpose.CLIENT_AUTH)
    authority.configure_trust(client)
    authority.issue_cert("testserver").configure_cert(server)
    return client, server


@pytest.fixture(params=get_args(Engine))
def engine(request: pytest.FixtureRequest) -> Engine:
    """Each engine; a module that is about one of them overrides this."""
    chosen: Engine = request.param
    return chosen


@pytest.fixture
def open_pair(engine: Engine) -> OpenPair:
    """`trio_ws.testing.open_pair`, on each engine."""
    return partial(testing.open_pair, engine=engine)


@pytest.fixture(params=["memory", "socket", "tls"])
def pair(request: pytest.FixtureRequest, open_pair: OpenPair, tls_contexts: Any) -> OpenPair:
    """The same, over each kind of stream."""

    @asynccontextmanager
    async def open_over(**options: Any) -> AsyncIterator[Pair]:
        streams: Streams = trio.testing.lockstep_stream_pair()
        if request.param == "socket":
            streams = await socket_streams()
        elif request.param == "tls":
            streams = await tls_streams(tls_contexts)
        async with open_pair(streams=streams, **options) as both:
            yield both

    return open_over
