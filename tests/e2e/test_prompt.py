"""``trio-ws client`` at a terminal, driven by keys, and seen on its screen."""

from __future__ import annotations

import signal
import stat
import sys
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
import trio
import trio.testing

import trio_ws

from ..terminal import ALT_ENTER, CTRL_C, CTRL_D, CTRL_R, ENTER, PATIENCE, TAB, UP, Terminal
from .processes import free_port

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
    from pathlib import Path

    from trio_ws import Server, WebSocket

    Handler = Callable[[WebSocket], Awaitable[None]]

COMMAND = [sys.executable, "-m", "trio_ws.cli"]
QUICK = ["--reconnect", "--retry-initial", "0.01", "--retry-max", "0.02"]
#: A wait that nobody sits out.
SLOW = ["--reconnect", "--retry-initial", "3000", "--retry-max", "3000"]


async def echo(ws: WebSocket) -> None:
    async for message in ws:
        await ws.send(message)


class Talk:
    """A server that says what it is told to, and remembers what it was told."""

    def __init__(self) -> None:
        self.received: list[str | bytes] = []
        self.to_send, self._sending = trio.open_memory_channel[str | bytes](1000)
        self.ws: WebSocket | None = None

    async def __call__(self, ws: WebSocket) -> None:
        self.ws = ws
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._send, ws)
            async for message in ws:
                self.received.append(message)
            nursery.cancel_scope.cancel()

    async def _send(self, ws: WebSocket) -> None:
        async for message in self._sending:
            await ws.send(message)


@asynccontextmanager
async def serving(handler: Handler, port: int = 0) -> AsyncGenerator[Server]:
    async with trio.open_nursery() as nursery:
        yield await nursery.start(partial(trio_ws.serve, handler, "127.0.0.1", port))
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def prompt(
    url: str,
    *arguments: str,
    home: Path | None = None,
    env: Mapping[str, str] | None = None,
    **options: Any,
) -> AsyncGenerator[Terminal]:
    """The client in a terminal, before anything has come of it."""
    history = ["--no-history"] if home is None else []
    state = {} if home is None else {"XDG_STATE_HOME": str(home)}
    command = [*COMMAND, "client", url, *history, *arguments]
    async with Terminal.spawn(command, env={**state, **(env or {})}, **options) as terminal:
        yield terminal


@asynccontextmanager
async def conversation(
    *arguments: str, handler: Handler = echo, **options: Any
) -> AsyncGenerator[Terminal]:
    """The same, connected and ready for typing."""
    async with serving(handler) as server:
        url = f"ws://127.0.0.1:{server.port}"
        async with prompt(url, *arguments, **options) as terminal:
            await ready(terminal)
            yield terminal


async def ready(terminal: Terminal) -> None:
    await terminal.wait_until(lambda: terminal.screen[terminal.cursor[1]].startswith(">"))


async def enter(terminal: Terminal, line: str, answer: str) -> None:
    await terminal.type(line + ENTER)
    await terminal.wait_for(answer)


# What is typed, and what comes


async def test_messages_go_and_come() -> None:
    async with conversation() as terminal:
        await terminal.wait_for("connected; /help lists")
        await enter(terminal, "hello", "< hello")
        shown = ["> hello", "< hello", ">"]
        await terminal.wait_until(lambda: terminal.screen[1:4] == shown)


async def test_given_messages_come_first_and_then_the_prompt() -> None:
    async with conversation("one", "two", "--on-connect", "zero") as terminal:
        await terminal.wait_for("< two")
        await enter(terminal, "three", "< three")
        shown = [line for line in terminal.screen if line.startswith("<")]
        assert shown == ["< zero", "< one", "< two", "< three"]


async def test_a_half_typed_line_that_wraps_stays_whole_while_messages_pour_in() -> None:
    server = Talk()
    async with conversation(handler=server, columns=20, lines=10) as terminal:
        typed = "a line that is longer than the window"
        await terminal.type(typed)
        await terminal.wait_for("  w")
        for number in range(500):
            await server.to_send.send(f"message {number}")
            if number % 50 == 0:
                await terminal.type("!")
        await terminal.wait_for("< message 499")
        await terminal.wait_for("!" * 10)
        below = terminal.screen[terminal.screen.index("< message 499") + 1 :]
        line = "".join(part[2:].ljust(18) for part in below if part)
        assert line.rstrip() == typed + "!" * 10
        messages = [*terminal.scrolled, *terminal.screen]
        assert [line for line in messages if line.startswith("<")] == [
            f"< message {number}" for number in range(500)
        ]
        await terminal.type(ENTER)
        await terminal.wait_for("> a line")
        while not server.received:
            await trio.testing.wait_all_tasks_blocked()
        assert server.received == [typed + "!" * 10]


