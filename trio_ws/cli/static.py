"""``--static``: the files of one directory over plain HTTP, and nothing outside of it.

A path is decoded once and taken apart at its slashes; every part must be a plain name that does
not begin with a dot. Then symbolic links are followed, and where they lead must again be inside
the directory, with no hidden part.
"""

from __future__ import annotations

import logging
import mimetypes
import os
import stat
from dataclasses import dataclass
from datetime import UTC
from email.utils import formatdate, parsedate_to_datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote_to_bytes

import trio

from ..protocol.http import Headers, Response

if TYPE_CHECKING:
    from .._http import ProcessRequest
    from ..protocol.http import Request

_logger: Final = logging.getLogger("trio_ws.static")

#: Bytes. An answer is held whole in memory until it is sent.
MAX_FILE_SIZE: Final = 64 << 20
#: How many files are read at once.
_READERS: Final = 8
_INDEX: Final = "index.html"
_COMPRESSED: Final = {
    "gzip": "application/gzip",
    "bzip2": "application/x-bzip2",
    "xz": "application/x-xz",
}
_TEXTS: Final = frozenset({"application/javascript", "application/json", "image/svg+xml"})


def static_files(directory: Path, *, max_size: int = MAX_FILE_SIZE) -> ProcessRequest:
    """A hook that answers every plain HTTP request: with a file, or with why there is none.

    Files are read in worker threads.

    Args:
      directory: with `index.html` standing for directories.
      max_size: bytes; a larger file is answered 500 and logged.
    """
    root = directory.resolve()
    readers = trio.CapacityLimiter(_READERS)

    async def process_request(request: Request) -> Response | None:
        if "websocket" in request.headers.get("upgrade", "").lower():
            return None
        if request.method not in {"GET", "HEAD"}:
            return Response.text(405, "Only GET and HEAD are served\n", [("Allow", "GET, HEAD")])
        names = _names(request.path)
        if names is None:
            return _not_found()
        # Abandoned on cancellation: a reader changes nothing, and a file system may hang.
        return await trio.to_thread.run_sync(
            _answer, root, names, request, max_size, abandon_on_cancel=True, limiter=readers
        )

    return process_request


def _names(path: str) -> tuple[str, ...] | None:
    """The parts of *path*, the last of them empty where a directory is meant.

    ``None`` where one of them is no plain name of a file that may be seen.
    """
    if not path.startswith("/"):
        return None
    try:
        names = unquote_to_bytes(path[1:]).decode().split("/")
    except UnicodeDecodeError:
        return None
    if not all(names[:-1]):
        return None
    if any(name.startswith(".") or "\\" in name or not name.isprintable() for name in names):
        return None
    return tuple(names)


@dataclass(frozen=True, slots=True)
class _File:
    """One that is open."""

    path: Path
    descriptor: int
    status: os.stat_result


def _answer(root: Path, names: tuple[str, ...], request: Request, max_size: int) -> Response:
    """Runs in a worker thread."""
    try:
        path = _inside(root, root.joinpath(*names))
        if path.is_dir():
            if names[-1]:
                return _moved(request)
            path = _inside(root, path / _INDEX)
        elif not names[-1]:
            return _not_found()
        # A named pipe would keep the reader waiting, a link may have come since.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return _not_found()
    except OSError as error:
        # Not readable, a loop of links, a name that is too long: nothing for the peer to know.
        _logger.info("cannot serve %s: %s", ascii(request.path), error)
        return _not_found()
    try:
        return _file_answer(_File(path, descriptor, os.fstat(descriptor)), request, max_size)
    finally:
        os.close(descriptor)


def _inside(root: Path, path: Path) -> Path:
    """Where *path* leads.

    Raises:
      FileNotFoundError: nowhere, to something hidden, or out of *root*.
    """
    # Path.resolve() has errors of its own for links in a loop.
    resolved = Path(os.path.realpath(path, strict=True))
    if not resolved.is_relative_to(root):
        raise FileNotFoundError
    if any(part.startswith(".") for part in resolved.relative_to(root).parts):
        raise FileNotFoundError
    return resolved


def _file_answer(file: _File, request: Request, max_size: int) -> Response:
    if not stat.S_ISREG(file.status.st_mode):
        return _not_found()
    size = file.status.st_size
    if size > max_size:
        _logger.warning("%s: %d bytes are more than is served", ascii(str(file.path)), size)
        return Response.text(500, "This file is too large to be served\n")
    headers = [
        ("ETag", f'"{file.status.st_mtime_ns:x}-{size:x}"'),
        ("Last-Modified", formatdate(file.status.st_mtime, usegmt=True)),
        ("Cache-Control", "no-cache"),
        ("X-Content-Type-Options", "nosniff"),
    ]
    if _is_known(request, headers[0][1], file.status.st_mtime):
        return Response(304, Headers(headers))
    headers.append(("Content-Type", _content_type(file.path.name)))
    with open(file.descriptor, "rb", closefd=False) as reader:
        # It may be growing.
        return Response(200, Headers(headers), reader.read(max_size))


def _is_known(request: Request, etag: str, modified: float) -> bool:
    """Whether the client has this file already (RFC 9110, section 13.2.2)."""
    known = request.headers.get("if-none-match")
    if known is not None:
        tags = {tag.strip().removeprefix("W/") for tag in known.split(",")}
        return "*" in tags or etag in tags
    since = request.headers.get("if-modified-since")
    if since is None:
        return False
    try:
        date = parsedate_to_datetime(since)
    except ValueError:
        return False
    return int(modified) <= date.replace(tzinfo=date.tzinfo or UTC).timestamp()


def _content_type(name: str) -> str:
    kind, compression = mimetypes.guess_type(name)
    if compression is not None:
        # It is served as the archive that it is, not to be unpacked on the way.
        return _COMPRESSED.get(compression, "application/octet-stream")
    if kind is None:
        return "application/octet-stream"
    return f"{kind}; charset=utf-8" if kind.startswith("text/") or kind in _TEXTS else kind


def _moved(request: Request) -> Response:
    query = f"?{request.query}" if request.query else ""
    # Empty parts were refused, so this is a path and never another host.
    location = f"{request.path}/{query}"
    return Response.text(301, "The directory is one slash further\n", [("Location", location)])


def _not_found() -> Response:
    return Response.text(404, "There is nothing at this path\n")
