"""`check_websocket`: what `WebSocket` promises, as a test that any implementation can be put to.

Each promise is a function of two connected ends, and gets a pair of its own, once each way round.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

import trio
import trio.testing

from ._close import ClosedBy, CloseReason
from ._errors import ConnectionClosedError, ConnectionClosedOK

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from contextlib import AbstractAsyncContextManager

    from ._websocket import WebSocket

_MESSAGES: Final = ("a", b"b", "", b"", "κόσμε", bytes(range(256)), "x" * 70_000)
#: Scheduler's turns within which a message arrives, in memory.
_STEPS: Final = 12


async def check_websocket(
    open_pair: Callable[[], AbstractAsyncContextManager[tuple[WebSocket, WebSocket]]],
) -> None:
    """Put an implementation of `WebSocket` to the test, as Trio's ``check_two_way_stream`` does.

    ::

        async def test_the_contract() -> None:
            await trio_ws.testing.check_websocket(trio_ws.testing.open_pair)

    It is for those who write one: around a connection, over another library, or in place of one.
    What depends on the transport, such as when ``send`` has to wait, is not looked at, nor are
    timeouts, so it goes as well with memory streams as with sockets.

    Args:
      open_pair: gives a new client and a new server that are connected, as an async context
        manager that closes both. Called for every promise, twice.

    Raises:
      AssertionError: a promise is not kept; a note says which. So it does with whatever else a
        call raises that should not.

    Cancellation: at any point.
    """
    for promise in _PROMISES:
        for swapped in (False, True):
            try:
                async with open_pair() as (client, server):
                    await (promise(server, client) if swapped else promise(client, server))
            except Exception as error:
                side = "server" if swapped else "client"
                error.add_note(f"check_websocket, of the {side}: {promise.__doc__}")
                raise


# Messages


async def _in_order(one: WebSocket, other: WebSocket) -> None:
    """Messages arrive whole, in order, and as what they were: text or binary."""
    async with trio.open_nursery() as nursery:

        async def send() -> None:
            one.send_nowait("first")
            for message in _MESSAGES:
                await one.send(message)

        nursery.start_soon(send)
        for message in ("first", *_MESSAGES):
            received = await other.receive()
            assert received == message
            assert type(received) is type(message)


async def _iterables(one: WebSocket, other: WebSocket) -> None:
    """Bytes-like goes as binary, an iterable of either kind as one message."""

    async def parts() -> AsyncIterator[str]:
        yield "a"
        yield "b"

    await one.send(bytearray(b"x"))
    await one.send(memoryview(b"y"))
    await one.send(["a", "b"])
    binary: list[bytes | bytearray] = [b"a", bytearray(b"b")]
    await one.send(binary)
    await one.send(parts())
    received = [await other.receive() for _ in range(5)]
    assert received == [b"x", b"y", "ab", b"ab", "ab"]


async def _refusals(one: WebSocket, other: WebSocket) -> None:
    """What is no message is refused, and costs nothing."""
    for wrong in (1, None, {"a": 1}):
        await _raises(TypeError, one.send, wrong)
    await _raises(UnicodeEncodeError, one.send, "\ud800")
    await one.send("fine")
    assert await other.receive() == "fine"


async def _many_senders(one: WebSocket, other: WebSocket) -> None:
    """Any number of tasks may send: nothing is lost, and each one's order stays."""

    async def send(name: int) -> None:
        for number in range(50):
            await one.send(f"{name} {number}")

    async with trio.open_nursery() as nursery:
        for name in range(5):
            nursery.start_soon(send, name)
        received = [str(await other.receive()).split() for _ in range(250)]
    for name in range(5):
        numbers = [int(number) for who, number in received if int(who) == name]
        assert numbers == list(range(50))