async def test_keys_are_keys_in_a_flood() -> None:
    received, typed = trio.open_memory_channel[str | bytes](10)

    async def flood(ws: WebSocket) -> None:
        async with trio.open_nursery() as nursery:

            async def send_all() -> None:
                while True:
                    await ws.send("x" * 70)

            nursery.start_soon(send_all)
            async for message in ws:
                await received.send(message)
            nursery.cancel_scope.cancel()

    async with conversation(handler=flood) as terminal:
        before = terminal.attributes()
        await terminal.wait_for("< xxx")
        await terminal.type("cleared" + CTRL_C + "sent" + ENTER)
        with trio.fail_after(PATIENCE):
            assert await typed.receive() == "sent"
        assert terminal.attributes() == before
        await terminal.type(CTRL_C)
        assert await terminal.exit_code() == 130


async def test_wide_characters_and_escape_sequences() -> None:
    server = Talk()
    async with conversation(handler=server) as terminal:
        await terminal.type("日本語のテキスト")
        await terminal.wait_for("テ")
        await server.to_send.send("\x1b[2J\x1b]0;title\x07 \u202e 全角")
        await terminal.wait_for(r"< \x1b[2J\x1b]0;title\x07 \u202e")
        await terminal.type("!" + ENTER)
        await terminal.wait_gone(">  ")
        while not server.received:
            await trio.testing.wait_all_tasks_blocked()
        assert server.received == ["日本語のテキスト!"]


async def test_a_paste_is_one_message_and_so_are_lines_begun_with_alt_enter() -> None:
    server = Talk()
    async with conversation(handler=server) as terminal:
        await terminal.paste("one\n  two\nthree")
        await terminal.wait_for(". three")
        await terminal.type(ENTER)
        await terminal.wait_for("  three")
        await terminal.type(f"four{ALT_ENTER}five{ENTER}")
        await terminal.wait_for("  five")
        while len(server.received) < 2:
            await trio.testing.wait_all_tasks_blocked()
        assert server.received == ["one\n  two\nthree", "four\nfive"]


async def test_a_narrow_terminal_and_one_that_changes() -> None:
    server = Talk()
    async with conversation(handler=server, columns=12, lines=5) as terminal:
        await terminal.type("abcdefghijklmno")
        await terminal.wait_for("klmno")
        terminal.resize(60, 10)
        await terminal.wait_for("> abcdefghijklmno")
        await server.to_send.send("after")
        await terminal.wait_for("< after")
        await terminal.wait_for("> abcdefghijklmno")
        await terminal.type(CTRL_C)
        await terminal.wait_gone("abc")


# Commands


async def test_commands(tmp_path: Path) -> None:
    file = tmp_path / "note"
    file.write_text("from a file")
    async with conversation() as terminal:
        await enter(terminal, "/ping", "pong after")
        await enter(terminal, "/pong", "pong sent")
        await enter(terminal, "/hex 00 FF", "< binary, 2 bytes: 00 ff")
        await enter(terminal, f"/file {file}", "< from a file")
        await enter(terminal, "//slash", "< /slash")
        await enter(terminal, "/nonsense", "there is no /nonsense; /help lists commands")
        await enter(terminal, "/reconnect", "/reconnect: this is for --reconnect")
        await enter(terminal, "/stats", "received 3 messages")
        await enter(terminal, "/pretty", "JSON is laid out")
        await enter(terminal, '{"a": [1]}', '"a": [')
        await enter(terminal, "/help", "A paste is one message")
        await terminal.type("/pi" + TAB)
        await terminal.wait_for("/ping")
        await terminal.type(CTRL_C)
        await enter(terminal, "/close nonsense", "/close: 'nonsense' is no close code")
        await enter(terminal, "/close 99", "/close: ")
        await enter(terminal, "still here", "< still here")
        await terminal.type("/close 4000 enough" + ENTER)
        assert await terminal.exit_code() == 0


async def test_what_is_typed_before_leaving_goes_out() -> None:
    for leaving in ("/close" + ENTER, CTRL_D):
        server = Talk()
        async with conversation(handler=server) as terminal:
            await terminal.type("".join(f"{n}{ENTER}" for n in range(50)) + leaving)
            assert await terminal.exit_code() == 0
        assert server.received == [str(n) for n in range(50)]


# The history


