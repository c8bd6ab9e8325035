"""Several processes on one port: the parent in this process, its workers real."""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import trio

import trio_ws
from trio_ws import Backoff
from trio_ws.cli import serve, workers
from trio_ws.cli.exit_codes import ExitCode
from trio_ws.cli.failures import Usage
from trio_ws.cli.options.serve import ServeFormat, ServeOptions
from trio_ws.cli.place import PLACE, Place, Siblings

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable
    from pathlib import Path

    from trio.testing import MockClock

OPTIONS = ServeOptions(port=0, ping_interval=0, ping_timeout=0, drain_timeout=5)
_PATIENCE = 50
#: A handler that does what it is told.
HANDLER = """
import os, signal, trio

async def handler(ws):
    async for message in ws:
        if message == "who":
            await ws.send(str(os.getpid()))
        elif message == "stop":
            os.kill(os.getpid(), signal.SIGSTOP)
        elif message == "die":
            os._exit(7)
        else:
            await ws.send(message)
"""


class Running:
    """A parent while it runs.

    Attributes:
      url: where its workers serve.
      codes: its exit code, once it has one.
    """

    def __init__(self, address: object, options: ServeOptions) -> None:
        self.url = serve.url_of(address, options)
        self.codes: list[int] = []

    async def get(self, path: str) -> str:
        """The body of a plain answer."""
        stream = await trio.open_tcp_stream("127.0.0.1", int(self.url.rpartition(":")[2]))
        async with stream:
            await stream.send_all(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            data = b""
            async for piece in stream:
                data += piece
        return data.partition(b"\r\n\r\n")[2].decode()

    async def processes(self) -> list[int]:
        """Of the workers, by their numbers; once all of them run."""
        while True:
            first, *lines = (await self.get("/healthz")).splitlines()
            if first == "ok" and lines:
                return [int(line.rpartition(" ")[2]) for line in lines]
            await trio.sleep(0.02)

    async def open_to(self, process: int, stack: Any) -> trio_ws.WebSocket:
        """A connection to that worker: the kernel deals them out."""
        while True:
            ws: trio_ws.WebSocket = await stack.enter_async_context(connect(self.url))
            await ws.send("who")
            if await ws.receive() == str(process):
                return ws
            await ws.aclose()


def connect(url: str, **options: Any) -> Any:
    return trio_ws.connect(url, proxy=None, heartbeat=None, **options)


@pytest.fixture
def handler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "obedient.py").write_text(HANDLER)
    monkeypatch.chdir(tmp_path)
    return "obedient:handler"


@asynccontextmanager
async def supervised(
    monkeypatch: pytest.MonkeyPatch,
    *arguments: str,
    count: int = 2,
    options: ServeOptions = OPTIONS,
) -> AsyncGenerator[Running]:
    """Workers of ``trio-ws serve`` with *arguments*, until a signal ends them."""
    monkeypatch.setattr(sys, "argv", ["trio-ws", "serve", *arguments])
    monkeypatch.setenv("TRIO_WS_PING_INTERVAL", "0")
    send, receive = trio.open_memory_channel[object](1)
    codes: list[int] = []

    async def run() -> None:
        codes.append(await workers.supervise(options, count, send.send_nowait))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run)
        with trio.fail_after(_PATIENCE):
            running = Running(await receive.receive(), options)
            running.codes = codes
            yield running
            if not codes:
                signal.raise_signal(signal.SIGTERM)
    assert codes


async def until(condition: Callable[[], bool]) -> None:
    """Wait until *condition* is true of something that other processes bring about."""
    while True:
        if condition():
            return
        await trio.sleep(0.02)


async def ended(process: int) -> None:
    """Wait until a process that may not be ours has ended."""
    try:
        descriptor = os.pidfd_open(process)
    except ProcessLookupError:
        return
    try:
        await trio.lowlevel.wait_readable(descriptor)
    finally:
        os.close(descriptor)


# What is asked for


def test_how_many() -> None:
    assert workers.workers_of(OPTIONS) == 1
    assert workers.workers_of(replace(OPTIONS, workers="3")) == 3
    assert workers.workers_of(replace(OPTIONS, workers="auto")) == len(os.sched_getaffinity(0))
    for wrong in ("0", "-1", "two", "1.5", ""):
        with pytest.raises(Usage, match="a number from 1 on, or auto"):
            workers.workers_of(replace(OPTIONS, workers=wrong))


