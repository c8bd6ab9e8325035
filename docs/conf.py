"""How Sphinx builds the manual: ``make docs``."""

from __future__ import annotations

import sys
from importlib.metadata import version as version_of
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

project = "trio-ws"
author = "The trio-ws developers"
version = release = version_of("trio-ws")

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "command_reference",
    "docstrings",
]
needs_sphinx = "8.2"
# Two dashes may begin an option.
smartquotes_action = "qe"

# Docstrings name things in single backticks; ``nitpicky`` holds each to exist.
default_role = "py:obj"
nitpicky = True
#: Other projects' names, which have no page here.
nitpick_ignore_regex = [
    ("py:.*", r"(collections\.abc|math|os|prometheus_client|random|ssl|trio|typing)\..*"),
    ("py:.*", r"AbstractAsyncContextManager|PathLike|Random|WebSocketConnection"),
    ("py:.*", r"trio_ws\._routing\._H"),
]

autodoc_default_options = {"members": True}
autodoc_inherit_docstrings = False
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
#: Told by their names, which have a page of their own: reference/api/types.md.
autodoc_type_aliases = {
    name: name
    for name in (
        "Address",
        "Buffer",
        "Engine",
        "HeadersLike",
        "Offline",
        "ProcessRequest",
        "RouteHandler",
        "Sendable",
        "ShouldRetry",
        "SubprotocolChoice",
    )
}
autodoc_typehints_format = "short"
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 88
napoleon_numpy_docstring = False
napoleon_use_rtype = False

myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 4

html_theme = "furo"
html_title = "trio-ws"
html_show_copyright = False
html_show_sphinx = False
html_static_path = ["_static"]
html_css_files = ["manual.css"]
# Without the prompt and without the output.
copybutton_prompt_text = "$ "
copybutton_only_copy_prompt_lines = True
