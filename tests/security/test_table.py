"""The table of attacks in SECURITY.md and the tests that are here name the same."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

HERE = Path(__file__).parent
TABLE = HERE.parents[1] / "SECURITY.md"


def test_each_attack_is_in_the_table_once() -> None:
    named = Counter(re.findall(r"`(test_\w+)`", TABLE.read_text()))
    tests = [
        name
        for path in HERE.glob("test_*.py")
        if path != Path(__file__)
        for name in re.findall(r"^(?:async )?def (test_\w+)", path.read_text(), re.MULTILINE)
    ]
    assert named == Counter(tests)
