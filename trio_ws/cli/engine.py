"""``--engine``: what connections run on, and which options that rules out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .failures import Usage
from .options.engine import EngineName

if TYPE_CHECKING:
    from .._engines import Engine


def engine_of(name: EngineName, **others: object) -> Engine:
    """The engine called *name*.

    Args:
      name: what was asked for.
      others: what was asked for by the options that only the built-in engine knows.

    Raises:
      Usage: it is another one, and one of them was given.
    """
    if name != EngineName.BUILT_IN:
        for option, value in others.items():
            if value:
                option = option.replace("_", "-")
                raise Usage(f"--{option} is not supported by --engine {name}")
    # Workers of `bench` have it from JSON, as plain text.
    return EngineName(name).value
