"""Settings: the documented defaults, and that nonsense is refused where it is written."""

from __future__ import annotations

import math
from typing import Any

import pytest

from trio_ws import Compression, Limits, Timeouts


def test_the_defaults() -> None:
    limits = Limits()
    assert limits.max_message_size == 1 << 20
    assert (limits.inbox_messages, limits.inbox_bytes) == (64, 1 << 20)
    assert limits.outbox_bytes == 64 << 10
    assert (limits.max_request_line, limits.max_headers, limits.max_head_size) == (
        8 << 10,
        64,
        32 << 10,
    )
    assert limits.max_handshakes == 500
    timeouts = Timeouts()
    assert (timeouts.open_timeout, timeouts.close_timeout) == (10, 10)
    assert (timeouts.violation_timeout, timeouts.write_stall) == (1, 20)
    assert (timeouts.assembly_timeout, timeouts.handler_grace) == (60, 10)
    compression = Compression()
    assert (compression.window_bits, compression.memory_level) == (12, 5)
    assert compression.threshold == 512


@pytest.mark.parametrize("value", [0, -1, "1", True, math.nan, None])
def test_limits_and_timeouts_are_positive_numbers(value: Any) -> None:
    with pytest.raises(ValueError, match=r"Limits\.inbox_bytes must be a positive number, not"):
        Limits(inbox_bytes=value)
    with pytest.raises(ValueError, match=r"Timeouts\.write_stall must be a positive number, not"):
        Timeouts(write_stall=value)


def test_some_can_be_switched_off() -> None:
    assert Limits(max_message_size=None).max_message_size is None
    assert Timeouts(write_stall=math.inf).write_stall == math.inf
    with pytest.raises(ValueError, match="a positive number or None"):
        Limits(max_message_size=0)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("window_bits", 8),
        ("window_bits", 16),
        ("peer_window_bits", 8),
        ("memory_level", 0),
        ("memory_level", 10),
        ("level", 0),
        ("level", 10),
        ("threshold", -1),
    ],
)
def test_compression_is_checked(option: str, value: int) -> None:
    with pytest.raises(ValueError, match=f"Compression.{option} must"):
        Compression(**{option: value})  # type: ignore[arg-type]


def test_settings_do_not_change() -> None:
    with pytest.raises(AttributeError):
        Limits().inbox_bytes = 1  # type: ignore[misc]
