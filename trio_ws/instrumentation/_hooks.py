"""The shape of a hook, and what calls it."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ._records import Record

_logger: Final = logging.getLogger("trio_ws.instrumentation")


class Hook(Protocol):
    """Called with every record, in the event loop's thread; it must not block.

    One that has a true attribute ``traffic`` is also given `Received` and `Sent`, which come for
    every read and every message.
    """

    def __call__(self, record: Record, /) -> None:
        """Something happened."""


class Hooks:
    """Hands each record to every hook. One that raises is logged, and disturbs nobody.

    Attributes:
      traffic: whether any hook wants `Received` and `Sent`.
    """

    __slots__ = ("_all", "_for_traffic", "traffic")

    def __init__(self, hooks: Iterable[Hook]) -> None:
        self._all = tuple(hooks)
        self._for_traffic = tuple(hook for hook in self._all if getattr(hook, "traffic", False))
        self.traffic = bool(self._for_traffic)

    def __bool__(self) -> bool:
        """Whether anybody is told: where not, the record need not be made."""
        return bool(self._all)

    def tell(self, record: Record) -> None:
        """Tell every hook."""
        self._call(self._all, record)

    def tell_traffic(self, record: Record) -> None:
        """Tell the hooks that want traffic."""
        self._call(self._for_traffic, record)

    def _call(self, hooks: tuple[Hook, ...], record: Record) -> None:
        for hook in hooks:
            try:
                hook(record)
            except Exception:
                _logger.exception("a hook failed on %s", type(record).__name__)


#: Nobody is told.
NO_HOOKS: Final = Hooks(())
