"""What is written, letter by letter, of results that nobody measured."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.table import markdown, number, write

from .made_up import RESULTS

GOLDEN = Path(__file__).with_name("golden.md")


def test_markdown() -> None:
    assert markdown(RESULTS) == GOLDEN.read_text()


def test_both_files_replace_what_was_there(tmp_path: Path) -> None:
    folder = tmp_path / "new"
    write(RESULTS, folder)
    (folder / "results.md").write_text("old")
    write(RESULTS, folder)
    assert sorted(path.name for path in folder.iterdir()) == ["results.json", "results.md"]
    assert (folder / "results.md").read_text() == GOLDEN.read_text()
    assert json.loads((folder / "results.json").read_text()) == RESULTS.as_json()


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "-"),
        (0.0, "0.00"),
        (0.456, "0.46"),
        (1.234, "1.23"),
        (12.34, "12.3"),
        (123.4, "123"),
        (1_234.5, "1,230"),
        (1_234_567.0, "1,230,000"),
    ],
)
def test_three_digits(value: float | None, text: str) -> None:
    assert number(value) == text
