"""A run that is too short to mean anything, and what is said of one."""

from __future__ import annotations

import json
from importlib.util import find_spec
from typing import TYPE_CHECKING

import pytest

from soak.__main__ import Outcome, main
from soak.account import Account
from soak.samples import Sample

if TYPE_CHECKING:
    from pathlib import Path


def test_a_short_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--minutes", "0.1", "--clients", "24", "--seed", "3", "--output", str(tmp_path)]
    assert main(arguments) == 0, capsys.readouterr().out
    out = capsys.readouterr().out
    assert "24 clients for 0.1 minutes, --seed 3" in out
    assert out.count("\nok ") == 5
    assert "echoes: " in out
    samples = [Sample(**sample) for sample in json.loads((tmp_path / "samples.json").read_text())]
    assert len(samples) == 6
    assert all(sample.resident > 1e7 and sample.tasks > 5 for sample in samples)
    assert (tmp_path / "soak.svg").exists() == (find_spec("matplotlib") is not None)


def outcome(**changed: object) -> Outcome:
    held = {"tasks": 1, "descriptors": 2, "connections": 0}
    samples = [
        Sample(
            at=at,
            resident=10**8,
            tasks=1,
            descriptors=2,
            connections=3,
            p50=0.001,
            p99=0.002,
        )
        for at in range(0, 1800, 10)
    ]
    made = Outcome(samples=samples, before=held, after=held, account=Account(sent=1, arrived=1))
    for name, value in changed.items():
        setattr(made, name, value)
    return made


def growing() -> list[Sample]:
    return [
        Sample(
            at=at,
            resident=10**8 + at * 10_000,
            tasks=1,
            descriptors=2,
            connections=3,
            p50=0.001,
            p99=0.002 * (1 + at),
        )
        for at in range(0, 1800, 10)
    ]


def test_a_good_run_misses_nothing() -> None:
    assert all(holds for holds, _ in outcome().verdicts())


@pytest.mark.parametrize(
    ("changed", "missed"),
    [
        ({"samples": growing()}, ["memory in the second half", "p99 of the second half"]),
        ({"after": {"tasks": 2, "descriptors": 2, "connections": 0}}, ["back where it began"]),
        ({"wrong": ["an echo of another message"]}, ["1 messages"]),
        ({"account": Account(sent=1, wrong=["twice"])}, ["1 messages"]),
        ({"log": "ERROR\nTraceback (most recent call last):"}, ["2 lines of warnings"]),
    ],
)
def test_what_is_missed_is_named(changed: dict[str, object], missed: list[str]) -> None:
    words = [words for holds, words in outcome(**changed).verdicts() if not holds]
    assert len(words) == len(missed)
    for word, beginning in zip(words, missed, strict=True):
        assert word.startswith(beginning)
