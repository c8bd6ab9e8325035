"""The client: opening, rejections, redirects, timeouts, and how the block is left."""

from __future__ import annotations

import base64
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
import trio
import trio.testing

import trio_ws
from tests.network import URL, install
from tests.sweeps import CutStream, cancel_sweep
from trio_ws import (
    Compression,
    ConnectionClosedError,
    ConnectionRejected,
    HandshakeTimeout,
    InvalidHandshake,
    InvalidURL,
    Limits,
    RedirectRefused,
    Response,
    Timeouts,
    TooManyRedirects,
    _client,
)
from trio_ws._client import hold_open, supervised
from trio_ws.instrumentation import ConnectionOpened, HandshakeAnswered
from trio_ws.protocol.handshake import accept_key
from trio_ws.testing import open_pair

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from trio.testing import MockClock

    from trio_ws import Request, Server, WebSocket
    from trio_ws.instrumentation import Record

connect = partial(trio_ws.connect, proxy=None)


async def echo(ws: WebSocket) -> None:
    async for message in ws:
        await ws.send(message)


@asynccontextmanager
async def serving(handler: Any = echo, **options: Any) -> AsyncIterator[Server]:
    async with trio.open_nursery() as nursery:
        serve = partial(trio_ws.serve, handler, "127.0.0.1", 0, **options)
        yield await nursery.start(serve)
        nursery.cancel_scope.cancel()


def url(server: Server, target: str = "/") -> str:
    return f"ws://127.0.0.1:{server.port}{target}"


async def connect_to(answer: bytes, **options: Any) -> trio_ws.Request:
    """Connect to a server that gives *answer*, whatever it is asked; return the request."""
    here, there = trio.testing.memory_stream_pair()

    async def answer_it() -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            head += await there.receive_some()
        key = head.partition(b"Sec-WebSocket-Key: ")[2].partition(b"\r\n")[0].decode()
        await there.send_all(answer.replace(b"ACCEPT", accept_key(key).encode()))
        await there.send_eof()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(answer_it)
        try:
            async with connect("ws://server/", stream=here, **options) as ws:
                return ws.request
        except BaseException as error:
            failure = error
    raise failure


SWITCHING = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: ACCEPT\r\n"
)


# Opening


async def test_a_conversation() -> None:
    async with serving() as server, connect(url(server, "/chat?room=1")) as ws:
        assert ws.request.target == "/chat?room=1"
        await ws.send("hello")
        assert await ws.receive() == "hello"


async def test_what_a_client_sends_along() -> None:
    seen: list[Request] = []

    def look(request: Request) -> None:
        seen.append(request)

    async with serving(process_request=look, origins="*") as server:
        async with connect(
            url(server).replace("ws://", "ws://user:p%40ss@"),
            headers=[("X-One", "1"), ("X-Two", "2")],
            origin="https://example.com",
            subprotocols=["chat"],
            compression=Compression(),
        ):
            pass
        async with connect(
            url(server).replace("ws://", "ws://user:pass@"), headers={"Authorization": "Bearer t"}
        ):
            pass
    headers = seen[0].headers
    assert headers["host"] == f"127.0.0.1:{server.port}"
    assert (headers["x-one"], headers["x-two"]) == ("1", "2")
    assert headers["origin"] == "https://example.com"
    assert headers["sec-websocket-protocol"] == "chat"
    assert headers["sec-websocket-extensions"].startswith("permessage-deflate")
    assert headers["authorization"] == "Basic " + base64.b64encode(b"user:p@ss").decode()
    assert seen[1].headers["authorization"] == "Bearer t"


async def test_compression_is_agreed_upon_where_both_want_it() -> None:
    async with serving(compression=Compression()) as server:
        async with connect(url(server), compression=Compression()) as ws:
            assert [one.name for one in ws.extensions] == ["permessage-deflate"]
            await ws.send("spam " * 1000)
            assert await ws.receive() == "spam " * 1000
        async with connect(url(server)) as ws:
            assert ws.extensions == ()


