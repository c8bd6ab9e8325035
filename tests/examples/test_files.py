"""What every example has: a length that one can take in, a way to run it, a line in the index."""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING

import pytest

from .programs import EXAMPLES, JAVASCRIPT, ROOT

if TYPE_CHECKING:
    from pathlib import Path

PROGRAMS = sorted(path for path in EXAMPLES.glob("*.py") if path.name != "__init__.py")
SCRIPTS = sorted(JAVASCRIPT.glob("*.js"))
INDEX = (EXAMPLES / "README.md").read_text()


def by_name(path: Path) -> str:
    return path.name


@pytest.mark.parametrize("path", [*PROGRAMS, *SCRIPTS, EXAMPLES / "chat.html"], ids=by_name)
def test_it_is_short(path: Path) -> None:
    assert len(path.read_text().splitlines()) < 80


@pytest.mark.parametrize("path", PROGRAMS, ids=by_name)
def test_its_docstring_says_how_to_run_it(path: Path) -> None:
    docstring = ast.get_docstring(ast.parse(path.read_text()))
    assert docstring is not None
    assert path.relative_to(ROOT).as_posix() in docstring


@pytest.mark.parametrize("path", SCRIPTS, ids=by_name)
def test_its_comment_says_how_to_run_it(path: Path) -> None:
    assert f"//   node {path.relative_to(ROOT).as_posix()} " in path.read_text()


@pytest.mark.parametrize("path", PROGRAMS, ids=by_name)
def test_the_index_links_to_it(path: Path) -> None:
    assert f"({path.name})" in INDEX


@pytest.mark.parametrize("link", re.findall(r"\]\((?!https:)([^)]+)\)", INDEX))
def test_the_index_leads_somewhere(link: str) -> None:
    assert (EXAMPLES / link).exists()


@pytest.mark.parametrize("path", PROGRAMS, ids=by_name)
def test_what_it_refers_to_is_there(path: Path) -> None:
    for word in path.read_text().split():
        if word.startswith("examples/"):
            assert (ROOT / word).exists()
