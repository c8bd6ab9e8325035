"""``--exec``, with real processes: what they read and write, and that none of them stays."""

from __future__ import annotations

import logging
import os
import signal
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import trio
import trio.testing

import trio_ws
from trio_ws import Limits, Timeouts
from trio_ws.cli.handlers import exec as exec_module
from trio_ws.cli.handlers import process as process_module
from trio_ws.cli.handlers import relay as relay_module
from trio_ws.cli.handlers.coding import Bytes, Lines, Text
from trio_ws.cli.handlers.exec import Exec
from trio_ws.cli.handlers.process import Process, describe_status
from trio_ws.cli.handlers.relay import _MAX_LOGGED

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

#: Says its number and that of a child which ignores SIGTERM, and waits for ever.
STUBBORN = 'trap "" TERM; (while :; do sleep 100; done) & echo $$ $!; while :; do sleep 100; done'


@pytest.fixture(autouse=True)
def _in_a_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits for who does not end."""
    monkeypatch.setattr(process_module, "GRACE", 0.2)
    monkeypatch.setattr(exec_module, "PATIENCE", 0.1)
    monkeypatch.setattr(relay_module, "PROBING", 0.1)
    monkeypatch.setattr(process_module, "_SILENCE", 0.1)


@asynccontextmanager
async def served(
    command: str, coding: Any = None, *, terminal: bool = False, max_processes: int = 9, **o: Any
) -> AsyncGenerator[tuple[trio_ws.Server, str]]:
    """A server that runs *command*, and its URL."""
    mode = Exec(
        command,
        coding or partial(Lines, 1000),
        terminal=terminal,
        max_processes=max_processes,
    )
    async with trio.open_nursery() as nursery:

        async def serve(task_status: Any) -> None:
            await trio_ws.serve(mode, "127.0.0.1", 0, task_status=task_status, **o)

        server: trio_ws.Server = await nursery.start(serve)
        yield server, f"ws://127.0.0.1:{server.port}"
        await nothing_left(server)
        assert server.statistics().crashed == 0
        nursery.cancel_scope.cancel()


async def nothing_left(server: trio_ws.Server) -> None:
    """Wait until every handler has returned."""
    while server.statistics().connections:
        await trio.testing.wait_all_tasks_blocked(0.01)


connect = partial(trio_ws.connect, proxy=None)


async def received(ws: trio_ws.WebSocket) -> tuple[list[str | bytes], int, str]:
    """What came, and how it ended."""
    messages: list[str | bytes] = []
    try:
        while True:
            messages.append(await ws.receive())
    except trio_ws.ConnectionClosed as error:
        return messages, error.reason.code, error.reason.reason


def is_running(pid: int) -> bool:
    """Whether there is such a process; a zombie that somebody else has to reap is none."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


def children() -> set[int]:
    """This process's own, zombies among them."""
    found = set()
    for task in Path("/proc/self/task").iterdir():
        # A thread may end while this looks.
        with suppress(FileNotFoundError, ProcessLookupError):
            found |= set(map(int, (task / "children").read_text().split()))
    return found


@pytest.fixture(autouse=True)
def _no_zombies() -> Any:
    before = children()
    yield
    assert children() <= before


async def test_lines_go_in_and_out() -> None:
    async with served("cat") as (_, url), connect(url) as ws:
        await ws.send("a\nb")
        await ws.send(b"c")
        assert [await ws.receive() for _ in range(3)] == ["a", "b", "c"]


async def test_each_client_has_a_process_that_knows_it() -> None:
    command = 'echo "$PATH_INFO $QUERY_STRING $REMOTE_ADDR"; cat'
    async with served(command) as (_, url):
        async with connect(f"{url}/one?x") as one, connect(f"{url}/two") as two:
            assert await one.receive() == "/one x 127.0.0.1"
            assert await two.receive() == "/two  127.0.0.1"
            await one.send("mine")
            assert await one.receive() == "mine"


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("printf 'a\\nb'", (["a", "b"], 1000, "")),
        ("echo a; exit 3", (["a"], 1011, "exit status 3")),
        ("kill -KILL $$", ([], 1011, "killed by SIGKILL")),
        ("exec >&-; sleep 0.01; exit 4", ([], 1011, "exit status 4")),
        ("not-a-command", ([], 1011, "exit status 127")),
        (
            "printf '\\377\\n'; sleep 100",
            ([], 1011, "the output is not UTF-8 text; --binary sends bytes"),
        ),
        ("printf %01001d 0; sleep 100", ([], 1011, "a line of the output is over 1000 bytes")),
        ("sleep 100 & echo a", (["a"], 1000, "")),
    ],
)
async def test_its_end_is_the_connection_s(command: str, expected: object) -> None:
    async with served(command) as (_, url), connect(url) as ws:
        assert await received(ws) == expected


