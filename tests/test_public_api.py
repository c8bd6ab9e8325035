"""The public face: complete, documented, typed."""

from __future__ import annotations

import inspect
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest

import trio_ws
import trio_ws.classification
import trio_ws.instrumentation
import trio_ws.instrumentation.prometheus
import trio_ws.protocol
import trio_ws.testing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MODULES = [
    trio_ws,
    trio_ws.classification,
    trio_ws.instrumentation,
    trio_ws.instrumentation.prometheus,
    trio_ws.protocol,
    trio_ws.testing,
]
#: Modules that are no faces: what they import is not their own.
WITH_CODE = {trio_ws.classification, trio_ws.instrumentation.prometheus, trio_ws.testing}
PUBLIC_NAMES = [(module, name) for module in MODULES for name in module.__all__]

#: Aliases of types have no docstring of their own.
ALIASES = {"Event", "ReconnectEvent", "Record", "ShouldRetry", "NO_HOOKS"}


def functions_of(thing: object) -> Iterator[tuple[str, Callable[..., Any]]]:
    """The functions behind a public thing: itself, or its public methods and properties."""
    if inspect.isfunction(thing):
        yield thing.__name__, thing
    elif inspect.isclass(thing):
        for name, member in vars(thing).items():
            function = function_behind(member)
            # A Protocol's __init__ is typing's own.
            is_public = not name.startswith("_") or (
                name == "__init__" and not getattr(thing, "_is_protocol", False)
            )
            if function is not None and is_public:
                yield f"{thing.__name__}.{name}", function


def function_behind(member: object) -> Callable[..., Any] | None:
    """The function of a method or property; None for anything else."""
    if isinstance(member, property):
        return member.fget
    if isinstance(member, classmethod | staticmethod):
        return function_behind(member.__func__)
    # A typing.Protocol is given an __init__ that is not its own.
    return member if inspect.isfunction(member) and member.__module__ != "typing" else None


@pytest.mark.parametrize(("module", "name"), PUBLIC_NAMES)
def test_each_name_exists_and_is_documented(module: ModuleType, name: str) -> None:
    thing = getattr(module, name)
    assert name in ALIASES or inspect.getdoc(thing), f"{name} has no docstring"


@pytest.mark.parametrize(("module", "name"), PUBLIC_NAMES)
def test_each_method_and_property_is_documented(module: ModuleType, name: str) -> None:
    thing = getattr(module, name)
    for qualified_name, _ in functions_of(thing):
        member = qualified_name.rpartition(".")[2]
        if member != "__init__":
            # getdoc() finds what is inherited, too.
            documented = getattr(thing, member, thing)
            assert inspect.getdoc(documented), f"{qualified_name} has no docstring"


@pytest.mark.parametrize(("module", "name"), PUBLIC_NAMES)
def test_each_function_is_annotated(module: ModuleType, name: str) -> None:
    for qualified_name, function in functions_of(getattr(module, name)):
        signature = inspect.signature(function)
        assert signature.return_annotation is not signature.empty, qualified_name
        for parameter in signature.parameters.values():
            if parameter.name not in {"self", "cls"}:
                assert parameter.annotation is not parameter.empty, f"{qualified_name}: {parameter}"


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_nothing_public_is_missing(module: ModuleType) -> None:
    public = {
        name
        for name, thing in vars(module).items()
        if not name.startswith("_")
        and not isinstance(thing, ModuleType)
        and getattr(thing, "__module__", "").startswith("trio_ws")
    }
    if module in WITH_CODE:
        public = {name for name in public if getattr(module, name).__module__ == module.__name__}
    assert public <= set(module.__all__)


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_names_are_listed_once_and_in_order(module: ModuleType) -> None:
    assert list(module.__all__) == sorted(set(module.__all__), key=_as_ruff_sorts)


def _as_ruff_sorts(name: str) -> tuple[int, str]:
    """Constants, then classes, then functions."""
    if name.isupper():
        return 0, name
    return (1, name) if name[0].isupper() else (2, name)
