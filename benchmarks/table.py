"""The results as Markdown, and both files of them written at once or not at all."""

from __future__ import annotations

import json
import os
from itertools import groupby
from typing import TYPE_CHECKING

from .bars import GROWTH_BAR
from .cases import GROWTH
from .peers import OURS, RAW_EPOLL, RAW_NOTE, RAW_TRIO
from .results import BUSY, DISTURBED, case_named

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from .cases import Case
    from .results import Cell, Results, Verdict

_PREAMBLE = (
    "Made by `make bench`. The same load and payloads for all, each set up as its own "
    "documentation recommends, in turns; medians of all rounds. Ratios are ours to theirs. "
    "MB/s is the payload in one direction."
)
_VERDICT = {True: "met", False: "**missed**", None: "not measured"}


def markdown(results: Results) -> str:
    sections = (
        _heading(results),
        _bars(results),
        _growth(results),
        _overview(results),
        _generator(results),
        _details(results),
    )
    return "\n\n".join(section for section in sections if section) + "\n"


def write(results: Results, folder: Path) -> None:
    """results.md and results.json in *folder*."""
    folder.mkdir(parents=True, exist_ok=True)
    _replace(folder / "results.md", markdown(results))
    _replace(folder / "results.json", json.dumps(results.as_json(), indent=1) + "\n")


def _replace(path: Path, text: str) -> None:
    new = path.with_name(path.name + ".new")
    new.write_text(text)
    os.replace(new, path)


def number(value: float | None) -> str:
    """Three significant digits."""
    if value is None:
        return "-"
    if abs(value) >= 1_000:
        digits = 10 ** (len(str(int(abs(value)))) - 3)
        return f"{round(value / digits) * digits:,}"
    if abs(value) >= 100:
        return f"{value:.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """The first column to the left, the others to the right."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _heading(results: Results) -> str:
    facts = [[name, value] for name, value in results.facts.items()]
    versions = ", ".join(f"{name} {version}" for name, version in results.versions.items())
    lines = [
        "# Benchmarks",
        _PREAMBLE,
        table(["", ""], [*facts, ["versions", versions]]),
        *results.notes,
        *_disturbed(results),
    ]
    return "\n\n".join(lines)


def _disturbed(results: Results) -> list[str]:
    measured = [cell for cell in results.cells if cell.measurements]
    disturbed = sum(cell.disturbed for cell in measured)
    if not disturbed:
        return []
    text = (
        f"**The machine was not quiet**: {disturbed} of {len(measured)} medians are marked (~), "
        f"where other processes took more than {DISTURBED:.0%} of the time of the one measured."
    )
    return [text]


def _bars(results: Results) -> str:
    head = ["case", "compared with", "ours", "theirs", "ratio", "bar", ""]
    rows = [_bar_row(results, verdict) for verdict in results.verdicts()]
    met = sum(verdict.met is True for verdict in results.verdicts())
    return (
        f"## Bars\n\n{met} of {len(rows)} are met. Those of bulk are for the server's role.\n\n"
        + table(head, rows)
    )


def _bar_row(results: Results, verdict: Verdict) -> list[str]:
    bar, case = verdict.bar, case_named(verdict.bar.case)
    return [
        f"{case.group}: {case.title}",
        bar.peer.name,
        number(results.median(bar.case, OURS)),
        number(results.median(bar.case, bar.peer)),
        number(verdict.ratio),
        f"{'>=' if case.higher_is_better else '<='} {number(bar.ratio)}",
        _VERDICT[verdict.met],
    ]


def _growth(results: Results) -> str:
    rows = [
        [
            f"{connections:,}",
            *(
                number(value)
                for peer in (OURS, RAW_TRIO)
                for value in (
                    results.median(f"growth-{connections}", peer),
                    results.rise(peer, connections),
                )
            ),
        ]
        for connections in GROWTH
    ]
    head = ["connections", f"{OURS.name}, us", "rise", f"{RAW_TRIO.name}, us", "rise"]
    return (
        "## Growth\n\nCPU of the server per round trip of 64 B, all connections active, and how "
        f"it rises. Bar: at most {GROWTH_BAR} times: {_VERDICT[results.growth_met()]}.\n\n"
        + table(head, rows)
    )


