"""The tables of who was tried in what: a plugin of pytest's that prints them at the end of a run.

``make interop`` does so. Tests say which cell they are by the mark `cell`; a table's cell may have
several tests, and fails with the first of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import pytest

from .versions import version

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Mapping

    from _pytest.terminal import TerminalReporter

#: Table, row and column.
Cell: TypeAlias = tuple[str, str, str]

_PROPERTY = "interop"
#: From the worst to the best.
_OUTCOMES = {"failed": "FAILED", "skipped": "skipped", "passed": "ok", "collected": "?"}
NOT_TRIED = "-"


def cell(table: str, row: str, column: str) -> pytest.MarkDecorator:
    """Marks a test as one of this cell's."""
    return pytest.mark.interop(table, row, column)


def cell_of(item: pytest.Item) -> Cell | None:
    mark = item.get_closest_marker("interop")
    if mark is None:
        return None
    table, row, column = mark.args
    return table, row, column


def tables(outcomes: Mapping[Cell, set[str]]) -> list[str]:
    """The tables in Markdown, sorted."""
    outcomes = dict(sorted(outcomes.items()))
    lines: list[str] = []
    for name in dict.fromkeys(table for table, _, _ in outcomes):
        rows = list(dict.fromkeys(row for table, row, _ in outcomes if table == name))
        columns = list(dict.fromkeys(column for table, _, column in outcomes if table == name))
        lines += [f"| {name} | " + " | ".join(columns) + " |", "| --- |" + " --- |" * len(columns)]
        for row in rows:
            words = [_word(outcomes.get((name, row, column), set())) for column in columns]
            lines.append(f"| {row} | " + " | ".join(words) + " |")
        lines.append("")
    return lines


def versions(outcomes: Iterable[Cell]) -> list[str]:
    """The versions of those who were tried, in Markdown."""
    names = sorted({column for _, _, column in outcomes})
    return [
        "| who | version |",
        "| --- | --- |",
        *(f"| {name} | {version(name)} |" for name in names),
    ]


def _word(outcomes: set[str]) -> str:
    return next((word for name, word in _OUTCOMES.items() if name in outcomes), NOT_TRIED)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if (found := cell_of(item)) is not None:
        # Where tests run in processes of their own, this is what reaches the one that prints.
        report.user_properties.append((_PROPERTY, found))
    return report


def pytest_terminal_summary(terminalreporter: TerminalReporter) -> None:
    outcomes: dict[Cell, set[str]] = {}
    for reports in terminalreporter.stats.values():
        for report in reports:
            for name, found in getattr(report, "user_properties", ()):
                if name == _PROPERTY:
                    outcomes.setdefault(tuple(found), set()).add(report.outcome)
    if not outcomes:
        return
    terminalreporter.section("who was tried in what")
    for line in [*tables(outcomes), *versions(outcomes)]:
        terminalreporter.line(line)


def pytest_collection_finish(session: pytest.Session) -> None:
    if session.config.option.collectonly:
        cells = dict.fromkeys(filter(None, map(cell_of, session.items)))
        print(*tables({found: {"collected"} for found in cells}), sep="\n")
