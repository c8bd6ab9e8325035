"""``trio-ws ping``, ``replay`` and ``bench`` as real processes, with real signals."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import trio

import trio_ws

from .processes import COMMAND, server_process

if TYPE_CHECKING:
    from collections.abc import Callable

QUICK = ("-q", "-c", "4", "--warmup", "0", "--duration", "0.2")


async def run(*arguments: str, **options: Any) -> tuple[int, str, str]:
    """A command's exit code, its output, and what it said."""
    result = await trio.run_process(
        [*COMMAND, *arguments], check=False, capture_stdout=True, capture_stderr=True, **options
    )
    stderr = result.stderr.decode()
    assert "Traceback" not in stderr
    return result.returncode, result.stdout.decode(), stderr


async def interrupted(
    *arguments: str, when: Callable[[bytes], bool], number: int = signal.SIGINT
) -> tuple[int | None, str]:
    """A command's exit code and output, where a signal comes when the output is so far."""
    process = await trio.lowlevel.open_process(
        [*COMMAND, *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    assert process.stdout is not None
    written = b""
    sent = False
    async for data in process.stdout:
        written += data
        if not sent and when(written):
            process.send_signal(number)
            sent = True
    code = await process.wait()
    await process.stdout.aclose()
    assert b"Traceback" not in written
    return code, written.decode()


# ping


async def test_ping() -> None:
    async with server_process() as (_, url):
        code, out, said = await run("ping", url, "-c", "3", "-i", "0.01")
        assert (code, said) == (0, "")
        assert out.startswith(f"connected to {url}/: connect ")
        assert "3 pings sent, 3 pongs received, 0% lost" in out
        # A name that has to be looked up.
        port = url.rpartition(":")[2]
        _, out, _ = await run("ping", f"localhost:{port}", "-c", "1")
        assert "/: resolve " in out


async def test_interrupting_ping() -> None:
    async with server_process() as (_, url):
        code, out = await interrupted("ping", url, when=lambda out: b"seq=1 " in out)
    assert code == 130
    assert "1 ping sent, 1 pong received, 0% lost" in out


async def test_ping_to_a_server_that_leaves() -> None:
    async def leaves(ws: trio_ws.WebSocket) -> None:
        await ws.aclose(4001, "enough")

    async with trio.open_nursery() as nursery:
        server = await nursery.start(partial(trio_ws.serve, leaves, "127.0.0.1", 0))
        code, out, said = await run("ping", f":{server.port}")
        nursery.cancel_scope.cancel()
    assert code == 7
    assert "ping statistics" in out
    assert "4001 (private use) 'enough'" in said


# replay


async def test_replay_of_what_is_piped_in() -> None:
    recording = b"".join(
        b'{"ts":%d,"type":"message","dir":"%s","data":"%d"}\n' % (number, direction, number)
        for number in range(1000)
        for direction in (b"out", b"in")
    )
    async with server_process() as (_, url):
        code, out, said = await run(
            "replay", "-", url, "--speed", "0", "--expect-same", "--linger", "0.5", stdin=recording
        )
        assert (code, said) == (0, "")
        assert out.split() == [str(number) for number in range(1000)]
        code, _, said = await run("replay", "-", url, stdin=recording + b"{}\n")
        assert code == 2
        assert said == "trio-ws: error: standard input, line 2001: there is no 'type'\n"


# bench


@pytest.mark.parametrize("flow", [["--rate", "200"], ["--pipeline", "3"]])
@pytest.mark.parametrize("processes", ["1", "2"])
async def test_bench(flow: list[str], processes: str) -> None:
    async with server_process() as (_, url):
        code, out, said = await run(
            "bench", url, *QUICK, *flow, "--processes", processes, "--json", "--fail-if", "errors>0"
        )
    assert (code, said) == (0, "")
    result = json.loads(out)
    assert (result["opened"], result["errors"]) == (4, 0)
    if "--rate" in flow:
        assert result["round_trip"]["count"] == pytest.approx(40, abs=2)
    else:
        assert result["replies"] > 0


async def test_bench_with_secrets_and_certificates(tmp_path: Path) -> None:
    async def look(ws: trio_ws.WebSocket) -> None:
        assert ws.request.headers.get("authorization") == "Bearer token"
        async for message in ws:
            await ws.send(message)

    async with trio.open_nursery() as nursery:
        server = await nursery.start(partial(trio_ws.serve, look, "127.0.0.1", 0))
        code, out, said = await run(
            *("bench", f":{server.port}", *QUICK, "--processes", "2", "--bearer", "-", "--json"),
            stdin=b"token\n",
        )
        nursery.cancel_scope.cancel()
    assert (code, said) == (0, "")
    assert json.loads(out)["errors"] == 0


async def test_a_threshold_that_is_not_met_is_exit_code_eight() -> None:
    async with server_process() as (_, url):
        code, out, said = await run("bench", url, *QUICK, "--fail-if", "p50>=0us")
        assert code == 8
        assert "round trip" in out
        assert said.startswith("trio-ws: error: p50>=0us: p50 is ")
        code, out, said = await run("bench", url, "--fail-if", "p50")
        assert (code, out) == (2, "")


@pytest.mark.parametrize("processes", ["1", "2"])
async def test_interrupting_bench(processes: str) -> None:
    async with server_process() as (_, url):
        code, out = await interrupted(
            *("bench", url, "--warmup", "0", "-d", "60", "--rate", "50", "--processes", processes),
            # Progress, which comes every five seconds where there is no terminal.
            when=lambda out: b", p50 " in out,
        )
    assert code == 130
    assert "round trip" in out
    assert "no errors" in out


async def test_a_server_that_dies() -> None:
    async with server_process() as (server, url):
        process = await trio.lowlevel.open_process(
            [*COMMAND, "bench", url, "-d", "60", "-c", "2"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert process.stderr is not None
        assert process.stdout is not None
        await process.stderr.receive_some()
        server.kill()
        code = await process.wait()
        out = (await process.stdout.receive_some()).decode()
        for pipe in (process.stdout, process.stderr):
            await trio.aclose_forcefully(pipe)
    assert code == 7
    assert "2  connection closed: 1006 (abnormal closure)" in out


def children_of(pid: int) -> set[int]:
    found: set[int] = set()
    for task in Path(f"/proc/{pid}/task").iterdir():
        # A thread may end while this looks.
        with suppress(FileNotFoundError, ProcessLookupError):
            found |= set(map(int, (task / "children").read_text().split()))
    return found


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.skipif(not os.path.exists("/proc/self/task"), reason="it looks into /proc")
async def test_workers_die_with_their_parent() -> None:
    async with server_process() as (_, url):
        process = await trio.lowlevel.open_process(
            [*COMMAND, "bench", url, "-d", "60", "--processes", "2", "-q"]
        )
        workers: set[int] = set()
        with trio.fail_after(30):
            while len(workers) < 2:
                await trio.sleep(0.02)
                workers = children_of(process.pid)
            process.kill()
            await process.wait()
            while any(map(is_running, workers)):  # noqa: ASYNC110  # not our children
                await trio.sleep(0.02)
