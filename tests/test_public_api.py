"""The public face: complete, documented, typed."""

from __future__ import annotations

import ast
import inspect
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest

import trio_ws
import trio_ws.backplane
import trio_ws.classification
import trio_ws.instrumentation
import trio_ws.instrumentation.prometheus
import trio_ws.protocol
import trio_ws.slow_consumers
import trio_ws.testing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MODULES = [
    trio_ws,
    trio_ws.backplane,
    trio_ws.classification,
    trio_ws.instrumentation,
    trio_ws.instrumentation.prometheus,
    trio_ws.protocol,
    trio_ws.slow_consumers,
    trio_ws.testing,
]
#: Modules that are no faces: what they import is not their own.
WITH_CODE = {
    trio_ws.classification,
    trio_ws.instrumentation.prometheus,
    trio_ws.slow_consumers,
    trio_ws.testing,
}
#: Public modules that are names of the face as well.
PUBLIC_MODULES = {"backplane", "classification", "slow_consumers"}
PUBLIC_NAMES = [(module, name) for module in MODULES for name in module.__all__]

#: Aliases of types have no docstring of their own.
ALIASES = {"Event", "HubEvent", "ReconnectEvent", "Record", "ShouldRetry", "NO_HOOKS"}


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


def test_each_name_of_the_face_has_one_home() -> None:
    names = [name for home in trio_ws._HOMES.values() for name in home]
    assert len(names) == len(set(names))
    assert {*names, *PUBLIC_MODULES} == set(trio_ws.__all__)
    for home, names_there in trio_ws._HOMES.items():
        module = import_module(f"trio_ws.{home}")
        for name in names_there:
            assert getattr(trio_ws, name) is getattr(module, name)
            # Where it is defined, that is, and not where it is imported again.
            assert getattr(trio_ws, name).__module__ == module.__name__


def test_type_checkers_see_what_is_there() -> None:
    tree = ast.parse(Path(trio_ws.__file__).read_text())
    seen: dict[str, set[str]] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level:
            assert all(alias.asname is None for alias in node.names)
            seen.setdefault(node.module or "", set()).update(alias.name for alias in node.names)
    assert seen.pop("") == PUBLIC_MODULES
    assert seen == {home: set(names) for home, names in trio_ws._HOMES.items()}


def test_the_modules_of_the_face_need_no_import_of_their_own() -> None:
    program = (
        "import trio_ws\n"
        "trio_ws.classification.default, trio_ws.instrumentation.Hook\n"
        "trio_ws.protocol.Opcode, trio_ws.testing.open_pair\n"
        "trio_ws.backplane.MemoryBackplane, trio_ws.slow_consumers.conflate"
    )
    run_python(program)


@pytest.mark.parametrize("name", ["Limits", "testing"])
def test_a_name_is_fetched_once(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    thing = getattr(trio_ws, name)
    monkeypatch.delattr(trio_ws, name)
    assert getattr(trio_ws, name) is thing
    assert vars(trio_ws)[name] is thing


def test_the_face_lists_its_names() -> None:
    assert set(trio_ws.__all__) | trio_ws._MODULES <= set(dir(trio_ws))
    assert dir(trio_ws) == sorted(set(dir(trio_ws)))
    everything: dict[str, object] = {}
    exec("from trio_ws import *", everything)
    assert set(trio_ws.__all__) <= set(everything)


def test_an_unknown_name_is_an_attribute_error() -> None:
    # Type checkers must know it, too: where they did not, mypy would find the comment unused.
    with pytest.raises(AttributeError, match="module 'trio_ws' has no attribute 'conect'"):
        trio_ws.conect  # type: ignore[attr-defined]  # noqa: B018
    with pytest.raises(ImportError, match="cannot import name 'conect'"):
        from trio_ws import conect  # type: ignore[attr-defined]  # noqa: F401
    assert not hasattr(trio_ws, "__path_of_nothing__")


def test_importing_the_face_imports_nothing_else() -> None:
    run_python(
        "import sys, trio_ws\n"
        "heavy = {'trio', 'h11', 'ssl', 'asyncio'} & set(sys.modules)\n"
        "ours = {name for name in sys.modules if name.startswith('trio_ws.')}\n"
        "assert not heavy and not ours, (heavy, ours)\n"
        "dir(trio_ws)\n"
        "assert not {'trio', 'h11', 'ssl'} & set(sys.modules), 'looking at it imports'\n"
        "trio_ws.connect\n"
        "assert 'trio' in sys.modules\n"
        "assert 'connect' in vars(trio_ws), 'the next time it is there'"
    )


def run_python(program: str) -> None:
    """Run *program* in an interpreter of its own, which has imported nothing yet."""
    subprocess.run([sys.executable, "-c", program], check=True)


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_names_are_listed_once_and_in_order(module: ModuleType) -> None:
    assert list(module.__all__) == sorted(set(module.__all__), key=_as_ruff_sorts)


def _as_ruff_sorts(name: str) -> tuple[int, str]:
    """Constants, then classes, then functions."""
    if name.isupper():
        return 0, name
    return (1, name) if name[0].isupper() else (2, name)
