"""``trio-ws client``: lines in, messages out."""

from __future__ import annotations

import math
import os
import sys
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import trio

from .._client import DEFAULT_LIMITS, DEFAULT_TIMEOUTS, ConnectOptions, connect
from .._errors import ConnectionClosed
from .._keep_connected import keep_connected
from .._reconnect import DEFAULT_BACKOFF, Backoff
from .._settings import Compression
from ..instrumentation import Connected, Disconnected, Waiting
from .failures import Usage, say
from .heartbeats import heartbeat_of

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from .._websocket import WebSocket
    from ..instrumentation import Record

_READ_SIZE = 64 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientOptions:
    """The command's options; `trio_ws.cli.app` explains each."""

    url: str
    compress: bool
    max_size: int
    connect_timeout: float
    linger: float
    on_connect: tuple[str, ...]
    reconnect: bool
    max_attempts: int | None
    max_delay: float
    ping_interval: float
    ping_timeout: float


def run(options: ClientOptions) -> None:
    """Connect, and return when the connection has ended."""
    trio.run(_connect, options)


async def _connect(options: ClientOptions) -> None:
    async def send_first(ws: WebSocket) -> None:
        for message in options.on_connect:
            await ws.send(message)

    common: ConnectOptions = {
        "compression": Compression() if options.compress else None,
        "limits": replace(DEFAULT_LIMITS, max_message_size=options.max_size),
        "timeouts": replace(DEFAULT_TIMEOUTS, open_timeout=options.connect_timeout),
        "heartbeat": heartbeat_of(options.ping_interval, options.ping_timeout),
    }
    if options.reconnect:
        backoff = Backoff(
            initial=min(DEFAULT_BACKOFF.initial, options.max_delay),
            maximum=options.max_delay,
            max_attempts=options.max_attempts,
            # Somebody watches, and may stop it.
            intensity=None,
        )
        async with keep_connected(
            options.url, on_connect=send_first, backoff=backoff, hooks=[_tell], **common
        ) as kept:
            await _converse(kept, options.linger)
    else:
        async with connect(options.url, hooks=(), **common) as ws:
            await send_first(ws)
            await _converse(ws, options.linger)


def _tell(record: Record) -> None:
    """Say on stderr how it stands with the connection."""
    match record:
        case Connected(again=True):
            say(f"connected again after {record.offline:.1f} s")
        case Connected():
            say(f"connected to {record.target}")
        case Disconnected():
            say(f"connection lost after {record.open_for:.1f} s: {record.reason}")
        case Waiting():
            say(f"attempt {record.attempt} in {record.delay:.1f} s: {record.cause}")
        case _:
            # The end is an exit code, and a line where it is an error.
            pass


async def _converse(ws: WebSocket, linger: float) -> None:
    """Send the input's lines and print what comes, until either side is done."""
    quiet = trio.CancelScope()

    async def send_input() -> None:
        try:
            async for line in _input_lines():
                await ws.send(line)
        except ConnectionClosed:
            # Whoever receives says why.
            return
        quiet.deadline = trio.current_time() + linger

    async with trio.open_nursery() as nursery:
        nursery.start_soon(send_input)
        with quiet:
            async for message in ws:
                await _print(message)
                if quiet.deadline < math.inf:
                    quiet.deadline = trio.current_time() + linger
        nursery.cancel_scope.cancel()


async def _input_lines() -> AsyncGenerator[str]:
    """The lines of standard input as they come, without their line ends."""
    number = 0
    rest = b""
    while True:
        # In a thread, and past Python's buffer, whose lock an abandoned read would hold.
        data = await trio.to_thread.run_sync(_read_input, abandon_on_cancel=True)
        *lines, rest = (rest + data).split(b"\n")
        if not data and rest:
            lines.append(rest)
        for line in lines:
            number += 1
            yield _decoded(line, number)
        if not data:
            return


def _read_input() -> bytes:
    try:
        return os.read(0, _READ_SIZE)
    except OSError:
        # Standard input was closed before we began.
        return b""


def _decoded(line: bytes, number: int) -> str:
    try:
        return line.decode()
    except UnicodeDecodeError:
        raise Usage(f"line {number} of the input is not UTF-8 text") from None


async def _print(message: str | bytes) -> None:
    line = (message if isinstance(message, bytes) else message.encode()) + b"\n"
    if sys.stdout.isatty():
        line = _escaped(line)
    # In a thread: whoever reads our output may be slow.
    await trio.to_thread.run_sync(_write_output, line)


def _escaped(line: bytes) -> bytes:
    """The line without anything that a terminal would act upon."""
    text = line[:-1].decode("utf-8", "backslashreplace")
    shown = "".join(c if c.isprintable() or c == "\t" else ascii(c)[1:-1] for c in text)
    return f"{shown}\n".encode()


def _write_output(data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(1, view) :]
