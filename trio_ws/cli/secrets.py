"""Passwords and tokens: where they are read from, and that nothing repeats them."""

from __future__ import annotations

import getpass
import os
import sys
from typing import Final

from .failures import Usage, hide

#: Bytes; more is not a secret but a mistake.
_MAX_SIZE: Final = 64 * 1024
_STDIN: Final = 0


def read_secret(given: str, option: str) -> str:
    """As `read_value`; from then on it is replaced in whatever the command says."""
    secret = read_value(given, option)
    hide(secret)
    return secret


def read_value(given: str, option: str) -> str:
    """What *given* stands for: ``@file``, ``-`` for a line of standard input, or itself.

    Raises:
      Usage: there is no such file, or nothing in it.
    """
    if given == "-":
        value = _ask(option) if sys.stdin.isatty() else _read_line(option)
    elif given.startswith("@"):
        value = _read_file(given[1:], option)
    else:
        value = given
    value = value.rstrip("\r\n")
    if not value:
        raise Usage(f"{option}: there is nothing in it")
    return value


def _ask(option: str) -> str:
    """A line that is typed, unseen."""
    return getpass.getpass(f"{option}: ", sys.stderr)


def _read_line(option: str) -> str:
    """A line of standard input, and not a byte more: what follows it is to be sent."""
    line = bytearray()
    while len(line) < _MAX_SIZE and not line.endswith(b"\n"):
        byte = os.read(_STDIN, 1)
        if not byte:
            break
        line += byte
    try:
        return line.decode()
    except UnicodeDecodeError:
        raise Usage(f"{option}: the input is not UTF-8 text") from None


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