async def test_frames_that_come_with_the_answer_are_not_lost() -> None:
    here, there = trio.testing.memory_stream_pair()

    async def answer_it() -> None:
        head = await there.receive_some()
        key = bytes(head).partition(b"Sec-WebSocket-Key: ")[2].partition(b"\r\n")[0].decode()
        answer = SWITCHING.replace(b"ACCEPT", accept_key(key).encode())
        await there.send_all(answer + b"\r\n\x81\x05hello")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(answer_it)
        async with connect("ws://server/", stream=here) as ws:
            assert await ws.receive() == "hello"
            await there.aclose()


@pytest.mark.parametrize("bad", ["nonsense", "http:/x", "ws://", "ws://host:99999/", "ws://h/#x"])
async def test_a_bad_url_is_refused(bad: str) -> None:
    with pytest.raises(InvalidURL):
        async with connect(bad):
            pass


async def test_a_refused_port_is_an_oserror_that_names_it() -> None:
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listener.socket.getsockname()[1]
    await listener.aclose()
    with pytest.raises(OSError, match=f"127.0.0.1:{port}"):
        async with connect(f"ws://127.0.0.1:{port}"):
            pass


# Answers that are none


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (b"garbage\r\n\r\n", "not valid HTTP"),
        (SWITCHING.replace(b"ACCEPT", b"wrong") + b"\r\n", "does not match the key"),
        (SWITCHING + b"Sec-WebSocket-Protocol: unasked\r\n\r\n", "was not offered"),
        (SWITCHING + b"Sec-WebSocket-Extensions: x-unasked\r\n\r\n", "not offered"),
        (SWITCHING.replace(b"Upgrade: websocket", b"Upgrade: h2c") + b"\r\n", "upgrade"),
        (SWITCHING.replace(b"Connection: Upgrade\r\n", b"") + b"\r\n", "Connection: Upgrade"),
    ],
)
async def test_a_bad_answer_is_named(answer: bytes, problem: str) -> None:
    with pytest.raises(InvalidHandshake, match=problem) as caught:
        await connect_to(answer)
    assert str(caught.value).startswith("ws://server/: ")


async def test_no_answer_is_a_reset_connection() -> None:
    with pytest.raises(ConnectionResetError, match="closed without an answer"):
        await connect_to(b"")


async def test_a_connection_cut_in_the_handshake_is_a_reset_connection() -> None:
    here, there = trio.testing.memory_stream_pair()
    await there.aclose()
    with pytest.raises(ConnectionResetError):
        async with connect("ws://server/", stream=CutStream(here, send=10)):
            pass


async def test_a_rejection_carries_status_headers_and_body() -> None:
    with pytest.raises(ConnectionRejected) as caught:
        await connect_to(
            b"HTTP/1.1 403 Forbidden\r\nX-Why: because\r\nContent-Length: 12\r\n\r\nnot for you\n"
        )
    error = caught.value
    assert (error.status, error.headers["x-why"], error.body) == (403, "because", b"not for you\n")
    assert str(error) == "the server answered HTTP 403 Forbidden: not for you"


@pytest.mark.parametrize("framing", [b"Content-Length: 500000\r\n", b""])
async def test_the_body_of_a_rejection_is_bounded(framing: bytes) -> None:
    answer = b"HTTP/1.1 500 Oops\r\n" + framing + b"\r\n" + b"x" * 500_000
    with pytest.raises(ConnectionRejected) as caught:
        await connect_to(answer, limits=Limits(max_body_size=1000))
    assert caught.value.body == b"x" * 1000


async def test_a_body_cut_short_is_kept_as_far_as_it_came() -> None:
    with pytest.raises(ConnectionRejected) as caught:
        await connect_to(b"HTTP/1.1 500 Oops\r\nContent-Length: 100\r\n\r\nhalf")
    assert caught.value.body == b"half"


# Redirects


