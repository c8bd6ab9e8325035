"""The fuzz targets with their seeds, and with what hypothesis thinks of; fuzzing does more."""

from __future__ import annotations

import subprocess
import sys
from random import Random
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fuzz.mutated import mutate
from fuzz.seeds import SEEDS
from fuzz.targets import TARGETS

from ..protocol.twins import c_part

if TYPE_CHECKING:
    from pathlib import Path

    from trio_ws.protocol import Machine


@pytest.mark.parametrize("name", TARGETS)
def test_seeds_pass(name: str) -> None:
    if name == "speedups":
        c_part()
    for seed in SEEDS[name]:
        TARGETS[name](seed)


@pytest.mark.parametrize("name", TARGETS)
@given(data=st.data())
def test_what_becomes_of_seeds_passes(name: str, data: st.DataObject) -> None:
    if name == "speedups":
        c_part()
    TARGETS[name](mutate(Random(data.draw(st.integers(0, 1 << 32))), SEEDS[name]))


@pytest.mark.parametrize("name", TARGETS)
@given(data=st.binary(max_size=100))
def test_anything_passes(name: str, data: bytes) -> None:
    if name == "speedups":
        c_part()
    TARGETS[name](data)


def test_a_machine_that_is_wrong_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def check_size(self: Machine, size: int) -> None:
        """Not."""

    monkeypatch.setattr("trio_ws.protocol.Machine._check_size", check_size)
    with pytest.raises(AssertionError):
        test_seeds_pass("machine")


def test_a_run_says_what_it_did(tmp_path: Path) -> None:
    # It is in the extra `fuzz`, for some Pythons only; `make fuzz` is a step of its own.
    pytest.importorskip("atheris")
    command = [sys.executable, "-m", "fuzz", "--seconds", "1", "--corpus", str(tmp_path)]
    fine = subprocess.run([*command, "proxy"], text=True, capture_output=True, check=True)
    assert fine.stdout.startswith("proxy ")
    assert fine.stdout.endswith(" ok\n")
    assert len(list((tmp_path / "proxy").iterdir())) >= len(SEEDS["proxy"])
    wrong = subprocess.run([*command, "other"], text=True, capture_output=True, check=False)
    assert wrong.returncode == 2
    assert "there is no target other" in wrong.stderr
