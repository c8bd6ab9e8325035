"""Routing: from a request's path to a handler."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeVar
from urllib.parse import unquote

from .protocol.http import Response

if TYPE_CHECKING:
    from ._websocket import WebSocket
    from .protocol.http import Request

#: Called with the connection, and the path's parameters by name.
RouteHandler: TypeAlias = Callable[..., Awaitable[object]]
_H = TypeVar("_H", bound=Callable[..., Awaitable[Any]])

_PARAMETER: Final = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}")


class _Node:
    """What may follow one prefix of segments."""

    __slots__ = ("handler", "names", "parameter", "segments")

    def __init__(self) -> None:
        self.segments: dict[str, _Node] = {}
        self.parameter: _Node | None = None
        self.handler: RouteHandler | None = None
        self.names: tuple[str, ...] = ()


class Router:
    """A handler for `serve` that hands each connection to the handler of its path.

    ::

        router = trio_ws.Router()

        @router.route("/rooms/{room}")
        async def chat(ws: trio_ws.WebSocket, room: str) -> None: ...

        await trio_ws.serve(router, "127.0.0.1", 8765)

    ``{name}`` stands for one whole segment, which is handed over decoded, as a keyword
    argument. A segment that is spelled out takes precedence over a parameter, from left to
    right. Anything else is answered 404, before it becomes a connection.
    """

    def __init__(self) -> None:
        self._root = _Node()

    def route(self, path: str) -> Callable[[_H], _H]:
        """A decorator that adds the function below it. See `add`."""

        def register(handler: _H) -> _H:
            self.add(path, handler)
            return handler

        return register

    def add(self, path: str, handler: RouteHandler) -> None:
        """Serve *path* with *handler*.

        Args:
          path: exact, with ``{name}`` for segments that vary. A slash at the end matters.
          handler: an async function of the connection and the path's parameters.

        Raises:
          ValueError: the path is malformed, or served already.
        """
        names: list[str] = []
        node = self._root
        for segment in _segments(path):
            match = _PARAMETER.fullmatch(segment)
            if match is None:
                if "{" in segment or "}" in segment:
                    raise ValueError(f"{path}: a parameter is a whole segment, like /{{name}}")
                node = node.segments.setdefault(unquote(segment), _Node())
                continue
            if match[1] in names:
                raise ValueError(f"{path}: the parameter {match[1]} is given twice")
            names.append(match[1])
            node.parameter = node.parameter or _Node()
            node = node.parameter
        if node.handler is not None:
            raise ValueError(f"{path}: a handler serves this path already")
        node.handler = handler
        node.names = tuple(names)

    def process_request(self, request: Request) -> Response | None:
        """Answer 404 where no handler serves the path."""
        if self._find(request.path) is None:
            return Response.text(404, "There is nothing at this path\n")
        return None

    async def __call__(self, ws: WebSocket) -> None:
        """Run the handler of the connection's path."""
        found = self._find(ws.request.path)
        # serve() has asked process_request; this is for whoever calls a router by hand.
        if found is None:
            await ws.aclose(1008, "nothing at this path")
            return
        handler, parameters = found
        await handler(ws, **parameters)

    def _find(self, path: str) -> tuple[RouteHandler, dict[str, str]] | None:
        if not path.startswith("/"):
            return None
        # Split first, decode then: an encoded slash does not separate.
        segments = [unquote(segment) for segment in path[1:].split("/")]
        return _walk(self._root, segments, 0, [])


def _walk(
    node: _Node, segments: list[str], depth: int, values: list[str]
) -> tuple[RouteHandler, dict[str, str]] | None:
    if depth == len(segments):
        if node.handler is None:
            return None
        return node.handler, dict(zip(node.names, values, strict=True))
    segment = segments[depth]
    exact = node.segments.get(segment)
    if exact is not None:
        found = _walk(exact, segments, depth + 1, values)
        if found is not None:
            return found
    if node.parameter is not None and segment:
        return _walk(node.parameter, segments, depth + 1, [*values, segment])
    return None


def _segments(path: str) -> list[str]:
    if not path.startswith("/"):
        raise ValueError(f"{path!r}: a path begins with a slash")
    if "?" in path or "#" in path:
        raise ValueError(f"{path}: a route has no query and no fragment")
    return path[1:].split("/")
