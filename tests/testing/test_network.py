"""A network that clients dial within its block."""

from __future__ import annotations

import errno
import socket
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
import trio
import trio.testing

import trio_ws
from tests.sweeps import cancel_sweep, open_sockets
from trio_ws.testing import Faults, Network

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncGenerator
    from random import Random

    from trio.testing import MockClock

URL = "ws://example.com/"


async def echo(ws: trio_ws.WebSocket) -> None:
    async for message in ws:
        await ws.send(message)


@asynccontextmanager
async def served(*listeners: Any, handler: Any = echo, **options: Any) -> AsyncGenerator[Any]:
    async with trio.open_nursery() as nursery:
        serve = partial(trio_ws.serve, handler, listeners=listeners, **options)
        yield await nursery.start(serve)
        nursery.cancel_scope.cancel()


async def test_it_is_dialled_within_its_block() -> None:
    with Network() as network:
        async with served(network.listen()), trio_ws.connect(URL) as ws:
            await ws.send("hello")
            assert await ws.receive() == "hello"
            (wire,) = network.wires
        assert wire.closed
        assert not network.wires
        assert [(host, port) for host, port, _ in network.dialled] == [("example.com", 80)]
    # Whoever dials outside of it dials what is there.
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        with pytest.raises(ConnectionRefusedError):
            async with trio_ws.connect(f"ws://127.0.0.1:{taken.getsockname()[1]}/"):
                pass
    assert len(network.dialled) == 1


