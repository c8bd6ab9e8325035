"""``trio-ws serve``, in process; with real processes in tests/e2e."""

from __future__ import annotations

import logging
import re
import signal
import threading
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

import trio_ws
from trio_ws.cli import failures, serve
from trio_ws.cli.failures import LocalFailure
from trio_ws.cli.handlers import Mode
from trio_ws.cli.handlers.echo import echo
from trio_ws.cli.jsonlines import decode
from trio_ws.cli.options.serve import LogLevel, ServeFormat, ServeOptions

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from trio_ws.protocol.http import Request

OPTIONS = ServeOptions(port=0, ping_interval=0, ping_timeout=0)


async def url_printed(capsys: pytest.CaptureFixture[str]) -> str:
    while not (printed := capsys.readouterr().out):
        await trio.testing.wait_all_tasks_blocked()
    return printed.split()[1]


async def test_it_prints_where_it_serves_and_echoes_and_drains(
    capsys: pytest.CaptureFixture[str],
) -> None:
    codes: list[int] = []

    async def run() -> None:
        codes.append(await serve._serve(replace(OPTIONS, path="/ws")))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run)
        url = await url_printed(capsys)
        assert url.endswith("/ws")
        async with trio_ws.connect(url, origin="https://anywhere.example", proxy=None) as ws:
            await ws.send("hello")
            assert await ws.receive() == "hello"
            signal.raise_signal(signal.SIGTERM)
            with pytest.raises(trio_ws.ConnectionClosedOK):
                await ws.receive()
    assert codes == [0]
    assert "closing 1 connection; once more to stop at once" in capsys.readouterr().err


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
async def test_a_second_signal_ends_at_once(
    number: signal.Signals, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    codes: list[int] = []

    async def run() -> None:
        codes.append(await serve._serve(OPTIONS))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run)
        url = await url_printed(capsys)
        port = int(url.rpartition(":")[2])
        async with await trio.open_tcp_stream("127.0.0.1", port) as half_open:
            await half_open.send_all(b"GET")
            await trio.testing.wait_all_tasks_blocked()
            signal.raise_signal(number)
            await trio.testing.wait_all_tasks_blocked(0.01)
            assert codes == []
            signal.raise_signal(number)
            while not codes:
                await trio.testing.wait_all_tasks_blocked()
    assert codes == [code]


def test_the_exit_code_is_handed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serve, "_log", lambda options, place: None)
    monkeypatch.setattr(trio, "run", lambda function: 143)
    with pytest.raises(SystemExit) as caught:
        serve.run(OPTIONS)
    assert caught.value.code == 143
    monkeypatch.setattr(trio, "run", lambda function: 0)
    serve.run(OPTIONS)


async def test_the_url_is_one_that_can_be_connected_to() -> None:
    async with trio.open_nursery() as nursery:
        server = await nursery.start(trio_ws.serve, echo, "127.0.0.1", 0)
        options = replace(OPTIONS, host="::1", tls_cert=Path("x"), path="/y")
        assert serve.url_of(server.addresses[0], options) == f"wss://[::1]:{server.port}/y"
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def serving(options: ServeOptions) -> AsyncIterator[list[int]]:
    """The command, until the block ends or it does; the list gets its exit code."""
    codes: list[int] = []

    async def run() -> None:
        codes.append(await serve._serve(options))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run)
        yield codes
        nursery.cancel_scope.cancel()


async def said(capfd: pytest.CaptureFixture[str], what: str) -> str:
    """Everything on stderr, as soon as *what* is there."""
    text = ""
    while what not in text:
        await trio.testing.wait_all_tasks_blocked()
        text += capfd.readouterr().err
    return text


async def test_with_json_lines_only_they_are_on_stdout(capfd: pytest.CaptureFixture[str]) -> None:
    async with serving(replace(OPTIONS, format=ServeFormat.JSONL)) as codes:
        url = (await said(capfd, "Ctrl-C")).split()[2]
        async with trio_ws.connect(url + "/x?y", proxy=None) as ws:
            await ws.send("hello")
            assert await ws.receive() == "hello"
        signal.raise_signal(signal.SIGTERM)
        while not codes:
            await trio.testing.wait_all_tasks_blocked()
    entries = list(decode(capfd.readouterr().out.splitlines(), "stdout"))
    assert [(entry.type, entry.dir) for entry in entries] == [
        ("open", None),
        ("message", "in"),
        ("message", "out"),
        ("close", "in"),
    ]
    assert entries[0].url == "/x?y"
    assert codes == [0]