def redirecting(to: Callable[[Request], str | None], status: int = 302) -> Any:
    def process_request(request: Request) -> Response | None:
        location = to(request)
        return (
            None if location is None else Response(status, trio_ws.Headers({"Location": location}))
        )

    return process_request


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirects_are_followed(status: int) -> None:
    hook = redirecting(lambda request: "/new?x" if request.path == "/old" else None, status)
    async with serving(process_request=hook) as server, connect(url(server, "/old")) as ws:
        assert ws.request.target == "/new?x"


async def test_redirects_are_bounded() -> None:
    async with serving(process_request=redirecting(lambda request: request.path + "x")) as server:
        with pytest.raises(TooManyRedirects, match="too many redirects"):
            async with connect(url(server), max_redirects=3):
                pass


async def test_a_redirect_without_a_location_is_a_rejection() -> None:
    def hook(request: Request) -> Response:
        return Response(302)

    async with serving(process_request=hook) as server:
        with pytest.raises(ConnectionRejected):
            async with connect(url(server)):
                pass


async def test_credentials_stay_with_their_origin() -> None:
    seen: list[Request] = []

    def look(request: Request) -> None:
        seen.append(request)

    async with serving(process_request=look) as other:

        def elsewhere(request: Request) -> str | None:
            seen.append(request)
            return "/same" if request.path == "/" else url(other)

        async with (
            serving(process_request=redirecting(elsewhere)) as server,
            connect(
                url(server).replace("ws://", "ws://user:pass@"),
                headers={"Cookie": "a=b", "X-Kept": "1"},
            ),
        ):
            pass
    assert [one.headers.get("cookie") for one in seen] == ["a=b", "a=b", None]
    assert ["authorization" in one.headers for one in seen] == [True, True, False]
    assert [one.headers["x-kept"] for one in seen] == ["1", "1", "1"]


@pytest.mark.parametrize(
    ("location", "problem"),
    [("ftp://example.com/", "not"), ("ws://exa mple/", "host")],
)
async def test_a_redirect_that_leads_nowhere_is_refused(location: str, problem: str) -> None:
    async with serving(process_request=redirecting(lambda request: location)) as server:
        with pytest.raises(RedirectRefused, match=problem):
            async with connect(url(server)):
                pass


async def test_a_redirect_from_wss_to_ws_is_refused() -> None:
    from trio_ws._client import _redirected
    from trio_ws._url import parse_url

    with pytest.raises(RedirectRefused, match="from wss to ws"):
        _redirected(parse_url("wss://example.com/"), "ws://example.com/", Response(302))


async def test_redirects_are_not_followed_on_a_stream_that_was_given() -> None:
    with pytest.raises(ConnectionRejected):
        await connect_to(b"HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n")


# Another address than the URL's

ADDRESS = ("192.0.2.1", 8765)


async def test_another_address_can_be_dialled() -> None:
    async with (
        serving() as server,
        connect("ws://server.example/chat", address=("127.0.0.1", server.port)) as ws,
    ):
        assert ws.request.headers["host"] == "server.example"
        assert ws.remote_address == ("127.0.0.1", server.port)
        await ws.send("hello")
        assert await ws.receive() == "hello"


async def test_an_address_stays_with_its_origin(monkeypatch: pytest.MonkeyPatch) -> None:
    network = install(monkeypatch)
    locations = {
        "wss://a.example/": "/same",
        "wss://a.example/same": "wss://b.example/",
        "wss://b.example/": "wss://a.example/back",
        "wss://a.example/back": "wss://a.example:444/",
        "wss://a.example:444/": None,
    }
    hook = redirecting(lambda request: locations[network.urls[-1]])
    async with (
        network.served(echo, process_request=hook),
        connect("wss://a.example/", address=ADDRESS, server_hostname="inner.example"),
    ):
        assert network.urls == list(locations)
    dialled = [(one["address"], one["server_hostname"]) for one in network.options]
    assert dialled == [
        (ADDRESS, "inner.example"),
        (ADDRESS, "inner.example"),
        (None, None),
        (ADDRESS, "inner.example"),
        (None, "inner.example"),
    ]


