"""The manual is whole: it has every name, option and code, and its links lead somewhere."""

from __future__ import annotations

import dataclasses
import re
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import typer

import trio_ws
from trio_ws.cli.app import make_app
from trio_ws.cli.exit_codes import ExitCode

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
API = DOCS / "reference" / "api"
PAGES = [ROOT / "README.md", *sorted(DOCS.glob("**/*.md"))]
#: An option as a command line has it.
SPELLING = re.compile(r"(?<![\w-])--?[A-Za-z0-9-]+")


def documented_names() -> list[str]:
    """What the pages of the API tell of, by full name."""
    names = []
    for page in API.glob("*.md"):
        module = ""
        for line in page.read_text().splitlines():
            if match := re.match(r"\.\. currentmodule:: (\S+)", line):
                module = match[1]
            elif match := re.match(r"\.\. (?:auto|py:)(?!module)\w+:: (\w+)", line):
                names.append(f"{module}.{match[1]}")
    return names


@pytest.mark.parametrize(
    "module",
    [
        "trio_ws",
        "trio_ws.backplane",
        "trio_ws.classification",
        "trio_ws.instrumentation",
        "trio_ws.instrumentation.prometheus",
        "trio_ws.protocol",
        "trio_ws.slow_consumers",
        "trio_ws.testing",
    ],
)
def test_every_public_name_is_in_the_reference_once(module: str) -> None:
    documented = documented_names()
    modules = {"backplane", "classification", "slow_consumers"}
    face = set(trio_ws.__all__) - modules
    for name in import_module(module).__all__:
        same = name in face and module != "trio_ws" and _same(module, name)
        home = "trio_ws" if same else module
        if home != "trio_ws" or name not in modules:
            assert documented.count(f"{home}.{name}") == 1, f"{home}.{name}"


def _same(module: str, name: str) -> bool:
    return getattr(import_module(module), name) is getattr(trio_ws, name)


def test_every_page_is_in_a_table_of_contents() -> None:
    reachable = {DOCS / "index.md"}
    waiting = list(reachable)
    while waiting:
        page = waiting.pop()
        for entry in _entries(page):
            found = set(page.parent.glob(f"{entry}.md")) - reachable
            reachable |= found
            waiting += found
    assert reachable == set(DOCS.glob("**/*.md"))


def _entries(page: Path) -> list[str]:
    """The entries of the page's toctrees."""
    return [
        line
        for table in re.findall(r"^```{toctree}\n(.*?)^```", page.read_text(), re.M | re.S)
        for line in table.splitlines()
        if line and not line.startswith(":")
    ]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_and_files_lead_somewhere(page: Path) -> None:
    text = page.read_text()
    links = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", text)
    included = re.findall(r"^```{(?:literalinclude|include)} (\S+)", text, re.M)
    for target in [*links, *included]:
        if "://" not in target:
            assert (page.parent / target).exists(), target


SETTINGS = [
    trio_ws.Limits(),
    trio_ws.Timeouts(),
    trio_ws.Compression(),
    trio_ws.Heartbeat(),
    trio_ws.Backoff(),
    trio_ws.HubLimits(),
    trio_ws.History(),
]


@pytest.mark.parametrize("settings", SETTINGS, ids=lambda settings: type(settings).__name__)
def test_every_default_is_in_the_reference(settings: Any) -> None:
    page = (DOCS / "reference" / "limits.md").read_text()
    rows = [line for line in page.splitlines() if line.startswith("| `")]
    for field in dataclasses.fields(settings):
        if field.name != "rng":
            value = getattr(settings, field.name)
            # 1024 messages are not 1 KiB.
            defaults = {f" {shown(value)}", f" {value} "}
            told = [row for row in rows if f"`{field.name}`" in row]
            assert any(default in row for row in told for default in defaults), field.name


def shown(default: object) -> str:
    """*default* as people write it."""
    if isinstance(default, bool):
        return "on" if default else "off"
    if isinstance(default, tuple):
        return "{} within {:g} s".format(*default)
    if isinstance(default, str):
        return f'"{default}"'
    if not isinstance(default, int | float):
        return "none"
    for size, unit in ((2**20, "MiB"), (2**10, "KiB")):
        if default >= size and default % size == 0:
            return f"{default // size} {unit}"
    return f"{default:g}"


def test_every_exit_code_is_in_the_reference() -> None:
    page = (DOCS / "reference" / "exit-codes.md").read_text()
    for code in ExitCode:
        assert f"\n| {int(code)} |" in page, code


def test_every_close_code_is_in_the_reference() -> None:
    page = (DOCS / "reference" / "close-codes.md").read_text()
    for code in trio_ws.CloseCode:
        assert f"\n| {int(code)} |" in page, code


def options_of_commands() -> set[str]:
    """Every spelling of an option of any command."""
    sys.path.insert(0, str(DOCS / "_ext"))
    try:
        text = import_module("command_reference").commands()
    finally:
        sys.path.remove(str(DOCS / "_ext"))
    signatures = re.findall(r"^````{option} (.*)$", text, re.M)
    return {
        name for line in signatures for name in re.findall(r"(?<![\w-])--?[a-z0-9-]+", line, re.I)
    }


def test_the_options_that_pages_name_exist() -> None:
    known = options_of_commands() | {"--help", "--version", "--install-completion"}
    for name in ("command-line", "serve-command", "from-wscat-and-websocat"):
        page = (DOCS / "how-to" / f"{name}.md").read_text()
        if "wscat" in name:
            # The last column is ours.
            page = "\n".join(line.split(" | ")[-1] for line in page.splitlines())
        for option in re.findall(r"`(--[a-z][a-z0-9-]+)", page):
            assert option in known, f"{name}: {option}"


def test_the_reference_of_commands_is_that_of_typer() -> None:
    for command in typer.main.get_command(make_app()).commands.values():  # type: ignore[attr-defined]
        for parameter in command.params:
            spellings = {*parameter.opts, *parameter.secondary_opts} - {"--help", "-h"}
            assert spellings <= options_of_commands() or parameter.param_type_name == "argument"
