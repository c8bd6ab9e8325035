"""``MODULE:HANDLER``: what is found, and what is said where nothing is."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

import trio_ws
from tests.network import URL, install
from trio_ws.cli.failures import Usage
from trio_ws.cli.handlers.application import Application, load

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SOURCE = """
from functools import partial
import trio_ws

async def chat(ws):
    await ws.send("from here")

async def two(ws, room):
    pass

class Rooms:
    async def enter(self, ws): ...
    async def __call__(self, ws): ...

rooms = Rooms()
router = trio_ws.Router()
router.add("/feed", chat)
lobby = partial(two, room="lobby")
number = 3

def plain(ws): ...
"""


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A current directory of its own, of which nothing stays imported."""
    monkeypatch.chdir(tmp_path)
    before = set(sys.modules)
    monkeypatch.setattr(sys, "path", sys.path.copy())
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]


@pytest.mark.parametrize("name", ["chat", "rooms", "rooms.enter", "router", "lobby"])
def test_what_is_called_with_a_connection_is_found(here: Path, name: str) -> None:
    (here / "app_found.py").write_text(SOURCE)
    assert callable(load(f"app_found:{name}"))


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("app_bad", "MODULE:HANDLER, such as"),
        ("app_bad:", "MODULE:HANDLER"),
        (":chat", "MODULE:HANDLER"),
        ("app_bad:nothing", r"app_bad\.py has no nothing"),
        ("app_bad:rooms.nothing", r"has no rooms\.nothing"),
        ("app_bad:Rooms", "a class, not an async function"),
        ("app_bad:number", "of type int, not an async function"),
        ("app_bad:plain", "is not async"),
        ("app_bad:two", "cannot be called with a connection alone: missing.*'room'"),
        ("app_missing:chat", "there is no module app_missing, neither in"),
        ("app_missing.inner:chat", "there is no module app_missing, neither in"),
        ("app_bad.inner:chat", r"there is no module app_bad\.inner"),
    ],
)
def test_what_is_not_is_said(here: Path, name: str, complaint: str) -> None:
    (here / "app_bad.py").write_text(SOURCE)
    with pytest.raises(Usage, match=complaint):
        load(name)


@pytest.mark.parametrize(
    ("source", "complaint"),
    [
        ("x = 1\nint('seven')", r"ValueError: .*'seven' \(.*app_raises\.py, line 2\)"),
        ("\n\nimport not_there", r"ModuleNotFoundError: .*not_there.*, line 3\)"),
        ("import sys\nsys.exit(4)", r"SystemExit: 4 \(.*, line 2\)"),
        ("import json\n\njson.loads('x')", r"JSONDecodeError: .* \(.*app_raises\.py, line 3\)"),
        ("def", r"SyntaxError: .*line 1\)"),
    ],
)
def test_a_module_that_raises_is_said_to_with_its_line(
    here: Path, source: str, complaint: str
) -> None:
    (here / "app_raises.py").write_text(source)
    with pytest.raises(Usage, match=complaint) as caught:
        load("app_raises:chat")
    assert caught.value.__cause__ is not None


def test_a_package_that_raises_shows_its_own_line(here: Path) -> None:
    package = here / "app_package"
    package.mkdir()
    (package / "__init__.py").write_text("1 / 0")
    with pytest.raises(Usage, match=r"ZeroDivisionError: .*__init__\.py, line 1\)"):
        load("app_package.inner:chat")


async def test_it_handles_connections_and_its_router_is_asked(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (here / "app_served.py").write_text(SOURCE)
    network = install(monkeypatch)
    async with network.served(Application(load("app_served:router"))):
        async with trio_ws.connect(URL) as ws:
            assert await ws.receive() == "from here"
        with pytest.raises(trio_ws.ConnectionRejected):
            async with trio_ws.connect("ws://testserver/elsewhere"):
                pass


async def test_a_function_has_no_say_in_requests(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (here / "app_plain.py").write_text(SOURCE)
    network = install(monkeypatch)
    async with network.served(Application(load("app_plain:chat"))), trio_ws.connect(URL) as ws:
        assert await ws.receive() == "from here"