def _overview(results: Results) -> str:
    others = [peer for peer in results.peers if peer != OURS]
    rows = [
        [
            f"{case.group}: {case.title}",
            number(results.median(case.name, OURS)),
            *(number(results.ratio(case.name, peer)) for peer in others),
        ]
        for case in results.cases
    ]
    head = ["case", OURS.name, *(peer.name for peer in others)]
    return "## Ratios\n\nOur median, and its ratio to each peer's.\n\n" + table(head, rows)


def _generator(results: Results) -> str:
    """How far the load generator is from being what is measured."""
    head = ["case", "raw epoll", "fastest peer", "", "headroom", "generator busy with it"]
    rows = [row for case in results.cases if (row := _generator_row(results, case))]
    if not rows:
        return ""
    doubtful = [f"{cell.peer.name} in {cell.case.name}" for cell in results.cells if cell.doubtful]
    flagged = f" Here: {', '.join(doubtful)}." if doubtful else " There is none here."
    return (
        "## Is the load generator fast enough?\n\n"
        "How fast it is with nothing but an epoll echo at the other end. A measurement is marked "
        f"(!) where the generator was over {BUSY:.0%} busy and the peer was not: there the peer "
        f"may be faster than it looks.{flagged}\n\n" + table(head, rows)
    )


def _generator_row(results: Results, case: Case) -> list[str] | None:
    ceiling = results.median(case.name, RAW_EPOLL)
    speaking = [
        cell
        for cell in results.cells
        if cell.case == case and cell.measurements and not cell.peer.raw
    ]
    if ceiling is None or not speaking:
        return None
    fastest = max(speaking, key=lambda cell: cell.median or 0.0)
    return [
        f"{case.group}: {case.title}",
        number(ceiling),
        number(fastest.median),
        fastest.peer.name,
        f"{ceiling / (fastest.median or 1):.2f}",
        f"{fastest.typical('generator_busy'):.0%}",
    ]


def _details(results: Results) -> str:
    sections = []
    for group, cases in groupby(results.cases, lambda case: case.group):
        parts = [f"## {group}", *(_case(results, case) for case in cases)]
        sections.append("\n\n".join(parts))
    return "\n\n".join(sections)


def _case(results: Results, case: Case) -> str:
    cells = [
        cell
        for cell in results.cells
        if cell.case == case and cell.note not in ("not compared", RAW_NOTE)
    ]
    head = [case.title, case.unit, "least", "most", "ratio", *_DETAILS[: _details_of(case)]]
    rows = [_row(results, cell, len(head)) for cell in cells]
    return "\n\n".join([table(head, rows), *([case.remark] if case.remark else [])])


_DETAILS = (
    *("p50 us", "p99 us", "CPU us each", "peer busy", "generator busy"),
    "of its size",  # compressed
)


def _details_of(case: Case) -> int:
    """How many of the details mean something."""
    if case.load.kind == "idle":
        return 0
    return len(_DETAILS) - (not case.load.compressed)


def _row(results: Results, cell: Cell, columns: int) -> list[str]:
    if not cell.measurements:
        return [cell.peer.name, cell.note, *[""] * (columns - 2)]
    timed = bool(cell.typical("p50"))
    row = [
        cell.peer.name + " (!)" * cell.doubtful + " (~)" * cell.disturbed,
        number(cell.median),
        number(min(cell.values)),
        number(max(cell.values)),
        number(results.ratio(cell.case.name, cell.peer)),
        number(cell.typical("p50")) if timed else "",
        number(cell.typical("p99")) if timed else "",
        number(cell.typical("peer_cpu_per_message")),
        f"{cell.typical('peer_busy'):.0%}",
        f"{cell.typical('generator_busy'):.0%}",
        number(cell.typical("wire_ratio")),
    ]
    return row[:columns]
