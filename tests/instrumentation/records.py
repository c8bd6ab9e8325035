"""One record of each kind, with values that can be told apart."""

from __future__ import annotations

from trio_ws import CloseReason, Headers, Request, Response
from trio_ws._websocket import WebSocketStatistics
from trio_ws.instrumentation import (
    BackplaneChanged,
    Connected,
    Connecting,
    ConnectionEnded,
    ConnectionOpened,
    Disconnected,
    HandlerCrashed,
    HandshakeAnswered,
    HeartbeatLost,
    MemberEvicted,
    MessagesMissed,
    PingReceived,
    PingSent,
    PongReceived,
    Received,
    Record,
    Sent,
    Stopped,
    Waiting,
)

URL = "ws://localhost:8765/chat"

STATISTICS = WebSocketStatistics(
    messages_sent=0,
    messages_received=0,
    bytes_sent=0,
    bytes_received=0,
    inbox_messages=0,
    inbox_bytes=0,
    outbox_bytes=0,
    tasks_waiting_send=0,
    tasks_waiting_receive=0,
    pings_in_flight=0,
    latency=None,
    uptime=0.0,
)


def opened(
    connection: str = "c1", *, client: bool = False, target: str = "/chat"
) -> ConnectionOpened:
    return ConnectionOpened(
        id=connection, client=client, target=target, remote_address=("192.0.2.1", 50000)
    )


def ended(
    connection: str = "c1",
    *,
    client: bool = False,
    reason: CloseReason | None = None,
    uptime: float = 12.34,
) -> ConnectionEnded:
    return ConnectionEnded(
        id=connection,
        client=client,
        remote_address=("192.0.2.1", 50000),
        reason=reason or CloseReason(1001),
        uptime=uptime,
        statistics=STATISTICS,
    )


def crashed(*, error: Exception, remote_address: object = ("192.0.2.1", 50000)) -> HandlerCrashed:
    return HandlerCrashed(id="c1", target="/chat", remote_address=remote_address, error=error)


def answered() -> HandshakeAnswered:
    return HandshakeAnswered(
        target=URL,
        request=Request("GET", "/chat", Headers()),
        response=Response.text(403, "no\n"),
    )


def one_of_each() -> list[Record]:
    return [
        answered(),
        opened(),
        PingSent(id="c1"),
        PingReceived(id="c1", payload=b"are you there?"),
        PongReceived(id="c1", round_trip=0.02, payload=b"yes"),
        HeartbeatLost(id="c1", silent=20.04),
        Received(id="c1", messages=2, bytes=300),
        Sent(id="c1", messages=1, bytes=40),
        crashed(error=ValueError("broken")),
        ended(),
        Connecting(target=URL, attempt=1),
        Connected(target=URL, attempt=1, offline=0.5, again=False),
        Disconnected(target=URL, reason=CloseReason(1012), open_for=61.26),
        Waiting(target=URL, delay=1.55, attempt=2, cause="refused"),
        Stopped(target=URL, attempts=3, cause="HTTP 403"),
        MemberEvicted(topic="room", id="s1", reason="over 10 bytes waited"),
        MessagesMissed(topic="room", cause="refused", messages=3),
        BackplaneChanged(connected=False, cause="refused"),
    ]
