"""From the docstrings of this code base to what Sphinx understands.

- Sections of one paragraph, such as ``Cancellation:``, get a bold title.
- ``Raises:`` may name several exceptions in one entry; Sphinx wants one each.
- A public thing is at home in a private module, and annotations name it by its last name: a
  reference that leads nowhere is led to the one documented object of that name.
"""

from __future__ import annotations

import builtins
import re
from typing import TYPE_CHECKING, Any

from docutils.nodes import Text
from sphinx.addnodes import (
    desc_annotation,
    desc_sig_keyword,
    pending_xref,
    pending_xref_condition,
)
from sphinx.util.nodes import make_refnode

if TYPE_CHECKING:
    from collections.abc import Iterator

    from docutils import nodes
    from sphinx.application import Sphinx
    from sphinx.environment import BuildEnvironment

TITLED = re.compile(r"^(Cancellation|Concurrency|Complexity): ")
#: A character that stands for a colon and a space while napoleon looks at the text.
COLON = "\ue000"
RAISES = re.compile(r"^:raises ([^:]+, [^:]+): ?(.*)$")


def _before(app: Sphinx, what: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
    """Before napoleon, which takes what stands before a colon for the type of an attribute."""
    if what in {"attribute", "property", "data"} and lines:
        lines[0] = lines[0].replace(": ", COLON)


def _after(app: Sphinx, what: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
    """After napoleon, which leaves line breaks within lines."""
    mended = [TITLED.sub(r"**\1:** ", line) for one in lines for line in one.split("\n")]
    lines[:] = _split_raises(_lift_types([line.replace(COLON, ": ") for line in mended]))


def _lift_types(lines: list[str]) -> list[str]:
    """Types of attributes where Sphinx reads them as Python: beside the name."""
    lifted: list[str] = []
    attribute = 0
    for line in lines:
        if line.startswith(".. attribute::"):
            # Several that are told of together.
            line = line.replace(", ", "\n" + " " * len(".. attribute:: "))
            lifted += line.split("\n")
            attribute = len(lifted)
            continue
        if attribute and line.startswith("   :type:"):
            lifted.insert(attribute, line)
        else:
            lifted.append(line)
    return lifted


def _sign(
    app: Sphinx,
    what: str,
    name: str,
    thing: Any,
    options: Any,
    signature: str | None,
    returns: str | None,
) -> tuple[str | None, str | None]:
    """Leave out defaults that are no Python, and say what a context manager is."""
    shown = signature and re.sub(r"=\s*<[^<>]*>", " = ...", signature)
    if returns and hasattr(thing, "__wrapped__"):
        returns = returns.replace("AsyncGenerator[", "AbstractAsyncContextManager[")
    return shown, returns


def _split_raises(lines: list[str]) -> Iterator[str]:
    index = 0
    while index < len(lines):
        match = RAISES.match(lines[index])
        end = index + 1
        while match and end < len(lines) and lines[end].startswith("    "):
            end += 1
        if match:
            for name in match[1].split(", "):
                yield f":raises {name}: {match[2]}"
                yield from lines[index + 1 : end]
        else:
            yield lines[index]
        index = end


def _leave_out_abstract(app: Sphinx, doctree: nodes.document) -> None:
    """Nobody who calls a method of an interface needs to know that it is abstract."""
    for keyword in list(doctree.findall(desc_sig_keyword)):
        if keyword.astext() == "abstractmethod":
            annotation = keyword.parent
            rest = annotation.children[annotation.index(keyword) + 2 :]
            annotation.replace_self([desc_annotation("", "", *rest)] if rest else [])


def _set_dashes(app: Sphinx, doctree: nodes.document) -> None:
    """A dash between a parameter and what is said of it, where Sphinx has two hyphens."""
    for text in list(doctree.findall(Text)):
        if text == " -- ":
            text.parent.replace(text, Text(" \N{EN DASH} "))


def _leave_builtins(app: Sphinx, doctree: nodes.document) -> None:
    """Take ``bytes`` for the type, which has no page here, and not for some attribute's name."""
    for node in list(doctree.findall(pending_xref)):
        if node.get("refdomain") == "py" and hasattr(builtins, node["reftarget"]):
            shown: nodes.Element = node
            if isinstance(node.children[0], pending_xref_condition):
                shown = node.children[0]
            node.replace_self(shown.children)


def _find(
    app: Sphinx, env: BuildEnvironment, node: pending_xref, content: nodes.Element
) -> nodes.Element | None:
    """What a name stands for that is not where it is looked for."""
    if node.get("refdomain") != "py":
        return None
    domain = env.domains.python_domain
    target = node["reftarget"]
    # Also a member of it: `WebSocket.send`.
    for length in (1, 2):
        last = ".".join(target.split(".")[-length:])
        found = {
            name
            for name, entry in domain.objects.items()
            if f".{name}".endswith(f".{last}") and not entry.aliased
        }
        # A name of the face goes before one of a module below.
        face = {name for name in found if name == f"trio_ws.{last}"}
        if len(face or found) == 1 and _may_mean(target):
            entry = domain.objects[(face or found).pop()]
            return make_refnode(
                app.builder, node["refdoc"], entry.docname, entry.node_id, content, target
            )
    return None


def _may_mean(target: str) -> bool:
    return "." not in target or target.startswith("trio_ws") or target[0].isupper()


def setup(app: Sphinx) -> dict[str, bool]:
    """Called by Sphinx."""
    app.connect("autodoc-process-docstring", _before, priority=100)
    app.connect("autodoc-process-docstring", _after, priority=900)
    app.connect("autodoc-process-signature", _sign)
    app.connect("doctree-read", _leave_builtins)
    app.connect("doctree-read", _leave_out_abstract)
    app.connect("doctree-read", _set_dashes)
    app.connect("missing-reference", _find)
    return {"parallel_read_safe": True}
