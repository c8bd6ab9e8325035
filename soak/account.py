"""What became of every message."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

_DIGITS = 10


def message(number: int, size: int) -> str:
    """Message *number* of somebody, of about *size* characters, some of which compress well."""
    chance = random.Random(number)
    words = " ".join(str(chance.randint(0, 9999)) for _ in range(size // 5))
    return f"{number:0{_DIGITS}d} {words}"


def number_of(text: str | bytes) -> int:
    """Which of somebody's messages this is."""
    return int(text[:_DIGITS])


@dataclass(slots=True)
class Run:
    """What one connection brought: numbers without a gap, or else what was wrong with them.

    Attributes:
      first: the first number; -1 while there is none.
      last: the last one.
      wrong: the first number that did not follow the one before, and that one.
      ended: how the connection ended, in words.
      whole: whether it was closed by who sent the messages, so that nothing of them may be missing.
    """

    first: int = -1
    last: int = -1
    wrong: tuple[int, int] | None = None
    ended: str = ""
    whole: bool = False

    def add(self, number: int) -> None:
        if self.first < 0:
            self.first = number
        elif number != self.last + 1 and self.wrong is None:
            self.wrong = (number, self.last)
        self.last = number


@dataclass(slots=True)
class Account:
    """What became of the messages of some clients.

    Attributes:
      sent: messages whose ``send`` has returned.
      arrived: those that the other side received.
      lost: those that were under way when a connection was cut.
      wrong: what must not be: twice, out of order, lost with a connection that was closed.
    """

    sent: int = 0
    arrived: int = 0
    lost: int = 0
    wrong: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return (
            f"{self.sent:,} messages: {self.arrived:,} arrived, "
            f"{self.lost:,} lost with a connection that was cut"
        )

    def settle(self, client: str, sent: int, connections: Iterable[Run]) -> None:
        """Account for the messages 0 to *sent* - 1 of *client*.

        *connections* are in the order in which they began.
        """
        self.sent += sent
        expected, before = 0, Run()
        for run in connections:
            if run.wrong is not None:
                self.wrong.append(f"{client}: {run.wrong[0]} after {run.wrong[1]} on a connection")
            if run.first >= 0:
                if run.first < expected:
                    self.wrong.append(f"{client}: {run.first} again, after {expected - 1}")
                self._missing(client, expected, run.first, before)
                self.arrived += run.last - run.first + 1
                expected = run.last + 1
            before = run
        self._missing(client, expected, sent, before)
        if expected > sent:
            self.wrong.append(f"{client}: {expected - 1} arrived, and was never sent")

    def _missing(self, client: str, expected: int, found: int, before: Run) -> None:
        missing = max(0, found - expected)
        self.lost += missing
        if missing and before.whole:
            self.wrong.append(f"{client}: {missing} before {found} missing, but: {before.ended}")
