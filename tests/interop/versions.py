"""Which versions of the peers are on this machine, by the names of their columns in the tables."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from functools import partial
from importlib import import_module, metadata
from typing import TYPE_CHECKING

from .programs import NODE, curl_with_ws

if TYPE_CHECKING:
    from collections.abc import Callable

_NUMBER = re.compile(r"\d+(\.\d+)+")


def _of_distribution(name: str) -> str:
    return metadata.version(name)


def _of_npm(name: str) -> str:
    package = json.loads((NODE / "node_modules" / name / "package.json").read_text())
    return f"{package['version']}, Node {_said('node', '--version')}"


def _said(*command: str) -> str:
    """The first version that a command names, on whatever channel."""
    program = shutil.which(command[0]) or shutil.which(command[0], path="/usr/sbin:/sbin")
    if program is None:
        raise FileNotFoundError(command[0])
    told = subprocess.run(
        [program, *command[1:]],
        check=True,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    found = _NUMBER.search(told.stdout)
    assert found is not None, told.stdout
    return found[0]


def _of_curl() -> str:
    command = curl_with_ws()
    if command is None:
        raise FileNotFoundError("curl")
    return _said(command, "--version")


def _of_libcurl() -> str:
    version: str = import_module("pycurl").version_info()[1]
    return f"{version}, pycurl {_of_distribution('pycurl')}"


VERSIONS: dict[str, Callable[[], str]] = {
    "Chromium": partial(_said, "chromium", "--version"),
    "HAProxy": partial(_said, "haproxy", "-v"),
    "WebSocket-Node": partial(_of_npm, "websocket"),
    "curl": _of_curl,
    "libcurl": _of_libcurl,
    # It does not tell its version.
    "microsocks (SOCKS 5)": partial(_said, "dpkg-query", "--show", "microsocks"),
    "nginx": partial(_said, "nginx", "-v"),
    "tinyproxy (CONNECT)": partial(_said, "tinyproxy", "-v"),
    "trio-websocket": partial(_of_distribution, "trio-websocket"),
    "websockets, Trio": partial(_of_distribution, "websockets"),
    "websockets, asyncio": partial(_of_distribution, "websockets"),
    "ws (Node)": partial(_of_npm, "ws"),
    "wscat": partial(_of_npm, "wscat"),
}


def version(name: str) -> str:
    """A peer's version, or ``"missing"``."""
    try:
        return VERSIONS[name]()
    except (OSError, ImportError, subprocess.CalledProcessError):
        return "missing"