async def test_when_nobody_reads_the_json_lines_it_drains_and_ends(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def broken(data: bytes) -> None:
        raise BrokenPipeError

    monkeypatch.setattr("trio_ws.cli.serve.write_to", lambda *_: broken)
    async with serving(replace(OPTIONS, format=ServeFormat.JSONL)) as codes:
        url = (await said(capfd, "Ctrl-C")).split()[2]
        async with trio_ws.connect(url, proxy=None) as ws:
            with pytest.raises(trio_ws.ConnectionClosedOK) as caught:
                await ws.receive()
            assert caught.value.reason.code == 1001
        while not codes:
            await trio.testing.wait_all_tasks_blocked()
    assert codes == [0]


async def test_in_the_end_it_waits_a_bounded_time_for_the_json_lines(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    go_on = threading.Event()
    monkeypatch.setattr("trio_ws.cli.serve.write_to", lambda *_: lambda _: go_on.wait(10))
    monkeypatch.setattr(serve, "_LAST_WORDS", 0.01)
    async with serving(replace(OPTIONS, format=ServeFormat.JSONL)) as codes:
        url = (await said(capfd, "Ctrl-C")).split()[2]
        async with trio_ws.connect(url, proxy=None) as ws:
            signal.raise_signal(signal.SIGTERM)
            with pytest.raises(trio_ws.ConnectionClosedOK):
                await ws.receive()
        while not codes:
            await trio.testing.wait_all_tasks_blocked()
    go_on.set()
    assert codes == [0]


def test_json_lines_need_a_standard_output(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdout", None)
    with pytest.raises(LocalFailure, match="--format jsonl writes to stdout, and that is closed"):
        serve._recorder(replace(OPTIONS, format=ServeFormat.JSONL))


async def test_metrics_are_counted_and_answered(capsys: pytest.CaptureFixture[str]) -> None:
    async with serving(replace(OPTIONS, metrics=True)):
        url = await url_printed(capsys)
        async with trio_ws.connect(url, proxy=None) as ws:
            await ws.send("hello")
            assert await ws.receive() == "hello"
            stream = await trio.open_tcp_stream("127.0.0.1", int(url.rpartition(":")[2]))
            await stream.send_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
            answer = b"".join([part async for part in stream])
            assert b'trio_ws_received_messages_total{role="server"} 1.0' in answer
            await stream.aclose()


async def test_a_handler_s_own_answers_are_asked_for_once() -> None:
    asked: list[str] = []

    class Choosy(Mode):
        async def __call__(self, ws: trio_ws.WebSocket) -> None:
            await ws.send("chosen")

        def process_request(self, request: Request) -> None:
            asked.append(request.path)

    arguments = serve._arguments(OPTIONS, Choosy(), None)
    async with trio.open_nursery() as nursery:
        server = await nursery.start(partial(trio_ws.serve, **arguments, host="127.0.0.1", port=0))
        async with trio_ws.connect(f"ws://127.0.0.1:{server.port}/a", proxy=None) as ws:
            assert await ws.receive() == "chosen"
        nursery.cancel_scope.cancel()
    assert asked == ["/a"]


@pytest.mark.parametrize("path", [None, "/ws"])
async def test_a_unix_socket_instead_of_a_port(
    path: str | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sock = tmp_path / "a socket"
    async with serving(replace(OPTIONS, unix_socket=sock, path=path, console=True)):
        url = await url_printed(capsys)
        quoted = str(sock).replace(" ", "%20")
        assert url == f"ws+unix:{quoted}" + (":/ws" if path else "")
        async with trio_ws.connect(url) as ws:
            await ws.send("hello")
            assert await ws.receive() == "hello"


async def test_what_a_browser_and_a_client_need_to_know_is_said(
    capfd: pytest.CaptureFixture[str],
) -> None:
    options = replace(OPTIONS, tls_self_signed=True, console=True, path="/ws", host="localhost")
    async with serving(options):
        text = await said(capfd, "to trust it")
    lines = text.splitlines()
    assert re.fullmatch(r"trio-ws: console at https://localhost:[0-9]+/", lines[0])
    assert "certificate for localhost, 127.0.0.1, ::1" in lines[1]
    assert re.search(r"SHA-256 ([0-9A-F]{2}:){31}[0-9A-F]{2}$", lines[1])
    assert re.search(r"client --cacert \S+\.pem wss://localhost:[0-9]+/ws$", lines[2])


def test_the_log_holds_no_secrets(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    root = logging.Logger("root")
    monkeypatch.setattr(logging, "root", root)
    monkeypatch.setattr(failures, "_secrets", {"hunter2"})
    serve._log(replace(OPTIONS, log_level=LogLevel.WARNING), None)
    root.warning("asked for /?token=hunter2")
    root.info("nothing")
    assert capsys.readouterr().err.endswith("WARNING asked for /?token=***\n")
