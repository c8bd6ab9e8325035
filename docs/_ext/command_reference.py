"""The reference of the command line, from the options that Typer is given.

The page ``reference/command-line.md`` has a line ``<!-- commands -->``; what stands here is put
in its place when the page is read.
"""

from __future__ import annotations

import dataclasses
import enum
import inspect
import re
from importlib import import_module
from typing import TYPE_CHECKING, Any, get_args, get_type_hints

from typer.models import ArgumentInfo, OptionInfo, ParameterInfo

from trio_ws.cli.app import COMMANDS, Command

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sphinx.application import Sphinx

PAGE = "reference/command-line"
MARK = "<!-- commands -->"
#: Another option, in the help of one.
MENTIONED = re.compile(r"(?<!\w)(--[a-z][a-z-]*[a-z])")


def commands() -> str:
    """All commands with all of their options, as MyST."""
    return "\n".join(line for command in COMMANDS for line in _command(command))


def _command(command: Command) -> Iterator[str]:
    parameters = list(_parameters(command))
    usage = " ".join(one.usage for one in parameters if not one.is_option)
    yield f"## trio-ws {command.name}\n"
    yield f"```{{program}} trio-ws {command.name}\n```\n"
    yield f"```text\ntrio-ws {command.name} [OPTIONS] {usage}\n```\n"
    yield _escaped(inspect.cleandoc(command.help)) + "\n"
    yield "Examples:\n\n```sh\n" + "\n".join(command.examples) + "\n```\n"
    panel = None
    for one in sorted(parameters, key=lambda one: _order(one, parameters)):
        if one.panel != panel:
            panel = one.panel
            yield f"```{{rubric}} {panel}\n```\n"
        yield one.directive()


def _order(one: Parameter, everything: list[Parameter]) -> tuple[bool, int]:
    """Arguments first; then by panel, in the order in which panels first come, as Typer does."""
    panels = [other.panel for other in everything]
    return one.is_option, panels.index(one.panel)


@dataclasses.dataclass(frozen=True)
class Parameter:
    """One option or argument.

    Attributes:
      name: of the field that it fills.
      type: what the field holds, ``None`` and repetition apart.
      repeated: whether it may be given several times.
      default: the field's, or ``dataclasses.MISSING``.
      info: what Typer is told.
    """

    name: str
    type: Any
    repeated: bool
    default: object
    info: ParameterInfo

    @property
    def is_option(self) -> bool:
        return isinstance(self.info, OptionInfo)

    @property
    def panel(self) -> str:
        return self.info.rich_help_panel or ("Options" if self.is_option else "Arguments")

    @property
    def usage(self) -> str:
        """An argument as the line of usage has it."""
        name = self.info.metavar or self.name.upper()
        optional = self.default is not dataclasses.MISSING and not name.startswith("[")
        return (f"[{name}]" if optional else name) + ("..." if self.repeated else "")

    def directive(self) -> str:
        """What Sphinx makes an entry of, with an anchor and a place in the index."""
        return f"````{{option}} {self._signature()}\n{self._text()}\n````\n"

    def _signature(self) -> str:
        if not self.is_option:
            return self.usage
        value = self._metavar()
        spellings = [one.strip() for given in self._spellings() for one in given.split("/")]
        return ", ".join(f"{one} {value}".rstrip() for one in spellings)

    def _spellings(self) -> list[str]:
        # Typer takes the first spelling for its `default`, where the type is Annotated.
        given = (getattr(self.info, "default", None), *(self.info.param_decls or ()))
        spellings = [one for one in given if isinstance(one, str) and one.startswith("-")]
        dashed = self.name.replace("_", "-")
        if any(one.startswith("--") for one in spellings):
            return spellings
        return [f"--{dashed}/--no-{dashed}" if self.type is bool else f"--{dashed}", *spellings]

    def _metavar(self) -> str:
        if self.type is bool:
            return ""
        if self.info.metavar:
            return self.info.metavar
        if isinstance(self.type, type) and issubclass(self.type, enum.Enum):
            return "|".join(str(member.value) for member in self.type)
        names = {"int": "INTEGER", "float": "NUMBER", "str": "TEXT", "Path": "PATH"}
        return names[self.type.__name__]

    def _text(self) -> str:
        return _escaped(" ".join(filter(None, (self.info.help, self._bounds(), self._default()))))

    def _bounds(self) -> str:
        low, high = self.info.min, self.info.max
        if low is None and high is None:
            return ""
        if high is None:
            return f"At least {low:g}."
        return f"At most {high:g}." if low is None else f"From {low:g} to {high:g}."

    def _default(self) -> str:
        value = self.default.value if isinstance(self.default, enum.Enum) else self.default
        silent = value in (None, (), "") or value is False or value is dataclasses.MISSING
        if silent or not self.info.show_default:
            return ""
        return "On by default." if value is True else f"Default: `{value}`."


def _parameters(command: Command) -> Iterator[Parameter]:
    module, _, name = f"trio_ws.cli.options.{command.options}".rpartition(".")
    options = getattr(import_module(module), name)
    hints = get_type_hints(options, include_extras=True)
    for field in dataclasses.fields(options):
        kind, info = get_args(hints[field.name])
        assert isinstance(info, OptionInfo | ArgumentInfo)
        if info.hidden:
            continue
        parts = [part for part in get_args(kind) if part not in (type(None), ...)]
        yield Parameter(
            field.name,
            parts[0] if parts else kind,
            getattr(kind, "__origin__", None) is tuple,
            field.default,
            info,
        )


def _escaped(text: str) -> str:
    """*text* where Markdown reads it: signs that mean something there are not meant so."""
    pieces = text.split("`")
    for index in range(0, len(pieces), 2):
        for sign in "\\*_[]<>{":
            pieces[index] = pieces[index].replace(sign, f"\\{sign}")
        pieces[index] = MENTIONED.sub(r"`\1`", pieces[index])
    return "`".join(pieces)


def _fill_in(app: Sphinx, docname: str, source: list[str]) -> None:
    if docname == PAGE:
        source[0] = source[0].replace(MARK, commands())


def setup(app: Sphinx) -> dict[str, bool]:
    """Called by Sphinx."""
    app.connect("source-read", _fill_in)
    return {"parallel_read_safe": True}
