"""``--interactive``: what is shown, what is sent, and the commands."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

import trio_ws
from tests.network import URL, Network, install
from trio_ws.cli.failures import LocalFailure, Usage
from trio_ws.cli.handlers.desk import Pipes, open_desk
from trio_ws.cli.handlers.interactive import Interactive

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from trio.testing import MockClock


class Desk:
    """Somebody who types what a test says."""

    def __init__(self, *, commands: bool) -> None:
        self.takes_commands = commands
        self.type, self._typed = trio.open_memory_channel[str](100)
        self.shown: list[str] = []
        self.noted: list[str] = []
        self.broken: Exception | None = None

    async def attend(self, take: Callable[[str], Awaitable[None]]) -> None:
        async for line in self._typed:
            await take(line)

    async def show(self, line: str) -> None:
        await trio.lowlevel.checkpoint()
        if self.broken is not None:
            raise self.broken
        self.shown.append(line)

    async def note(self, line: str) -> None:
        await trio.lowlevel.checkpoint()
        self.noted.append(line)


async def typed(desk: Desk, *lines: str) -> list[str]:
    """Type *lines*; what is noted then."""
    before = len(desk.noted)
    for line in lines:
        await desk.type.send(line)
    await trio.testing.wait_all_tasks_blocked()
    return desk.noted[before:]


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> Network:
    return install(monkeypatch)


async def test_what_clients_send_is_shown_and_what_is_typed_goes_to_all(
    network: Network, autojump_clock: MockClock
) -> None:
    desk = Desk(commands=True)
    mode = Interactive(desk)
    async with trio.open_nursery() as nursery:
        await nursery.start(mode.run)
        assert await typed(desk, "x", "/list") == ["nobody is connected"] * 2
        async with network.served(mode):
            async with trio_ws.connect(URL) as one, trio_ws.connect(f"{URL}/two") as two:
                await trio.testing.wait_all_tasks_blocked()
                assert desk.noted[2] == "client 1 is there: a local client /feed"
                await one.send("hel\x1b[2Jlo")
                await two.send(bytes(100))
                await trio.testing.wait_all_tasks_blocked()
                assert desk.shown[0] == "<1: hel\\x1b[2Jlo"
                assert desk.shown[1] == f"<2: (100 bytes) {' '.join(['00'] * 64)}..."
                await typed(desk, "to all", "@2 to two", "//slash", "@9 nobody", "@x", "/what")
                assert [await one.receive() for _ in range(2)] == ["to all", "/slash"]
                assert [await two.receive() for _ in range(3)] == ["to all", "to two", "/slash"]
                assert desk.noted[-3:] == [
                    "there is no client 9",
                    "there is no client x",
                    "there is no /what; /help says what there is",
                ]
                assert (await typed(desk, "/list"))[1].startswith(
                    "2: a local client /feed/two, for"
                )
                assert len(await typed(desk, "/help")) == 6
                assert await typed(desk, "/close", "/close 7", "/close 1 999", "/close 1 x") == [
                    "there is no client without a number",
                    "there is no client 7",
                    "a close code is 1000 to 1014 or 3000 to 4999, not 999",
                    "a close code is 1000 to 1014 or 3000 to 4999, not x",
                ]
                noted = await typed(desk, "/close 1 4001", "/close 2")
                with pytest.raises(trio_ws.ConnectionClosedError) as caught:
                    await one.receive()
                assert caught.value.reason.code == 4001
                with pytest.raises(trio_ws.ConnectionClosedOK):
                    await two.receive()
                assert any(note.startswith("client 1 has left: 4001") for note in noted)
        nursery.cancel_scope.cancel()


async def test_lines_from_a_pipe_are_no_commands_and_wait_for_a_client(
    network: Network, autojump_clock: MockClock
) -> None:
    desk = Desk(commands=False)
    mode = Interactive(desk)
    async with trio.open_nursery() as nursery:
        await nursery.start(mode.run)
        await typed(desk, "/list", "@1 x", "last")
        async with network.served(mode):
            async with trio_ws.connect(URL) as ws:
                assert [await ws.receive() for _ in range(3)] == ["/list", "@1 x", "last"]
                assert not mode.over.is_set()
                await desk.type.send("very last")
                await desk.type.aclose()
                await mode.over.wait()
                assert await ws.receive() == "very last"


@pytest.mark.parametrize("error", [BrokenPipeError(), LocalFailure("the disk is full")])
async def test_nobody_looks_any_more(
    network: Network, autojump_clock: MockClock, error: Exception
) -> None:
    desk = Desk(commands=False)
    desk.broken = error
    mode = Interactive(desk)
    async with network.served(mode), trio_ws.connect(URL) as ws:
        await ws.send("to nobody")
        await mode.over.wait()


class Socket:
    """What there is of a connection over TCP."""

    remote_address = ("127.0.0.1", 4711)

    class request:
        target = "/x"


def test_a_client_has_an_address() -> None:
    from trio_ws.cli.handlers.interactive import _described

    assert _described(Socket()) == "127.0.0.1:4711 /x"  # type: ignore[arg-type]


# Pipes


async def lines_of(desk: Pipes) -> list[str]:
    taken: list[str] = []

    async def take(line: str) -> None:
        await trio.lowlevel.checkpoint()
        taken.append(line)

    await desk.attend(take)
    return taken


async def test_lines_are_read_whatever_the_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    pieces = iter([b"a\nb", b"c", b"\r\n\nlast", b""])
    monkeypatch.setattr(os, "read", lambda descriptor, size: next(pieces))
    assert await lines_of(Pipes()) == ["a", "bc", "", "last"]


async def test_no_input_is_the_end_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(descriptor: int, size: int) -> bytes:
        raise OSError

    monkeypatch.setattr(os, "read", fail)
    assert await lines_of(Pipes()) == []


async def test_input_is_utf8(monkeypatch: pytest.MonkeyPatch) -> None:
    pieces = iter([b"a\n\xff", b""])
    monkeypatch.setattr(os, "read", lambda descriptor, size: next(pieces))
    with pytest.raises(Usage, match="line 2 of the input is not UTF-8"):
        await lines_of(Pipes())


async def test_output_is_written_whole(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    written = bytearray()

    def write(descriptor: int, data: memoryview) -> int:
        written.extend(data[:3])
        return min(len(data), 3)

    desk = Pipes()
    with monkeypatch.context() as patched:
        patched.setattr(os, "write", write)
        await desk.show("<1: hello")
    assert written == b"<1: hello\n"
    await desk.note("noted")
    assert capsys.readouterr().err == "trio-ws: noted\n"


def test_no_terminal_means_pipes() -> None:
    assert type(open_desk()) is Pipes


def test_a_terminal_means_a_prompt(monkeypatch: pytest.MonkeyPatch) -> None:
    from trio_ws.cli.handlers import prompt

    monkeypatch.setattr("sys.stdin", Terminal())
    monkeypatch.setattr("sys.stdout", Terminal())
    monkeypatch.setattr(prompt, "Editor", lambda _: None)
    assert type(open_desk()) is prompt.Prompt


class Terminal:
    def isatty(self) -> bool:
        return True
