"""The house: every module imports only from its own floor and the floors below."""

from __future__ import annotations

import ast
from importlib.util import resolve_name
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
        "protocol.prepared",
        "protocol.proxy",
    },
    2: {
        "_alarms",
        "_allowance",
        "_cancellation",
        "_fragments",
        "_websocket",
        "_transport",
        "_inbox",
        "_outbox",
        "_pings",
        "_poller",
        "_standstill",
        "_tls",
        "instrumentation",
        "instrumentation._records",
        "instrumentation._hooks",
        "instrumentation._logging",
        "instrumentation.prometheus",
    },
    3: {
        "_connection",
        "_dial",
        "_engines",
        "_heartbeat",
        "_http",
        "_inherited",
        "_lifetime",
        "_listen",
        "_peers",
        "_routing",
        "_trio_websocket",
        "_url",
    },
    4: {"_client", "_server", "_wrap"},
    5: {
        "_backoff",
        "_endpoints",
        "_events",
        "_hub",
        "_hub.backlog",
        "_hub.fanout",
        "_hub.hub",
        "_hub.inbound",
        "_hub.members",
        "_hub.membership",
        "_hub.outlets",
        "_hub.presence",
        "_hub.settings",
        "_hub.subscriptions",
        "_hub.topics",
        "_keep_connected",
        "_reconnect",
        "backplane",
        "backplane._interface",
        "backplane._redis_link",
        "backplane._redis_store",
        "backplane._redis_wire",
        "backplane.memory",
        "backplane.redis",
        "classification",
        "slow_consumers",
    },
    6: {
        "_contract",
        "testing",
        "testing._faults",
        "testing._network",
        "testing._pairs",
        "testing._scheduling",
    },
    7: {
        "cli",
        "cli.__main__",
        "cli.admission",
        "cli.app",
        "cli.bench",
        "cli.bench.command",
        "cli.bench.histogram",
        "cli.bench.load",
        "cli.bench.payloads",
        "cli.bench.processes",
        "cli.bench.progress",
        "cli.bench.report",
        "cli.bench.tally",
        "cli.bench.thresholds",
        "cli.bench.worker",
        "cli.client",
        "cli.commands",
        "cli.connecting",
        "cli.console",
        "cli.conversation",
        "cli.delayed",
        "cli.editing",
        "cli.editor",
        "cli.engine",
        "cli.exit_codes",
        "cli.failures",
        "cli.faults",
        "cli.figures",
        "cli.goal",
        "cli.handlers",
        "cli.handlers.application",
        "cli.handlers.broadcast",
        "cli.handlers.coding",
        "cli.handlers.crowd",
        "cli.handlers.desk",
        "cli.handlers.echo",
        "cli.handlers.environment",
        "cli.handlers.exec",
        "cli.handlers.interactive",
        "cli.handlers.mode",
        "cli.handlers.process",
        "cli.handlers.prompt",
        "cli.handlers.relay",
        "cli.handlers.replay",
        "cli.handlers.shared",
        "cli.heartbeats",
        "cli.history",
        "cli.input",
        "cli.jsonlines",
        "cli.metrics",
        "cli.opening",
        "cli.options",
        "cli.options.bench",
        "cli.options.client",
        "cli.options.connection",
        "cli.options.engine",
        "cli.options.ping",
        "cli.options.replay",
        "cli.options.serve",
        "cli.output",
        "cli.ping",
        "cli.place",
        "cli.prompt",
        "cli.reconnecting",
        "cli.recorded",
        "cli.recording",
        "cli.render",
        "cli.replay",
        "cli.secrets",
        "cli.serve",
        "cli.signals",
        "cli.signature",
        "cli.site",
        "cli.static",
        "cli.status",
        "cli.tls",
        "cli.workers",
        "cli.wrapper",
        "cli.writer",
    },
    # The face re-exports, and nothing imports it.
    8: {""},
}
FLOOR_OF = {module: floor for floor, modules in FLOORS.items() for module in modules}

FORBIDDEN_IN_PROTOCOL = {"trio", "anyio", "asyncio", "socket", "ssl", "select", "time", "threading"}
TYPE_CHECKING_ONLY = {"TYPE_CHECKING", "typing.TYPE_CHECKING"}

MODULES = sorted(PACKAGE.glob("**/*.py"))


def name_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


def imports_of(path: Path) -> set[str]:
    """The modules that *path* imports when it runs."""
    package = ".".join(["trio_ws", *path.relative_to(PACKAGE).parts[:-1]])
    return set(imports_in(path.read_text(), package))


def imports_in(source: str, package: str) -> Iterator[str]:
    """The absolute names of the modules that *source*, which lives in *package*, imports."""
    for node in _running(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = resolve_name("." * node.level + (node.module or ""), package)
            for alias in node.names:
                # What is imported from a package may be one of its modules.
                inner = f"{base}.{alias.name}"
                yield inner if inner.removeprefix("trio_ws.") in FLOOR_OF else base


def _running(node: ast.AST) -> Iterator[ast.AST]:
    """Every node below *node* but those that only type checkers see."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and ast.unparse(child.test) in TYPE_CHECKING_ONLY:
            for otherwise in child.orelse:
                yield otherwise
                yield from _running(otherwise)
        else:
            yield child
            yield from _running(child)


def floor_of(imported: str) -> int:
    """The floor of a module of ours, named in full."""
    name = imported.removeprefix("trio_ws").removeprefix(".")
    assert name in FLOOR_OF, f"say in FLOORS on which floor {imported} lives"
    return FLOOR_OF[name]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("import socket, os.path", {"socket", "os.path"}),
        ("from trio import abc", {"trio"}),
        ("from ._close import CloseCode", {"trio_ws._close"}),
        ("from . import _close", {"trio_ws._close"}),
        ("from .protocol import frames", {"trio_ws.protocol.frames"}),
        ("from .protocol import Frame", {"trio_ws.protocol"}),
        ("import trio_ws", {"trio_ws"}),
        ("def late():\n    from trio_ws import _client", {"trio_ws._client"}),
        ("if TYPE_CHECKING:\n    import ssl", set()),
        ("if typing.TYPE_CHECKING:\n    import ssl\nelse:\n    import time", {"time"}),
        ("if not TYPE_CHECKING:\n    import ssl", {"ssl"}),
    ],
)
def test_imports_are_found_wherever_they_stand(source: str, expected: set[str]) -> None:
    assert set(imports_in(source, "trio_ws")) == expected


def test_a_relative_import_climbs_out_of_its_package() -> None:
    assert set(imports_in("from .._close import x", "trio_ws.protocol")) == {"trio_ws._close"}


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_modules_import_from_their_floor_and_below(path: Path) -> None:
    name = name_of(path)
    assert name in FLOOR_OF, f"say in FLOORS on which floor {name} lives"
    for imported in imports_of(path):
        if imported == "trio_ws" or imported.startswith("trio_ws."):
            assert floor_of(imported) <= FLOOR_OF[name], f"{name} must not import {imported}"


def test_floors_list_only_what_is_there() -> None:
    compiled = {"protocol._speedups"}
    assert set(FLOOR_OF) - compiled == {name_of(path) for path in MODULES}


@pytest.mark.parametrize("path", sorted((PACKAGE / "protocol").glob("*.py")), ids=name_of)
def test_the_protocol_knows_no_io_and_no_clock(path: Path) -> None:
    for imported in imports_of(path):
        assert imported.partition(".")[0] not in FORBIDDEN_IN_PROTOCOL
        # _errors needs Trio for its base classes.
        assert imported != "trio_ws._errors"


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_no_file_asks_to_be_two(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 650
