"""A network that fails: what clients, servers and reconnecting promise holds all the same."""

from __future__ import annotations

from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
import trio
import trio.testing

import trio_ws
from trio_ws.testing import Faults, Network

from .network import echo
from .sweeps import cancel_sweep, living_tasks

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncGenerator

    from trio.testing import MockClock

URL = "ws://testserver/"
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


# Every public call, cancelled at its every step, and cut at its every byte

HEARTBEAT = trio_ws.Heartbeat(interval=3, timeout=3)
#: In pieces, with detours, and with little room: so everything waits that can.
NARROW = Faults(segment=40, extra_turns=1, buffer=100)
TEXT = "some text " * 30


class Place:
    """A server with a hub on a network that fails, and what it was sent.

    Attributes:
      got: the messages of each connection that asked for an echo.
      sent: those whose ``send`` has returned.
    """

    def __init__(self, engine: Any, hub: trio_ws.Hub) -> None:
        self.options: dict[str, Any] = {"engine": engine, "heartbeat": HEARTBEAT, "hooks": ()}
        self.hub = hub
        self._number = 0
        self.got: list[str | bytes] = []
        self.sent: list[str | bytes] = []

    async def handle(self, ws: trio_ws.WebSocket) -> None:
        if ws.request.target == "/room":
            async with self.hub.join(ws, "room"):
                async for message in ws:
                    await self.hub.publish("room", message)
        async for message in ws:
            self.got.append(message)
            await ws.send(message)

    def connect(self, path: str = "echo") -> Any:
        return trio_ws.connect(URL + path, **self.options)

    async def send(self, ws: Any, text: str = TEXT) -> str:
        """Send *text* behind a number of its own."""
        self._number += 1
        message = f"{self._number} {text}"
        await ws.send(message)
        self.sent.append(message)
        return message


async def sends(place: Place) -> None:
    async with place.connect() as ws:
        for _ in range(3):
            await place.send(ws)


async def sends_pieces(place: Place) -> None:
    async with place.connect() as ws:
        await ws.send([TEXT, TEXT])
        place.sent.append(TEXT + TEXT)


async def sends_without_waiting(place: Place) -> None:
    async with place.connect() as ws:
        ws.send_nowait(TEXT)
        place.sent.append(TEXT)


async def receives(place: Place) -> None:
    async with place.connect() as ws:
        first = await place.send(ws)
        second = await place.send(ws, "the last")
        assert await ws.receive() == first
        async for message in ws:
            assert message == second
            break


async def receives_a_stream(place: Place) -> None:
    async with place.connect() as ws:
        sent = await place.send(ws)
        async with ws.receive_stream() as stream:
            assert "".join([str(piece) async for piece in stream]) == sent


async def pings(place: Place) -> None:
    async with place.connect() as ws:
        await ws.ping()
        ping = ws.start_ping(b"payload")
        assert await ping.wait() >= 0
        ws.pong(b"unasked")


async def closes(place: Place) -> None:
    async with place.connect() as ws:
        await place.send(ws)
        await ws.aclose(4000, "enough")
        await ws.wait_closed()


async def aborts(place: Place) -> None:
    async with place.connect() as ws:
        await ws.ping()
        ws.abort()
        await ws.wait_closed()


async def publishes(place: Place) -> None:
    async with place.connect("room") as ws:
        await ws.send(TEXT)
        assert await ws.receive() == TEXT


async def subscribes(place: Place) -> None:
    async with place.hub.subscribe("room") as messages, place.connect("room") as ws:
        await ws.send(TEXT)
        with trio.move_on_after(10):
            assert (await messages.receive()) == TEXT


async def iterates_over_connections(place: Place) -> None:
    async with trio_ws.Client(URL + "echo", backoff=EXACT, **place.options) as client:
        async for ws in client.connections():
            with suppress(trio_ws.ConnectionClosed):
                await place.send(ws)
                await ws.receive()
                return


async def supervises(place: Place) -> None:
    async def handler(ws: trio_ws.WebSocket) -> None:
        await place.send(ws)
        await ws.receive()

    await trio_ws.supervise(handler, URL + "echo", backoff=EXACT, **place.options)


async def stays_connected(place: Place) -> None:
    async with trio_ws.keep_connected(URL + "echo", backoff=EXACT, **place.options) as ws:
        sent = await place.send(ws)
        await ws.ping()
        with trio.move_on_after(30):
            assert await ws.receive() == sent


SCENARIOS = [
    sends,
    sends_pieces,
    sends_without_waiting,
    receives,
    receives_a_stream,
    pings,
    closes,
    aborts,
    publishes,
    subscribes,
    iterates_over_connections,
    supervises,
    stays_connected,
]
#: That engine has no `WebSocket.receive_stream`.
CASES = [(one, engine) for one in SCENARIOS for engine in ("built-in", "trio-websocket")]
CASES.remove((receives_a_stream, "trio-websocket"))
each_call = pytest.mark.parametrize(("scenario", "engine"), CASES)


@asynccontextmanager
async def placed(network: Network, engine: str) -> AsyncGenerator[Place]:
    async with trio_ws.Hub(hooks=()) as hub, trio.open_nursery() as nursery:
        place = Place(engine, hub)
        serve = partial(trio_ws.serve, place.handle, listeners=[network.listen()], hooks=())
        await nursery.start(partial(serve, heartbeat=HEARTBEAT))
        yield place
        nursery.cancel_scope.cancel()


@each_call
async def test_cancelled_at_every_step(scenario: Any, engine: str) -> None:
    with Network(up=NARROW, down=NARROW) as network:
        async with placed(network, engine) as place:

            async def check(cancelled: bool) -> None:
                await trio.testing.wait_all_tasks_blocked(0.002)
                assert network.wires == (), "every stream is closed on both sides"
                assert place.hub.topics == ()
                assert_delivered(place)
                place.got.clear()
                place.sent.clear()

            steps = await cancel_sweep(partial(scenario, place), check)
            assert steps > 3


def assert_delivered(place: Place) -> None:
    """What arrived is what was sent, but for what a connection took with it."""
    arrived = [message for message in place.got if message in place.sent]
    assert arrived == [message for message in place.sent if message in place.got]
    # Cancelled in the midst of it, the last one may have gone.
    assert len(place.got) - len(arrived) <= 1


@each_call
@pytest.mark.parametrize("fault", ["reset_after", "end_after", "stall_after"])
@pytest.mark.parametrize("direction", ["up", "down"])
async def test_cut_at_every_byte(
    autojump_clock: MockClock, scenario: Any, direction: str, fault: str, engine: str
) -> None:
    tasks = living_tasks()
    for count in range(3, 1_300, 47):
        with Network(up=NARROW, down=NARROW) as network:
            hurt = replace(NARROW, **{fault: count})
            faults = [NARROW, hurt]
            setattr(network, direction, lambda _, left=faults: left.pop() if left else NARROW)
            async with placed(network, engine) as place:
                # All that may come of it; a group would not pass.
                with suppress(trio_ws.ConnectionClosed, trio_ws.HandshakeError, OSError):
                    with trio.fail_after(120):
                        await scenario(place)
                assert_delivered(place)
        await trio.testing.wait_all_tasks_blocked()
        assert living_tasks() == tasks
        assert network.wires == ()
