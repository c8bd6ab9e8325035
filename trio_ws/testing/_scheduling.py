"""The order in which Trio runs tasks that are ready together, by a seed."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from trio._core import _run

if TYPE_CHECKING:
    from collections.abc import Generator

# Trio has no public way to it; pytest-trio uses these names, too.
_scheduler: Any = _run


@contextmanager
def shuffled_tasks(seed: int) -> Generator[None]:
    """Within the block, tasks that are ready together run in an order that *seed* decides.

    Trio promises none, and by itself only now and then reverses the order in which they became
    ready. In the block, which may be around `trio.run` or within it, any order can come about, and
    the same seed gives the same one, as long as nothing else is left to chance: no sockets, no
    threads, `trio.testing.MockClock`, no heartbeat, and `Backoff` without jitter.

    ::

        for seed in range(100):
            with trio_ws.testing.shuffled_tasks(seed):
                trio.run(scenario, clock=trio.testing.MockClock(autojump_threshold=0))

    It holds for all of the process.

    Args:
      seed: any integer.

    Raises:
      RuntimeError: this Trio's scheduler cannot be told.
    """
    chance, before = (
        getattr(_scheduler, "_r", None),
        getattr(_scheduler, "_ALLOW_DETERMINISTIC_SCHEDULING", None),
    )
    if chance is None or before is None:
        raise RuntimeError("this version of Trio cannot be told in which order to run its tasks")
    state = chance.getstate()
    chance.seed(seed)
    _scheduler._ALLOW_DETERMINISTIC_SCHEDULING = True
    try:
        yield
    finally:
        _scheduler._ALLOW_DETERMINISTIC_SCHEDULING = before
        chance.setstate(state)
