"""What a measurement takes of CPU, on both sides."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from ..processes import usage
from .orders import Measurement

if TYPE_CHECKING:
    from ..processes import Usage


class Stopwatch:
    """Runs from its construction on."""

    def __init__(self, peer: int) -> None:
        self._processes = {"peer": peer, "generator": os.getpid()}
        self._before = self._read()

    def measurement(self, messages: int, seconds: float) -> Measurement:
        """One of that time."""
        taken = {name: now - self._before[name] for name, now in self._read().items()}
        return Measurement(
            messages=messages,
            seconds=seconds,
            peer_cpu=taken["peer"].ran,
            peer_waited=taken["peer"].waited,
            generator_cpu=taken["generator"].ran,
            generator_waited=taken["generator"].waited,
        )

    def _read(self) -> dict[str, Usage]:
        return {name: usage(pid) for name, pid in self._processes.items()}
