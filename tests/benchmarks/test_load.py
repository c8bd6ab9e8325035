"""The load generator: it counts right, and does not let a wrong answer pass."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
from typing import TYPE_CHECKING, Any

import pytest

import trio_ws
from benchmarks import wire
from benchmarks.load import work
from benchmarks.load.connects import Connects
from benchmarks.load.exchange import percentiles
from benchmarks.load.idle import answer_pings
from benchmarks.load.orders import Load, LoadError, Measurement
from benchmarks.load.traffic import json_text, made
from benchmarks.load.work import carried_out

from .servers import answered, echo_bytes, frames, ours, serving

if TYPE_CHECKING:
    from collections.abc import Callable


def short(port: int, **details: Any) -> Load:
    known: dict[str, Any] = {
        "kind": "echo",
        "port": port,
        "pid": os.getpid(),
        "seconds": 0.05,
        "warm_up": 0.0,
    }
    return Load(**(known | details))


def test_round_trips_of_raw_bytes() -> None:
    with serving(echo_bytes) as port:
        measurement = carried_out(short(port, raw=True))
    assert measurement.messages > 0
    assert measurement.seconds >= 0.05
    assert 0 < measurement.p50 <= measurement.p90 <= measurement.p99
    assert measurement.generator_cpu > 0
    assert measurement.peer_cpu > 0


@pytest.mark.parametrize(
    "details",
    [
        {"connections": 3},
        {"connections": 2, "in_flight": 50},
        {"in_flight": 4, "size": 4096, "text": False},
        {"in_flight": 2, "size": 300_000, "text": False},
    ],
    ids=str,
)
def test_echo_of_our_server(details: dict[str, Any]) -> None:
    with ours() as port:
        measurement = carried_out(short(port, **details))
    assert measurement.messages > 0
    assert measurement.connections == details.get("connections", 1)
    assert measurement.wire_ratio == pytest.approx(1.0, abs=0.6)
    assert (measurement.p50 > 0) == ("in_flight" not in details)


@pytest.mark.parametrize("size", [200, 20_000])
def test_compressed_echo_of_our_server(size: int) -> None:
    load_details = {"size": size, "in_flight": 4, "compressed": True}
    with ours(trio_ws.Compression(threshold=0)) as port:
        measurement = carried_out(short(port, **load_details))
    assert measurement.messages > 0
    assert 0 < measurement.wire_ratio < 0.6


def test_compression_that_is_refused() -> None:
    with ours() as port, pytest.raises(LoadError, match="did not accept permessage-deflate"):
        carried_out(short(port, compressed=True))


def test_connects() -> None:
    with ours() as port:
        measurement = carried_out(short(port, kind="connects", connections=3))
    assert measurement.messages > 0


def test_pings_in_between_are_answered_and_not_counted() -> None:
    pongs = []

    def ping_and_echo(stream: socket.socket) -> None:
        for number, frame in enumerate(frames(answered(stream))):
            if frame[0] & 0xF == wire.PONG:
                pongs.append(wire.payload(frame))
                continue
            reply = wire.frame(wire.TEXT, wire.payload(frame))
            ping = wire.frame(wire.PING, b"%d" % number) if number % 3 == 1 else b""
            stream.sendall(ping + reply if number % 2 else reply + ping)

    with serving(ping_and_echo) as port:
        measurement = carried_out(short(port, in_flight=5))
    assert measurement.messages > 0
    assert pongs


def never(stream: socket.socket) -> None:
    """Closes at once."""


def refuse(stream: socket.socket) -> None:
    stream.recv(4096)
    stream.sendall(b"HTTP/1.1 503 Service Unavailable\r\n\r\n")


def close_after_the_handshake(stream: socket.socket) -> None:
    answered(stream)


def close_after_a_reply(stream: socket.socket) -> None:
    frame = next(frames(answered(stream)))
    stream.sendall(wire.frame(wire.TEXT, wire.payload(frame)))


def something_else(stream: socket.socket) -> None:
    for _ in frames(answered(stream)):
        stream.sendall(wire.frame(wire.TEXT, b"something else"))


def twice(stream: socket.socket) -> None:
    for number, frame in enumerate(frames(answered(stream))):
        stream.sendall(wire.frame(wire.TEXT, wire.payload(frame)) * (2 if number == 3 else 1))


def late_once_more(stream: socket.socket) -> None:
    frame = b""
    for frame in frames(answered(stream)):
        stream.sendall(wire.frame(wire.TEXT, wire.payload(frame)))
    stream.sendall(wire.frame(wire.TEXT, wire.payload(frame)))


def in_pieces(stream: socket.socket) -> None:
    for frame in frames(answered(stream)):
        content = wire.payload(frame)
        stream.sendall(b"\x81\x7e\x00\x40" + content)


@pytest.mark.parametrize(
    ("handle", "message"),
    [
        (never, "the peer closed the connection early"),
        (refuse, "answered the opening handshake with 'HTTP/1.1 503 Service Unavailable'"),
        (close_after_the_handshake, "the peer closed the connection early"),
        (close_after_a_reply, "the peer closed the connection early"),
        (twice, "more came back than was sent"),
        (late_once_more, "more came back than was sent"),
        (something_else, "the first reply differs from what was sent"),
        (in_pieces, "a reply takes 68 bytes, not 66"),
    ],
)
def test_what_goes_wrong_is_named(handle: Callable[[socket.socket], None], message: str) -> None:
    with serving(handle) as port, pytest.raises((LoadError, OSError)) as caught:
        carried_out(short(port))
    assert message in str(caught.value) or isinstance(caught.value, ConnectionResetError)


def test_a_connection_that_is_refused_while_many_are_opened() -> None:
    with serving(refuse) as port, pytest.raises((LoadError, ConnectionResetError)):
        Connects(short(port, kind="connects", connections=2)).measure()


def test_idle_connections_answer_pings() -> None:
    ours, theirs = socket.socketpair()
    stop, stopped = os.pipe()
    with ours, theirs:
        theirs.sendall(wire.frame(wire.PING, b"now"))
        theirs.sendall(wire.frame(wire.TEXT, b"ignored"))
        theirs.sendall(wire.frame(wire.PING, b"stop"))

        def until_the_second(send: Callable[[bytes], None], data: bytes) -> None:
            send(data)
            if wire.payload(data) == b"stop":
                os.close(stopped)

        assert answer_pings([Spy(ours, until_the_second)], stop) == 2  # type: ignore[list-item]
        pong = wire.frame(wire.PONG, b"now", key=wire.MASKING_KEY)
        assert theirs.recv(4096).startswith(pong)
    os.close(stop)


class Spy:
    """A socket whose `sendall` is looked at."""

    def __init__(
        self, stream: socket.socket, sendall: Callable[[Callable[[bytes], None], bytes], None]
    ) -> None:
        self._stream = stream
        self._sendall = sendall
        self.fileno = stream.fileno
        self.recv = stream.recv

    def sendall(self, data: bytes) -> None:
        self._sendall(self._stream.sendall, data)


class Input:
    """In place of the standard input: asked for the client's process id, it is that client."""

    def __init__(self, port: Callable[[], int]) -> None:
        self._port = port
        self._thread: threading.Thread | None = None

    def readline(self) -> str:
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        return str(os.getpid())

    def _run(self) -> None:
        frame = wire.frame(wire.TEXT, b"x" * 64, key=b"abcd")
        with socket.create_connection(("127.0.0.1", self._port())) as stream:
            stream.sendall(wire.request())
            with contextlib.suppress(OSError):
                while True:
                    stream.sendall(frame)

    def join(self) -> None:
        assert self._thread is not None
        self._thread.join()


