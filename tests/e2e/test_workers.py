"""``trio-ws serve --workers``, as at a terminal, and when the parent dies without a word."""

from __future__ import annotations

import os
import signal

import trio

from ..cli.test_workers import connect, ended
from ..terminal import CTRL_C, Terminal
from .processes import COMMAND, environment, run, running

_PATIENCE = 50


async def processes_of(url: str) -> list[int]:
    """Of the workers, as their health tells."""
    while True:
        stream = await trio.open_tcp_stream("127.0.0.1", int(url.rpartition(":")[2]))
        async with stream:
            await stream.send_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
            data = b"".join([bytes(piece) async for piece in stream])
        lines = data.partition(b"\r\n\r\n")[2].decode().splitlines()
        if lines[0] == "ok" and len(lines) > 1:
            return [int(line.rpartition(" ")[2]) for line in lines[1:]]
        await trio.sleep(0.02)


async def test_ctrl_c_drains_all_of_them_once() -> None:
    command = [*COMMAND, "serve", "--port", "0", "--workers", "2"]
    async with Terminal.spawn(command, env=environment()) as terminal:
        await terminal.wait_for("with 2 workers (Ctrl-C to stop)")
        url = terminal.text.split()[1]
        with trio.fail_after(_PATIENCE):
            await processes_of(url)
            async with connect(url) as ws:
                await ws.send("hello")
                assert await ws.receive() == "hello"
                # To the whole group of processes, of which the workers are none.
                await terminal.type(CTRL_C)
                assert (await ws.wait_closed()).code == 1001
        assert await terminal.exit_code() == 0


async def test_they_end_in_good_order_when_their_parent_is_killed() -> None:
    async with running("serve", "--port", "0", "--workers", "2") as server:
        url = (await server.line()).split()[1]
        processes = await processes_of(url)
        async with connect(url) as ws:
            await ws.send("hello")
            assert await ws.receive() == "hello"
            server.signal(signal.SIGKILL)
            assert (await ws.wait_closed()).code == 1001
        for process in processes:
            await ended(process)


async def test_the_log_tells_which_of_them_it_was() -> None:
    async with running("serve", "--port", "0", "--workers", "2") as server:
        url = (await server.line()).split()[1]
        processes = await processes_of(url)
        os.kill(processes[1], signal.SIGTERM)
        assert "worker 2 ended with exit code 0" in await server.line("stderr")
        await processes_of(url)


async def test_what_makes_no_sense_is_said() -> None:
    for options, problem in (
        (["--workers", "none"], "--workers takes a number from 1 on, or auto, not none"),
        (["--workers", "2", "--broadcast"], "--broadcast with several workers needs --backplane"),
    ):
        result = await run("serve", *options)
        assert result.code == 2
        assert problem in result.err
