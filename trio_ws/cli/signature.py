"""From a dataclass of options to a command: each option is written down once.

Typer reads a command's options from the signature of a function. Those of ``client`` alone are
several dozen, many of them shared with other commands; so they stand as fields of frozen
dataclasses, which commands inherit from each other, and the signature is made from the fields.
"""

from __future__ import annotations

import dataclasses
import inspect
import os
from copy import copy
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, get_args, get_origin, get_type_hints

from typer.models import OptionInfo, ParameterInfo

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

_O = TypeVar("_O")

#: Kubernetes sets these for a service called trio-ws, to something else.
_NOT_OURS = frozenset({"TRIO_WS_PORT", "TRIO_WS_SERVICE_HOST", "TRIO_WS_SERVICE_PORT"})


def takes(options: type[_O]) -> Callable[[Callable[[_O], None]], Callable[..., None]]:
    """A decorator: the function below it takes *options*, and as a command, its fields.

    Each field is ``Annotated`` with Typer's ``Option`` or ``Argument``. A field of type
    ``tuple[T, ...]`` may be given several times. Options that are not given are taken from
    ``TRIO_WS_<COMMAND>_<FIELD>``, or else ``TRIO_WS_<FIELD>``; there, several are lines.
    """
    hints = get_type_hints(options, include_extras=True)
    fields = dataclasses.fields(options)  # type: ignore[arg-type]

    def decorate(command: Callable[[_O], None]) -> Callable[..., None]:
        name = command.__name__
        repeated = {field.name for field in fields if _is_repeated(hints[field.name])}
        from_variables = {field for field in repeated if _is_option(hints[field])}

        def parsed(**values: Any) -> None:
            for field in repeated:
                values[field] = tuple(values[field] or ())
            for field in from_variables:
                values[field] = values[field] or tuple(_lines_of(_variables(name, field)))
            command(options(**values))

        parsed.__name__ = name
        parsed.__doc__ = command.__doc__
        parsed.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
            [_parameter(field, hints[field.name], name) for field in fields]
        )
        return parsed

    return decorate


def _is_repeated(hint: Any) -> bool:
    return get_origin(get_args(hint)[0]) is tuple


def _is_option(hint: Any) -> bool:
    return isinstance(get_args(hint)[1], OptionInfo)


def _parameter(field: dataclasses.Field[Any], hint: Any, command: str) -> inspect.Parameter:
    kind, info = get_args(hint)
    default = inspect.Parameter.empty if field.default is dataclasses.MISSING else field.default
    if _is_repeated(hint):
        kind, default = list[get_args(kind)[0]], None  # type: ignore[misc]
    else:
        info = _with_variables(info, _variables(command, field.name))
    return inspect.Parameter(
        field.name,
        inspect.Parameter.KEYWORD_ONLY,
        default=default,
        annotation=Annotated[kind, info],
    )


def _with_variables(info: ParameterInfo, variables: Sequence[str]) -> ParameterInfo:
    info = copy(info)
    if isinstance(info, OptionInfo) and info.envvar is None:
        info.envvar = list(variables)
        # One rule, told once, rather than two names beside every option.
        info.show_envvar = False
    return info


def _variables(command: str, field: str) -> Sequence[str]:
    names = (f"TRIO_WS_{command}_{field}".upper(), f"TRIO_WS_{field}".upper())
    return [name for name in names if name not in _NOT_OURS]


def _lines_of(variables: Sequence[str]) -> Iterator[str]:
    for name in variables:
        lines = [line for line in os.environ.get(name, "").splitlines() if line]
        if lines:
            yield from lines
            return
