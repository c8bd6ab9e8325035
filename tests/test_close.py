"""Close codes and reasons: RFC 6455, section 7.4."""

from __future__ import annotations

import pytest

from trio_ws import ClosedBy, CloseReason
from trio_ws._close import describe_code, may_be_sent


@pytest.mark.parametrize(
    ("codes", "allowed"),
    [
        (range(1000), False),
        ([1000, 1001, 1002, 1003], True),
        ([1004, 1005, 1006], False),
        (range(1007, 1015), True),
        (range(1015, 3000), False),
        (range(3000, 5000), True),
        ([5000, 65535, -1], False),
    ],
)
def test_what_may_stand_in_a_close_frame(codes: range | list[int], allowed: bool) -> None:
    assert {may_be_sent(code) for code in codes} == {allowed}


@pytest.mark.parametrize(
    ("code", "text"),
    [
        (1001, "1001 (going away)"),
        (3500, "3500 (registered by a library)"),
        (4000, "4000 (private use)"),
        (2000, "2000 (unknown)"),
    ],
)
def test_codes_are_described(code: int, text: str) -> None:
    assert describe_code(code) == text


@pytest.mark.parametrize(
    ("reason", "text"),
    [
        (CloseReason(1000), "1000 (normal closure), closed by the peer"),
        (CloseReason(1001, "bye", ClosedBy.LOCAL), "1001 (going away) 'bye', closed here"),
        (
            CloseReason(4000, "a\x1b[2J\n", ClosedBy.LOCAL, clean=False),
            "4000 (private use) 'a\\x1b[2J\\n', closed here, closing handshake not completed",
        ),
        (
            CloseReason(1006, "", ClosedBy.NETWORK, clean=False),
            "1006 (abnormal closure), the transport was cut",
        ),
    ],
)
def test_reasons_are_told_safely(reason: CloseReason, text: str) -> None:
    assert str(reason) == text
