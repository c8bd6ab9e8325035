"""A network that fails: what clients, servers and reconnecting promise holds all the same."""

from __future__ import annotations

from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
import trio
import trio.testing

import trio_ws
from trio_ws.testing import Faults, Network

from .network import echo
from .sweeps import living_tasks

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncGenerator

    from trio.testing import MockClock

EXACT = trio_ws.Backoff(initial=1, jitter="none")


@asynccontextmanager
async def served(network: Network, context: ssl.SSLContext | None) -> AsyncGenerator[None]:
    listener: Any = network.listen()
    if context is not None:
        listener = trio.SSLListener(listener, context)
    async with trio.open_nursery() as nursery:
        await nursery.start(partial(trio_ws.serve, echo, listeners=[listener]))
        yield
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "TLS"])
@pytest.mark.parametrize("fault", ["reset_after", "end_after", "stall_after"])
@pytest.mark.parametrize("direction", ["up", "down"])
async def test_whatever_happens_to_an_opening_is_tried_again(
    tls_contexts: tuple[ssl.SSLContext, ssl.SSLContext],
    autojump_clock: MockClock,
    direction: str,
    fault: str,
    secure: bool,
) -> None:
    client, server = tls_contexts
    options: dict[str, Any] = {"ssl_context": client} if secure else {}
    url = "wss://testserver/" if secure else "ws://testserver/"
    tasks = living_tasks()
    step = 37 if secure else 3
    for count in range(0, 10_000, step):
        with Network() as network:
            # The first connection suffers, and those after it do not.
            faults = [Faults(), Faults(**{fault: count})]
            setattr(network, direction, lambda _, left=faults: left.pop() if left else Faults())
            async with served(network, server if secure else None):
                async with trio_ws.keep_connected(url, backoff=EXACT, hooks=(), **options):
                    carried = getattr(network.wires[0], direction).sent
                    attempts = len(network.dialled)
        assert attempts <= 2
        await trio.testing.wait_all_tasks_blocked()
        assert living_tasks() == tasks
        if attempts == 1:
            assert 100 < carried <= count
            return
    raise AssertionError("the opening does not end")
