"""What is typed at the prompt: messages, and commands that begin with a slash."""

from __future__ import annotations

import os
import stat
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import trio

from .._close import ClosedBy, CloseReason
from .._errors import ConnectionClosed, ConnectionClosedError, GaveUp
from .._keep_connected import ReconnectingWebSocket
from ..instrumentation import Connecting, Stopped, Waiting
from .failures import Usage, describe
from .input import Encoding
from .options.client import Offline

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
#: Those that nothing else waits for.
_LASTING: Final = {"/ping", "/reconnect"}
#: Seconds for what was typed before the end to go out, where the peer takes it slowly.
_PATIENCE: Final = 2.0
#: What calls on a connection that has ended raise.
_ENDED: Final = (ConnectionClosed, GaveUp, trio.ClosedResourceError)


@dataclass(frozen=True, slots=True)
class _Message:
    """A message on its way out, and how it is shown."""

    content: str | bytes
    shown: str


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
        self._waits = options.offline is Offline.WAIT
        #: What has not gone out yet, oldest first; the first may be on its way.
        self._unsent: deque[_Message] = deque()
        self._changed = trio.Event()
        self._leaving = False
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
        """Take lines until they end, or until ``/close``.

        Messages go out in the order in which they were typed; lines are taken while they wait.
        At the end they get `_PATIENCE` seconds, where there is a connection. What does not go out
        is said.
        """
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._send_all)
                async for line in lines:
                    await self._take(line, nursery)
                    if self._leaving:
                        break
                await self._let_go_out()
                nursery.cancel_scope.cancel()
        finally:
            for message in self._unsent:
                self._output.say(f"not sent: {message.shown}")

    async def _take(self, line: str, nursery: trio.Nursery) -> None:
        if line.startswith("/") and not line.startswith("//"):
            name, _, rest = line.partition(" ")
            if name in _LASTING:
                nursery.start_soon(self._obey, name, rest.strip())
            else:
                await self._obey(name, rest.strip())
        elif line:
            self._enqueue_line(line[1:] if line.startswith("//") else line)
        else:
            self._retry_now()

    async def _obey(self, name: str, rest: str) -> None:
        command = self._commands.get(name)
        if command is None:
            self._output.say(f"there is no {name}; /help lists commands, //{name[1:]} sends it")
            return
        try:
            await command(rest)
        except (Usage, ValueError) as error:
            self._output.say(f"{name}: {error}")
        except _ENDED as error:
            self._output.say(f"{name}: {describe(error)}")

    @property
    def _is_connected(self) -> bool:
        if isinstance(self._ws, ReconnectingWebSocket):
            return self._ws.is_connected
        return self._ws.close_reason is None

    @property
    def _is_between_connections(self) -> bool:
        return self._ws.close_reason is None and not self._is_connected

    def _retry_now(self) -> None:
        if isinstance(self._ws, ReconnectingWebSocket):
            self._ws.retry_now()

    # Messages

    def _enqueue_line(self, line: str) -> None:
        try:
            # A terminal that is not set to UTF-8 may give what cannot be encoded.
            content = self._encoding.decode(line.encode(errors="surrogateescape"), "what you typed")
        except Usage as error:
            self._output.say(f"not sent: {error}")
        else:
            self._enqueue(_Message(content, line))

    def _enqueue(self, message: _Message) -> None:
        self._output.show("> " + message.shown.replace("\n", "\n  "))
        if self._waits and not self._unsent and self._is_between_connections:
            self._output.say("(there is no connection: it goes out when there is one again)")
        self._unsent.append(message)
        self._notify()

    async def _send_all(self) -> None:
        while True:
            while not self._unsent:
                await self._changed.wait()
            message = self._unsent[0]
            try:
                await self._ws.send(message.content)
            except _ENDED as error:
                self._output.say(f"not sent: {message.shown} ({describe(error)})")
            else:
                await self._output.sent(message.content)
            self._unsent.popleft()
            self._notify()

    async def _let_go_out(self) -> None:
        with trio.move_on_after(_PATIENCE):
            while self._unsent and self._is_connected:
                await self._changed.wait()

    def _notify(self) -> None:
        self._changed.set()
        self._changed = trio.Event()

    # The commands

    async def _ping(self, text: str) -> None:
        seconds = await self._ws.ping(text.encode() or None)
        self._output.say(f"pong after {seconds * 1000:.1f} ms")

    async def _pong(self, text: str) -> None:
        self._ws.pong(text.encode())
        self._output.say("pong sent")

    async def _hex(self, digits: str) -> None:
        data = Encoding(hex=True).decode(digits.encode(), "that")
        if not data:
            raise Usage("write /hex 00 FF")
        self._enqueue(_Message(data, f"binary, {len(data)} bytes"))

    async def _file(self, name: str) -> None:
        if not name:
            raise Usage("write /file PATH")
        # What is typed after it goes out after it.
        data = await trio.to_thread.run_sync(_read_file, name, abandon_on_cancel=True)
        try:
            content: str | bytes = data if self._encoding.binary else data.decode()
        except UnicodeDecodeError:
            content = data
        kind = "binary" if isinstance(content, bytes) else "text"
        self._enqueue(_Message(content, f"{name}: {kind}, {len(data)} bytes"))

    async def _close(self, rest: str) -> None:
        code, _, reason = rest.partition(" ")
        if code and not (code.isascii() and code.isdigit()):
            raise Usage(f"{code!r} is no close code; write /close 1000 done")
        await self._let_go_out()
        await self._ws.aclose(int(code or 1000), reason.strip())
        self._leaving = True

    async def _reconnect(self, rest: str) -> None:
        if not isinstance(self._ws, ReconnectingWebSocket):
            raise Usage("this is for --reconnect")
        if self._ws.is_connected:
            given_up = CloseReason(1006, "given up here", ClosedBy.LOCAL, clean=False)
            async with self._ws.events() as events:
                self._ws.abort(ConnectionClosedError(given_up))
                # There is no wait to cut short before it has begun.
                while not isinstance(await events.receive(), Waiting | Connecting | Stopped):
                    pass
        self._ws.retry_now()

    async def _stats(self, rest: str) -> None:
        for line in _statistics(self._ws, is_connected=self._is_connected):
            self._output.say(line)

    async def _pretty(self, rest: str) -> None:
        is_pretty = self._output.toggle_pretty()
        self._output.say(f"JSON is {'laid out' if is_pretty else 'shown as it comes'}")

    async def _help(self, rest: str) -> None:
        for line in [*_HELP.values(), _KEYS]:
            self._output.say(line)


def _read_file(name: str) -> bytes:
    path = os.path.expanduser(name)
    try:
        # Others may never end.
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise Usage(f"{name} is not a file with an end")
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise Usage(f"cannot read {name}: {error.strerror}") from None


def _statistics(ws: WebSocket, *, is_connected: bool) -> list[str]:
    numbers = ws.statistics()
    lines = [
        f"sent {_counted(numbers.messages_sent, numbers.bytes_sent)}",
        f"received {_counted(numbers.messages_received, numbers.bytes_received)}",
        f"connected for {numbers.uptime:.1f} s" if is_connected else "not connected",
    ]
    if numbers.latency is not None:
        last, smoothed = numbers.latency.last * 1000, numbers.latency.smoothed * 1000
        lines.append(f"round trip {last:.1f} ms, on average {smoothed:.1f} ms")
    return lines


def _counted(messages: int, size: int) -> str:
    return f"{messages:,} message{'' if messages == 1 else 's'}, {size:,} bytes"
