"""``MODULE:HANDLER``: an application's own handler."""

from __future__ import annotations

import importlib
import inspect
import os
import sys
import traceback
from contextlib import nullcontext
from functools import reduce
from typing import TYPE_CHECKING, Any

import trio

from ..failures import Usage
from .mode import Mode

if TYPE_CHECKING:
    from collections.abc import Awaitable
    from types import ModuleType

    from ..._server import Handler
    from ..._websocket import WebSocket
    from ...protocol.http import Request, Response


class Application(Mode):
    """Hands connections to a handler, and requests to its ``process_request``, if it has one.

    A handler that is an async context manager is entered before the first connection, and left
    after the last.
    """

    def __init__(self, handler: Handler) -> None:
        super().__init__()
        self._handler = handler
        self._process_request = getattr(handler, "process_request", None)

    def process_request(self, request: Request) -> Response | Awaitable[Response | None] | None:
        if self._process_request is None:
            return None
        answer: Response | Awaitable[Response | None] | None = self._process_request(request)
        return answer

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        around: Any = self._handler if hasattr(self._handler, "__aenter__") else nullcontext()
        async with around:
            await super().run(task_status)

    async def __call__(self, ws: WebSocket) -> None:
        await self._handler(ws)


def load(name: str) -> Handler:
    """The handler that *name* stands for, as in ``package.module:handler``.

    The current directory is looked through first.

    Raises:
      Usage: there is none; the message says why.
    """
    module_name, colon, attribute = name.partition(":")
    if not (module_name and colon and attribute):
        raise Usage(f"{name}: a handler is given as MODULE:HANDLER, such as app:chat")
    module = _import(module_name)
    try:
        handler: Any = reduce(getattr, attribute.split("."), module)
    except AttributeError:
        raise Usage(f"{name}: {_where(module)} has no {attribute}") from None
    _check(name, handler)
    return handler  # type: ignore[no-any-return]  # checked as far as it can be


def _import(name: str) -> ModuleType:
    sys.path.insert(0, os.getcwd())
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and f"{name}.".startswith(f"{error.name}."):
            raise Usage(
                f"there is no module {error.name}, neither in {os.getcwd()} nor installed"
            ) from None
        raise _broken(name, error) from error
    except (Exception, SystemExit) as error:
        raise _broken(name, error) from error


def _broken(name: str, error: BaseException) -> Usage:
    return Usage(
        f"{name} cannot be imported: {type(error).__name__}: {error}{_line_of(name, error)}"
    )


def _line_of(name: str, error: BaseException) -> str:
    """Where in the module that was, or, before it ran, where else."""
    if isinstance(error, SyntaxError):
        # Its own message says so.
        return ""
    lines = list(traceback.walk_tb(error.__traceback__))
    own = [one for one in lines if _is_of(name, one[0].f_globals.get("__name__"))]
    frame, line = (own or lines)[-1]
    return f" ({frame.f_code.co_filename}, line {line})"


def _is_of(name: str, running: str | None) -> bool:
    """Whether the module that runs is *name*, or a package that it is in."""
    return running is not None and f"{name}.".startswith(f"{running}.")


def _where(module: ModuleType) -> str:
    return module.__file__ or module.__name__


def _check(name: str, handler: Any) -> None:
    if inspect.isclass(handler) or not callable(handler):
        raise Usage(f"{name} is {_described(handler)}, not an async function of one connection")
    # An instance may be called as well: a router is.
    if not any(map(inspect.iscoroutinefunction, (handler, type(handler).__call__))):
        raise Usage(f"{name} is not async: it must be an async function of one connection")
    try:
        inspect.signature(handler).bind(None)
    except TypeError as error:
        raise Usage(f"{name} cannot be called with a connection alone: {error}") from None


def _described(handler: Any) -> str:
    return "a class" if inspect.isclass(handler) else f"of type {type(handler).__name__}"
