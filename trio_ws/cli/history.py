"""What was typed to each host before, in files that nobody else can read."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from prompt_toolkit.history import FileHistory

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .._url import Target

#: What a file keeps when it is opened: so many entries, in so many bytes.
_MOST_ENTRIES: Final = 1000
_MOST_BYTES: Final = 1024 * 1024


def open_history(target: Target, environment: Mapping[str, str]) -> FileHistory | None:
    """The history of *target*; ``None`` where none can be kept.

    A home that cannot be written to costs the history, not the conversation.

    Args:
      target: whom it talks to.
      environment: says where, by ``XDG_STATE_HOME`` or ``HOME``.
    """
    path = _path(target, environment)
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_APPEND, 0o600))
        _trim(path)
    except OSError:
        return None
    return _CarefulHistory(path)


def _path(target: Target, environment: Mapping[str, str]) -> Path:
    home = environment.get("XDG_STATE_HOME") or os.path.join(
        environment.get("HOME") or os.path.expanduser("~"), ".local", "state"
    )
    name = re.sub(r"[^A-Za-z0-9._-]", "_", target.unix_path or f"{target.host}_{target.port}")
    return Path(home, "trio-ws", "history", name)


def _trim(path: Path) -> None:
    """Drop the oldest entries where there are more than are kept."""
    entries = path.read_bytes().split(b"\n# ")[1:]
    kept, size = len(entries), 0
    for number, entry in enumerate(reversed(entries)):
        size += len(entry)
        if number == _MOST_ENTRIES or size > _MOST_BYTES:
            kept = number
            break
    if kept == len(entries):
        return
    # Whoever else has it open appends to the old one or to the new one, never to half of it.
    shorter = path.with_name(f"{path.name}.{os.getpid()}~")
    try:
        with open(os.open(shorter, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600), "wb") as file:
            file.writelines(b"\n# " + entry for entry in entries[len(entries) - kept :])
        shorter.replace(path)
    except OSError:
        shorter.unlink(missing_ok=True)
        raise


class _CarefulHistory(FileHistory):
    """A history that a full disk does not take the prompt down with."""

    def store_string(self, string: str) -> None:
        with suppress(OSError):
            super().store_string(string)