async def _one_receiver(one: WebSocket, other: WebSocket) -> None:
    """While one task receives, another is told that the connection is busy."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(other.receive)
        await trio.testing.wait_all_tasks_blocked()
        assert other.statistics().tasks_waiting_receive == 1
        await _raises(trio.BusyResourceError, other.receive)
        await one.send("a")


# Cancellation


async def _cancelled_receive(one: WebSocket, other: WebSocket) -> None:
    """A receive that is cancelled has received nothing."""
    for message in ("a", "b"):
        with trio.move_on_after(0):
            await other.receive()
        await one.send(message)
    with trio.CancelScope() as scope:
        scope.cancel()
        await other.receive()
    assert scope.cancelled_caught
    assert [await other.receive(), await other.receive()] == ["a", "b"]
    for steps in range(_STEPS):
        await _receive_cancelled_after(steps, one, other)


async def _receive_cancelled_after(steps: int, one: WebSocket, other: WebSocket) -> None:
    """Cancel a receive about when its message arrives: it is received once, then or later."""
    received: list[str | bytes] = []
    scope = trio.CancelScope()

    async def receive() -> None:
        with scope:
            received.append(await other.receive())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(receive)
        await trio.testing.wait_all_tasks_blocked()
        await one.send("message")
        for _ in range(steps):
            await trio.lowlevel.checkpoint()
        scope.cancel()
    await one.send("end")
    while "end" not in received:
        received.append(await other.receive())
    assert received == ["message", "end"]


async def _cancelled_send(one: WebSocket, other: WebSocket) -> None:
    """A send that is cancelled has sent nothing."""
    with trio.CancelScope() as scope:
        scope.cancel()
        await one.send("never")
    assert scope.cancelled_caught
    await one.send("sent")
    assert await other.receive() == "sent"


async def _cancelled_close(one: WebSocket, other: WebSocket) -> None:
    """A close that is cancelled has closed all the same."""
    with trio.CancelScope() as scope:
        scope.cancel()
        await one.aclose()
    assert one.close_reason is not None
    await one.wait_closed()
    await other.wait_closed()


# Ping and pong


async def _pings(one: WebSocket, other: WebSocket) -> None:
    """A ping measures the round trip; any number may be in flight, of 125 bytes at most."""
    assert one.statistics().latency is None
    async with trio.open_nursery() as nursery:
        for payload in (None, b"", b"mine", bytes(125)):
            nursery.start_soon(one.ping, payload)
    latency = one.statistics().latency
    assert latency is not None
    assert one.latency == latency.last >= 0
    assert one.statistics().pings_in_flight == 0
    await _raises(ValueError, one.ping, bytes(126))


async def _pongs(one: WebSocket, other: WebSocket) -> None:
    """A pong may go unasked, and does not pass for an answer."""
    one.pong()
    one.pong(b"I am here")
    await one.send("behind them")
    assert await other.receive() == "behind them"
    assert other.latency is None
    _raises_now(ValueError, one.pong, bytes(126))


# The end


async def _close(one: WebSocket, other: WebSocket) -> None:
    """A close in good order hands out what had arrived, and then ends iteration."""
    await one.send("a")
    await one.send("b")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(one.aclose, 1000, "done")
        assert [message async for message in other] == ["a", "b"]
        await _raises(ConnectionClosedOK, other.receive)
    await _raises(ConnectionClosedOK, other.send, "late")
    assert await other.wait_closed() == CloseReason(1000, "done", ClosedBy.REMOTE)
    assert await one.wait_closed() == CloseReason(1000, "done", ClosedBy.LOCAL)


async def _close_for_cause(one: WebSocket, other: WebSocket) -> None:
    """Any other close is an error, which says why."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(one.aclose, 4001, "cause")
        error = await _raises(ConnectionClosedError, other.receive)
    assert isinstance(error, ConnectionClosedError)
    assert error.reason == CloseReason(4001, "cause", ClosedBy.REMOTE)


