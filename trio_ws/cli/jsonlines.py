"""JSON lines: what happened on connections, an object a line, written and read.

``docs/json-lines.md`` says what each member means, ``docs/json-lines.schema.json`` says it to
programs. What is recorded with ``--record`` can be read again: by ``trio-ws replay``, by
``trio-ws serve --replay``, by a script.
"""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from .failures import Usage

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

Type: TypeAlias = Literal["open", "message", "ping", "pong", "close", "retry", "error"]
Direction: TypeAlias = Literal["in", "out"]

_TYPES: Final = frozenset({"open", "message", "ping", "pong", "close", "retry", "error"})


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
    """The entries in *lines*; empty lines are passed over.

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
    kind = members["type"]
    if kind not in _TYPES:
        raise ValueError(f"no such type: {kind!r}")
    direction = members.get("dir")
    if direction not in {"in", "out", None}:
        raise ValueError(f"dir is 'in' or 'out', not {direction!r}")
    return Entry(
        ts=_number(members["ts"], "ts"),
        conn=str(members.get("conn", "")),
        type=kind,
        dir=direction,
        data=_data(members),
        url=members.get("url"),
        code=members.get("code"),
        reason=members.get("reason"),
        delay=members.get("delay"),
        attempt=members.get("attempt"),
    )


def _number(value: Any, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{name} is not a number: {value!r}")
    return float(value)


def _data(members: dict[str, Any]) -> str | bytes | None:
    data = members.get("data")
    if data is None:
        return None
    if not isinstance(data, str):
        raise TypeError("data is not a string")
    encoding = members.get("enc", "utf-8")
    if encoding == "base64":
        try:
            return base64.b64decode(data, validate=True)
        except binascii.Error:
            raise ValueError("data is not Base64") from None
    if encoding != "utf-8":
        raise ValueError(f"enc is 'utf-8' or 'base64', not {encoding!r}")
    return data
