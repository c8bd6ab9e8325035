"""A machine that fails: no space for the log, a clock that is set, a network that loses packets."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
import trio

import trio_ws
from tests.requirements import require_tool

from .network_namespace import NAMESPACE, THERE, namespace
from .processes import COMMAND, environment, launched, running, shell

SHELL = ["bash", "-c"]
WATCHFUL = ["--ping-interval", "0.1", "--ping-timeout", "5"]
HOUR, DAY = 3600, 86400
FAKETIME = next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), None)


@pytest.mark.parametrize("where", ["2>/dev/full", "2>&-", "2> >(exec true)"])
async def test_a_server_goes_on_without_a_place_for_its_log(where: str) -> None:
    command = f"exec {' '.join(COMMAND)} serve --port 0 --log-level debug {where}"
    async with launched([*SHELL, command], stderr=subprocess.DEVNULL) as server:
        url = (await server.line()).split()[1]
        for _ in range(3):
            # Each of these is a line.
            port = int(url.rpartition(":")[2])
            async with await trio.open_tcp_stream("127.0.0.1", port) as stranger:
                with suppress(trio.BrokenResourceError):
                    await stranger.send_all(b"GET / nonsense\r\n\r\n")
                    assert (await stranger.receive_some()).startswith(b"HTTP/1.1 400 ")
            async with trio_ws.connect(url) as ws:
                await ws.send("hello")
                assert await ws.receive() == "hello"


@pytest.mark.parametrize("where", ["2>/dev/full", "2>&-"])
async def test_a_client_goes_on_without_a_place_for_its_words(where: str) -> None:
    async with running("serve", "--port", "0") as server:
        url = (await server.line()).split()[1]
        result = await shell(f"$WS client {url} one two {where}")
        assert (result.code, result.out) == (0, b"one\ntwo\n")


async def test_what_cannot_be_printed_is_said() -> None:
    async with running("serve", "--port", "0") as server:
        url = (await server.line()).split()[1]
        result = await shell(f"$WS client {url} one two >/dev/full")
        assert result.code != 0
        assert result.err.endswith("No space left on device\n")
        assert "Traceback" not in result.err
        # Where that cannot be said either, the exit status still does.
        assert (await shell(f"$WS client {url} one two >/dev/full 2>&1")).code == result.code


@pytest.mark.skipif(sys.platform != "linux", reason="its library is preloaded as Linux does it")
async def test_nobody_minds_that_the_clock_is_set(tmp_path: Path) -> None:
    require_tool("faketime", available=FAKETIME is not None, reason="libfaketime is not there")
    clock = tmp_path / "clock"
    clock.write_text("+0\n")
    env = environment(
        LD_PRELOAD=str(FAKETIME),
        FAKETIME_TIMESTAMP_FILE=str(clock),
        FAKETIME_NO_CACHE="1",
        # It is the time of day that is set; what counts from boot goes on.
        DONT_FAKE_MONOTONIC="1",
    )
    async with running("serve", "--port", "0", *WATCHFUL, env=env) as server:
        url = (await server.line()).split()[1]
        async with running("client", url, "--format", "jsonl", *WATCHFUL, env=env) as person:
            before = json.loads(await person.line())["ts"]
            for offset in (HOUR, -DAY, 30 * DAY):
                new = tmp_path / "new"
                new.write_text(f"{offset:+}\n")
                new.replace(clock)
                while abs(json.loads(await person.line())["ts"] - before - offset) > HOUR / 2:
                    pass
                heard: set[str] = set()
                # Pings of the server, and answers to the client's, whose clock it is as well.
                while not heard >= {"ping in", "pong in"}:
                    line = json.loads(await person.line())
                    heard.add(f"{line['type']} {line['dir']}")
                await person.type(f"at {offset:+}")
                while (line := json.loads(await person.line())).get("data") != f"at {offset:+}":
                    assert line["type"] != "close"
                line = json.loads(await person.line())
                while line["type"] != "message":
                    line = json.loads(await person.line())
                assert (line["dir"], line["data"]) == ("in", f"at {offset:+}")


@pytest.mark.skipif(sys.platform != "linux", reason="network namespaces are Linux's")
async def test_over_a_network_that_loses_and_delays() -> None:
    require_tool("ip", available=shutil.which("ip") is not None, reason="iproute2 is not there")
    async with namespace() as cable:
        netem = f"tc qdisc add dev {cable} root netem delay 30ms 10ms loss 5% duplicate 2%"
        result = await trio.run_process(netem.split(), check=False, capture_stderr=True)
        if result.returncode:
            # A module of the kernel's, which cannot be installed.
            pytest.skip(f"no netem: {result.stderr.decode().strip()}")
        inside = ["ip", "netns", "exec", NAMESPACE]
        async with running("serve", "--host", THERE, "--port", "8765", prefix=inside) as server:
            await server.line()
            async with trio_ws.connect(f"ws://{THERE}:8765") as ws:
                for number in range(30):
                    await ws.send(f"{number} {'x' * 5000}")
                for number in range(30):
                    assert str(await ws.receive()).startswith(f"{number} ")
