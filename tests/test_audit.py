"""What is checked of the packages that this one stands on."""

from __future__ import annotations

import subprocess
from importlib.metadata import Distribution
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from . import audit

if TYPE_CHECKING:
    from os import PathLike


class Made(Distribution):
    """A distribution that is nowhere installed."""

    def __init__(self, *lines: str) -> None:
        self._text = "\n".join(("Metadata-Version: 2.4", *lines, "", ""))

    def read_text(self, filename: str) -> str | None:
        return self._text if filename == "METADATA" else None

    def locate_file(self, path: str | PathLike[str]) -> Path:
        return Path(path)


@pytest.mark.parametrize(
    ("lines", "licence"),
    [
        (["License-Expression: MIT OR Apache-2.0", "License: ignored"], "MIT OR Apache-2.0"),
        (["Classifier: License :: OSI Approved :: MIT License"], "MIT"),
        (
            [
                "Classifier: License :: OSI Approved",
                "Classifier: License :: OSI Approved :: BSD License",
                "Classifier: License :: OSI Approved :: ISC License (ISCL)",
            ],
            "BSD AND ISC",
        ),
        (["License: Apache License 2.0"], "Apache-2.0"),
        (["License: GPL-3.0", "Classifier: Typing :: Typed"], "GPL-3.0"),
        ([], ""),
    ],
)
def test_what_a_licence_is_called(lines: list[str], licence: str) -> None:
    assert audit.licence_of(Made("Name: one", "Version: 1", *lines)) == licence


@pytest.mark.parametrize(
    ("expression", "permissive"),
    [
        ("MIT", True),
        ("MIT OR GPL-3.0-only", True),
        ("MIT AND BSD-3-Clause", True),
        ("MIT AND GPL-3.0-only", False),
        ("(MIT OR Apache-2.0) AND BSD-3-Clause", True),
        ("(MIT OR GPL-3.0-only) AND BSD-3-Clause", False),
        ("GPL-3.0-only", False),
        ("", False),
    ],
)
def test_what_is_permissive(expression: str, permissive: bool) -> None:
    assert audit.is_permissive(expression) is permissive


def test_a_bad_licence_is_named() -> None:
    packages = [
        Made("Name: good", "Version: 1", "License: MIT"),
        Made("Name: bad", "Version: 2", "License: GPL-3.0"),
        Made("Name: silent", "Version: 3"),
    ]
    assert list(audit.bad_licences(packages)) == [
        "bad 2: not known as permissive: GPL-3.0",
        "silent 3: not known as permissive: no licence",
    ]


def test_everything_that_is_needed_is_found() -> None:
    names = set(audit.needed())
    # Of its own, of an extra, and of those.
    assert {"trio", "h11", "coredis", "python-socks", "sortedcontainers", "wsproto"} <= names
    assert not {"trio-ws", "pytest", "ruff", "pip-audit"} & names


def test_extras_of_what_is_needed_are_followed() -> None:
    made = {
        "trio-ws": ["Requires-Dist: One[more]", 'Requires-Dist: never; extra == "dev"'],
        "one": ['Requires-Dist: two; extra == "more"', 'Requires-Dist: no; extra == "less"'],
        "two": ["Requires-Dist: one", 'Requires-Dist: old; python_version < "3"'],
    }
    found = audit.needed(lambda name: Made(f"Name: {name}", *made[name]))
    assert set(found) == {"one", "two"}


def test_what_is_known_is_told() -> None:
    told: list[dict[str, Any]] = [
        {"name": "one", "version": "1", "vulns": []},
        {"name": "two", "skip_reason": "not on PyPI"},
        {"name": "three", "version": "3", "vulns": [{"id": "CVE-1", "fix_versions": ["3.1"]}]},
        {"name": "four", "version": "4", "vulns": [{"id": "CVE-2", "fix_versions": []}]},
    ]
    assert list(audit.known_against(told)) == [
        "three 3: CVE-1, mended in 3.1",
        "four 4: CVE-2, mended in no version",
    ]


def test_pypi_that_cannot_be_asked_is_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    def late(*_: Any, timeout: float, **__: Any) -> Any:
        assert timeout <= 20
        raise subprocess.TimeoutExpired("pip-audit", timeout)

    monkeypatch.setattr(subprocess, "run", late)
    assert audit.ask() is None
    nothing = subprocess.CompletedProcess([], 1, stdout="", stderr="no connection")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: nothing)
    assert audit.ask() is None


@pytest.mark.parametrize(
    ("told", "status", "said"),
    [
        (None, 0, "PyPI cannot be asked here"),
        ([{"name": "trio", "skip_reason": "not on PyPI"}], 0, "PyPI cannot be asked here"),
        ([{"name": "trio", "version": "1", "vulns": []}], 0, "knows 1 packages, and 0 things"),
        (
            [{"name": "trio", "version": "1", "vulns": [{"id": "CVE-1", "fix_versions": ["2"]}]}],
            1,
            "  trio 1: CVE-1, mended in 2",
        ),
        (
            [{"name": "pytest", "version": "1", "vulns": [{"id": "CVE-1", "fix_versions": []}]}],
            0,
            "PyPI cannot be asked here",
        ),
    ],
)
def test_the_verdict(
    told: Any,
    status: int,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(audit, "ask", lambda: told)
    assert audit.main() == status
    out = capsys.readouterr().out
    assert "0 that are not permissive" in out
    assert said in out
