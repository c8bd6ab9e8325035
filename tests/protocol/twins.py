"""The C part, for tests that compare it with its pure-Python twins."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.requirements import require_tool

if TYPE_CHECKING:
    from types import ModuleType


def c_part() -> ModuleType:
    """The extension module; where it is not there or switched off, the test is skipped."""
    try:
        from trio_ws.protocol import _speedups
    except ImportError as error:
        built = "TRIO_WS_NO_SPEEDUPS" in os.environ
        require_tool("speedups", available=built, reason=f"the C part was not built: {error}")
        pytest.skip("the C part was switched off")
    return _speedups