async def test_it_reads_to_the_end_when_the_client_leaves(tmp_path: Path) -> None:
    command = f"cat > {tmp_path}/said; echo unheard; echo done > {tmp_path}/end"
    async with served(command) as (server, url):
        async with connect(url) as ws:
            await ws.send("a")
            await ws.send("b")
        await nothing_left(server)
    assert (tmp_path / "said").read_text() == "a\nb\n"
    assert (tmp_path / "end").read_text() == "done\n"


async def test_what_ignores_sigterm_is_killed_with_its_offspring() -> None:
    async with served(STUBBORN) as (server, url):
        async with connect(url) as ws:
            pids = [int(pid) for pid in str(await ws.receive()).split()]
            assert all(map(is_running, pids))
        await nothing_left(server)
        assert not any(map(is_running, pids))


async def test_what_stays_behind_is_ended_with_the_command() -> None:
    async with served('trap "" TERM; sleep 100 & echo $!') as (server, url):
        async with connect(url) as ws:
            (pid,), *_ = await received(ws)
        await nothing_left(server)
        assert not is_running(int(pid))


async def test_a_cancelled_server_leaves_nothing_behind() -> None:
    pids: list[int] = []
    with trio.CancelScope() as scope:
        async with served(STUBBORN) as (_, url), connect(url) as ws:
            pids += map(int, str(await ws.receive()).split())
            scope.cancel()
            await trio.lowlevel.checkpoint()
    assert not any(map(is_running, pids))


async def test_a_process_that_reads_nothing_holds_the_client_up() -> None:
    limits = Limits(inbox_messages=2, inbox_bytes=1000)
    async with served("sleep 100", Bytes, limits=limits) as (server, url):
        async with connect(url) as ws:
            with trio.move_on_after(0.3) as waiting:
                for _ in range(1_000):
                    await ws.send(bytes(100_000))
            assert waiting.cancelled_caught
            (there,) = server.connections
            assert there.statistics().messages_received < 100
            ws.abort()


async def test_a_client_that_reads_nothing_holds_the_process_up(tmp_path: Path) -> None:
    command = f"head -c 100000000 /dev/zero; echo > {tmp_path}/done"
    async with served(command, Bytes) as (server, url):
        async with connect(url, limits=Limits(inbox_messages=1)) as ws:
            await ws.receive()
            (there,) = server.connections
            sent = -1
            while sent != there.statistics().messages_sent:
                sent = there.statistics().messages_sent
                await trio.sleep(0.05)
            assert sent * 65536 < 50_000_000
            assert not (tmp_path / "done").exists()
            ws.abort()


async def test_a_process_that_closes_its_input_is_left_alone() -> None:
    async with served("exec <&-; echo ready; sleep 0.1; echo fine") as (_, url):
        async with connect(url) as ws:
            assert await ws.receive() == "ready"
            for _ in range(5):
                await ws.send("unread")
            assert await received(ws) == (["fine"], 1000, "")


async def test_bytes_as_they_come() -> None:
    async with served("cat", Bytes) as (_, url), connect(url) as ws:
        await ws.send(b"\xff\0")
        assert await ws.receive() == b"\xff\0"
        await ws.send("é")
        assert await ws.receive() == "é".encode()


async def test_errors_are_logged_line_by_line_and_escaped(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "trio_ws.cli")
    long = _MAX_LOGGED + 10
    command = f"printf 'one\\r\\n\\033[2Jtwo\\n' >&2; printf %0{long}d 0 >&2; printf '\\nlast' >&2"
    async with served(command) as (_, url), connect(url) as ws:
        await received(ws)
    texts = [
        one.getMessage().partition(": ")[2] for one in caplog.records if one.name == "trio_ws.cli"
    ]
    assert texts[:2] == ["one", "\\x1b[2Jtwo"]
    assert "".join(texts[2:]) == "0" * long + "last"


async def test_an_error_without_a_line_end_is_logged_in_pieces(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "trio_ws.cli")
    pieces = iter([b"0" * (_MAX_LOGGED + 1), b"1", b""])

    class Errors:
        async def read(self) -> bytes:
            return next(pieces)

    await relay_module._log(Errors(), "s1")  # type: ignore[arg-type]
    assert caplog.messages == [f"s1: {'0' * _MAX_LOGGED}", "s1: 0", "s1: 1"]


