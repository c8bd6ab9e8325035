"""Durations and counts as people read them."""

from __future__ import annotations

from typing import Final

_UNITS: Final = ((1.0, "s"), (1e-3, "ms"), (1e-6, "us"))


def shown(seconds: float) -> str:
    """*seconds* to three digits, in the unit that fits: ``87 us``, ``1.25 ms``, ``12.5 s``."""
    # What would be rounded up to the next unit is shown in it.
    size, unit = next((pair for pair in _UNITS if seconds >= pair[0] * 0.9995), _UNITS[-1])
    return f"{three_digits(seconds / size)} {unit}"


def milliseconds(seconds: float) -> str:
    """*seconds* as a number of milliseconds, to three digits or better."""
    return three_digits(seconds * 1000)


def three_digits(value: float) -> str:
    """*value*, not negative, to three digits, without an exponent."""
    decimals = 0 if value >= 99.95 else 1 if value >= 9.995 else 2 if value >= 0.9995 else 3
    return f"{value:.{decimals}f}"


def counted(number: int, thing: str, things: str | None = None) -> str:
    """*number* with what is counted: ``1 ping``, ``12,000 pings``, ``2 replies``."""
    return f"{number:,} {thing if number == 1 else things or f'{thing}s'}"