def test_a_client_that_sends(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[dict[str, int]] = []
    client = Input(lambda: told[0]["port"])
    monkeypatch.setattr(work, "tell", lambda **what: told.append(what))
    monkeypatch.setattr("sys.stdin", client)
    measurement = carried_out(
        Load(kind="send", serving=True, in_flight=0, seconds=0.05, warm_up=0.0)
    )
    client.join()
    assert measurement.messages > 0


def test_percentiles_in_microseconds() -> None:
    assert percentiles([]) == (0.0, 0.0, 0.0)
    assert percentiles([n / 1e6 for n in range(100)]) == pytest.approx((50.0, 90.0, 99.0))


def test_rates() -> None:
    measurement = Measurement(messages=10, seconds=2.0, peer_cpu=1.0, generator_cpu=0.5)
    assert measurement.rate == 5.0
    assert (measurement.peer_busy, measurement.generator_busy) == (0.5, 0.25)
    assert measurement.peer_cpu_per_message == 100_000.0
    assert Measurement().rate == Measurement().peer_busy == Measurement().disturbed == 0.0


def test_traffic_is_the_same_every_time() -> None:
    each: list[dict[str, Any]] = [
        {"kind": "echo"},
        {"kind": "receive"},
        {"kind": "echo", "compressed": True},
    ]
    for details in each:
        load = Load(**details)
        assert made(load) == made(load)
    assert 200 <= len(json_text(200, 1)) < 300
    assert isinstance(json.loads(json_text(200, 1)), list)
