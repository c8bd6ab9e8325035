"""``--exec --shared``, with real processes: one for all, and what becomes of all when it ends."""

from __future__ import annotations

import os
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
import trio
import trio.testing

import trio_ws
from trio_ws import Limits
from trio_ws.cli.handlers import process as process_module
from trio_ws.cli.handlers import relay as relay_module
from trio_ws.cli.handlers import shared as shared_module
from trio_ws.cli.handlers.coding import Bytes, Lines, Text
from trio_ws.cli.handlers.shared import MAX_STARTS, Shared

from .test_exec import children, connect, is_running, nothing_left, received

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator


@pytest.fixture(autouse=True)
def _in_a_hurry(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(process_module, "GRACE", 0.2)
    monkeypatch.setattr(shared_module, "PATIENCE", 0.1)
    monkeypatch.setattr(relay_module, "PROBING", 0.1)
    before = children()
    yield
    assert children() <= before


@asynccontextmanager
async def served(
    command: str, coding: Any = None, *, terminal: bool = False, **options: Any
) -> AsyncGenerator[tuple[trio_ws.Server, str]]:
    """A server whose clients share *command*, and its URL."""
    mode = Shared(command, coding or partial(Lines, 1000), terminal=terminal)
    async with trio.open_nursery() as nursery:
        await nursery.start(mode.run)

        async def serve(task_status: Any) -> None:
            await trio_ws.serve(mode, "127.0.0.1", 0, task_status=task_status, **options)

        server: trio_ws.Server = await nursery.start(serve)
        yield server, f"ws://127.0.0.1:{server.port}"
        await nothing_left(server)
        assert server.statistics().crashed == 0
        nursery.cancel_scope.cancel()


async def test_all_write_to_it_and_all_hear_it() -> None:
    async with served("echo $$; cat") as (server, url):
        async with connect(url) as one:
            pid = await one.receive()
            async with connect(url) as two:
                while len(server.connections) < 2:
                    await trio.testing.wait_all_tasks_blocked()
                await one.send("a")
                assert await one.receive() == await two.receive() == "a"
                await two.send("b")
                assert await one.receive() == await two.receive() == "b"
        await nothing_left(server)
        assert is_running(int(str(pid)))
        async with connect(url) as late:
            await late.send("it is still there")
            assert await late.receive() == "it is still there"
    assert not is_running(int(str(pid)))


async def test_its_end_is_everybody_s_and_the_next_client_starts_it_again() -> None:
    async with served('read line; echo "$line"; exit 3') as (_, url):
        for _ in range(2):
            async with connect(url) as one, connect(url) as two:
                await two.send("bye")
                for ws in (one, two):
                    assert await received(ws) == (["bye"], 1011, "exit status 3")


async def test_one_that_keeps_exiting_is_not_started_for_ever() -> None:
    async with served("exit 0") as (_, url):
        for _ in range(MAX_STARTS):
            async with connect(url) as ws:
                assert await received(ws) == ([], 1000, "")
        with pytest.raises(trio_ws.ConnectionRejected) as caught:
            async with connect(url):
                pass
        assert caught.value.status == 503
        assert caught.value.retry_after is not None
        assert 0 < caught.value.retry_after <= 60


async def test_it_may_start_again_later(autojump_clock: trio.testing.MockClock) -> None:
    mode = Shared("exit 0", Bytes, terminal=False)
    mode._starts.extend([trio.current_time()] * MAX_STARTS)
    assert mode.process_request(None) is not None  # type: ignore[arg-type]
    await trio.sleep(61)
    assert mode.process_request(None) is None  # type: ignore[arg-type]


async def test_a_client_that_leaves_while_nothing_is_read_is_let_go() -> None:
    limits = Limits(inbox_messages=1, inbox_bytes=1000)
    async with served("sleep 100", Bytes, limits=limits) as (server, url):
        async with connect(url) as ws:
            with trio.move_on_after(0.2):
                while True:
                    await ws.send(bytes(100_000))
            ws.abort()
        await nothing_left(server)


async def test_a_shared_terminal() -> None:
    async with served("cat", Text, terminal=True) as (_, url), connect(url) as ws:
        await ws.send("a\n")
        text = ""
        while text.count("a") < 2:
            text += str(await ws.receive())
        assert text == "a\r\na\r\n"


async def test_nothing_to_start_with(monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(*arguments: object, **options: object) -> None:
        raise OSError(11, "Resource temporarily unavailable")

    monkeypatch.setattr("trio.lowlevel.open_process", fail)
    async with served("cat") as (_, url), connect(url) as ws:
        assert await received(ws) == ([], 1011, "the command cannot be started")


async def test_a_cancelled_server_ends_it() -> None:
    pids: list[int] = []
    with trio.CancelScope() as scope:
        async with served("echo $$; cat") as (_, url), connect(url) as ws:
            pids.append(int(str(await ws.receive())))
            scope.cancel()
            await trio.lowlevel.checkpoint()
    assert not is_running(pids[0])
    assert os.getpid() != pids[0]
