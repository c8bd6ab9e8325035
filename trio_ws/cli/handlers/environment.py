"""What a process of ``--exec`` knows of its client: the variables of CGI (RFC 3875, section 4.1).

Everything in them but the addresses comes from the client. They are variables, and never part of
the command, so that no shell reads them unless the command asks it to.
"""

from __future__ import annotations

import os
import re
from functools import cache
from importlib.metadata import version
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote_to_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from ..._websocket import WebSocket

#: Ours may hold secrets.
_OURS: Final = "TRIO_WS_"
#: Names with anything else could be taken for other headers once they are variables.
_HEADER_NAME: Final = re.compile(r"[A-Za-z0-9-]+")
#: Credentials (RFC 3875, section 4.1.18), and what HTTP clients would take for HTTP_PROXY.
_WITHHELD: Final = frozenset({"authorization", "proxy-authorization", "proxy"})


def own_environment() -> dict[str, str]:
    """What a process is told whoever its clients are: this process's own variables."""
    own = {name: value for name, value in os.environ.items() if not name.startswith(_OURS)}
    return {**own, "SERVER_SOFTWARE": _software()}


def environment_of(ws: WebSocket) -> Mapping[str, str]:
    """What a process is told that serves *ws* alone."""
    environment = own_environment()
    environment.update(_headers(ws))
    environment.update(_request(ws))
    return environment


@cache
def _software() -> str:
    return f"trio-ws/{version('trio-ws')}"


def _headers(ws: WebSocket) -> Iterator[tuple[str, str]]:
    headers = ws.request.headers
    for name in headers:
        if _HEADER_NAME.fullmatch(name) and name not in _WITHHELD:
            yield f"HTTP_{name.upper().replace('-', '_')}", _as_sent(headers[name])


def _request(ws: WebSocket) -> dict[str, str]:
    request = ws.request
    remote_host, remote_port = _host_and_port(ws.remote_address)
    local_host, local_port = _host_and_port(ws.local_address)
    return {
        "GATEWAY_INTERFACE": "CGI/1.1",
        "REQUEST_METHOD": request.method,
        "REQUEST_URI": _as_sent(request.target),
        "SCRIPT_NAME": "",
        "PATH_INFO": _decoded(request.path),
        "QUERY_STRING": _as_sent(request.query),
        "REMOTE_ADDR": remote_host,
        "REMOTE_HOST": remote_host,
        "REMOTE_PORT": remote_port,
        "SERVER_NAME": local_host,
        "SERVER_PORT": local_port,
        "SERVER_PROTOCOL": f"HTTP/{request.http_version}",
        "UNIQUE_ID": ws.id,
    }


def _as_sent(text: str) -> str:
    """What becomes, as a variable, the bytes of the request, which are shown as Latin-1."""
    return os.fsdecode(text.encode("latin-1", "replace"))


def _decoded(path: str) -> str:
    """*path* without percent-encoding; as it is where no variable could hold that."""
    decoded = unquote_to_bytes(path.encode("latin-1", "replace"))
    return _as_sent(path) if b"\0" in decoded else os.fsdecode(decoded)


def _host_and_port(address: object) -> tuple[str, str]:
    if isinstance(address, tuple) and len(address) >= 2:
        return str(address[0]), str(address[1])
    return "", ""
