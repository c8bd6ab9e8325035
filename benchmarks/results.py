"""What came of a run, and what follows from it: medians, ratios, and whether bars are met."""

from __future__ import annotations

import dataclasses
import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .bars import BARS, GROWTH_BAR, Bar
from .cases import CASES, GROWTH, Case
from .peers import OURS, PEERS, Peer

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from .load.orders import Measurement

#: A measurement is doubtful where the load generator was busier than this, and the peer was not.
BUSY = 0.9
#: It is also, where more than this part of its time went to other processes.
DISTURBED = 0.1


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One peer in one case: its measurements, or a note why there are none."""

    case: Case
    peer: Peer
    measurements: tuple[Measurement, ...] = ()
    note: str = ""

    @property
    def values(self) -> list[float]:
        return [self.case.value(one) for one in self.measurements]

    @property
    def median(self) -> float | None:
        return statistics.median(self.values) if self.measurements else None

    def typical(self, name: str) -> float:
        """The median of a field or property of the measurements."""
        return statistics.median(float(getattr(one, name)) for one in self.measurements)

    @property
    def disturbed(self) -> bool:
        """Whether other processes took part of the CPU that it needed."""
        return bool(self.measurements) and self.typical("disturbed") > DISTURBED

    @property
    def doubtful(self) -> bool:
        """Whether it was the load generator that set the pace."""
        return (
            bool(self.measurements)
            and self.typical("generator_busy") > BUSY
            and self.typical("peer_busy") < BUSY
        )


@dataclass(frozen=True)
class Verdict:
    """A bar, and the ratio that was measured, if it was."""

    bar: Bar
    ratio: float | None

    @property
    def met(self) -> bool | None:
        if self.ratio is None:
            return None
        if case_named(self.bar.case).higher_is_better:
            return self.ratio >= self.bar.ratio
        return self.ratio <= self.bar.ratio


@dataclass(frozen=True, kw_only=True)
class Results:
    """All of a run."""

    facts: Mapping[str, str]
    versions: Mapping[str, str]
    cells: tuple[Cell, ...]
    notes: tuple[str, ...] = ()

    def cell(self, case: str, peer: Peer) -> Cell | None:
        return next(
            (cell for cell in self.cells if cell.case.name == case and cell.peer == peer), None
        )

    def median(self, case: str, peer: Peer) -> float | None:
        cell = self.cell(case, peer)
        return cell.median if cell else None

    def ratio(self, case: str, peer: Peer) -> float | None:
        """Ours to *peer*'s."""
        ours, theirs = self.median(case, OURS), self.median(case, peer)
        return ours / theirs if ours is not None and theirs else None

    @property
    def cases(self) -> list[Case]:
        """Those of which something was tried, in the order of the table."""
        tried = {cell.case.name for cell in self.cells}
        return [case for case in CASES if case.name in tried]

    @property
    def peers(self) -> list[Peer]:
        return [peer for peer in PEERS if any(cell.peer == peer for cell in self.cells)]

    def verdicts(self, bars: Iterable[Bar] = BARS) -> list[Verdict]:
        return [Verdict(bar, self.ratio(bar.case, bar.peer)) for bar in bars]

    def rise(self, peer: Peer, connections: int) -> float | None:
        """How many times what a message costs at the least number of connections."""
        least = self.median(f"growth-{GROWTH[0]}", peer)
        there = self.median(f"growth-{connections}", peer)
        return there / least if there is not None and least else None

    def growth_met(self, peer: Peer = OURS) -> bool | None:
        """Whether a message costs about the same everywhere; not known until all is measured."""
        rises = [self.rise(peer, connections) for connections in GROWTH]
        known = [rise for rise in rises if rise is not None]
        if any(rise > GROWTH_BAR for rise in known):
            return False
        return True if len(known) == len(rises) else None

    def as_json(self) -> dict[str, Any]:
        return {
            "facts": dict(self.facts),
            "versions": dict(self.versions),
            "notes": list(self.notes),
            "cells": [_cell_as_json(cell, self) for cell in self.cells],
            "bars": [
                {
                    "case": verdict.bar.case,
                    "peer": verdict.bar.peer.name,
                    "bar": verdict.bar.ratio,
                    "ratio": verdict.ratio,
                    "met": verdict.met,
                }
                for verdict in self.verdicts()
            ],
        }


def _cell_as_json(cell: Cell, results: Results) -> dict[str, Any]:
    values = cell.values
    return {
        "case": cell.case.name,
        "peer": cell.peer.name,
        "unit": cell.case.unit,
        "note": cell.note,
        "median": cell.median,
        "spread": [min(values), max(values)] if values else None,
        "ratio": results.ratio(cell.case.name, cell.peer),
        "load": dataclasses.asdict(cell.case.load),
        "measurements": [dataclasses.asdict(one) for one in cell.measurements],
    }


def case_named(name: str) -> Case:
    return next(case for case in CASES if case.name == name)