@pytest.mark.parametrize(
    ("option", "changes"),
    [
        ("--interactive", {"interactive": True}),
        ("--shared", {"shared": True, "exec": "cat"}),
        ("--tls-self-signed", {"tls_self_signed": True}),
        ("--format jsonl", {"format": ServeFormat.JSONL}),
    ],
)
def test_what_several_cannot_do(option: str, changes: dict[str, Any]) -> None:
    with pytest.raises(Usage, match=f"{option} .*one worker"):
        workers.workers_of(replace(OPTIONS, workers="2", **changes))
    workers.workers_of(replace(OPTIONS, **changes))


def test_several_broadcast_over_a_backplane() -> None:
    with pytest.raises(Usage, match="--broadcast with several workers needs --backplane redis://"):
        workers.workers_of(replace(OPTIONS, workers="2", broadcast=True))
    options = replace(OPTIONS, workers="2", broadcast=True, backplane="redis://localhost")
    assert workers.workers_of(options) == 2


def test_a_worker_knows_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Place.taken() is None
    reading, writing = os.pipe()
    place = Place(2, reading, (4, 5))
    monkeypatch.setenv(PLACE, place.text())
    os.set_inheritable(reading, True)
    assert Place.taken() == place
    # What it starts has neither.
    assert not os.get_inheritable(reading)
    assert Place.taken() is None
    os.close(reading)
    os.close(writing)


async def test_a_parent_that_is_gone_is_noticed() -> None:
    ours, theirs = socket.socketpair()
    siblings = Siblings()
    ours.send(b'[{"number": 1, "pid": 7}]\n[{"number": 1, ')
    ours.send(b'"pid": null}]\n')
    ours.shutdown(socket.SHUT_WR)
    with trio.fail_after(5):
        await siblings.follow(theirs.detach())
    assert ours.recv(10) == b"\n"
    assert siblings.state == [{"number": 1, "pid": None}]
    ours.close()


def test_health_tells_of_workers_and_of_troubles() -> None:
    troubles: list[str] = []
    siblings = Siblings()
    ask = siblings.health(troubles.copy)
    request = trio_ws.Request("GET", "/healthz", trio_ws.Headers())

    def body() -> bytes:
        response = ask(request)
        assert isinstance(response, trio_ws.Response)
        assert response.status == 200
        return response.body

    assert body() == b"ok\n"
    siblings.state = [{"number": 1, "pid": 7}, {"number": 2, "pid": 8}]
    assert body() == b"ok\nworker 1: running, process 7\nworker 2: running, process 8\n"
    siblings.state[1]["pid"] = None
    assert body() == b"degraded\nworker 1: running, process 7\nworker 2: starting\n"
    siblings.state.clear()
    troubles.append("the backplane is gone")
    assert body() == b"degraded\nthe backplane is gone\n"
    assert ask(trio_ws.Request("GET", "/else", trio_ws.Headers())) is None


def test_ends_have_words() -> None:
    assert workers._ending(3) == "ended with exit code 3"
    assert workers._ending(-9) == "was ended by SIGKILL"


async def test_ends_are_counted_within_a_minute(autojump_clock: MockClock) -> None:
    crew = workers._Crew([[]], {}, 1)
    (slot,) = crew._slots
    began = trio.current_time()
    for pause in (0.0, 0.5, 1.5, 3.5):
        assert await crew._may_start(slot)
        assert trio.current_time() - began == pytest.approx(pause)
    assert not await crew._may_start(slot)
    await trio.sleep(60)
    assert await crew._may_start(slot)


# With processes


async def test_they_serve_on_one_port(monkeypatch: pytest.MonkeyPatch, handler: str) -> None:
    options = replace(OPTIONS, metrics=True)
    async with supervised(monkeypatch, handler, "--metrics", options=options) as running:
        processes = await running.processes()
        assert len(set(processes)) == 2
        seen: set[str | bytes] = set()
        while len(seen) < 2:
            async with connect(running.url) as ws:
                await ws.send("who")
                seen.add(await ws.receive())
        assert seen == set(map(str, processes))
        # The sums of both, whoever answers.
        answers = {await running.get("/metrics") for _ in range(10)}
        (opened,) = {
            line.split()[-1]
            for answer in answers
            for line in answer.splitlines()
            if line.startswith("trio_ws_connections_opened_total")
        }
        assert float(opened) >= 2
    assert running.codes == [ExitCode.OK]


