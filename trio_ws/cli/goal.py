"""When it is over: after so many messages, or at one that was hoped for."""

from __future__ import annotations

import re
from dataclasses import dataclass

from .failures import Unmet, Usage


@dataclass(slots=True)
class Goal:
    """What is waited for.

    Attributes:
      count: that many messages; ``None``: no number of them is enough.
      expected: a message in which this is found; ``None``: any will do.
      received: messages so far.
    """

    count: int | None = None
    expected: re.Pattern[str] | None = None
    received: int = 0
    _matched: bool = False

    @classmethod
    def of(cls, count: int | None, expected: str | None) -> Goal:
        """From the values of ``--count`` and ``--expect``.

        Raises:
          Usage: the latter is no regular expression.
        """
        try:
            return cls(count, None if expected is None else re.compile(expected))
        except re.error as error:
            raise Usage(f"--expect {expected!r}: not a regular expression: {error}") from None

    @property
    def is_set(self) -> bool:
        """Whether anything is waited for."""
        return self.count is not None or self.expected is not None

    @property
    def is_reached(self) -> bool:
        """Whether nothing more is waited for: what was, came, or can come no more."""
        return self._matched or (self.count is not None and self.received >= self.count)

    def count_in(self, message: str | bytes) -> None:
        """Take *message* into account."""
        self.received += 1
        if self.expected is not None:
            text = message if isinstance(message, str) else message.decode("utf-8", "replace")
            self._matched = self.expected.search(text) is not None

    def check(self) -> None:
        """Say what is missing, now that no more will come.

        Raises:
          Unmet: something is.
        """
        came = "1 message" if self.received == 1 else f"{self.received} messages"
        if self.expected is not None and not self._matched:
            raise Unmet(f"no message matched {self.expected.pattern!r}; {came} came")
        if self.expected is None and self.count is not None and self.received < self.count:
            raise Unmet(f"{came} came, where {self.count} were expected, and then the end")
