"""The engines that a connection can run on, and what each of them cannot do."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, Literal, TypeAlias, get_args

from ._connection import make_connection
from ._errors import NotSupportedByEngine
from ._settings import Timeouts

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._connection import Connection
    from ._settings import Compression

#: What ``engine=`` takes.
Engine: TypeAlias = Literal["built-in", "trio-websocket"]

DEFAULT_ENGINE: Final[Engine] = "built-in"
_TRIO_WEBSOCKET: Final[Engine] = "trio-websocket"


def check_engine(engine: str, *, compression: Compression | None, timeouts: Timeouts) -> None:
    """Refuse now what no connection could keep later.

    Raises:
      ValueError: there is no such engine.
      NotSupportedByEngine: it has no notion of what is asked for. What is at its default, or
        switched off, is not asked for.
    """
    if engine not in get_args(Engine):
        known = " or ".join(map(repr, get_args(Engine)))
        raise ValueError(f"engine= is {known}, not {engine!r}")
    if engine == _TRIO_WEBSOCKET:
        if compression is not None:
            raise NotSupportedByEngine("compression=", engine)
        check_timeouts(engine, timeouts)


def check_timeouts(engine: str, timeouts: Timeouts) -> None:
    """As `check_engine`, of the timeouts alone, for an engine that is not the built-in one."""
    if timeouts.assembly_timeout not in (Timeouts().assembly_timeout, math.inf):
        raise NotSupportedByEngine("Timeouts.assembly_timeout", engine)


def maker_of(engine: Engine) -> Callable[..., Connection]:
    """What makes a connection on *engine*; its parameters are those of `make_connection`."""
    if engine == _TRIO_WEBSOCKET:
        # Not before it is needed: its import takes as long as all that a client needs.
        from ._trio_websocket import make_trio_websocket

        return make_trio_websocket
    return make_connection
