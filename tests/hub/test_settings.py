"""`HubLimits`: every number is checked where it is written."""

from __future__ import annotations

from dataclasses import fields

import pytest

from trio_ws import HubLimits


@pytest.mark.parametrize("field", [field.name for field in fields(HubLimits)])
@pytest.mark.parametrize("value", [0, -1, None, "5", True])
def test_each_is_a_positive_number(field: str, value: object) -> None:
    with pytest.raises(ValueError, match=rf"HubLimits\.{field} must be a positive number, not"):
        HubLimits(**{field: value})  # type: ignore[arg-type]
