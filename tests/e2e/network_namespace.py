"""A network of its own, behind a cable that can be pulled. Needs Linux, iproute2, and root."""

from __future__ import annotations

import os
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import trio

from tests.requirements import require_tool

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

NAMESPACE = f"trio-ws-{os.getpid()}"
HERE, THERE = "198.18.77.1", "198.18.77.2"


@asynccontextmanager
async def namespace() -> AsyncGenerator[str]:
    """A network of its own, joined to this one by a virtual cable; yields the cable's name."""
    cable = f"tws{os.getpid() % 100_000}"
    commands = [
        f"ip netns add {NAMESPACE}",
        f"ip link add {cable} type veth peer name {cable}p",
        f"ip link set {cable}p netns {NAMESPACE}",
        f"ip addr add {HERE}/30 dev {cable}",
        f"ip link set {cable} up",
        f"ip -n {NAMESPACE} addr add {THERE}/30 dev {cable}p",
        f"ip -n {NAMESPACE} link set {cable}p up",
    ]
    try:
        for command in commands:
            result = await trio.run_process(command.split(), check=False, capture_stderr=True)
            require_tool(
                "netns", available=not result.returncode, reason=result.stderr.decode().strip()
            )
        yield cable
    finally:
        with trio.CancelScope(shield=True):
            for command in (f"ip link del {cable}", f"ip netns del {NAMESPACE}"):
                await trio.run_process(command.split(), check=False, capture_stderr=True)
