"""``--interactive``: somebody sits at the server.

What clients send is shown, and what is typed goes to all of them. Where input comes from a pipe it
is sent as it is, line by line, and waits for a first client; at a terminal, lines that begin with
``/`` or ``@`` are commands.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Final, Protocol

import trio

from ..._close import may_be_sent
from ..failures import LocalFailure, cleared
from .crowd import Crowd
from .mode import Mode

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from ..._websocket import WebSocket
    from .crowd import Member
    from .mode import Message

#: Seconds that clients get to take what was typed last.
_LAST_WORDS: Final = 5.0
#: Bytes of a binary message that are shown.
_SHOWN: Final = 64
_HELP: Final = (
    "/list                clients that are connected",
    "/close N [CODE]      close the connection of client N",
    "@N TEXT              send to client N alone",
    "//TEXT               send to all what begins with a slash",
    "/help                this",
    "TEXT                 send to all; Ctrl-D ends the server",
)


class Desk(Protocol):
    """Where somebody sits."""

    @property
    def takes_commands(self) -> bool:
        """Whether somebody types, rather than a program."""

    async def attend(self, take: Callable[[str], Awaitable[None]]) -> None:
        """Have *take* called with what is typed, line by line, to its end."""

    async def show(self, line: str) -> None:
        """Show what came, or what was asked for. Waits for a slow reader.

        Raises:
          BrokenPipeError: nobody looks any more.
          LocalFailure: nobody can.
        """

    async def note(self, line: str) -> None:
        """Show what happened besides."""


class Interactive(Mode):
    """Shows what clients send, and sends them what is typed."""

    def __init__(self, desk: Desk) -> None:
        super().__init__()
        self._desk = desk
        self._crowd = Crowd()
        self._clients: dict[int, Member] = {}
        self._numbers = itertools.count(1)
        self._somebody = trio.Event()

    async def __call__(self, ws: WebSocket) -> None:
        number = next(self._numbers)
        await self._desk.note(f"client {number} is there: {_described(ws)}")
        try:
            await self._attend(ws, number)
        finally:
            if ws.close_reason is not None:
                with trio.CancelScope(deadline=trio.current_time() + 1, shield=True):
                    await self._desk.note(f"client {number} has left: {ws.close_reason}")

    async def _attend(self, ws: WebSocket, number: int) -> None:
        async with self._crowd.joined(ws) as member:
            self._clients[number] = member
            self._somebody.set()
            try:
                async for message in ws:
                    await self._show(number, message)
            finally:
                del self._clients[number]
                if not self._clients:
                    self._somebody = trio.Event()

    async def _show(self, number: int, message: Message) -> None:
        try:
            await self._desk.show(f"<{number}: {_shown(message)}")
        except (BrokenPipeError, LocalFailure):
            # Nobody looks any more, as in ``| head -1``, or nobody can.
            self.over.set()

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        task_status.started()
        await self._desk.attend(self._take)
        with trio.move_on_after(_LAST_WORDS):
            await self._crowd.wait_sent()
        self.over.set()

    async def _take(self, line: str) -> None:
        if self._desk.takes_commands and line[:1] in {"/", "@"}:
            await self._obey(line)
        else:
            await self._tell_all(line)

    async def _tell_all(self, text: str) -> None:
        if not self._desk.takes_commands:
            await self._somebody.wait()
        elif not self._clients:
            await self._desk.note("nobody is connected")
        await self._crowd.tell(text)

    async def _obey(self, line: str) -> None:
        command, _, rest = line.partition(" ")
        if command.startswith("//"):
            await self._tell_all(line[1:])
        elif command.startswith("@"):
            await self._tell_one(command[1:], rest)
        elif command == "/list":
            await self._list()
        elif command == "/close":
            await self._close(*rest.split(maxsplit=1))
        elif command == "/help":
            for text in _HELP:
                await self._desk.note(text)
        else:
            await self._desk.note(f"there is no {command}; /help says what there is")

    async def _tell_one(self, number: str, text: str) -> None:
        member = self._find(number)
        if member is None:
            await self._desk.note(f"there is no client {number}")
        else:
            await member.put_soon(text)

    async def _list(self) -> None:
        if not self._clients:
            await self._desk.note("nobody is connected")
        for number, member in list(self._clients.items()):
            uptime = member.ws.statistics().uptime
            await self._desk.note(f"{number}: {_described(member.ws)}, for {uptime:.0f} s")

    async def _close(self, number: str = "", code: str = "1000") -> None:
        member = self._find(number)
        if member is None:
            await self._desk.note(f"there is no client {number or 'without a number'}")
        elif not (code.isascii() and code.isdigit() and may_be_sent(int(code))):
            await self._desk.note(f"a close code is 1000 to 1014 or 3000 to 4999, not {code}")
        else:
            member.dismiss(int(code), "")

    def _find(self, number: str) -> Member | None:
        if not (number.isascii() and number.isdigit()):
            return None
        return self._clients.get(int(number))


def _described(ws: WebSocket) -> str:
    match ws.remote_address:
        case (host, port, *_):
            return f"{host}:{port} {ws.request.target}"
    return f"a local client {ws.request.target}"


def _shown(message: Message) -> str:
    if isinstance(message, str):
        return cleared(message)
    more = "..." if len(message) > _SHOWN else ""
    return f"({len(message)} bytes) {message[:_SHOWN].hex(' ')}{more}"
