"""What samples say."""

from __future__ import annotations

import math
import random

import pytest

from soak.samples import Sample, second_half, slope, steadiness


def samples(seconds: int, growth: float, noise: float = 0.0, p99: float = 0.01) -> list[Sample]:
    """*growth* is the share that is added in an hour."""
    chance = random.Random(0)
    return [
        Sample(
            at=at,
            resident=int(1e8 * (1 + growth * at / 3600) + chance.gauss(0, noise)),
            tasks=1,
            descriptors=1,
            connections=1,
            p50=p99 / 2,
            p99=p99 if at < seconds / 2 else 2 * p99,
        )
        for at in range(seconds)
    ]


def test_growth_is_seen() -> None:
    found = slope(samples(1000, 0.05))
    assert found.per_hour == pytest.approx(0.05, rel=0.02)
    assert found.error < 1e-4
    assert str(found).startswith("+4.9")


@pytest.mark.parametrize("growth", [0.0, 0.01, 0.1])
def test_noise_is_told_from_growth(growth: float) -> None:
    found = slope(samples(1000, growth, noise=2e5))
    assert abs(found.per_hour - growth) < 2 * found.error
    assert 0 < found.error < 0.01


def test_few_samples_do() -> None:
    assert slope(samples(3, 1.0)).per_hour == pytest.approx(1, rel=0.01)


def test_halves() -> None:
    taken = samples(10, 0)
    assert [sample.at for sample in second_half(taken)] == [5, 6, 7, 8, 9]
    assert steadiness(taken) == pytest.approx(2)


def test_too_few_say_nothing() -> None:
    assert slope(samples(1, 0.0)).error == math.inf
    assert steadiness(samples(1, 0.0)) == math.inf
    assert steadiness(samples(10, 0.0, p99=0.0)) == math.inf
