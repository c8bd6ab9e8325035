"""JSON lines: what happened on connections, an object a line, written and read.

``docs/reference/json-lines.md`` says what each member means, and ``json-lines.schema.json``
beside it says it to programs. What is recorded with ``--record`` can be read again: by
``trio-ws replay``, by ``trio-ws serve --replay``, by a script.
"""

from __future__ import annotations

import base64
import json
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, get_args

from .failures import Usage

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

Type: TypeAlias = Literal["open", "message", "ping", "pong", "close", "retry", "error"]
Direction: TypeAlias = Literal["in", "out"]

_TYPES: Final = get_args(Type)
_DIRECTIONS: Final = get_args(Direction)
#: Which entries carry a payload, and what ``op`` may say of it.
_OPS: Final = {"message": ("text", "binary"), "ping": ("ping",), "pong": ("pong",)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One line.

    Attributes:
      ts: when, in seconds since 1970.
      conn: names the connection within its file.
      type: what happened.
      dir: ``"in"`` for what the peer sent, ``"out"`` for what this side sent.
      data: the payload of a message, ping or pong.
      url: where to, or the path asked for, of ``open``.
      code: the close code, of ``close``; the HTTP status, of ``error`` and ``retry``.
      reason: the close reason; of ``error`` and ``retry``, what went wrong.
      delay: seconds until the next attempt, of ``retry``.
      attempt: its number, of ``retry``.
    """

    ts: float
    conn: str
    type: Type
    dir: Direction | None = None
    data: str | bytes | None = None
    url: str | None = None
    code: int | None = None
    reason: str | None = None
    delay: float | None = None
    attempt: int | None = None


def encode(entry: Entry) -> bytes:
    """*entry* as a line of UTF-8, its end included.

    Text goes as it is. Binary data goes as Base64, which ``enc`` says.
    """
    members: dict[str, Any] = {
        "ts": round(entry.ts, 6),
        "conn": entry.conn,
        "type": entry.type,
        "dir": entry.dir,
        "url": entry.url,
    }
    if entry.data is not None:
        members.update(_payload(entry.type, entry.data))
    members.update(code=entry.code, reason=entry.reason, delay=entry.delay, attempt=entry.attempt)
    known = {name: value for name, value in members.items() if value is not None}
    return f"{json.dumps(known, ensure_ascii=False, separators=(',', ':'))}\n".encode()


def _payload(kind: Type, data: str | bytes) -> dict[str, Any]:
    op = kind if kind != "message" else "text" if isinstance(data, str) else "binary"
    if isinstance(data, str):
        return {"op": op, "data": data, "enc": "utf-8", "bytes": len(data.encode())}
    encoded = base64.b64encode(data).decode()
    return {"op": op, "data": encoded, "enc": "base64", "bytes": len(data)}


def decode(lines: Iterable[str | bytes], name: str) -> Iterator[Entry]:
    """The entries in *lines*; empty lines are passed over, and so are unknown members.

    What a person writes by hand may leave out ``conn``, ``dir``, ``op``, ``enc`` and ``bytes``.

    Args:
      lines: as read from a file.
      name: the file, for what is said of what is wrong in it.

    Raises:
      Usage: a line is not such an object; the message says which, and why.
    """
    for number, line in enumerate(lines, 1):
        if line.strip():
            try:
                yield _entry(json.loads(line))
            except (ValueError, TypeError, KeyError, RecursionError) as error:
                raise Usage(f"{name}, line {number}: {_complaint(error)}") from None


def _complaint(error: Exception) -> str:
    if isinstance(error, KeyError):
        return f"there is no {error}"
    if isinstance(error, json.JSONDecodeError | UnicodeDecodeError | RecursionError):
        return "not an object in JSON"
    return str(error)


def _entry(members: Any) -> Entry:
    if not isinstance(members, dict):
        raise TypeError("not an object in JSON")
    kind = _one_of(_TYPES, members["type"], "type")
    return Entry(
        ts=_number(members["ts"], "ts"),
        conn=_text(members.get("conn"), "conn") or "",
        type=kind,
        dir=_optional_one_of(_DIRECTIONS, members.get("dir"), "dir"),
        data=_data(kind, members),
        url=_text(members.get("url"), "url"),
        code=_whole(members.get("code"), "code"),
        reason=_text(members.get("reason"), "reason"),
        delay=None if members.get("delay") is None else _number(members["delay"], "delay"),
        attempt=_whole(members.get("attempt"), "attempt"),
    )


def _one_of(known: tuple[Any, ...], value: Any, name: str) -> Any:
    if value not in known:
        *others, last = map(repr, known)
        names = f"{', '.join(others)} or {last}" if others else last
        raise ValueError(f"{name} is {names}, not {value!r}")
    return value


def _optional_one_of(known: tuple[Any, ...], value: Any, name: str) -> Any:
    return None if value is None else _one_of(known, value, name)


def _number(value: Any, name: str) -> float:
    # JSON has no NaN and no infinity, but this reader lets them in; 0 <= NaN is false.
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not (number and 0 <= value <= sys.float_info.max):
        raise TypeError(f"{name} is not a number from 0 on: {value!r}")
    return float(value)


def _whole(value: Any, name: str) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise TypeError(f"{name} is not a whole number from 0 on: {value!r}")
    return value


def _text(value: Any, name: str) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str):
        raise TypeError(f"{name} is not a string: {value!r}")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{name} holds half a surrogate pair, which UTF-8 cannot carry") from None
    return value


def _data(kind: str, members: dict[str, Any]) -> str | bytes | None:
    """The payload: ``op`` says whether it is text or bytes, ``enc`` how it is written."""
    if kind not in _OPS:
        return None
    if kind == "message" and members.get("data") is None:
        raise KeyError("data")
    data = _text(members.get("data"), "data")
    encoding = _optional_one_of(("utf-8", "base64"), members.get("enc"), "enc")
    op = _optional_one_of(_OPS[kind], members.get("op"), "op")
    if data is None:
        return None
    if encoding == "base64":
        binary = _unpacked(data)
        return _decoded(binary) if op == "text" else binary
    return data.encode() if op == "binary" else data


def _unpacked(data: str) -> bytes:
    try:
        return base64.b64decode(data, validate=True)
    except ValueError:
        raise ValueError("data is not Base64") from None


def _decoded(binary: bytes) -> str:
    try:
        return binary.decode()
    except UnicodeDecodeError:
        raise ValueError("data is not UTF-8 text, though op is 'text'") from None
