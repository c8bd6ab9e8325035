"""Chat in rooms: two tabs of a browser, and members that do not read."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import trio

import trio_ws
from examples.chat_server import page, rooms, router

from ..e2e.browser import Page, open_browser, open_tab
from .programs import interrupted, served

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path

LAST = "document.querySelector('#messages > :last-child')?.textContent"


async def join(page: Page, url: str, name: str, room: str) -> None:
    await page.go(url)
    await page.fill("name", name)
    await page.fill("room", room)
    await page.evaluate("document.getElementById('entry').requestSubmit()")
    await page.until(f"{LAST} === '{name} joined'")


async def say(page: Page, text: str) -> None:
    await page.fill("text", text)
    await page.evaluate("document.getElementById('speech').requestSubmit()")


async def last_is(page: Page, text: str) -> None:
    await page.until(f"{LAST} === {json.dumps(text)}")


async def test_two_tabs_in_one_room(tmp_path: Path) -> None:
    async with served("chat_server") as (server, url), open_browser(tmp_path) as browser:
        async with open_tab(browser) as ana, open_tab(browser) as bo:
            await join(ana, url, "Ana", "the lobby/100%")
            await join(bo, url, "Bo", "the lobby/100%")
            await last_is(ana, "Bo joined")
            await say(ana, "<b>hello</b> & goodbye")
            await last_is(bo, "Ana: <b>hello</b> & goodbye")
            await last_is(ana, "Ana: <b>hello</b> & goodbye")
            # A page that is loaded again leaves.
            await bo.go(f"{url}/#again")
            await bo.call("Page.reload")
            await last_is(ana, "Bo left")
            assert await interrupted(server) == ""
            await last_is(ana, "disconnected")
            assert ana.problems == bo.problems == []


async def test_what_is_said_in_one_room_stays_there(tmp_path: Path) -> None:
    async with served("chat_server") as (_, url), open_browser(tmp_path) as browser:
        async with open_tab(browser) as ana, open_tab(browser) as bo:
            await join(ana, url, "Ana", "one")
            await join(bo, url, "Bo", "other")
            await say(ana, "here")
            await last_is(ana, "Ana: here")
            await say(bo, "there")
            await last_is(bo, "Bo: there")
            assert await bo.text("messages") == "Bo joinedBo: there"
            assert bo.problems == []


@asynccontextmanager
async def serving() -> AsyncGenerator[str]:
    """The chat in this process."""
    async with trio.open_nursery() as nursery:
        server: trio_ws.Server = await nursery.start(trio_ws.serve, router, "127.0.0.1", 0)
        yield f"ws://127.0.0.1:{server.port}"
        await server.drain()
        assert server.statistics().crashed == 0


async def test_who_does_not_read_is_dropped_and_nobody_waits() -> None:
    async with serving() as url:
        async with (
            trio_ws.connect(f"{url}/rooms/r?name=idle", proxy=None) as idle,
            trio_ws.connect(f"{url}/rooms/r?name=Ana", proxy=None) as ana,
        ):
            assert json.loads(await ana.receive()) == {"event": "Ana joined"}
            said = "x" * 100_000
            while True:
                await ana.send(said)
                heard = json.loads(await ana.receive())
                if "event" in heard:
                    break
                assert heard == {"name": "Ana", "text": said}
            assert heard == {"event": "idle left"}
            # It reads nothing, so it would take its time to notice.
            idle.abort()
    assert rooms == {}


async def test_a_room_without_members_is_forgotten() -> None:
    async with serving() as url:
        async with trio_ws.connect(f"{url}/rooms/a%2Fb?name=%C3%84nne", proxy=None) as ws:
            assert json.loads(await ws.receive()) == {"event": "Änne joined"}
            assert set(rooms) == {"a/b"}
    assert rooms == {}


async def test_a_long_message_ends_the_conversation() -> None:
    async with served("chat_server") as (server, url):
        address = url.replace("http", "ws") + "/rooms/r?name=Ana"
        async with trio_ws.connect(address, proxy=None) as ws:
            await ws.receive()
            await ws.send("x" * 5000)
            assert (await ws.wait_closed()).code == 1009
        assert await interrupted(server) == ""


async def test_the_page_is_at_the_root_only() -> None:
    root = trio_ws.Request("GET", "/?x", trio_ws.Headers())
    answer = page(root)
    assert answer is not None
    assert answer.headers["content-type"] == "text/html"
    assert page(trio_ws.Request("GET", "/rooms/r", trio_ws.Headers())) is None
