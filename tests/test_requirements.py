"""Tools that must be there are not skipped over in silence."""

from __future__ import annotations

import pytest

from tests.requirements import is_required, require_tool


@pytest.mark.parametrize(
    ("setting", "required"),
    [
        ("", False),
        ("other", False),
        ("wstest-extra", False),
        ("wstest", True),
        ("other, wstest", True),
        ("all", True),
    ],
)
def test_the_environment_says_what_is_required(
    setting: str, required: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRIO_WS_REQUIRE", setting)
    assert is_required("wstest") is required


def test_an_available_tool_lets_the_test_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRIO_WS_REQUIRE", "all")
    require_tool("wstest", available=True, reason="unused")


def test_a_missing_tool_skips_the_test(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TRIO_WS_REQUIRE", raising=False)
    with pytest.raises(pytest.skip.Exception, match=r"wstest: no Python 2\.7"):
        require_tool("wstest", available=False, reason="no Python 2.7")


def test_a_missing_tool_that_is_required_fails_the_test(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRIO_WS_REQUIRE", "wstest")
    with pytest.raises(pytest.fail.Exception, match=r"wstest is required: no Python 2\.7"):
        require_tool("wstest", available=False, reason="no Python 2.7")
