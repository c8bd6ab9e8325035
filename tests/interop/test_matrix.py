"""The tables of who was tried in what, and the page that shows them."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from .matrix import tables

ROOT = Path(__file__).resolve().parents[2]
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


def test_the_page_shows_every_cell() -> None:
    """Which cells there are; what became of them is the last run's."""
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
    there = [_form(line) for line in collected.stdout.splitlines() if line.startswith("|")]
    shown = [_form(line) for line in PAGE.read_text().splitlines() if line.startswith("|")]
    assert len(there) > 30
    assert [line for line in there if line not in shown] == []


def _form(row: str) -> str:
    """A row without what became of its tests."""
    return re.sub(r"\| (ok|skipped|\?) (?=\|)", "| ? ", row)
