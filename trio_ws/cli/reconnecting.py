"""What ``--reconnect`` and the options beside it mean."""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from .._keep_connected import OfflineQueue
from .._reconnect import Backoff
from ..classification import Verdict, default
from .failures import Usage
from .options.client import ClientOptions, Offline

if TYPE_CHECKING:
    from .. import _keep_connected
    from ..classification import Failure
    from .options.client import ReconnectOptions

_CODES: Final = re.compile(r"([0-9]{3,4})(?:-([0-9]{3,4}))?")
#: Options that mean nothing by themselves.
_DETAILS: Final = (
    "retry_initial",
    "retry_max",
    "retry_factor",
    "max_retries",
    "max_elapsed",
    "retry_on",
    "fatal_on",
    "offline",
)


def check_reconnect(options: ReconnectOptions) -> None:
    """Say so where an option changes how to reconnect, and nobody asked for that.

    Raises:
      Usage: one does; or codes are not written as such.
    """
    if options.reconnect:
        Classification.of(options)
        return
    for field in dataclasses.fields(options):
        if field.name in _DETAILS and getattr(options, field.name) != field.default:
            name = field.name.replace("_", "-")
            raise Usage(f"--{name} is about reconnecting: give --reconnect as well")


def backoff_of(options: ReconnectOptions) -> Backoff:
    """How long to wait, and when to stop."""
    return Backoff(
        initial=min(options.retry_initial, options.retry_max),
        maximum=options.retry_max,
        factor=options.retry_factor,
        max_attempts=None if options.max_retries is None else options.max_retries + 1,
        max_elapsed=options.max_elapsed,
        # Somebody watches, and may stop it.
        intensity=None,
    )


def offline_of(options: ReconnectOptions) -> _keep_connected.Offline:
    """What ``--offline`` means to `trio_ws.keep_connected`."""
    if not isinstance(options, ClientOptions) or options.offline is Offline.WAIT:
        return "wait"
    return "raise" if options.offline is Offline.RAISE else OfflineQueue()


@dataclass(frozen=True, slots=True)
class Classification:
    """Which failures are worth another attempt: the usual ones, with exceptions.

    Attributes:
      retried: close codes and HTTP statuses that are.
      fatal: those that are not; they take precedence.
    """

    retried: tuple[range, ...] = ()
    fatal: tuple[range, ...] = ()

    @classmethod
    def of(cls, options: ReconnectOptions) -> Classification:
        """What ``--retry-on`` and ``--fatal-on`` say.

        Raises:
          Usage: they are not written as codes.
        """
        return cls(
            parse_codes(options.retry_on, "--retry-on"), parse_codes(options.fatal_on, "--fatal-on")
        )

    def __call__(self, failure: Failure) -> Verdict:
        """The verdict on *failure*."""
        code = failure.reason.code if failure.reason is not None else failure.status
        if code is not None and any(code in codes for codes in self.fatal):
            return Verdict.FATAL
        if code is not None and any(code in codes for codes in self.retried):
            return Verdict.RETRY
        return default(failure)


def parse_codes(text: str, option: str) -> tuple[range, ...]:
    """The codes in ``4000-4099,1008,403``.

    Raises:
      Usage: *text* is not written so.
    """
    return tuple(_parse_range(part, option) for part in text.replace(",", " ").split())


def _parse_range(part: str, option: str) -> range:
    match = _CODES.fullmatch(part)
    if match is None:
        raise Usage(f"{option}: {part!r} is no code; write 1008, 403 or 4000-4099, with commas")
    first, last = int(match[1]), int(match[2] or match[1])
    if last < first:
        raise Usage(f"{option}: {part!r} ends before it begins")
    return range(first, last + 1)
