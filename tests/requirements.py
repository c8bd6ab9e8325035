"""Tools that some tests need and not every machine has."""

from __future__ import annotations

import os

import pytest


def require_tool(name: str, *, available: bool, reason: str) -> None:
    """Skip the test where *name* is missing, or fail it where it must not be.

    ``TRIO_WS_REQUIRE`` names what must be there, separated by commas, or is ``all``.
    """
    if available:
        return
    required = os.environ.get("TRIO_WS_REQUIRE", "").split(",")
    if "all" in required or name in required:
        pytest.fail(f"{name} is required: {reason}")
    pytest.skip(f"{name}: {reason}")
