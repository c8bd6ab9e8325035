"""``--console``: a page at ``/`` to try the server from a browser.

The page is one answer without anything from elsewhere: the style and the script stand in it, and
its content security policy lets in these two by their hashes, and nothing else.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
from importlib import resources
from typing import TYPE_CHECKING

from ...protocol.http import Headers, Response

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..._http import ProcessRequest
    from ...protocol.http import Request


def console(*, path: str = "/", subprotocols: Sequence[str] = (), echo: bool) -> ProcessRequest:
    """A hook that answers ``GET`` and ``HEAD`` at exactly ``/`` with the page.

    Args:
      path: where the server's WebSocket is.
      subprotocols: what the page offers at first.
      echo: whether every message is answered with itself: then the page measures round trips.
    """
    settings = {"path": path, "subprotocols": list(subprotocols), "echo": echo}
    response = _page(settings)

    def process_request(request: Request) -> Response | None:
        if request.path != "/" or "websocket" in request.headers.get("upgrade", "").lower():
            return None
        if request.method not in {"GET", "HEAD"}:
            return Response.text(405, "Only GET and HEAD are served\n", [("Allow", "GET, HEAD")])
        return response

    return process_request


def _page(settings: dict[str, object]) -> Response:
    style, script = _read("console.css"), _read("console.js")
    body = (
        _read("index.html")
        .replace("{settings}", html.escape(json.dumps(settings)))
        .replace("/*{style}*/", style)
        .replace("/*{script}*/", script)
    )
    policy = (
        f"default-src 'none'; script-src {_hash_of(script)}; style-src {_hash_of(style)}; "
        # The page may try any server.
        "connect-src ws: wss:; img-src data:; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    headers = [
        ("Content-Type", "text/html; charset=utf-8"),
        ("Content-Security-Policy", policy),
        ("X-Content-Type-Options", "nosniff"),
        ("Referrer-Policy", "no-referrer"),
        ("Cache-Control", "no-store"),
    ]
    return Response(200, Headers(headers), body.encode())


def _read(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")


def _hash_of(source: str) -> str:
    digest = hashlib.sha256(source.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"
