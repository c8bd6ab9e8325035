"""Passwords and tokens: where they are read from, and that nothing repeats them."""

from __future__ import annotations

import sys
from typing import Final

from .failures import Usage, hide

#: Bytes; more is not a secret but a mistake.
_MAX_SIZE: Final = 64 * 1024


def read_secret(given: str, option: str) -> str:
    """What *given* stands for: ``@file``, ``-`` for a line of standard input, or itself.

    From then on it is replaced in whatever the command says.

    Raises:
      Usage: there is no such file, or nothing in it.
    """
    if given == "-":
        secret = sys.stdin.readline()
    elif given.startswith("@"):
        secret = _read_file(given[1:], option)
    else:
        secret = given
    secret = secret.rstrip("\r\n")
    if not secret:
        raise Usage(f"{option}: there is nothing in it")
    hide(secret)
    return secret


def read_lines(path: str, option: str) -> list[str]:
    """The lines of a file that an option names, without those that are empty.

    Raises:
      Usage: it cannot be read.
    """
    return [line for line in _read_file(path, option).splitlines() if line.strip()]


def _read_file(path: str, option: str) -> str:
    try:
        with open(path, encoding="utf-8") as file:
            return file.read(_MAX_SIZE)
    except OSError as error:
        raise Usage(f"{option}: cannot read {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise Usage(f"{option}: {path} is not UTF-8 text") from None
