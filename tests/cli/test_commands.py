"""What is typed at the prompt: messages in order, and every command; on a screen in tests/e2e."""

from __future__ import annotations

import os
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
import trio
import trio.testing

from trio_ws import Backoff, OfflineQueue, keep_connected
from trio_ws.cli.commands import NAMES, Typed
from trio_ws.cli.options.client import ClientOptions, Offline
from trio_ws.testing import open_pair

from ..network import URL, Network, echo, install

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path

    from trio.testing import MockClock

    from trio_ws import ReconnectingWebSocket, WebSocket

SLOW = Backoff(jitter="none", initial=1000, maximum=1000, intensity=None)


class Shown:
    """Stands for the output, and keeps what it was told."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.noted: list[str | bytes] = []
        self._is_pretty = False

    def show(self, line: str) -> None:
        self.lines.append(line)

    say = show

    async def sent(self, message: str | bytes) -> None:
        self.noted.append(message)

    def toggle_pretty(self) -> bool:
        self._is_pretty = not self._is_pretty
        return self._is_pretty


class Person:
    """Types lines, and sees what comes of them."""

    def __init__(self, lines: trio.MemorySendChannel[str], shown: Shown) -> None:
        self._lines = lines
        self._shown = shown
        #: Set when there is nothing more to obey.
        self.done = trio.Event()

    async def type(self, *lines: str) -> list[str]:
        """What is shown of *lines*."""
        for line in lines:
            self._lines.send_nowait(line)
        await trio.testing.wait_all_tasks_blocked()
        return self.seen()

    def seen(self) -> list[str]:
        """What was shown since the last time."""
        lines = self._shown.lines.copy()
        self._shown.lines.clear()
        return lines

    def leave(self) -> None:
        """Type nothing more."""
        self._lines.close()


@asynccontextmanager
async def typing(
    ws: WebSocket, shown: Shown | None = None, **options: Any
) -> AsyncGenerator[Person]:
    lines, typed = trio.open_memory_channel[str](100)
    shown = shown or Shown()
    person = Person(lines, shown)
    obeying = Typed(ws, shown, ClientOptions(url=URL, **options))  # type: ignore[arg-type]

    async def obey() -> None:
        try:
            await obeying.run(typed)
        finally:
            person.done.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(obey)
        yield person
        nursery.cancel_scope.cancel()


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> Network:
    return install(monkeypatch)


@asynccontextmanager
async def lost(network: Network, **options: Any) -> AsyncGenerator[ReconnectingWebSocket]:
    """A reconnecting WebSocket whose connection is lost, long before the next attempt."""
    async with network.served(echo), keep_connected(URL, backoff=SLOW, **options) as ws:
        await network.cut()
        await trio.testing.wait_all_tasks_blocked()
        yield ws


# Messages


async def test_messages_go_out_and_are_shown_and_noted() -> None:
    shown = Shown()
    async with open_pair() as (client, server), typing(client, shown) as person:
        assert await person.type("hello", "//slash", "two\nlines", "") == [
            "> hello",
            "> /slash",
            "> two\n  lines",
        ]
        assert [await server.receive() for _ in range(3)] == ["hello", "/slash", "two\nlines"]
        assert shown.noted == ["hello", "/slash", "two\nlines"]


async def test_messages_are_written_as_the_options_say() -> None:
    async with open_pair() as (client, server), typing(client, hex=True) as person:
        assert await person.type("00 ff") == ["> 00 ff"]
        assert await server.receive() == b"\x00\xff"
        assert await person.type("nonsense") == ["not sent: what you typed is not hexadecimal"]


async def test_what_is_not_text_is_not_sent() -> None:
    async with open_pair() as (client, _), typing(client) as person:
        (said,) = await person.type("caf\udce9")
        assert said.startswith("not sent: what you typed is not UTF-8 text")


async def test_lines_are_taken_while_messages_wait_and_order_holds(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("from a file")
    async with open_pair() as (client, server), typing(client) as person:
        big = "x" * 1_000_000
        await person.type(big, big, f"/file {file}", "/hex 01", "last", "/stats")
        received = [await server.receive() for _ in range(5)]
        assert received == [big, big, "from a file", b"\x01", "last"]


async def test_a_connection_that_has_ended_says_so_of_each_message() -> None:
    async with open_pair() as (client, server), typing(client) as person:
        await server.aclose(4000, "enough")
        await client.wait_closed()
        lines = await person.type("one", "two")
        assert lines[:2] == ["> one", "> two"]
        assert [line.partition(" (")[0] for line in lines[2:]] == ["not sent: one", "not sent: two"]
        assert "4000" in lines[2]


# Without a connection


async def test_what_waits_for_a_connection_says_so_once(network: Network) -> None:
    async with lost(network) as ws, typing(ws) as person:
        assert await person.type("one", "two") == [
            "> one",
            "(there is no connection: it goes out when there is one again)",
            "> two",
        ]
        ws.retry_now()
        assert [await ws.receive() for _ in range(2)] == ["one", "two"]


async def test_enter_is_now(network: Network) -> None:
    async with lost(network) as ws, typing(ws) as person:
        assert await person.type("") == []
        assert ws.is_connected


async def test_what_waits_in_the_end_is_said(network: Network, autojump_clock: MockClock) -> None:
    async with lost(network) as ws, typing(ws) as person:
        await person.type("one", "two")
        began = trio.current_time()
        person.leave()
        await person.done.wait()
        assert trio.current_time() == began, "nothing is waited for"
        assert person.seen() == ["not sent: one", "not sent: two"]


async def test_offline_raise(network: Network) -> None:
    async with lost(network, offline="raise") as ws:
        async with typing(ws, offline=Offline.RAISE) as person:
            said = await person.type("one")
            assert said[0] == "> one"
            assert said[1].startswith("not sent: one (connection closed: 1006")


async def test_offline_queue(network: Network) -> None:
    shown = Shown()
    async with lost(network, offline=OfflineQueue()) as ws:
        async with typing(ws, shown, offline=Offline.QUEUE) as person:
            assert await person.type("one") == ["> one"]
            assert shown.noted == ["one"]


async def test_giving_up_is_said(network: Network) -> None:
    once = Backoff(jitter="none", max_attempts=1)
    async with network.served(echo), keep_connected(URL, backoff=once) as ws, typing(ws) as person:
        network.down = ConnectionRefusedError("refused")
        await network.cut()
        await ws.wait_closed()
        said = await person.type("one", "/ping")
        assert said[0] == "> one"
        ping, message = sorted(said[1:])
        assert ping.startswith(f"/ping: {URL}: 1 attempt failed")
        assert message.startswith(f"not sent: one ({URL}: 1 attempt failed")


# Leaving


async def test_what_was_typed_before_leaving_goes_out() -> None:
    async with open_pair() as (client, server), typing(client) as person:
        lines = [str(number) for number in range(20)]
        await person.type(*lines)
        person.leave()
        await person.done.wait()
        assert [await server.receive() for _ in lines] == lines


async def test_a_peer_that_takes_nothing_is_not_waited_for_long(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    async def never(ws: WebSocket, message: str) -> None:
        await trio.sleep_forever()

    async with open_pair() as (client, _), typing(client) as person:
        monkeypatch.setattr(type(client), "send", never)
        await person.type("one")
        began = trio.current_time()
        person.leave()
        await person.done.wait()
        assert trio.current_time() - began == 2
        assert person.seen() == ["not sent: one"]


async def test_close_goes_behind_what_was_typed() -> None:
    async with open_pair() as (client, server), typing(client) as person:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(person.type, "one", "two", "/close 4000 that is all", "three")
            assert [message async for message in _until_closed(server)] == ["one", "two"]
        await person.done.wait()
        reason = await server.wait_closed()
        assert (reason.code, reason.reason) == (4000, "that is all")


async def _until_closed(ws: WebSocket) -> AsyncGenerator[str | bytes]:
    while True:
        try:
            yield await ws.receive()
        except trio.BrokenResourceError:
            return


async def test_a_close_that_makes_no_sense_leaves_everything_as_it_is() -> None:
    async with open_pair() as (client, server), typing(client) as person:
        assert await person.type("/close nonsense") == [
            "/close: 'nonsense' is no close code; write /close 1000 done"
        ]
        for code in ("99", "1006", "1" * 5000):
            (said,) = await person.type(f"/close {code}")
            assert said.startswith("/close: ")
        await person.type("still here")
        assert await server.receive() == "still here"


# Commands


async def test_ping_and_pong() -> None:
    async with open_pair() as (client, _), typing(client) as person:
        (said,) = await person.type("/ping")
        assert said.startswith("pong after ")
        (said,) = await person.type("/ping payload")
        assert said.startswith("pong after ")
        assert await person.type("/pong x") == ["pong sent"]
        for command in ("/ping ", "/pong "):
            (said,) = await person.type(command + "x" * 126)
            assert said.startswith(command.strip() + ": ")
            assert "125" in said


async def test_a_ping_that_is_not_answered_holds_nothing_up(network: Network) -> None:
    async with lost(network) as ws, typing(ws) as person:
        assert await person.type("/ping", "/pretty") == ["JSON is laid out"]
        (said,) = await person.type("/pong")
        assert said.startswith("/pong: connection closed: 1006")
        ws.retry_now()
        await trio.testing.wait_all_tasks_blocked()
        assert [said.partition(" after")[0] for said in person.seen()] == ["pong"]


async def test_hex() -> None:
    async with open_pair() as (client, server), typing(client) as person:
        assert await person.type("/hex 00 FF") == ["> binary, 2 bytes"]
        assert await server.receive() == b"\x00\xff"
        assert await person.type("/hex") == ["/hex: write /hex 00 FF"]
        assert await person.type("/hex xyz") == ["/hex: that is not hexadecimal"]


async def test_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "text").write_text("é")
    (tmp_path / "binary").write_bytes(b"\xff")
    os.mkfifo(tmp_path / "pipe")
    async with open_pair() as (client, server), typing(client) as person:
        for line, expected in (
            ("/file ~/text", "> ~/text: text, 2 bytes"),
            ("/file ~/binary", "> ~/binary: binary, 1 bytes"),
            ("/file", "/file: write /file PATH"),
            ("/file ~/nowhere", "/file: cannot read ~/nowhere: No such file or directory"),
            ("/file ~", "/file: ~ is not a file with an end"),
            ("/file ~/pipe", "/file: ~/pipe is not a file with an end"),
        ):
            assert await typed_in_the_end(person, line) == expected
        assert [await server.receive() for _ in range(2)] == ["é", b"\xff"]
    async with open_pair() as (client, server), typing(client, binary=True) as person:
        assert await typed_in_the_end(person, "/file ~/text") == "> ~/text: binary, 2 bytes"
        assert await server.receive() == "é".encode()


async def typed_in_the_end(person: Person, line: str) -> str:
    """What is shown of a line that a thread has to do with."""
    lines = await person.type(line)
    while not lines:
        await trio.lowlevel.checkpoint()
        lines = person.seen()
    return lines[0]


async def test_reconnecting_by_hand(network: Network) -> None:
    async with network.served(echo), keep_connected(URL, backoff=SLOW) as ws, typing(ws) as person:
        assert await person.type("/reconnect") == []
        assert ws.is_connected
        assert len(network.attempts) == 2
        await network.cut()
        await trio.testing.wait_all_tasks_blocked()
        await person.type("/reconnect")
        assert len(network.attempts) == 3


async def test_reconnecting_needs_reconnect() -> None:
    async with open_pair() as (client, _), typing(client) as person:
        assert await person.type("/reconnect") == ["/reconnect: this is for --reconnect"]


async def test_statistics() -> None:
    async with open_pair() as (client, server), typing(client) as person:
        await server.send("hello")
        await client.receive()
        sent, received, connected = await person.type("/stats")
        assert sent == "sent 0 messages, 0 bytes"
        assert received == "received 1 message, 7 bytes"
        assert connected.startswith("connected for ")
        await person.type("/ping")
        assert (await person.type("/stats"))[3].startswith("round trip ")


async def test_statistics_without_a_connection(network: Network) -> None:
    async with lost(network) as ws, typing(ws) as person:
        assert "not connected" in await person.type("/stats")


async def test_pretty_and_help_and_nonsense() -> None:
    async with open_pair() as (client, _), typing(client) as person:
        assert await person.type("/pretty") == ["JSON is laid out"]
        assert await person.type("/pretty") == ["JSON is shown as it comes"]
        lines = await person.type("/help")
        assert [line.split()[0].rstrip(":") for line in lines[:-1]] == list(NAMES)
        assert await person.type("/nonsense x") == [
            "there is no /nonsense; /help lists commands, //nonsense sends it"
        ]


async def test_every_command_is_explained() -> None:
    async with open_pair() as (client, _):
        typed = Typed(client, Shown(), ClientOptions(url=URL))  # type: ignore[arg-type]
        assert tuple(typed._commands) == NAMES
