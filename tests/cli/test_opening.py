"""How long each stage of the opening takes."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

import pytest
import trio

from trio_ws._dial import Stage
from trio_ws.cli.opening import Opening

if TYPE_CHECKING:
    from trio.testing import MockClock


async def test_each_stage_is_timed(mock_clock: MockClock) -> None:
    opening = Opening()
    for stage, seconds in [
        (Stage.CONNECT, 0.25),
        (Stage.TLS, 0.5),
        (Stage.HANDSHAKE, 0.125),
        # A redirect: it begins again.
        (Stage.CONNECT, 0.25),
        (Stage.HANDSHAKE, 0.125),
    ]:
        opening.begin(stage)
        mock_clock.jump(seconds)
    opening.begin(Stage.OPEN)
    assert opening.spent == {Stage.CONNECT: 0.5, Stage.TLS: 0.5, Stage.HANDSHAKE: 0.25}
    assert str(opening) == "connect 500 ms, TLS 500 ms, handshake 250 ms"


async def test_looking_a_host_up_is_no_part_of_connecting(
    mock_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []

    def look_up(*arguments: Any) -> Any:
        if arguments[-1] & socket.AI_NUMERICHOST:  # Trio looks whether it is an address.
            raise socket.gaierror(socket.EAI_NONAME, "not an address")
        asked.append(arguments[:2])
        mock_clock.jump(1.5)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    opening = Opening()
    with opening.watching_names():
        opening.begin(Stage.CONNECT)
        mock_clock.jump(0.25)
        assert await trio.socket.getaddrinfo("name.example", 80) == []
        opening.begin(Stage.OPEN)
    assert asked == [(b"name.example", 80)]
    assert opening.spent == {Stage.RESOLVE: 1.5, Stage.CONNECT: 0.25}
    assert str(opening) == "resolve 1.50 s, connect 250 ms"


async def test_a_failed_lookup_is_timed_too(
    mock_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: Any) -> Any:
        mock_clock.jump(1.0)
        raise socket.gaierror(-2, "unknown")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    opening = Opening()
    with opening.watching_names(), pytest.raises(socket.gaierror):
        await trio.socket.getaddrinfo("name.example", 80)
    assert opening.spent == {Stage.RESOLVE: 1.0}


async def test_afterwards_lookups_are_as_before() -> None:
    opening = Opening()
    with opening.watching_names():
        host, _ = await trio.socket.getnameinfo(("127.0.0.1", 80), socket.NI_NUMERICHOST)
    assert host == "127.0.0.1"
    await trio.socket.getaddrinfo("127.0.0.1", 80)
    assert opening.spent == {}
