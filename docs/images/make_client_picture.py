"""Draw client.svg, a picture of ``trio-ws client`` at work. Run it by hand:

    python docs/images/make_client_picture.py

What it shows is a real session in a pseudo-terminal with a server of its own.
"""

from __future__ import annotations

import io
import json
import re
import sys
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import trio
from rich.console import Console
from rich.style import Style
from rich.terminal_theme import MONOKAI
from rich.text import Text

import trio_ws

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent.parent))

from tests.terminal import ENTER, Terminal  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    import pyte

COLUMNS, LINES = 80, 32
PORT = 8765
#: pyte's names for colours, in rich's words.
_COLORS = {"default": None, "brown": "yellow", "brightblack": "#a0a0a0"}
STATUS = {"temperature": 21.5, "fans": ["on", "off"], "alarm": None}


async def answer(ws: trio_ws.WebSocket) -> None:
    """A small device."""
    async for message in ws:
        if message == "status":
            await ws.send(json.dumps(STATUS))
        else:
            await ws.send(f"ok: {message!r}".replace("'", ""))


@asynccontextmanager
async def device() -> AsyncGenerator[None]:
    async with trio.open_nursery() as nursery:
        await nursery.start(partial(trio_ws.serve, answer, "127.0.0.1", PORT))
        yield
        nursery.cancel_scope.cancel()


async def session(terminal: Terminal) -> None:
    """What is typed, step by step."""

    async def enter(line: str, shown: str) -> None:
        await terminal.type(line + ENTER)
        await terminal.wait_for(shown)

    async with device():
        await terminal.wait_for("/help lists")
        await terminal.wait_until(lambda: ">" in terminal.screen)
        await enter("fan 2 on", "< ok: fan 2 on")
        await enter("/pretty", "JSON is laid out")
        await enter("status", '"alarm": ')
        await enter("/ping", "pong after")
        await enter("/stats", "round trip")
    await refused(terminal)
    async with device():
        await terminal.type(ENTER)
        await terminal.wait_for("connected again")
        await enter("fan 1 off", "< ok: fan 1 off")
    await refused(terminal)
    await terminal.type("fan 2 off, it is col")
    await terminal.wait_for("it is col")


async def refused(terminal: Terminal) -> None:
    """Wait until the connection is lost, and try at once."""
    await terminal.wait_for("Enter = now")
    await terminal.type(ENTER)
    await terminal.wait_for("Connection refused); Enter = now")


def drawn(screen: pyte.Screen) -> Text:
    """The screen with its colours."""
    lines = []
    for y in range(screen.lines):
        line = Text()
        for x in range(screen.columns):
            cell = screen.buffer[y][x]
            at_cursor = (x, y) == (screen.cursor.x, screen.cursor.y)
            style = Style(
                color=_COLORS.get(cell.fg, cell.fg),
                bold=cell.bold,
                reverse=cell.reverse or at_cursor,
            )
            line.append(cell.data, style)
        if y != screen.cursor.y:
            line.rstrip()
        lines.append(line)
    return Text("\n").join(lines[: screen.cursor.y + 1])


async def main() -> None:
    """Draw it."""
    command = [sys.executable, "-m", "trio_ws.cli", "client", f":{PORT}", "--no-history"]
    retry = ["--reconnect", "--retry-initial", "30"]
    size = {"columns": COLUMNS, "lines": LINES}
    async with Terminal.spawn([*command, *retry], **size) as terminal:
        await session(terminal)
        console = Console(record=True, width=COLUMNS, file=io.StringIO())
        console.print(Text(f"$ trio-ws client :{PORT} --reconnect", "bold"))
        console.print(drawn(terminal.cells))
    svg = console.export_svg(title="trio-ws client", theme=MONOKAI, unique_id="client")
    await trio.Path(HERE / "client.svg").write_text(re.sub(r"[ \t]+\n", "\n", svg))


if __name__ == "__main__":
    trio.run(main)