def names_in(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


async def test_the_history_is_kept_for_each_host_and_can_be_searched(tmp_path: Path) -> None:
    async with serving(echo) as server:
        url = f"ws://127.0.0.1:{server.port}"
        async with prompt(url, home=tmp_path) as terminal:
            await ready(terminal)
            await enter(terminal, "the first", "< the first")
            await enter(terminal, "second", "< second")
            await terminal.type(CTRL_D)
            assert await terminal.exit_code() == 0
        file = tmp_path / "trio-ws" / "history" / f"127.0.0.1_{server.port}"
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        async with prompt(url, home=tmp_path) as terminal:
            await ready(terminal)
            await terminal.type(UP)
            await terminal.wait_for("> second")
            await terminal.type(CTRL_C)
            await terminal.wait_gone("> second")
            await terminal.type(CTRL_R + "fir")
            await terminal.wait_for("> the first")
            await terminal.type(ENTER)
            await terminal.wait_gone("I-search")
            assert "< " not in terminal.text, "a search is not sent"
            await terminal.type(ENTER)
            await terminal.wait_for("< the first")


async def test_without_a_history(tmp_path: Path) -> None:
    async with conversation("--no-history", home=tmp_path) as terminal:
        await enter(terminal, "secret", "< secret")
        await terminal.type(UP)
        await terminal.wait_until(lambda: terminal.screen[terminal.cursor[1]] == "> secret")
    assert names_in(tmp_path) == []


async def test_a_home_that_cannot_be_written_to_costs_only_the_history(tmp_path: Path) -> None:
    home = tmp_path / "file"
    home.write_text("")
    async with conversation(home=home) as terminal:
        await enter(terminal, "hello", "< hello")


# Reconnecting


async def test_a_lost_connection_counts_down_and_enter_is_now() -> None:
    port = free_port()
    url = f"ws://127.0.0.1:{port}"
    server = Talk()
    async with trio.open_nursery() as nursery:
        first = await nursery.start(partial(serve_until_cancelled, server, port))
        async with prompt(url, *SLOW, "--on-connect", "log in") as terminal:
            await ready(terminal)
            await terminal.wait_for(f"connected to {url}")
            await terminal.type("half")
            await terminal.wait_for("> half")
            first.cancel()
            await terminal.wait_for("connection lost after")
            await terminal.wait_for("reconnecting in")
            await terminal.wait_for("(attempt 2, 1001 (going away)")
            await terminal.wait_for("; Enter = now")
            await terminal.wait_for("> half")
            await enter(terminal, " typed", "> half typed")
            await terminal.wait_for("there is no connection: it goes out when there is one")
            await terminal.type(ENTER)
            await terminal.wait_for("Connection refused); Enter = now")
            again = Talk()
            await nursery.start(partial(serve_until_cancelled, again, port))
            await terminal.type(ENTER)
            await terminal.wait_for("connected again after")
            await terminal.wait_gone("Enter = now")
            while len(again.received) < 2:
                await trio.testing.wait_all_tasks_blocked()
            assert again.received == ["log in", "half typed"]
            await terminal.type(CTRL_D)
            assert await terminal.exit_code() == 0
        nursery.cancel_scope.cancel()


async def serve_until_cancelled(
    handler: Handler, port: int, task_status: trio.TaskStatus[trio.CancelScope]
) -> None:
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            await nursery.start(partial(trio_ws.serve, handler, "127.0.0.1", port))
            task_status.started(scope)


async def test_reconnecting_by_hand() -> None:
    server = Talk()
    async with conversation(*SLOW, "--on-connect", "hi", handler=server) as terminal:
        await enter(terminal, "/reconnect", "given up here")
        await terminal.wait_for("connected again")
        while len(server.received) < 2:
            await trio.testing.wait_all_tasks_blocked()
        assert server.received == ["hi", "hi"]


async def test_a_first_connection_that_cannot_be_made_is_counted_down_to() -> None:
    async with prompt(f"ws://127.0.0.1:{free_port()}", *SLOW) as terminal:
        await terminal.wait_for("(attempt 2, Connection refused)")
        assert terminal.text.startswith("reconnecting in")
        await terminal.type(CTRL_C)
        assert await terminal.exit_code() == 130


@pytest.mark.parametrize(
    ("offline", "said"),
    [
        ("raise", "not sent: hello (connection closed: 1001"),
        ("wait", "not sent: hello"),
        ("queue", "> hello"),
    ],
)
async def test_what_is_typed_while_there_is_no_connection(offline: str, said: str) -> None:
    async with serving(Talk()) as server:
        url = f"ws://127.0.0.1:{server.port}"
        async with prompt(url, *SLOW, "--offline", offline, columns=160) as terminal:
            await ready(terminal)
            await server.drain(0)
            await terminal.wait_for("; Enter = now")
            await terminal.type("hello" + ENTER)
            if offline == "wait":
                await terminal.wait_for("it goes out when there is one")
                await terminal.type(CTRL_D)
            await terminal.wait_for(said)


# The end


@pytest.mark.parametrize(
    ("ending", "code"),
    [
        (CTRL_D, 0),
        (CTRL_C, 130),
        (signal.SIGTERM, 143),
        (signal.SIGINT, 130),
        (signal.SIGHUP, 129),
    ],
)
async def test_the_terminal_is_left_as_it_was(ending: str | signal.Signals, code: int) -> None:
    async with serving(echo) as server:
        async with prompt(f"ws://127.0.0.1:{server.port}") as terminal:
            before = terminal.attributes()
            await ready(terminal)
            assert terminal.attributes() != before
            if isinstance(ending, str):
                await terminal.type(ending)
            else:
                terminal.signal(ending)
            assert await terminal.exit_code() == code
            assert terminal.attributes() == before
            assert terminal.shown.rindex(b"\x1b[?2004l") > terminal.shown.rindex(b"\x1b[?2004h")
            assert terminal.shown.rindex(b"\x1b[?25h") > terminal.shown.rindex(b"\x1b[?25l")
            assert ">" not in terminal.text


@pytest.mark.parametrize(("code", "exit_code"), [(1000, 0), (1001, 0), (4000, 7)])
async def test_the_server_closes(code: int, exit_code: int) -> None:
    server = Talk()
    async with serving(server) as served:
        async with prompt(f"ws://127.0.0.1:{served.port}", columns=100) as terminal:
            before = terminal.attributes()
            await ready(terminal)
            await terminal.type("half typed")
            await terminal.wait_for("> half typed")
            assert server.ws is not None
            await server.ws.aclose(code, "that is all")
            assert await terminal.exit_code() == exit_code
            assert terminal.attributes() == before
            assert f"< close {code} " in terminal.text
            assert "'that is all'" in terminal.text
            assert "not sent: half typed" in terminal.text
            assert ("error: connection closed" in terminal.text) == bool(exit_code)


async def test_the_connection_is_cut() -> None:
    async def cut(ws: WebSocket) -> None:
        await ws.receive()
        ws.abort()

    async with conversation(handler=cut) as terminal:
        await terminal.type("go" + ENTER)
        assert await terminal.exit_code() == 7
        assert "error: connection closed: 1006" in terminal.text


async def test_the_terminal_hangs_up() -> None:
    async with conversation() as terminal:
        terminal.hang_up()
        assert await terminal.exit_code() == 129


async def test_failing_to_connect_is_one_line() -> None:
    async with prompt(f"ws://127.0.0.1:{free_port()}") as terminal:
        before = terminal.attributes()
        assert await terminal.exit_code() == 3
        await terminal.wait_for("trio-ws: error: cannot connect to 127.0.0.1:")
        assert terminal.attributes() == before


# Where there is no prompt, or half a terminal


async def test_a_terminal_that_cannot_draw_has_no_prompt() -> None:
    async with serving(echo) as server:
        url = f"ws://127.0.0.1:{server.port}"
        command = [*COMMAND, "client", url, "--linger", "0.1"]
        async with Terminal.spawn(command, env={"TERM": "dumb"}) as terminal:
            await terminal.type("hello\n")
            await terminal.wait_until(lambda: terminal.text == "hello\nhello")
            await terminal.type(CTRL_D)
            assert await terminal.exit_code() == 0
            assert b"\x1b" not in terminal.shown


async def test_no_color_means_none() -> None:
    async with conversation(*QUICK, env={"NO_COLOR": "1"}) as terminal:
        await enter(terminal, "/pretty", "JSON is laid out")
        await enter(terminal, '{"a": "b"}', '"a": "b"')
        assert b"\x1b[3" not in terminal.shown


async def test_answers_are_on_the_screen_where_stderr_is_not(tmp_path: Path) -> None:
    with (tmp_path / "log").open("wb") as log:
        async with conversation(*SLOW, stderr=log) as terminal:
            await enter(terminal, "/stats", "received 0 messages")
            assert "connected to" not in terminal.text
    assert b"connected to" in (tmp_path / "log").read_bytes()


async def test_quiet_still_answers() -> None:
    async with serving(echo) as server:
        async with prompt(f"ws://127.0.0.1:{server.port}", "-q") as terminal:
            await terminal.wait_for(">")
            assert terminal.text == ">"
            await enter(terminal, "/stats", "received 0 messages")


async def test_a_pipe_needs_no_prompt() -> None:
    script = (
        "import sys; from trio_ws.cli.app import make_app\n"
        "try: make_app()(sys.argv[1:])\n"
        "finally: print('prompt_toolkit' in sys.modules, file=sys.stderr)"
    )
    async with serving(echo) as server:
        result = await trio.run_process(
            [sys.executable, "-c", script, "client", f"ws://127.0.0.1:{server.port}", "--linger=0"],
            stdin=b"",
            capture_stderr=True,
        )
    assert result.stderr == b"False\n"
