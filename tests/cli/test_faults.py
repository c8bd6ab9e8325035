"""Faults: what is asked for, and that it happens there and nowhere else."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
import trio
import trio.testing

import trio_ws
from tests.network import URL, Network, install
from trio_ws.cli import faults as faults_module
from trio_ws.cli.failures import Usage
from trio_ws.cli.faults import Faults, Faulty, Point, _Counted, faults_of
from trio_ws.cli.handlers.echo import Echo
from trio_ws.cli.handlers.mode import Mode
from trio_ws.cli.options.serve import ServeOptions
from trio_ws.protocol.http import Headers, Request
from trio_ws.testing import open_pair

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from trio.testing import MockClock


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> Network:
    return install(monkeypatch)


class Greeting(Mode):
    """Says so many words, whatever it is told."""

    def __init__(self, words: int) -> None:
        super().__init__()
        self.words = words
        self.error: BaseException | None = None

    async def __call__(self, ws: trio_ws.WebSocket) -> None:
        try:
            for number in range(self.words):
                await ws.send(str(number))
            await trio.sleep_forever()
        except BaseException as error:
            self.error = error
            raise


@asynccontextmanager
async def faulty(
    network: Network, mode: Mode | None = None, **faults: Any
) -> AsyncGenerator[trio_ws.WebSocket]:
    """A client of a server with faults."""
    async with network.served(Faults(**faults).around(mode or Echo())) as server:
        async with trio_ws.connect(URL, heartbeat=None) as ws:
            yield ws
        await trio.testing.wait_all_tasks_blocked()
        assert server.statistics().crashed == 0


async def received(ws: trio_ws.WebSocket) -> tuple[list[object], int]:
    """What came until the end, and the code of that."""
    messages: list[object] = []
    try:
        while True:
            messages.append(await ws.receive())
    except trio_ws.ConnectionClosed as error:
        return messages, error.reason.code


async def test_latency_holds_back_what_is_sent(network: Network, autojump_clock: MockClock) -> None:
    async with faulty(network, latency=(2.0, 2.0)) as ws:
        await ws.send("a")
        beginning = trio.current_time()
        assert await ws.receive() == "a"
        assert trio.current_time() == beginning + 2


async def test_latency_varies_keeps_the_order_and_repeats_with_a_seed(
    network: Network, autojump_clock: MockClock
) -> None:
    async def times(seed: int) -> list[float]:
        async with faulty(network, Greeting(20), latency=(0.1, 5.0), seed=seed) as ws:
            beginning = trio.current_time()
            arrivals = []
            for number in range(20):
                assert await ws.receive() == str(number)
                arrivals.append(round(trio.current_time() - beginning, 6))
            return arrivals

    once = await times(1)
    assert len(set(once)) > 2
    assert once == sorted(once)
    assert await times(1) == once
    assert await times(2) != once


async def test_what_is_held_back_is_sent_before_the_handler_s_end_closes(
    network: Network,
    autojump_clock: MockClock,
) -> None:
    class OneWord(Mode):
        async def __call__(self, ws: trio_ws.WebSocket) -> None:
            await ws.send("bye")

    async with faulty(network, OneWord(), latency=(3.0, 3.0)) as ws:
        assert await received(ws) == (["bye"], 1000)


@pytest.mark.parametrize("sent", [3, 5])
async def test_the_connection_is_cut_after_so_many_replies(
    network: Network, autojump_clock: MockClock, sent: int
) -> None:
    async with faulty(network, end=Point(3)) as ws:
        for number in range(sent):
            await ws.send(str(number))
        assert await received(ws) == (["0", "1", "2"], 1006)


async def test_it_is_cut_at_a_message_more_where_nothing_is_sent(
    network: Network, autojump_clock: MockClock
) -> None:
    heard: list[object] = []

    class Silent(Mode):
        async def __call__(self, ws: trio_ws.WebSocket) -> None:
            async for message in ws:
                heard.append(message)

    async with faulty(network, Silent(), end=Point(1)) as ws:
        await ws.send("a")
        await trio.sleep(100)
        assert ws.close_reason is None
        await ws.send("b")
        assert await received(ws) == ([], 1006)
    assert heard == ["a"]


async def test_it_is_cut_after_a_time(network: Network, autojump_clock: MockClock) -> None:
    async with faulty(network, end=Point(seconds=5)) as ws:
        beginning = trio.current_time()
        assert await received(ws) == ([], 1006)
        assert trio.current_time() == beginning + 5


async def test_it_is_closed_with_a_code_there(network: Network, autojump_clock: MockClock) -> None:
    greeting = Greeting(10)
    async with faulty(network, greeting, end=Point(2), close_code=4001) as ws:
        assert await received(ws) == (["0", "1"], 4001)
    assert isinstance(greeting.error, trio.ClosedResourceError)


async def test_it_is_closed_at_once(network: Network, autojump_clock: MockClock) -> None:
    greeting = Greeting(1)
    async with faulty(network, greeting, end=Point(0), close_code=1013) as ws:
        assert await received(ws) == ([], 1013)
    assert greeting.error is None


async def test_latency_comes_before_the_count(network: Network, autojump_clock: MockClock) -> None:
    async with faulty(network, Greeting(5), end=Point(2), latency=(1.0, 1.0)) as ws:
        assert await received(ws) == (["0", "1"], 1006)


async def test_pings_go_unanswered(network: Network, autojump_clock: MockClock) -> None:
    async with faulty(network, no_pong=True) as ws:
        with trio.move_on_after(1_000) as waited:
            await ws.ping()
        assert waited.cancelled_caught
        await ws.send("still there")
        assert await ws.receive() == "still there"


@pytest.mark.parametrize("stall", [Point(2), Point(seconds=3)])
async def test_nothing_is_read_any_more_and_it_stays_open(
    network: Network, autojump_clock: MockClock, stall: Point
) -> None:
    async with faulty(network, stall=stall) as ws:
        for _ in range(2):
            await ws.send("a")
            assert await ws.receive() == "a"
        await trio.sleep(4)
        await ws.send("unread")
        with trio.move_on_after(1_000) as waited:
            await ws.receive()
        assert waited.cancelled_caught
        assert ws.close_reason is None
        with trio.move_on_after(1_000) as waited:
            await ws.ping()
        assert waited.cancelled_caught
        beginning = trio.current_time()
        await ws.aclose()
        assert trio.current_time() == beginning + 10
        assert ws.close_reason is not None


async def test_a_stalled_server_can_send_and_be_drained(
    network: Network, autojump_clock: MockClock
) -> None:
    async with network.served(Faults(stall=Point(0)).around(Greeting(2))) as server:
        async with trio_ws.connect(URL, heartbeat=None) as ws:
            await ws.send("unread")
            assert [await ws.receive(), await ws.receive()] == ["0", "1"]
            async with trio.open_nursery() as nursery:
                nursery.start_soon(server.drain, 30)
                assert await received(ws) == ([], 1001)


def rejections(count: int, **faults: Any) -> list[int | None]:
    mode = Faulty(Echo(), Faults(**faults))
    request = Request("GET", "/", Headers({"Upgrade": "websocket"}))
    answers = [mode.process_request(request) for _ in range(count)]
    return [one.status if isinstance(one, trio_ws.Response) else None for one in answers]


def test_handshakes_are_rejected_all_or_some_and_the_same_with_a_seed() -> None:
    assert rejections(3, reject=(503, 1.0)) == [503, 503, 503]
    some = rejections(100, reject=(429, 0.5), seed=7)
    assert 20 < some.count(429) < 80
    assert rejections(100, reject=(429, 0.5), seed=7) == some
    assert rejections(100, reject=(429, 0.5), seed=8) != some


def test_other_requests_are_not() -> None:
    mode = Faulty(Echo(), Faults(reject=(503, 1.0)))
    assert mode.process_request(Request("GET", "/", Headers())) is None


@pytest.mark.parametrize("status", [304, 401, 503])
async def test_the_client_sees_the_status(
    network: Network, autojump_clock: MockClock, status: int
) -> None:
    async with network.served(Faults(reject=(status, 1.0)).around(Echo())):
        with pytest.raises(trio_ws.ConnectionRejected) as caught:
            async with trio_ws.connect(URL):
                pass
        assert caught.value.status == status


async def test_what_a_handler_raises_is_raised_as_it_is(
    network: Network, autojump_clock: MockClock
) -> None:
    errors: list[Exception] = []

    class Broken(Mode):
        async def __call__(self, ws: trio_ws.WebSocket) -> None:
            raise KeyError("a bug")

    def on_error(ws: trio_ws.WebSocket, error: Exception) -> None:
        errors.append(error)

    mode = Faults(latency=(1.0, 1.0)).around(Broken())
    async with network.served(mode, on_error=on_error), trio_ws.connect(URL) as ws:
        assert await received(ws) == ([], 1011)
    assert [type(error) for error in errors] == [KeyError]


async def test_other_engines_have_no_faults() -> None:
    with pytest.raises(TypeError, match="built-in engine"):
        await Faulty(Echo(), Faults())(object())  # type: ignore[arg-type]


async def test_counting_without_waiting_and_in_pieces(autojump_clock: MockClock) -> None:
    async with open_pair() as (client, server):
        counted = _Counted(server, 2, 2)  # type: ignore[arg-type]
        await client.send("in pieces")
        async with counted.receive_stream() as pieces:
            assert [piece async for piece in pieces] == ["in pieces"]
        counted.send_nowait("a")
        counted.send_nowait("b")
        assert counted.due.is_set()
        with pytest.raises(trio.WouldBlock):
            counted.send_nowait("c")
        async with trio.open_nursery() as nursery:
            for call in (counted.receive, lambda: counted.send("d")):
                nursery.start_soon(_expect_closed, call)
            await trio.testing.wait_all_tasks_blocked()
            server.abort()
        with pytest.raises(trio.ClosedResourceError):
            counted.send_nowait("e")


async def _expect_closed(call: Any) -> None:
    with pytest.raises(trio.ClosedResourceError):
        await call()


async def test_a_client_that_takes_nothing_is_cut_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(faults_module, "_WRITING", 0.01)

    class Flood(Mode):
        async def __call__(self, ws: trio_ws.WebSocket) -> None:
            while True:
                await ws.send(bytes(1_000_000))

    mode = Faults(end=Point(seconds=0.05)).around(Flood())
    async with trio.open_nursery() as nursery:

        async def serve(task_status: Any) -> None:
            await trio_ws.serve(mode, "127.0.0.1", 0, task_status=task_status)

        server: trio_ws.Server = await nursery.start(serve)
        stream = await trio.open_tcp_stream("127.0.0.1", server.port)
        async with stream:
            await stream.send_all(
                b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
            )
            while not server.statistics().accepted or server.connections:
                await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()


# From options


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, None),
        ({"seed": 3}, None),
        ({"latency": "0.2"}, Faults(latency=(0.2, 0.2))),
        ({"latency": "1s-2.5s", "seed": 3}, Faults(latency=(1.0, 2.5), seed=3)),
        ({"drop_after": "3"}, Faults(end=Point(3))),
        ({"drop_after": "1.5s"}, Faults(end=Point(seconds=1.5))),
        ({"close_code": 4000}, Faults(end=Point(0), close_code=4000)),
        ({"close_code": 1001, "drop_after": "2"}, Faults(end=Point(2), close_code=1001)),
        ({"no_pong": True}, Faults(no_pong=True)),
        ({"stall": "0"}, Faults(stall=Point(0))),
        ({"stall": "0s"}, Faults(stall=Point(seconds=0))),
        ({"reject": "503"}, Faults(reject=(503, 1.0))),
        ({"reject": "429:0.25"}, Faults(reject=(429, 0.25))),
    ],
)
def test_what_options_mean(given: dict[str, Any], expected: Faults | None) -> None:
    assert faults_of(ServeOptions(**given)) == expected


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ({"latency": "soon"}, "--latency soon: give seconds"),
        ({"latency": "2-1"}, "--latency 2-1"),
        ({"drop_after": "-1"}, "--drop-after -1: give a number"),
        ({"drop_after": "1.5"}, r"--drop-after 1\.5"),
        ({"stall": "s"}, "--stall s"),
        ({"close_code": 1006}, "--close-code 1006: no close frame may"),
        ({"close_code": 2000}, "--close-code 2000"),
        ({"reject": "101"}, "--reject 101: give a status"),
        ({"reject": "503:2"}, "--reject 503:2"),
        ({"reject": "teapot"}, "--reject teapot"),
    ],
)
def test_what_they_cannot_mean(given: dict[str, Any], complaint: str) -> None:
    with pytest.raises(Usage, match=complaint):
        faults_of(ServeOptions(**given))
