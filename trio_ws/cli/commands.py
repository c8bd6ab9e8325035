"""What is typed at the prompt: messages, and commands that begin with a slash."""

from __future__ import annotations

import math
import os
from typing import TYPE_CHECKING, Final

import trio

from .._close import ClosedBy, CloseReason
from .._errors import ConnectionClosed, ConnectionClosedError
from .._keep_connected import ReconnectingWebSocket
from .failures import Usage, describe
from .input import Encoding

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from .._websocket import WebSocket
    from .options.client import ClientOptions
    from .output import Output

_HELP: Final = {
    "/ping": "/ping [TEXT]: send a ping, and say when its pong comes",
    "/pong": "/pong [TEXT]: send a pong that nobody asked for",
    "/hex": "/hex 00 FF: send these bytes",
    "/file": "/file PATH: send a file: as text where it is UTF-8, else as binary",
    "/close": "/close [CODE [REASON]]: close the connection, and leave",
    "/reconnect": "/reconnect: give the connection up for another one, or try at once",
    "/stats": "/stats: what was sent and received, and how long it takes",
    "/pretty": "/pretty: lay JSON out, or no longer",
    "/help": "/help: this",
}
_KEYS: Final = (
    "//TEXT sends /TEXT. Alt-Enter begins a new line, Ctrl-R searches, Ctrl-D leaves. "
    "A paste is one message."
)
#: The commands' names, in the order of the help.
NAMES: Final = tuple(_HELP)


class Typed:
    """Does what the lines typed at a prompt say.

    Args:
      ws: the connection that they are about.
      output: what shows what comes of them.
      options: the command's.
    """

    def __init__(self, ws: WebSocket, output: Output, options: ClientOptions) -> None:
        self._ws = ws
        self._output = output
        self._encoding = Encoding.of(options)
        self._to_send, self._sending = trio.open_memory_channel[str | bytes](math.inf)
        self._commands: dict[str, Callable[[str], Awaitable[None]]] = {
            "/ping": self._ping,
            "/pong": self._pong,
            "/hex": self._hex,
            "/file": self._file,
            "/close": self._close,
            "/reconnect": self._reconnect,
            "/stats": self._stats,
            "/pretty": self._pretty,
            "/help": self._help,
        }

    async def run(self, lines: trio.MemoryReceiveChannel[str]) -> None:
        """Take lines until cancelled, or until ``/close``.

        Messages go out in order. Commands do not wait for those that cannot go out yet.
        """
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._send_all)
            async for line in lines:
                name, _, rest = line.partition(" ")
                if line.startswith("/") and not line.startswith("//"):
                    nursery.start_soon(self._obey, name, rest.strip())
                elif line:
                    self._enqueue_line(line[1:] if line.startswith("//") else line)
                else:
                    self._retry_now()
                if name == "/close":
                    break
        self._to_send.close()

    async def _send_all(self) -> None:
        async for message in self._sending:
            try:
                await self._ws.send(message)
            except (ConnectionClosed, trio.ClosedResourceError) as error:
                self._output.say(f"not sent: {describe(error)}")
            else:
                await self._output.sent(message)

    async def _obey(self, name: str, rest: str) -> None:
        command = self._commands.get(name)
        if command is None:
            self._output.say(f"there is no {name}; /help lists commands, //{name[1:]} sends it")
            return
        try:
            await command(rest)
        except (Usage, ValueError) as error:
            self._output.say(f"{name}: {error}")
        except (ConnectionClosed, trio.ClosedResourceError) as error:
            self._output.say(f"{name}: {describe(error)}")

    def _enqueue_line(self, line: str) -> None:
        try:
            self._enqueue(self._encoding.decode(line.encode(), "what you typed"), line)
        except Usage as error:
            self._output.say(str(error))

    def _enqueue(self, message: str | bytes, shown: str) -> None:
        self._output.show(f"> {shown}")
        self._to_send.send_nowait(message)

    def _retry_now(self) -> None:
        if isinstance(self._ws, ReconnectingWebSocket):
            self._ws.retry_now()

    # The commands

    async def _ping(self, text: str) -> None:
        seconds = await self._ws.ping(text.encode() or None)
        self._output.say(f"pong after {seconds * 1000:.1f} ms")

    async def _pong(self, text: str) -> None:
        self._ws.pong(text.encode())

    async def _hex(self, digits: str) -> None:
        data = Encoding(hex=True).decode(digits.encode(), "that")
        self._enqueue(data, f"binary, {len(data)} bytes")

    async def _file(self, name: str) -> None:
        data = await trio.to_thread.run_sync(_read_file, name)
        try:
            message: str | bytes = data if self._encoding.binary else data.decode()
        except UnicodeDecodeError:
            message = data
        kind = "binary" if isinstance(message, bytes) else "text"
        self._enqueue(message, f"{name}: {kind}, {len(data)} bytes")

    async def _close(self, rest: str) -> None:
        code, _, reason = rest.partition(" ")
        if code and not (code.isascii() and code.isdigit()):
            raise Usage(f"{code!r} is no close code; write /close 1000 done")
        await self._ws.aclose(int(code or 1000), reason.strip())

    async def _reconnect(self, rest: str) -> None:
        if not isinstance(self._ws, ReconnectingWebSocket):
            raise Usage("this is for --reconnect")
        if self._ws.is_connected:
            given_up = CloseReason(1006, "given up here", ClosedBy.LOCAL, clean=False)
            self._ws.abort(ConnectionClosedError(given_up))
        self._ws.retry_now()

    async def _stats(self, rest: str) -> None:
        for line in _statistics(self._ws):
            self._output.say(line)

    async def _pretty(self, rest: str) -> None:
        is_pretty = self._output.toggle_pretty()
        self._output.say(f"JSON is {'laid out' if is_pretty else 'shown as it comes'}")

    async def _help(self, rest: str) -> None:
        for line in [*_HELP.values(), _KEYS]:
            self._output.say(line)


def _read_file(name: str) -> bytes:
    try:
        with open(os.path.expanduser(name), "rb") as file:
            return file.read()
    except OSError as error:
        raise Usage(f"cannot read {name}: {error.strerror}") from None


def _statistics(ws: WebSocket) -> list[str]:
    numbers = ws.statistics()
    lines = [
        f"sent {numbers.messages_sent} messages, {numbers.bytes_sent} bytes",
        f"received {numbers.messages_received} messages, {numbers.bytes_received} bytes",
        f"connected for {numbers.uptime:.1f} s",
    ]
    if numbers.latency is not None:
        last, smoothed = numbers.latency.last * 1000, numbers.latency.smoothed * 1000
        lines.append(f"round trip {last:.1f} ms, on average {smoothed:.1f} ms")
    return lines
