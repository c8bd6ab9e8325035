"""The tables of who was tried in what, and the page that shows them."""

from __future__ import annotations

import re
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

from . import programs, versions
from .matrix import tables
from .versions import VERSIONS

ROOT = Path(__file__).resolve().parents[2]
_VERSIONS = "| who | version |"
PAGE = ROOT / "docs" / "explanation" / "interop.md"


def test_a_cell_is_as_bad_as_its_worst_test() -> None:
    outcomes = {
        ("cases", "b", "x"): {"passed"},
        ("cases", "a", "y"): {"passed", "failed"},
        ("cases", "a", "x"): {"skipped", "passed"},
        ("more", "c", "z"): {"skipped", "failed", "passed"},
    }
    assert tables(outcomes) == [
        "| cases | x | y |",
        "| --- | --- | --- |",
        "| a | skipped | FAILED |",
        "| b | ok | - |",
        "",
        "| more | z |",
        "| --- | --- |",
        "| c | FAILED |",
        "",
    ]


@pytest.fixture(scope="module")
def there() -> list[str]:
    """The rows of the cells that there are tests for."""
    collected = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "--collect-only", "--quiet", "--quiet"),
            *("-p", "no:cacheprovider", "-p", "tests.interop.matrix", "tests/interop"),
        ],
        check=True,
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    rows = [line for line in collected.stdout.splitlines() if line.startswith("|")]
    assert len(rows) > 30
    return rows


def test_the_page_shows_every_cell_and_no_other(there: list[str]) -> None:
    """Which cells there are; what became of them is the last run's."""
    rows = [line for line in PAGE.read_text().splitlines() if line.startswith("|")]
    start = rows.index(_VERSIONS)
    shown = [*rows[:start], *rows[start + 2 + len(VERSIONS) :]]
    assert sorted(map(_form, shown)) == sorted(map(_form, there))


def test_the_page_shows_everybody_s_version(there: list[str]) -> None:
    headers = [row for row, rule in pairwise(there) if rule.startswith("| --- |")]
    tried = {name.strip() for row in headers for name in row.split("|")[2:-1]}
    assert set(VERSIONS) == tried
    rows = PAGE.read_text().splitlines()
    start = rows.index(_VERSIONS) + 2
    shown = [row.split("|")[1].strip() for row in rows[start : start + len(VERSIONS)]]
    assert shown == sorted(VERSIONS)


def test_who_is_missing_has_no_version(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr(programs, "ROOT", Path("/nowhere"))
    monkeypatch.setattr(versions, "NODE", Path("/nowhere"))
    assert [versions.version(name) for name in ("Chromium", "curl", "ws (Node)")] == ["missing"] * 3


def _form(row: str) -> str:
    """A row without what became of its tests."""
    return re.sub(r"\| (ok|\?) (?=\|)", "| ? ", row)
