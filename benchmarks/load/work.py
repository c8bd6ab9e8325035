"""Carry out one order."""

from __future__ import annotations

import dataclasses
import json
import socket
import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from . import opening
from .connects import Connects
from .exchange import Exchange
from .idle import answer_pings
from .orders import Measurement
from .traffic import made

if TYPE_CHECKING:
    from .orders import Load


def tell(**what: Any) -> None:
    print(json.dumps(what), flush=True)


def carried_out(load: Load) -> Measurement:
    with ExitStack() as streams:
        if load.kind == "connects":
            return Connects(load).measure()
        if load.serving:
            return _served(load, streams)
        connections = [
            streams.enter_context(opening.connect(load)) for _ in range(load.connections)
        ]
        if load.kind == "idle":
            return _idle(connections)
        return _exchanged(load, connections)


def _served(load: Load, streams: ExitStack) -> Measurement:
    """As the server of a peer whose process id comes on the standard input."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        tell(port=listener.getsockname()[1])
        load = dataclasses.replace(load, pid=int(sys.stdin.readline()))
        connections = [
            streams.enter_context(opening.accept(listener)) for _ in range(load.connections)
        ]
    return _exchanged(load, connections)


def _idle(connections: list[socket.socket]) -> Measurement:
    """Until there is something on the standard input, or its end."""
    tell(ready=True)
    pings = answer_pings(connections, sys.stdin.fileno())
    opening.close(connections, raw=False)
    return Measurement(messages=pings)


def _exchanged(load: Load, connections: list[socket.socket]) -> Measurement:
    measurement = Exchange(load, made(load), connections).measure()
    if not load.serving:
        opening.close(connections, raw=load.raw)
    return measurement
