"""10,000 random conversations, heard by our protocol core and by that of `websockets`."""

from __future__ import annotations

from collections import Counter
from importlib.util import find_spec
from random import Random

import pytest

from ..requirements import require_tool


@pytest.fixture(autouse=True)
def _websockets() -> None:
    there = find_spec("websockets") is not None
    require_tool("websockets", available=there, reason="pip install 'trio-ws[interop]'")


@pytest.mark.parametrize("seed", range(10))
def test_every_difference_is_explained(seed: int) -> None:
    from fuzz.differential import converse, explain

    counts: Counter[str | None] = Counter()
    for number in range(1000):
        conversation = converse(Random(f"{seed}/{number}"))
        why = explain(conversation)
        assert why is not None, conversation
        # Of what is said without a fault, both hear the same.
        assert conversation.faulty or not why, conversation
        counts[why] += 1
    assert counts[""] > 800