async def test_tls_goes_over_it(tls_contexts: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    client, server = tls_contexts
    segments = Faults(segment=100)
    with Network(up=segments, down=segments) as network:
        async with (
            served(trio.SSLListener(network.listen(), server)),
            trio_ws.connect("wss://testserver/", ssl_context=client) as ws,
        ):
            await ws.send("hello")
            assert await ws.receive() == "hello"


async def test_the_most_exact_listener_is_dialled() -> None:
    async def says(name: str, ws: trio_ws.WebSocket) -> None:
        await ws.send(name)

    with Network() as network:
        async with trio.open_nursery() as nursery:
            places: list[tuple[str | None, int | None]]
            places = [(None, None), ("a", None), (None, 81), ("a", 81)]
            for place in places:
                serve = partial(
                    trio_ws.serve, partial(says, str(place)), listeners=[network.listen(*place)]
                )
                await nursery.start(serve)
            urls = ["ws://b/", "ws://a/", "ws://b:81/", "ws://a:81/"]
            for url, place in zip(urls, places, strict=True):
                async with trio_ws.connect(url) as ws:
                    assert await ws.receive() == str(place)
            with pytest.raises(OSError, match="in use"):
                network.listen("a", 81)
            nursery.cancel_scope.cancel()
        # Whoever listened is gone.
        with pytest.raises(ConnectionRefusedError):
            async with trio_ws.connect("ws://a:81/"):
                pass
        await trio.aclose_forcefully(network.listen("a", 81))


async def test_who_waits_when_a_listener_closes_is_cut_off() -> None:
    with Network() as network:
        listener = network.listen()
        stream = await network.open_stream("a", 1)
        await listener.aclose()
        assert await stream.receive_some() == b""
        with pytest.raises(trio.ClosedResourceError):
            await listener.accept()
    async with trio.open_nursery() as nursery:
        listener = network.listen()

        @nursery.start_soon
        async def accept() -> None:
            with pytest.raises(trio.ClosedResourceError):
                await listener.accept()

        await trio.testing.wait_all_tasks_blocked()
        await listener.aclose()


async def test_dialling_takes_its_time_and_fails_on_demand(autojump_clock: MockClock) -> None:
    with Network(dial_time=3) as network:
        async with served(network.listen()):
            async with trio_ws.connect(URL, heartbeat=None):
                assert trio.current_time() == 3
            network.failure = OSError(errno.ENETUNREACH, "the sea lies between")
            with pytest.raises(OSError, match=r"cannot connect to example\.com:80") as caught:
                async with trio_ws.connect(URL):
                    pass
            assert caught.value.errno == errno.ENETUNREACH
            assert network.dialled == [("example.com", 80, 0), ("example.com", 80, 3)]


async def test_a_cut_is_survived(autojump_clock: MockClock) -> None:
    connections: list[trio_ws.WebSocket] = []

    async def handler(ws: trio_ws.WebSocket) -> None:
        connections.append(ws)
        await echo(ws)

    with Network(down=Faults(latency=0.01)) as network:
        async with (
            served(network.listen(), handler=handler),
            trio_ws.keep_connected(URL, backoff=trio_ws.Backoff(initial=1)) as ws,
        ):
            await ws.send("a")
            assert await ws.receive() == "a"
            network.cut()
            await trio.sleep(2)
            await ws.send("b")
            assert await ws.receive() == "b"
    assert len(connections) == 2


async def test_faults_may_be_chosen_for_each_connection(autojump_clock: MockClock) -> None:
    def choose(random: Random) -> Faults:
        return Faults(latency=random.uniform(0, 1))

    async def times(seed: int) -> list[float]:
        found = []
        with Network(seed=seed, up=choose, down=choose) as network:
            async with served(network.listen(), heartbeat=None):
                for _ in range(3):
                    start = trio.current_time()
                    async with trio_ws.connect(URL, heartbeat=None):
                        found.append(trio.current_time() - start)
        return found

    first = await times(1)
    assert len(set(first)) == 3
    assert await times(1) == pytest.approx(first)
    assert await times(2) != pytest.approx(first)


def test_a_block_is_entered_once_at_a_time() -> None:
    network = Network()
    with network, pytest.raises(RuntimeError, match="in use"), network:
        pass
    with network:
        pass


async def test_cancelled_anywhere_nothing_is_left() -> None:
    with Network(up=Faults(segment=20, extra_turns=2)) as network:

        async def scenario() -> None:
            async with trio_ws.connect(URL) as ws:
                await ws.send("hello")
                await ws.receive()

        async def check(cancelled: bool) -> None:
            await trio.testing.wait_all_tasks_blocked(0.002)
            assert network.wires == ()

        async with served(network.listen()):
            assert await cancel_sweep(scenario, check, every_task=True) > 10


@asynccontextmanager
async def relayed(network: Network) -> AsyncGenerator[str]:
    """A server over TCP, the URL that leads to it by way of the network."""
    async with trio.open_nursery() as nursery:
        server = await nursery.start(partial(trio_ws.serve, echo, "127.0.0.1", 0))
        port = await nursery.start(network.relay, "127.0.0.1", server.port)
        yield f"ws://127.0.0.1:{port}/"
        nursery.cancel_scope.cancel()


async def test_a_relay_lets_others_suffer() -> None:
    sockets = open_sockets()
    faults = Faults(segment=50)
    network = Network(up=faults, down=faults)
    async with relayed(network) as url:
        async with trio_ws.connect(url) as ws:
            await ws.send("x" * 300_000)
            assert await ws.receive() == "x" * 300_000
            (wire,) = network.wires
            assert wire.up.received > 300_000
        # It was closed properly, through and through.
        with trio.fail_after(10):
            while network.wires:
                await trio.testing.wait_all_tasks_blocked(0.001)
    assert open_sockets() <= sockets + 1


async def test_a_relay_passes_cuts_on() -> None:
    network = Network()
    async with relayed(network) as url:
        async with trio_ws.connect(url) as ws:
            await ws.send("x")
            assert await ws.receive() == "x"
            network.cut()
            with pytest.raises(trio_ws.ConnectionClosedError) as caught:
                await ws.receive()
            assert not caught.value.reason.clean
        network.failure = OSError("no")
        with pytest.raises((OSError, trio_ws.HandshakeError)):
            async with trio_ws.connect(url):
                pass


async def test_a_relay_to_nowhere_resets() -> None:
    network = Network()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        async with trio.open_nursery() as nursery:
            port = await nursery.start(network.relay, "127.0.0.1", taken.getsockname()[1])
            with pytest.raises((OSError, trio_ws.HandshakeError)):
                async with trio_ws.connect(f"ws://127.0.0.1:{port}/"):
                    pass
            nursery.cancel_scope.cancel()


async def test_a_client_that_resets_a_relay_resets_the_server() -> None:
    network = Network()
    async with relayed(network) as url, trio_ws.connect(url) as ws:
        await ws.send("x")
        assert await ws.receive() == "x"
        (wire,) = network.wires
        ws.abort()
        with trio.fail_after(10):
            while not wire.closed:
                await trio.testing.wait_all_tasks_blocked(0.001)


async def test_a_listener_that_closes_in_a_cancelled_scope_cuts_off_all_who_wait() -> None:
    network = Network()
    listener = network.listen()
    waiting = [await network.open_stream("a", 80) for _ in range(3)]
    await trio.aclose_forcefully(listener)
    for stream in waiting:
        assert await stream.receive_some() == b""
        await stream.aclose()
    assert network.wires == ()


async def test_a_listener_is_closed_once_and_leaves_the_next_alone() -> None:
    network = Network()
    first = network.listen()
    await first.aclose()
    second = network.listen()
    await first.aclose()
    async with await network.open_stream("a", 80):
        await second.aclose()


async def test_what_is_raised_often_keeps_no_traces() -> None:
    network = Network()
    network.failure = OSError("no way")
    lengths = set()
    for _ in range(5):
        with pytest.raises(OSError, match="no way") as caught:
            await network.open_stream("a", 80)
        lengths.add(len(caught.traceback))
    assert len(lengths) == 1
