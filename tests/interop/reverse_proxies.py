"""nginx and HAProxy in front of servers of ours, with the configurations that our guide gives.

They are used as they stand in ``examples/deploy``, but for what a reader has to adapt too: ports,
paths, and how long is waited.
"""

from __future__ import annotations

import shutil
import signal
import ssl
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import trio
import trustme

from ..e2e.processes import Running, free_port, launched
from ..requirements import require_tool

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Generator, Mapping
    from contextlib import AbstractAsyncContextManager

_DEPLOY = Path(__file__).resolve().parents[2] / "examples" / "deploy"
#: What nginx would write where only root may.
_TEMPORARY = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")


@dataclass(frozen=True)
class Proxy:
    """A proxy while it runs.

    Attributes:
      address: host and port for plain connections.
      tls_address: the same for TLS.
      ssl_context: trusts its certificate.
      control: where it takes commands; HAProxy only.
    """

    address: str
    tls_address: str
    ssl_context: ssl.SSLContext
    control: Path | None = None


#: Changes of a test's own.
_additions: dict[str, str] = {}


@contextmanager
def adding(changes: Mapping[str, str]) -> Generator[None]:
    """A block in which proxies' configurations are changed further."""
    _additions.update(changes)
    try:
        yield
    finally:
        _additions.clear()


def _adapted(name: str, changes: Mapping[str, str]) -> str:
    text = (_DEPLOY / name).read_text()
    for before, after in {**changes, **_additions}.items():
        assert text.count(before) == 1, f"{before!r} is not once in {name}"
        text = text.replace(before, after)
    return text


def _certificate(folder: Path) -> ssl.SSLContext:
    """Put a certificate for localhost in *folder*, and its key, apart and in one file."""
    authority = trustme.CA()
    issued = authority.issue_cert("localhost")
    chain = b"".join(pem.bytes() for pem in issued.cert_chain_pems)
    (folder / "site.pem").write_bytes(chain)
    (folder / "site.key").write_bytes(issued.private_key_pem.bytes())
    (folder / "both.pem").write_bytes(chain + issued.private_key_pem.bytes())
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    return trusting


@asynccontextmanager
async def nginx(folder: Path, servers: tuple[int, int], idle: str) -> AsyncGenerator[Proxy]:
    """nginx, which knows the first of our servers."""
    program = _found("nginx")
    plain, tls = free_port(), free_port()
    proxy = Proxy(f"127.0.0.1:{plain}", f"localhost:{tls}", _certificate(folder))
    paths = "".join(f"\n    {name}_temp_path {folder}/{name};" for name in _TEMPORARY)
    configuration = _adapted(
        "nginx.conf",
        {
            "pid /run/nginx.pid;": f"pid {folder}/nginx.pid;\ndaemon off;",
            "error_log /var/log/nginx/error.log;": "error_log stderr notice;",
            "access_log /var/log/nginx/access.log;": f"access_log {folder}/access.log;{paths}",
            "listen 80;": f"listen {proxy.address};",
            "listen 443 ssl;": f"listen 127.0.0.1:{tls} ssl;",
            "/etc/nginx/certificates/example.com.pem": f"{folder}/site.pem",
            "/etc/nginx/certificates/example.com.key": f"{folder}/site.key",
            "server 127.0.0.1:8765;": f"server 127.0.0.1:{servers[0]};",
            "proxy_read_timeout 60s;": f"proxy_read_timeout {idle};",
        },
    )
    (folder / "nginx.conf").write_text(configuration)
    command = [program, "-p", str(folder), "-e", "stderr", "-c", str(folder / "nginx.conf")]
    async with _until_it_says(command, "start worker process"):
        yield proxy


@asynccontextmanager
async def haproxy(folder: Path, servers: tuple[int, int], idle: str) -> AsyncGenerator[Proxy]:
    """HAProxy, which knows both of our servers."""
    program = _found("haproxy")
    plain, tls = free_port(), free_port()
    control = folder / "admin.sock"
    proxy = Proxy(f"127.0.0.1:{plain}", f"localhost:{tls}", _certificate(folder), control)
    configuration = _adapted(
        "haproxy.cfg",
        {
            "stats socket /run/haproxy/admin.sock": f"stats socket {control}",
            "bind :80": f"bind {proxy.address}",
            "bind :443 ssl crt /etc/haproxy/certificates/example.com.pem": (
                f"bind 127.0.0.1:{tls} ssl crt {folder}/both.pem"
            ),
            "server one 127.0.0.1:8765": f"server one 127.0.0.1:{servers[0]}",
            "server two 127.0.0.1:8766": f"server two 127.0.0.1:{servers[1]}",
            "timeout tunnel 60s": f"timeout tunnel {idle}",
        },
    )
    (folder / "haproxy.cfg").write_text(configuration)
    command = [program, "-W", "-db", "-f", str(folder / "haproxy.cfg")]
    async with _until_it_says(command, "Loading success"):
        yield proxy


#: Given a folder, our servers' ports and how long may pass without traffic, each runs a proxy.
PROXIES: dict[str, Callable[[Path, tuple[int, int], str], AbstractAsyncContextManager[Proxy]]] = {
    "nginx": nginx,
    "HAProxy": haproxy,
}


async def command_haproxy(proxy: Proxy, command: str) -> str:
    """What HAProxy answers to a command."""
    assert proxy.control is not None
    async with await trio.open_unix_socket(str(proxy.control)) as stream:
        await stream.send_all(command.encode() + b"\n")
        answer = b""
        async for data in stream:
            answer += data
    return answer.decode().strip()


def _found(name: str) -> str:
    # Debian keeps them where only root looks.
    program = shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin")
    require_tool(name, available=program is not None, reason=f"no {name} on this machine")
    assert program is not None
    return program


@asynccontextmanager
async def _until_it_says(command: list[str], words: str) -> AsyncGenerator[None]:
    """A process that is ready once standard error has *words*; its log is read on."""
    async with launched(command) as running, trio.open_nursery() as nursery:
        while words not in await running.line("stderr"):
            pass
        nursery.start_soon(_read_on, running)
        try:
            yield
        finally:
            running.process.send_signal(signal.SIGTERM)
            with trio.move_on_after(5, shield=True):
                await running.process.wait()
            nursery.cancel_scope.cancel()


async def _read_on(running: Running) -> None:
    """Let a log never fill its pipe."""
    assert running.process.stderr is not None
    async for _ in running.process.stderr:
        pass
