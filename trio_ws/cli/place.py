"""The place of a worker among several: what its parent has told it, and says from then on."""

from __future__ import annotations

import json
import os
import socket
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Self

import trio

from ..protocol.http import Response

if TYPE_CHECKING:
    from collections.abc import Callable

    from .._http import ProcessRequest
    from ..protocol.http import Request

#: The environment variable in which a parent says so.
PLACE: Final = "TRIO_WS_WORKER"
_PATH: Final = "/healthz"


@dataclass(frozen=True)
class Place:
    """A worker's place.

    Attributes:
      number: from 1.
      control: the descriptor of the socket that its parent holds the other end of.
      sockets: the descriptors to listen on.
    """

    number: int
    control: int
    sockets: tuple[int, ...]

    def text(self) -> str:
        """For the environment variable."""
        return json.dumps([self.number, self.control, self.sockets])

    @classmethod
    def taken(cls) -> Self | None:
        """This process's, if it is a worker. Processes that it starts are none."""
        text = os.environ.pop(PLACE, None)
        if text is None:
            return None
        number, control, sockets = json.loads(text)
        os.set_inheritable(control, False)
        return cls(number, control, tuple(sockets))


@dataclass
class Siblings:
    """What the parent says of all workers."""

    state: list[dict[str, object]] = field(default_factory=list)

    async def follow(self, descriptor: int) -> None:
        """Tell the parent that this one serves, and take what it says until it is gone."""
        control = socket.socket(fileno=descriptor)
        stream = trio.SocketStream(trio.socket.from_stdlib_socket(control))
        rest = b""
        # A parent that was killed may not have read that.
        with suppress(trio.BrokenResourceError):
            async with stream:
                await stream.send_all(b"\n")
                async for data in stream:
                    *lines, rest = (rest + bytes(data)).split(b"\n")
                    if lines:
                        self.state = json.loads(lines[-1])

    def health(self, troubles: Callable[[], list[str]]) -> ProcessRequest:
        """A hook as `trio_ws.health` that tells of all workers, and of *troubles*.

        Whoever answers serves, so it is always 200: a balancer must not give up the port because
        one of several is being started again, or because servers do not reach each other.
        """

        def process_request(request: Request) -> Response | None:
            if request.path != _PATH or "upgrade" in request.headers:
                return None
            lines = troubles()
            whole = not lines and all(one["pid"] is not None for one in self.state)
            for one in self.state:
                running = "starting" if one["pid"] is None else f"running, process {one['pid']}"
                lines.append(f"worker {one['number']}: {running}")
            text = "\n".join(["ok" if whole else "degraded", *lines])
            return Response.text(200, f"{text}\n", [("Cache-Control", "no-store")])

        return process_request
