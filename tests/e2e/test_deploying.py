"""What stands in examples/deploy/ is accepted by what it is for, and does what its docs say."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
from contextlib import asynccontextmanager
from pathlib import Path
from subprocess import PIPE
from typing import TYPE_CHECKING, Any

import pytest
import trio
import trustme
import yaml

import trio_ws

from ..requirements import require_tool
from .processes import Running, environment, running

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence
    from contextlib import AbstractAsyncContextManager

DEPLOY = Path(__file__).resolve().parents[2] / "examples" / "deploy"
#: Seconds after which a process does not do what it should: no test waits for them.
HANGS = 25
CHAT = """
async def handler(ws):
    async for message in ws:
        await ws.send(message)
"""


@asynccontextmanager
async def started(command: Sequence[str], **options: Any) -> AsyncGenerator[trio.Process]:
    """A process while it runs."""
    process = await trio.lowlevel.open_process(command, env=environment(), **options)
    try:
        with trio.fail_after(HANGS):
            yield process
    finally:
        if process.returncode is None:
            process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()
        for pipe in (process.stdout, process.stderr):
            if pipe is not None:
                await trio.aclose_forcefully(pipe)


# Socket activation


def activated(listening: socket.socket) -> AbstractAsyncContextManager[trio.Process]:
    """The program, started as systemd starts it: the socket is its descriptor 3."""
    number = listening.fileno()
    script = f'exec 3<&{number}; LISTEN_PID=$$ LISTEN_FDS=1 exec "$0" "$1"'
    program = [sys.executable, str(DEPLOY / "socket_activated.py")]
    return started(["bash", "-c", script, *program], pass_fds=[number])


async def test_sockets_are_taken_from_systemd_and_outlive_the_process() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        url = f"ws://127.0.0.1:{listening.getsockname()[1]}"
        async with activated(listening) as process, trio_ws.connect(url) as ws:
            await ws.send("hello")
            assert await ws.receive() == "hello"
            process.terminate()
            assert (await ws.wait_closed()).code == 1012
            assert await process.wait() == 0
        async with trio.open_nursery() as nursery:
            # While nobody serves: it waits, where without the socket it would be refused.
            done = trio.Event()
            nursery.start_soon(_exchange, url, done)
            await trio.testing.wait_all_tasks_blocked()
            async with activated(listening):
                await done.wait()


async def _exchange(url: str, done: trio.Event) -> None:
    async with trio_ws.connect(url) as ws:
        await ws.send("here already")
        assert await ws.receive() == "here already"
    done.set()


async def test_without_a_socket_it_says_how_it_is_started() -> None:
    result = await trio.run_process(
        [sys.executable, str(DEPLOY / "socket_activated.py")],
        check=False,
        capture_stderr=True,
        env=environment(),
    )
    assert result.returncode == 1
    assert result.stderr == (
        b"systemd has handed no sockets to this process (LISTEN_PID, LISTEN_FDS): "
        b"start this by trio-ws.socket\n"
    )


# systemd


def test_the_units_are_accepted_by_systemd(tmp_path: Path) -> None:
    analyze = shutil.which("systemd-analyze")
    require_tool("systemd", available=analyze is not None, reason="no systemd-analyze here")
    assert analyze is not None
    units = [path for path in DEPLOY.iterdir() if path.suffix in {".service", ".socket"}]
    assert len(units) == 3
    for unit in units:
        # It looks whether the programs are there.
        text = unit.read_text().replace("/opt/trio-ws/bin/", f"{Path(sys.executable).parent}/")
        (tmp_path / unit.name).write_text(text)
    result = subprocess.run(
        [analyze, "verify", *(str(tmp_path / unit.name) for unit in units)],
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, "SYSTEMD_UNIT_PATH": f"{tmp_path}:"},
    )
    ours = [line for line in result.stderr.splitlines() if str(tmp_path) in line]
    assert (result.returncode, ours) == (0, []), result.stderr


# Kubernetes


@pytest.fixture
def deployment() -> Any:
    documents = list(yaml.safe_load_all((DEPLOY / "kubernetes.yaml").read_text()))
    assert [one["kind"] for one in documents] == ["Deployment", "Service"]
    assert (
        documents[0]["spec"]["template"]["metadata"]["labels"] == documents[1]["spec"]["selector"]
    )
    return documents[0]["spec"]["template"]["spec"]


async def test_the_container_serves_what_the_probes_ask_for(
    deployment: Any, tmp_path: Path
) -> None:
    (tmp_path / "chat.py").write_text(CHAT)
    (container,) = deployment["containers"]
    program, *arguments = container["command"] + container["args"]
    assert program == "trio-ws"
    port = container["ports"][0]["containerPort"]
    probe = container["readinessProbe"]["httpGet"]
    assert container["livenessProbe"]["httpGet"] == probe
    assert probe["port"] == container["ports"][0]["name"]
    arguments = ["0" if one == str(port) else one for one in arguments]
    async with running(*arguments, cwd=tmp_path) as server:
        free = int((await server.line()).split()[1].rpartition(":")[2])
        stream = await trio.open_tcp_stream("127.0.0.1", free)
        async with stream:
            await stream.send_all(f"GET {probe['path']} HTTP/1.1\r\nHost: pod\r\n\r\n".encode())
            assert (await stream.receive_some()).startswith(b"HTTP/1.1 200 ")
        async with trio_ws.connect(f"ws://127.0.0.1:{free}") as ws:
            await ws.send("hello")
            assert await ws.receive() == "hello"
        server.signal(signal.SIGTERM)
        assert await server.process.wait() == 0


def test_there_is_time_to_drain(deployment: Any) -> None:
    (container,) = deployment["containers"]
    sleep, pause = container["lifecycle"]["preStop"]["exec"]["command"]
    drain = container["args"][container["args"].index("--drain-timeout") + 1]
    assert sleep == "sleep"
    assert deployment["terminationGracePeriodSeconds"] > float(pause) + float(drain)


# TLS


class Renewals:
    """Certificates for localhost, each by an authority of its own, in the same two files."""

    def __init__(self, folder: Path) -> None:
        self.certificate = folder / "fullchain.pem"
        self.key = folder / "privkey.pem"

    def renew(self, key_type: trustme.KeyType = trustme.KeyType.ECDSA) -> ssl.SSLContext:
        """Replace the files; return a context that trusts only what is in them now."""
        authority = trustme.CA()
        issued = authority.issue_cert("localhost", key_type=key_type)
        issued.private_key_pem.write_to_path(self.key)
        self.certificate.write_bytes(b"".join(pem.bytes() for pem in issued.cert_chain_pems))
        trusting = ssl.create_default_context()
        authority.configure_trust(trusting)
        return trusting


async def test_a_certificate_is_renewed_without_a_restart(tmp_path: Path) -> None:
    files = Renewals(tmp_path)
    before = files.renew()
    program = [str(DEPLOY / "tls_reload.py"), str(files.certificate), str(files.key), "0"]
    async with started([sys.executable, *program], stdout=PIPE, stderr=PIPE) as process:
        server = Running(process)
        url = (await server.line()).split()[1]
        async with trio_ws.connect(url, ssl_context=before) as old:
            after = files.renew()
            process.send_signal(signal.SIGHUP)
            assert (await server.line("stderr")).endswith("the certificate was loaded again")
            with pytest.raises(ssl.SSLCertVerificationError):
                async with trio_ws.connect(url, ssl_context=before):
                    pass
            async with trio_ws.connect(url, ssl_context=after) as new:
                for ws in (old, new):
                    await ws.send("hello")
                    assert await ws.receive() == "hello"
        files.certificate.write_text("half a renewal")
        process.send_signal(signal.SIGHUP)
        while not (await server.line("stderr")).endswith("the certificate was not loaded again"):
            pass
        async with trio_ws.connect(url, ssl_context=after):
            pass