async def test_no_more_run_than_may() -> None:
    async with served("cat", max_processes=2) as (server, url):
        async with connect(url), connect(url):
            with pytest.raises(trio_ws.ConnectionRejected) as caught:
                async with connect(url):
                    pass
            assert caught.value.status == 503
            assert caught.value.retry_after == 5
        await nothing_left(server)
        async with connect(url) as ws:
            await ws.send("room again")
            assert await ws.receive() == "room again"


async def test_handshakes_under_way_count() -> None:
    async with served("cat", max_processes=1) as (server, _url):
        answers: list[bytes] = []

        async def ask() -> None:
            stream = await trio.open_tcp_stream("127.0.0.1", server.port)
            async with stream:
                await stream.send_all(
                    b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                    b"Sec-WebSocket-Version: 13\r\n"
                    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
                )
                answers.append(bytes(await stream.receive_some())[9:12])
                while len(answers) < 5:
                    await trio.testing.wait_all_tasks_blocked(0.001)

        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(ask)
        assert sorted(answers) == [b"101"] + [b"503"] * 4


async def test_a_terminal() -> None:
    command = 'tty >/dev/tty; stty size; read line; echo "$TERM <$line>"'
    async with served(command, Text, terminal=True) as (_, url), connect(url) as ws:
        text = ""
        while "24 80" not in text:
            text += str(await ws.receive())
        assert "/dev/" in text
        await ws.send("é")
        await ws.send("\n")
        rest, code, _ = await received(ws)
        assert code == 1000
        assert "<é>" in "".join(map(str, rest))


async def test_a_terminal_s_session_is_hung_up() -> None:
    command = "sh -c 'trap \"\" TERM; echo $$; while :; do sleep 100; done'"
    async with served(command, Text, terminal=True) as (server, url):
        async with connect(url) as ws:
            pid = int(str(await ws.receive()))
        await nothing_left(server)
        assert not is_running(pid)


async def test_nothing_to_start_with(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(*arguments: object, **options: object) -> None:
        raise OSError(11, "Resource temporarily unavailable")

    before = os.listdir("/proc/self/fd")
    for terminal in (False, True):
        monkeypatch.setattr("trio.lowlevel.open_process", fail)
        async with served("cat", terminal=terminal) as (_, url), connect(url) as ws:
            assert await received(ws) == ([], 1011, "the command cannot be started")
    assert "cannot be started" in caplog.text
    assert len(os.listdir("/proc/self/fd")) <= len(before) + 1


async def test_a_process_that_not_even_sigkill_ends_is_given_up(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(process_module, "GRACE", 0.0)
    monkeypatch.setattr(process_module, "_REAPING", 0.05)
    process = await Process.start("sleep 100", dict(os.environ))
    with monkeypatch.context() as patched:
        patched.setattr(os, "killpg", lambda pid, number: None)
        await process.end()
    assert "does not end, not even when killed" in caplog.text
    await process.end()


async def test_what_belongs_to_somebody_else_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(pid: int, number: int) -> None:
        raise PermissionError

    async with await Process.start("exit 0", dict(os.environ)) as process:
        with monkeypatch.context() as patched:
            patched.setattr(os, "killpg", refuse)
            assert process._signal(signal.SIGTERM)
        await process.end_input()
        await process.write(b"unread")


def test_statuses_for_people() -> None:
    assert describe_status(3) == "exit status 3"
    assert describe_status(-signal.SIGSEGV) == "killed by SIGSEGV"
    assert describe_status(-63) == "killed by signal 63"


async def test_starting_and_ending_can_be_cancelled_anywhere(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for step in range(30):
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:

                async def cancel(after: int = step, scope: trio.CancelScope = scope) -> None:
                    for _ in range(after):
                        await trio.lowlevel.checkpoint()
                    scope.cancel()

                nursery.start_soon(cancel)
                async with await Process.start("cat", dict(os.environ)) as process:
                    await process.write(b"x")
                    assert await process.output.read() == b"x"
                    await process.end_input()
                    await process.wait()


async def test_being_cut_with_timeouts_of_nothing() -> None:
    timeouts = Timeouts(handler_grace=0.01)
    async with served("sleep 100", timeouts=timeouts) as (_, url):
        async with connect(url) as ws:
            ws.abort()