async def test_reconnecting_dials_the_address_each_time(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    network = install(monkeypatch)
    network.failures = [ConnectionRefusedError("once")]
    async with network.served(echo), trio_ws.keep_connected(URL, address=ADDRESS) as ws:
        await network.cut()
        await ws.send("hello")
        assert await ws.receive() == "hello"
    assert [one["address"] for one in network.options] == [ADDRESS] * 3


# Hooks


def answers(records: list[Record]) -> list[HandshakeAnswered]:
    return [one for one in records if isinstance(one, HandshakeAnswered)]


async def test_hooks_are_told_how_the_handshake_was_answered() -> None:
    records: list[Record] = []
    async with serving(hooks=()) as server:
        with_password = url(server, "/chat?x").replace("ws://", "ws://user:secret@")
        async with connect(with_password, hooks=[records.append]) as ws:
            answered, opened = records
            assert isinstance(answered, HandshakeAnswered)
            assert isinstance(opened, ConnectionOpened)
            assert answered.target == url(server, "/chat?x")
            assert answered.request == ws.request
            assert answered.response == ws.response
    # A hook may print a record: credentials are to be asked for.
    password = answered.request.headers["authorization"].removeprefix("Basic ")
    assert password not in repr(answered)
    assert "101" in repr(answered)


async def test_hooks_are_told_of_redirects_and_refusals() -> None:
    records: list[Record] = []

    def hook(request: Request) -> Response:
        if request.path == "/":
            return Response(302, trio_ws.Headers({"Location": "/there"}))
        return Response.text(403, "not for you\n")

    async with serving(process_request=hook) as server:
        with pytest.raises(ConnectionRejected):
            async with connect(url(server), hooks=[records.append]):
                pass
        assert [(one.target, one.response.status) for one in answers(records)] == [
            (url(server), 302),
            (url(server, "/there"), 403),
        ]
    assert len(records) == 2
    assert answers(records)[1].response.body == b"not for you\n"


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (b"", ConnectionResetError),
        (b"HTTP/1.1 101 Switching", ConnectionResetError),
        (SWITCHING.replace(b"ACCEPT", b"wrong") + b"\r\n", InvalidHandshake),
    ],
)
async def test_hooks_are_not_told_of_a_handshake_without_an_answer(
    answer: bytes, problem: type[Exception]
) -> None:
    records: list[Record] = []
    with pytest.raises(problem):
        await connect_to(answer, hooks=[records.append])
    assert records == []


async def test_hooks_are_not_told_of_a_handshake_that_takes_too_long(
    autojump_clock: MockClock,
) -> None:
    records: list[Record] = []
    here, _ = trio.testing.memory_stream_pair()
    with pytest.raises(HandshakeTimeout):
        async with connect("ws://server/", stream=here, hooks=[records.append]):
            pass
    assert records == []


