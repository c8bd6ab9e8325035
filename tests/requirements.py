"""Tools that some tests need and not every machine has.

``TRIO_WS_REQUIRE`` names what must be there, separated by commas, or is ``all``.
"""

from __future__ import annotations

import os

import pytest


def is_required(name: str) -> bool:
    """Whether the tool called *name* must be there."""
    required = {tool.strip() for tool in os.environ.get("TRIO_WS_REQUIRE", "").split(",")}
    return not required.isdisjoint({"all", name})


def require_tool(name: str, *, available: bool, reason: str) -> None:
    """Skip the test where *name* is missing, or fail it where it must not be."""
    if available:
        return
    if is_required(name):
        pytest.fail(f"{name} is required: {reason}")
    pytest.skip(f"{name}: {reason}")