async def _closed_here(one: WebSocket, other: WebSocket) -> None:
    """After closing here, every call says so, and closing again does nothing."""
    await other.send("never received")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_drain, other)
        await one.aclose()
    await one.aclose(1001)
    for call in (one.receive, one.ping, partial(one.send, "late")):
        await _raises(trio.ClosedResourceError, call)
    for now in (partial(one.send_nowait, "late"), one.pong, one.start_ping):
        _raises_now(trio.ClosedResourceError, now)
    assert one.close_reason == CloseReason(1000, "", ClosedBy.LOCAL)


async def _bad_close(one: WebSocket, other: WebSocket) -> None:
    """A code or a reason that may not be sent is refused, and nothing is closed."""
    for code, reason in ((1006, ""), (42, ""), (1000, "x" * 124)):
        await _raises(ValueError, one.aclose, code, reason)
    await one.send("still open")
    assert await other.receive() == "still open"


async def _close_at_once(one: WebSocket, other: WebSocket) -> None:
    """Both may close at once."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(one.aclose, 4001)
        nursery.start_soon(other.aclose, 4002)
    assert one.close_reason == CloseReason(4001, "", ClosedBy.LOCAL)
    assert other.close_reason == CloseReason(4002, "", ClosedBy.LOCAL)


async def _abort(one: WebSocket, other: WebSocket) -> None:
    """An abort cuts the connection, and wakes everybody who waits."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_raises, trio.ClosedResourceError, one.receive)
        await trio.testing.wait_all_tasks_blocked()
        one.abort()
        one.abort()
    await _raises(trio.ClosedResourceError, one.ping)
    error = await _raises(ConnectionClosedError, other.receive)
    assert isinstance(error, ConnectionClosedError)
    assert (error.reason.code, error.reason.clean) == (1006, False)


async def _abort_for_cause(one: WebSocket, other: WebSocket) -> None:
    """An abort with an error is the peer's fault: every call raises one like it."""

    class Custom(ConnectionClosedError):
        pass

    reason = CloseReason(4000, "cause", ClosedBy.LOCAL, clean=False)
    one.abort(Custom(reason))
    for call in (one.receive, one.ping, partial(one.send, "late")):
        error = await _raises(Custom, call)
        assert isinstance(error, Custom)
        assert error.reason == reason
    await other.wait_closed()


async def _knowledge(one: WebSocket, other: WebSocket) -> None:
    """What describes a connection is there, and counts."""
    assert one.id != other.id
    assert one.close_reason is None
    assert one.request.target == other.request.target
    assert one.response.status == 101
    assert one.subprotocol == other.subprotocol
    before = other.last_received
    await one.send("abc")
    await other.receive()
    assert one.statistics().messages_sent == other.statistics().messages_received == 1
    assert other.statistics().bytes_received >= 3
    assert other.last_received >= before
    assert other.reading_since is not None


_PROMISES: Final[tuple[Callable[[WebSocket, WebSocket], Awaitable[None]], ...]] = (
    _in_order,
    _iterables,
    _refusals,
    _many_senders,
    _one_receiver,
    _cancelled_receive,
    _cancelled_send,
    _cancelled_close,
    _pings,
    _pongs,
    _close,
    _close_for_cause,
    _closed_here,
    _bad_close,
    _close_at_once,
    _abort,
    _abort_for_cause,
    _knowledge,
)


async def _drain(ws: WebSocket) -> None:
    async for _ in ws:
        pass


async def _raises(
    kind: type[Exception], call: Callable[..., Awaitable[object]], *arguments: object
) -> Exception:
    """What *call* raises, which must be of this kind."""
    try:
        await call(*arguments)
    except kind as error:
        return error
    raise AssertionError(f"{kind.__name__} was to be raised")


def _raises_now(kind: type[Exception], call: Callable[..., object], *arguments: object) -> None:
    try:
        call(*arguments)
    except kind:
        return
    raise AssertionError(f"{kind.__name__} was to be raised")