async def test_reconnecting_tells_of_every_answer(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    network = install(monkeypatch)
    records: list[Record] = []
    statuses = iter([503, None, None])

    def hook(request: Request) -> Response | None:
        status = next(statuses)
        return None if status is None else Response(status)

    async with (
        network.served(echo, process_request=hook),
        trio_ws.keep_connected(URL, hooks=[records.append]) as ws,
    ):
        await network.cut()
        await ws.send("hello")
        assert await ws.receive() == "hello"
    assert [(one.target, one.response.status) for one in answers(records)] == [
        (URL, 503),
        (URL, 101),
        (URL, 101),
    ]


@pytest.mark.parametrize("status", [101, 403])
async def test_an_interrupt_in_a_hook_leaves_no_stream(status: int) -> None:
    def interrupt(record: Record) -> None:
        raise KeyboardInterrupt

    class Noting(CutStream):
        closed = False

        async def aclose(self) -> None:
            self.closed = True
            await super().aclose()

    here, there = trio.testing.memory_stream_pair()
    stream = Noting(here)

    async def answer_it() -> None:
        head = bytes(await there.receive_some())
        key = head.partition(b"Sec-WebSocket-Key: ")[2].partition(b"\r\n")[0].decode()
        answer = SWITCHING.replace(b"ACCEPT", accept_key(key).encode()) + b"\r\n"
        await there.send_all(answer if status == 101 else b"HTTP/1.1 403 No\r\n\r\n")
        await there.send_eof()

    with pytest.raises(BaseExceptionGroup) as caught:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(answer_it)
            async with connect("ws://server/", stream=stream, hooks=[interrupt]):
                pass
    assert caught.group_contains(KeyboardInterrupt)
    assert stream.closed


async def test_without_hooks_no_record_of_the_answer_is_made(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(**fields: object) -> None:
        raise AssertionError("made, though nobody is told")

    monkeypatch.setattr(_client, "HandshakeAnswered", refuse)
    async with serving() as server, connect(url(server), hooks=()):
        pass


# Time


async def test_the_whole_opening_is_bounded(autojump_clock: MockClock) -> None:
    here, _ = trio.testing.memory_stream_pair()
    began = trio.current_time()
    with pytest.raises(HandshakeTimeout, match="not open within 3 s"):
        async with connect("ws://server/", stream=here, timeouts=Timeouts(open_timeout=3)):
            pass
    assert trio.current_time() - began == pytest.approx(3)


# Leaving the block


@pytest.mark.parametrize("kind", [ValueError, KeyError, trio.EndOfChannel, ConnectionClosedError])
async def test_an_exception_leaves_the_block_as_itself(kind: type[Exception]) -> None:
    codes: list[int] = []

    async def note(ws: WebSocket) -> None:
        try:
            await ws.receive()
        except trio_ws.ConnectionClosed as error:
            codes.append(error.reason.code)

    error = kind(trio_ws.CloseReason(4000)) if kind is ConnectionClosedError else kind("mine")
    async with serving(note) as server:
        with pytest.raises(kind) as caught:
            async with connect(url(server)):
                raise error
        assert caught.value is error
        while server.statistics().connections:
            await trio.testing.wait_all_tasks_blocked()
    assert codes == [1011]


async def test_cancelling_the_block_closes_with_1001() -> None:
    codes: list[int] = []

    async def note(ws: WebSocket) -> None:
        try:
            await ws.receive()
        except trio_ws.ConnectionClosed as error:
            codes.append(error.reason.code)

    async with serving(note) as server:
        with trio.CancelScope() as scope:
            async with connect(url(server)):
                scope.cancel()
                await trio.sleep_forever()
        assert scope.cancelled_caught
        while server.statistics().connections:
            await trio.testing.wait_all_tasks_blocked()
    assert codes == [1001]


@pytest.mark.parametrize(
    ("errors", "code"),
    [
        ([KeyboardInterrupt()], 1001),
        ([BaseExceptionGroup("inner", [KeyboardInterrupt()])], 1001),
        ([KeyboardInterrupt(), ValueError()], 1011),
        ([ValueError()], 1011),
    ],
    ids=str,
)
async def test_a_group_closes_with_what_is_in_it(errors: list[BaseException], code: int) -> None:
    """A Ctrl-C leaves a nursery within the block in a group."""
    codes: list[int] = []

    async def close(code: int) -> None:
        codes.append(code)

    group = BaseExceptionGroup("from a nursery", errors)
    with pytest.raises(BaseExceptionGroup) as caught:
        async with supervised(close):
            raise group
    assert caught.value is group
    assert codes == [code]


async def test_a_block_left_while_cancelled_still_raises_its_own_error(
    autojump_clock: MockClock,
) -> None:
    here, there = trio.testing.memory_stream_pair()

    async def never_closes() -> None:
        head = bytes(await there.receive_some())
        key = head.partition(b"Sec-WebSocket-Key: ")[2].partition(b"\r\n")[0].decode()
        await there.send_all(SWITCHING.replace(b"ACCEPT", accept_key(key).encode()) + b"\r\n")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(never_closes)
        with trio.move_on_after(1), pytest.raises(ValueError, match="mine"):
            async with connect("ws://server/", stream=here):
                raise ValueError("mine")


async def test_a_close_that_is_cancelled_is_cancelled(autojump_clock: MockClock) -> None:
    here, there = trio.testing.memory_stream_pair()

    async def never_closes() -> None:
        head = bytes(await there.receive_some())
        key = head.partition(b"Sec-WebSocket-Key: ")[2].partition(b"\r\n")[0].decode()
        await there.send_all(SWITCHING.replace(b"ACCEPT", accept_key(key).encode()) + b"\r\n")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(never_closes)
        with trio.move_on_after(1) as scope:
            async with connect("ws://server/", stream=here):
                pass
        assert scope.cancelled_caught


async def test_the_block_goes_on_when_the_connection_ends() -> None:
    async def leave(ws: WebSocket) -> None:
        await ws.aclose(4000)

    async with serving(leave) as server, connect(url(server)) as ws:
        with pytest.raises(ConnectionClosedError):
            await ws.receive()
        await trio.lowlevel.checkpoint()
        assert ws.close_reason is not None


async def test_cancel_sweep_over_connecting() -> None:
    """Cancelled at any step of the opening, nothing is left behind, and the server is well."""
    async with serving() as server:

        async def scenario() -> None:
            async with connect(url(server)) as ws:
                await ws.send("hello")
                assert await ws.receive() == "hello"

        async def check(cancelled: bool) -> None:
            while server.connections or server.statistics().handshakes > 1:
                await trio.testing.wait_all_tasks_blocked()
            assert server.statistics().crashed == 0

        assert await cancel_sweep(scenario, check) > 5


class Failing:
    """A connection, or a heartbeat policy, whose task in the background raises *error*."""

    def __init__(self, error: BaseException) -> None:
        self._error = error

    def start(self, nursery: trio.Nursery, leftover: bytes) -> None:
        nursery.start_soon(self.run)

    async def run(self, *_: object) -> None:
        await trio.testing.wait_all_tasks_blocked()
        raise self._error

    async def aclose(self, code: int) -> None:
        await trio.lowlevel.checkpoint()


# Not async tests: a stray trio.Cancelled would end those, and nobody would notice.


@pytest.mark.parametrize("error", [AssertionError("bug"), SystemExit(3), KeyboardInterrupt()])
def test_what_a_background_task_raises_is_not_hidden(error: BaseException) -> None:
    failing: Any = Failing(error)

    async def main() -> None:
        async with hold_open(failing, heartbeat=None):
            await trio.sleep_forever()

    with pytest.raises(type(error)) as caught:
        trio.run(main)
    assert caught.value is error


def test_what_a_background_task_raises_is_not_hidden_by_what_the_block_raises() -> None:
    failing: Any = Failing(SystemExit(3))

    async def main() -> None:
        async with hold_open(failing, heartbeat=None):
            try:
                await trio.sleep_forever()
            finally:
                raise KeyError("on the way out")

    with pytest.raises(SystemExit) as caught:
        trio.run(main)
    assert isinstance(caught.value.__context__, KeyError)


def test_a_policy_that_ends_the_program_does() -> None:
    async def main() -> None:
        async with open_pair(heartbeat=Failing(SystemExit(3))):
            await trio.sleep_forever()

    with pytest.raises(SystemExit):
        trio.run(main)


async def test_a_cancelled_block_stays_cancelled() -> None:
    async with open_pair() as (client, _):
        with trio.CancelScope() as scope:
            async with supervised(client.aclose) as nursery, trio.open_nursery() as inner:
                nursery.start_soon(trio.sleep_forever)
                inner.start_soon(trio.sleep_forever)
                scope.cancel()
                await trio.sleep_forever()
        assert scope.cancelled_caught
