"""What is counted while the load runs: in one process, or in several and then put together."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Final

from ..exit_codes import ExitCode
from ..failures import told
from .histogram import Histogram

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Texts of errors that are told apart; peers can make up any number of them.
_MAX_KINDS: Final = 20
_OTHER: Final = "others"


@dataclass
class Tally:
    """Counters and histograms; the comments of `trio_ws.cli.bench.load` say what counts when.

    Attributes:
      connecting: how long each connection took to open.
      round_trips: from when a message was due, or was sent where there is no rate, to its reply.
      late: how long after they were due messages left. Only with a rate.
      opened: connections that opened.
      open: connections that are open.
      broken: connections that ended before their time.
      replies: replies of any phase.
      answered: replies that came while it was measured.
      unanswered: messages without a reply at the end.
      unsent: messages that were due and that the peer did not take.
      lost: messages that were on their way, or due, on a connection that had ended.
      crashed: worker processes that failed.
      failures: what failed otherwise, by its text.
      window: seconds for which it was measured.
      code: the exit code of the first connection that could not be opened.
    """

    connecting: Histogram = field(default_factory=Histogram)
    round_trips: Histogram = field(default_factory=Histogram)
    late: Histogram = field(default_factory=Histogram)
    opened: int = 0
    open: int = 0
    broken: int = 0
    crashed: int = 0
    replies: int = 0
    answered: int = 0
    unanswered: int = 0
    unsent: int = 0
    lost: int = 0
    failures: Counter[str] = field(default_factory=Counter)
    window: float = 0.0
    code: int = ExitCode.OK

    def failed(self, error: BaseException) -> None:
        """A connection could not be opened, or has ended."""
        code, text = told(error)
        if self.code == ExitCode.OK:
            self.code = code
        self.count(text)

    def count(self, text: str, number: int = 1) -> None:
        """Something failed *number* times."""
        if text not in self.failures and len(self.failures) >= _MAX_KINDS:
            text = _OTHER
        self.failures[text] += number

    def kinds(self) -> Iterator[tuple[str, int]]:
        """Every kind of error that there was, and how often."""
        yield from self.failures.most_common()
        named = {
            "a worker process failed": self.crashed,
            "a message had no reply at the end": self.unanswered,
            "a message was due, and the peer did not take it": self.unsent,
            "a message was on its way, or due, on a connection that had ended": self.lost,
        }
        yield from ((text, number) for text, number in named.items() if number)

    @property
    def errors(self) -> int:
        """How many errors, of all kinds."""
        return sum(number for _, number in self.kinds())

    @property
    def rate(self) -> float:
        """Replies a second."""
        return self.answered / self.window if self.window else 0.0

    def merge(self, other: Tally) -> None:
        """Count what *other* has counted as well."""
        for name in ("connecting", "round_trips", "late"):
            getattr(self, name).merge(getattr(other, name))
        for name in _SUMS:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for text, number in other.failures.items():
            self.count(text, number)
        self.window = max(self.window, other.window)
        self.code = self.code or other.code

    def to_json(self) -> dict[str, Any]:
        """All of it, for another process."""
        return {
            item.name: value.to_json() if isinstance(value, Histogram) else value
            for item in fields(self)
            for value in [getattr(self, item.name)]
        }

    @classmethod
    def from_json(cls, members: dict[str, Any]) -> Tally:
        """What `to_json` was called on."""
        histograms = {
            name: Histogram.from_json(members[name])
            for name in ("connecting", "round_trips", "late")
        }
        return cls(**{**members, **histograms, "failures": Counter(members["failures"])})


_SUMS: Final = (
    "opened",
    "open",
    "broken",
    "crashed",
    "replies",
    "answered",
    "unanswered",
    "unsent",
    "lost",
)