async def test_on_every_address_of_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    async with supervised(monkeypatch, options=replace(OPTIONS, host="localhost")) as running:
        async with connect(running.url) as ws:
            await ws.send("hello")
            assert await ws.receive() == "hello"


async def test_on_a_unix_socket(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "ws"
    async with supervised(monkeypatch, options=replace(OPTIONS, unix_socket=path)) as running:
        async with connect(running.url) as ws:
            await ws.send("hello")
            assert await ws.receive() == "hello"
    assert not path.exists()


async def test_on_sockets_that_are_given(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as given:
        number = os.dup(given.fileno())
        async with supervised(monkeypatch, options=replace(OPTIONS, fd=(number,))) as running:
            async with connect(running.url) as ws:
                await ws.send("hello")
                assert await ws.receive() == "hello"
    with pytest.raises(Usage, match="--systemd: systemd has handed no sockets"):
        await workers.supervise(replace(OPTIONS, systemd=True), 2, print)


async def test_what_cannot_be_listened_on_is_an_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        with pytest.raises(OSError):
            await workers.supervise(replace(OPTIONS, port=taken.getsockname()[1]), 2, print)
    with pytest.raises(OSError):
        missing = tmp_path / "missing" / "ws"
        await workers.supervise(replace(OPTIONS, unix_socket=missing), 2, print)


async def test_whatever_keeps_them_from_starting_is_said_once(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["trio-ws", "serve", "no.such:handler"])
    with trio.fail_after(_PATIENCE):
        assert await workers.supervise(OPTIONS, 2, print) == ExitCode.USAGE
    assert capfd.readouterr().err.count("there is no module no") == 1


async def test_one_that_ends_is_started_again(
    monkeypatch: pytest.MonkeyPatch, handler: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with supervised(monkeypatch, handler) as running:
        before = await running.processes()
        os.kill(before[0], signal.SIGKILL)
        await ended(before[0])
        # Its socket is open still: who is dealt to it waits.
        for _ in range(10):
            async with connect(running.url) as ws:
                await ws.send("hello")
                assert await ws.receive() == "hello"
        after = await running.processes()
        assert after[0] != before[0]
        assert after[1] == before[1]
    assert "worker 1 was ended by SIGKILL" in caplog.messages


async def test_one_that_ends_too_often_ends_everything(
    monkeypatch: pytest.MonkeyPatch, handler: str, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(workers, "_PAUSE", 0.01)
    async with supervised(monkeypatch, handler) as running:
        while not running.codes:
            with pytest.raises((trio_ws.ConnectionClosed, trio_ws.HandshakeError, OSError)):
                async with connect(running.url) as ws:
                    await ws.send("die")
                    await ws.receive()
    assert running.codes == [ExitCode.INTERNAL]
    assert "ended 5 times within 60 s: giving up" in capfd.readouterr().err


async def test_a_hangup_replaces_one_after_the_other(
    monkeypatch: pytest.MonkeyPatch, handler: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Under load: nobody is refused, and no message that was answered is lost."""
    caplog.set_level(logging.INFO, "trio_ws.cli")
    clients, failures = 60, []

    def note(failure: trio_ws.Failure) -> bool:
        failures.append(failure)
        return True

    async def talk(url: str, number: int, opened: trio.Semaphore, over: trio.Event) -> None:
        options: dict[str, Any] = {
            "proxy": None,
            "heartbeat": None,
            "backoff": Backoff(initial=0.05, maximum=0.5),
            "should_retry": note,
        }
        async with trio_ws.keep_connected(url, **options) as ws:
            count = 0
            while True:
                message = f"{number} {count}"
                await ws.send(message)
                # One that was on its way when its worker left is sent again.
                with trio.move_on_after(1):
                    while await ws.receive() != message:
                        pass
                    count += 1
                if count == 3:
                    opened.release()
                if over.is_set():
                    return
                await trio.sleep(0.05)

    async with supervised(monkeypatch, handler) as running:
        before = await running.processes()
        opened, over = trio.Semaphore(0), trio.Event()
        async with trio.open_nursery() as nursery:
            for number in range(clients):
                nursery.start_soon(talk, running.url, number, opened, over)
            for _ in range(clients):
                await opened.acquire()
            # Twice at once is once more, afterwards.
            signal.raise_signal(signal.SIGHUP)
            for process in before:
                await ended(process)
            await until(lambda: "all workers were replaced" in caplog.messages)
            over.set()
        after = await running.processes()
        assert set(after).isdisjoint(before)
    # Closed in good order, and never refused.
    assert {(one.stage.value, str(one)) for one in failures} <= {
        ("open", str(one)) for one in failures if one.reason is not None and one.reason.code == 1001
    }


async def test_a_next_one_that_fails_leaves_those_that_run(
    monkeypatch: pytest.MonkeyPatch,
    handler: str,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with supervised(monkeypatch, handler) as running:
        before = await running.processes()
        (tmp_path / "obedient.py").write_text("1 +")
        signal.raise_signal(signal.SIGHUP)
        await until(lambda: "those that run stay" in caplog.text)
        assert await running.processes() == before


async def test_one_that_does_not_serve_in_time_is_killed(
    monkeypatch: pytest.MonkeyPatch, handler: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "obedient.py").write_text("import time\ntime.sleep(60)")
    monkeypatch.setattr(workers, "_START_TIMEOUT", 1.0)
    monkeypatch.setattr(sys, "argv", ["trio-ws", "serve", handler])
    with trio.fail_after(_PATIENCE):
        assert await workers.supervise(OPTIONS, 2, print) == ExitCode.INTERNAL
    assert "worker 1 does not serve after 1 s" in caplog.messages


async def test_one_that_hangs_is_killed_when_its_time_is_over(
    monkeypatch: pytest.MonkeyPatch,
    handler: str,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(workers, "_GRACE", 0.2)
    options = replace(OPTIONS, drain_timeout=0.5)
    async with supervised(
        monkeypatch, handler, "--drain-timeout", "0.5", options=options
    ) as running:
        processes = await running.processes()
        async with AsyncExitStack() as stack:
            ws = await running.open_to(processes[0], stack)
            await ws.send("stop")
            signal.raise_signal(signal.SIGHUP)
            await ended(processes[0])
            ws.abort()
        await until(lambda: "worker 1 did not stop in time, and is killed" in caplog.messages)
        replaced = (await running.processes())[0]
        async with AsyncExitStack() as stack:
            ws = await running.open_to(replaced, stack)
            await ws.send("stop")
            ws.abort()
    assert running.codes == [ExitCode.OK]
    assert capfd.readouterr().err == "trio-ws: worker 1 did not stop in time, and is killed\n"
    await ended(replaced)


async def test_a_second_signal_ends_them_at_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "patient.py").write_text(
        "import trio\nasync def handler(ws):\n    await ws.send('here')\n    await trio.sleep(60)\n"
    )
    monkeypatch.chdir(tmp_path)
    for number, code in (
        (signal.SIGINT, ExitCode.INTERRUPTED),
        (signal.SIGTERM, ExitCode.TERMINATED),
    ):
        options = replace(OPTIONS, drain_timeout=30)
        async with supervised(monkeypatch, "patient:handler", options=options) as running:
            processes = await running.processes()
            async with connect(running.url) as ws:
                assert await ws.receive() == "here"
                signal.raise_signal(signal.SIGTERM)
                assert (await ws.wait_closed()).code == 1001
                signal.raise_signal(number)
                await until(lambda: bool(running.codes))
        assert running.codes == [code]
        for process in processes:
            await ended(process)


async def test_cancelled_it_leaves_nobody_behind(
    monkeypatch: pytest.MonkeyPatch, handler: str
) -> None:
    monkeypatch.setattr(sys, "argv", ["trio-ws", "serve", handler])
    started: list[object] = []
    with trio.move_on_after(0.3) as scope:
        await workers.supervise(OPTIONS, 2, started.append)
    assert scope.cancelled_caught
