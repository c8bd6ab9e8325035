"""What is missing is not skipped over in silence where it must be there."""

from __future__ import annotations

import shutil

import pytest

from . import programs
from .programs import NODE_WS, OURS, WEBSOCKETS, Library, require


@pytest.fixture
def nothing_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(programs, "find_spec", lambda name: None)
    monkeypatch.setattr(shutil, "which", lambda name: None)


@pytest.mark.usefixtures("nothing_installed")
@pytest.mark.parametrize(
    ("library", "reason"),
    [
        (WEBSOCKETS, r"websockets: pip install 'trio-ws\[interop\]'"),
        (NODE_WS, "npm-ws: npm --prefix examples/javascript install"),
    ],
    ids=str,
)
def test_what_is_missing_is_skipped_or_fails(
    library: Library, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TRIO_WS_REQUIRE", raising=False)
    with pytest.raises(pytest.skip.Exception, match=reason):
        require(library)
    monkeypatch.setenv("TRIO_WS_REQUIRE", "all")
    with pytest.raises(pytest.fail.Exception, match="is required"):
        require(library)


@pytest.mark.usefixtures("nothing_installed")
def test_ours_are_always_there() -> None:
    require(OURS)
