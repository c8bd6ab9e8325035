"""How it stands while the load runs: a line that changes on a terminal, or one now and then."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import trio
from rich.live import Live
from rich.text import Text

from ..failures import say
from ..figures import counted, shown

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import Console

    from ..options.bench import BenchOptions
    from .tally import Tally

#: Seconds between two looks.
_LIVE: Final = 0.5
_LINES: Final = 5.0
#: Looks over which the rate is an average.
_LOOKS: Final = 4


@dataclass(frozen=True, slots=True)
class _Look:
    at: float
    replies: int


class Progress:
    """What is told of a tally that grows.

    Args:
      options: what is asked for.
      update: the tally as of now.
    """

    def __init__(self, options: BenchOptions, update: Callable[[], Tally]) -> None:
        self._options = options
        self._update = update
        self._began = trio.current_time()
        self._looks = deque([_Look(self._began, 0)], maxlen=_LOOKS)

    def line(self) -> str:
        """How it stands."""
        tally = self._update()
        now = trio.current_time()
        before = self._looks[0]
        self._looks.append(_Look(now, tally.replies))
        rate = (tally.replies - before.replies) / max(now - before.at, 1e-9)
        parts = [
            f"{now - self._began:.0f} s",
            f"{tally.open:,} of {self._options.connections:,} connections open",
            f"{rate:,.0f} messages/s",
        ]
        for percent in (50, 99):
            value = tally.round_trips.percentile(percent)
            if value is not None:
                parts.append(f"p{percent} {shown(value)}")
        parts.append(counted(tally.errors, "error"))
        return ", ".join(parts)

    async def show(self, console: Console | None) -> None:
        """Tell it, until cancelled: on *console*, or where that is ``None``, in lines."""
        if console is None:
            while True:
                await trio.sleep(_LINES)
                say(self.line())
        live = Live(
            console=console,
            auto_refresh=False,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        with live:
            while True:
                live.update(Text(self.line(), no_wrap=True, overflow="ellipsis"), refresh=True)
                await trio.sleep(_LIVE)
