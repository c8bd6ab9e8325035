"""``trio-ws serve`` and its modes as real processes, with real signals and a real terminal."""

from __future__ import annotations

import signal
import subprocess
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
import trio

import trio_ws
from tests.cli.handlers.test_exec import STUBBORN, connect, is_running, received

from ..terminal import CTRL_C, CTRL_D, ENTER, Terminal
from .processes import COMMAND, server_process

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path

RECORDED = '{"ts":1.0,"conn":"c1","type":"message","dir":"in","op":"text","data":"hello"}\n'
APP = "async def greet(ws):\n    await ws.send('hello from here')\n"


async def refused(*arguments: str, cwd: Path | None = None) -> tuple[int, str]:
    """The exit code of a server that does not start, and what it said."""
    result = await trio.run_process(
        [*COMMAND, "serve", "--port", "0", *arguments],
        check=False,
        capture_stdout=True,
        capture_stderr=True,
        stdin=subprocess.DEVNULL,
        cwd=cwd,
    )
    assert result.stdout == b""
    return result.returncode, result.stderr.decode()


async def test_broadcast() -> None:
    async with server_process("--broadcast") as (_, url), connect(url) as one, connect(url) as two:
        # Whoever has an answer to a ping has been let in.
        await one.ping()
        await two.ping()
        await one.send("hello")
        assert await two.receive() == "hello"


async def test_exec_and_its_exit_status() -> None:
    async with server_process("--exec", 'read line; echo "got $line"; exit 3') as (_, url):
        async with connect(url) as ws:
            await ws.send("x")
            assert await received(ws) == (["got x"], 1011, "exit status 3")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("mode", [[], ["--shared"], ["--pty"]])
async def test_a_signal_leaves_no_process_behind(number: signal.Signals, mode: list[str]) -> None:
    async with server_process("--exec", STUBBORN, *mode) as (process, url):
        async with connect(url) as ws:
            pids = [int(pid) for pid in str(await ws.receive()).split()]
            assert all(map(is_running, pids))
            process.send_signal(number)
            assert (await received(ws))[1] == 1001
        assert await process.wait() == 0
        assert not any(map(is_running, pids))


async def test_a_second_signal_leaves_none_either() -> None:
    async with server_process("--exec", STUBBORN) as (process, url):
        async with connect(url) as ws:
            pids = [int(pid) for pid in str(await ws.receive()).split()]
            process.send_signal(signal.SIGTERM)
            await received(ws)
            process.send_signal(signal.SIGTERM)
        assert await process.wait() == 143
        assert not any(map(is_running, pids))


async def test_replay_and_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recording = tmp_path / "recorded.jsonl"
    recording.write_text(RECORDED)
    async with server_process("--replay", str(recording)) as (_, url), connect(url) as ws:
        assert await received(ws) == (["hello"], 1000, "")
    (tmp_path / "app.py").write_text(APP)
    monkeypatch.chdir(tmp_path)
    async with server_process("app:greet") as (_, url), connect(url) as ws:
        assert await received(ws) == (["hello from here"], 1000, "")


async def test_faults() -> None:
    async with server_process("--reject", "503") as (_, url):
        with pytest.raises(trio_ws.ConnectionRejected):
            async with connect(url):
                pass
    async with server_process("--drop-after", "1") as (_, url), connect(url) as ws:
        await ws.send("a")
        assert await received(ws) == (["a"], 1006, "")


async def test_what_makes_no_sense_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("\nraise RuntimeError('a bug')")
    for arguments, complaint in [
        (["--echo", "--broadcast"], "--echo and --broadcast exclude each other"),
        (["--pty"], "give --exec as well"),
        (["--replay", "nowhere"], "--replay nowhere: No such file"),
        (["nowhere:greet"], "there is no module nowhere"),
        (["broken:greet"], "broken.py, line 2)"),
        (["--close-code", "1006"], "--close-code 1006"),
    ]:
        code, said = await refused(*arguments, cwd=tmp_path)
        assert code == 2, said
        assert complaint in said
        assert said.count("\n") == 1


async def test_interactive_with_pipes() -> None:
    process = await trio.lowlevel.open_process(
        [*COMMAND, "serve", "--port", "0", "--interactive"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    await process.stdin.send_all(b"early\n")
    url = (await _read_until(process.stdout, b"\n")).split()[1].decode()
    async with connect(url) as ws:
        assert await ws.receive() == "early"
        await ws.send("hello")
        assert await _read_until(process.stdout, b"\n") == b"<1: hello\n"
        await process.stdin.send_all(b"last")
        await process.stdin.aclose()
        assert await received(ws) == (["last"], 1001, "")
    assert await process.wait() == 0
    await process.stdout.aclose()


async def _read_until(stream: trio.abc.ReceiveStream, end: bytes) -> bytes:
    data = b""
    while not data.endswith(end):
        data += await stream.receive_some()
    return data


@asynccontextmanager
async def interactive() -> AsyncGenerator[tuple[Terminal, str, list[Any]]]:
    """A server that somebody sits at, its URL, and how the terminal was set before."""
    command = [*COMMAND, "serve", "--port", "0", "--interactive"]
    async with Terminal.spawn(command) as terminal:
        before = terminal.attributes()
        await terminal.wait_for("(Ctrl-C to stop)")
        url = terminal.text.partition("serving ")[2].split()[0]
        await terminal.wait_until(lambda: terminal.screen[terminal.cursor[1]] == ">")
        yield terminal, url, before


@pytest.mark.parametrize("ending", [CTRL_D, CTRL_C, signal.SIGTERM, signal.SIGINT])
async def test_interactive_at_a_terminal_gives_it_back(ending: str | signal.Signals) -> None:
    async with interactive() as (terminal, url, before), connect(url) as ws:
        assert terminal.attributes() != before
        await terminal.wait_for("* client 1 is there")
        await terminal.type("half")
        await terminal.wait_for("> half")
        await ws.send("hello")
        await terminal.wait_for("<1: hello")
        await terminal.wait_for("> half")
        await terminal.type(CTRL_C + "@1 to you" + ENTER + "to all" + ENTER)
        assert [await ws.receive() for _ in range(2)] == ["to you", "to all"]
        if isinstance(ending, str):
            await terminal.type(ending)
        else:
            terminal.signal(ending)
        assert await received(ws) == ([], 1001, "")
        assert await terminal.exit_code() == 0
        assert terminal.attributes() == before
        assert "closing 1 connection; once more to stop at once" in terminal.text
        assert "* client 1 has left: 1001" in terminal.text
        shown = [line for line in terminal.screen if line.startswith(">")]
        assert shown == ["> @1 to you", "> to all"]


async def test_what_is_typed_at_once_at_an_interactive_server_is_all_sent() -> None:
    async with interactive() as (terminal, url, _), connect(url) as ws:
        await terminal.wait_for("* client 1 is there")
        await terminal.type("".join(f"{n}{ENTER}" for n in range(50)) + CTRL_D)
        assert await received(ws) == ([str(n) for n in range(50)], 1001, "")
        assert await terminal.exit_code() == 0
