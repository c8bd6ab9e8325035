"""What one test hides, another must not miss."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest

from trio_ws.cli import failures

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def _no_secrets_left() -> Iterator[None]:
    yield
    failures._secrets.clear()


@pytest.fixture(autouse=True)
def _hang_ups_mean_what_they_meant() -> Iterator[None]:
    before = signal.getsignal(signal.SIGHUP)
    yield
    signal.signal(signal.SIGHUP, before)
