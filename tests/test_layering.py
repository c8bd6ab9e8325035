"""The house: every module imports only from its own floor and the floors below."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGE = Path(__file__).resolve().parent.parent / "trio_ws"

#: What each floor is for stands in the modules' own docstrings.
FLOORS = {
    0: {"_errors", "_close", "_settings"},
    1: {
        "protocol",
        "protocol.frames",
        "protocol.masking",
        "protocol._speedups",
        "protocol.deflate",
        "protocol.extensions",
        "protocol.http",
        "protocol.handshake",
        "protocol.machine",
    },
    2: {"_fragments", "_websocket", "_transport", "_inbox", "_outbox", "_pings"},
    3: {"_connection", "_http", "_routing", "_url", "_dial", "_listen"},
    4: {"_client", "_server"},
    5: set(),
    6: {"testing"},
    7: {"cli", "cli.__main__", "cli.app", "cli.serve", "cli.client", "cli.failures"},
    # The face re-exports, and nothing imports it.
    8: {""},
}
FLOOR_OF = {module: floor for floor, modules in FLOORS.items() for module in modules}

FORBIDDEN_IN_PROTOCOL = {"trio", "anyio", "asyncio", "socket", "ssl", "select", "time", "threading"}

MODULES = sorted(PACKAGE.glob("**/*.py"))


def name_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


def imports_of(path: Path) -> Iterator[str]:
    """What *path* imports when it runs: inside the package with a leading dot."""
    package = ["trio_ws", *path.relative_to(PACKAGE).parts[:-1]]
    tree = ast.parse(path.read_text())
    for node in _running(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            for alias in node.names:
                whole = f"{module}.{alias.name}"
                yield whole if whole.removeprefix("trio_ws.") in FLOOR_OF else module


def _running(node: ast.AST) -> Iterator[ast.AST]:
    """Every node but those that only type checkers see."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            continue
        yield child
        yield from _running(child)


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_modules_import_from_their_floor_and_below(path: Path) -> None:
    name = name_of(path)
    assert name in FLOOR_OF, f"say in FLOORS on which floor {name} lives"
    for imported in imports_of(path):
        if imported == "trio_ws" or imported.startswith("trio_ws."):
            inner = imported.removeprefix("trio_ws").removeprefix(".")
            assert FLOOR_OF[inner] <= FLOOR_OF[name], f"{name} must not import {imported}"


@pytest.mark.parametrize("path", sorted((PACKAGE / "protocol").glob("*.py")), ids=name_of)
def test_the_protocol_knows_no_io_and_no_clock(path: Path) -> None:
    for imported in imports_of(path):
        assert imported.partition(".")[0] not in FORBIDDEN_IN_PROTOCOL
        # _errors needs Trio for its base classes.
        assert imported != "trio_ws._errors"


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_no_file_asks_to_be_two(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 700
