"""The public face: complete, documented, typed."""

from __future__ import annotations

import inspect
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest

import trio_ws
import trio_ws.protocol
import trio_ws.testing

if TYPE_CHECKING:
    from collections.abc import Iterator

MODULES = [trio_ws, trio_ws.protocol, trio_ws.testing]
#: Aliases of types have no docstring of their own.
ALIASES = {"Event"}


PUBLIC_NAMES = [(module, name) for module in MODULES for name in module.__all__]


def members(cls: type) -> Iterator[tuple[str, Any]]:
    for name, member in vars(cls).items():
        if not name.startswith("_") and not inspect.isdatadescriptor(member):
            yield name, member


@pytest.mark.parametrize(("module", "name"), PUBLIC_NAMES)
def test_each_name_exists_and_is_documented(module: ModuleType, name: str) -> None:
    thing = getattr(module, name)
    if name in ALIASES:
        return
    assert inspect.getdoc(thing), f"{name} has no docstring"
    if inspect.isclass(thing):
        for member_name, member in members(thing):
            if callable(member) or isinstance(member, classmethod):
                documented = getattr(thing, member_name)
                assert inspect.getdoc(documented), f"{name}.{member_name} has no docstring"
        for member_name, member in vars(thing).items():
            if isinstance(member, property) and not member_name.startswith("_"):
                assert inspect.getdoc(getattr(thing, member_name)), f"{name}.{member_name}"


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_nothing_public_is_missing(module: ModuleType) -> None:
    public = {
        name
        for name, thing in vars(module).items()
        if not name.startswith("_")
        and not isinstance(thing, ModuleType)
        and getattr(thing, "__module__", "").startswith("trio_ws")
    }
    if module is trio_ws.testing:
        public = {name for name in public if getattr(module, name).__module__ == module.__name__}
    assert public <= set(module.__all__)
    assert list(module.__all__) == sorted(module.__all__, key=_as_ruff_sorts)


def _as_ruff_sorts(name: str) -> tuple[int, str]:
    if name.isupper():
        return 0, name
    return (1, name) if name[0].isupper() else (2, name)


@pytest.mark.parametrize(("module", "name"), PUBLIC_NAMES)
def test_each_function_is_annotated(module: ModuleType, name: str) -> None:
    thing = getattr(module, name)
    functions = [thing] if inspect.isfunction(thing) else []
    if inspect.isclass(thing):
        functions = [member for _, member in members(thing) if inspect.isfunction(member)]
    for function in functions:
        signature = inspect.signature(function)
        assert signature.return_annotation is not inspect.Signature.empty, function
        for parameter in list(signature.parameters.values()):
            assert parameter.name == "self" or parameter.annotation is not parameter.empty
