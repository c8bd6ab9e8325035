"""The chat on two workers with Redis, in two tabs, one worker of which is killed as they talk."""

from __future__ import annotations

import json
import os
import signal
from typing import TYPE_CHECKING

import trio

from ..backplane.redis_server import redis_server
from ..cli.test_workers import ended
from ..e2e.browser import Page, open_browser, open_tab
from ..e2e.processes import environment, running
from ..e2e.test_workers import processes_of
from .programs import ROOT

if TYPE_CHECKING:
    from pathlib import Path

_PATIENCE = 60


async def join(page: Page, url: str, name: str) -> None:
    await page.go(url.replace("ws:", "http:"))
    await page.fill("name", name)
    await page.fill("room", "the lobby/100%")
    await page.evaluate("document.getElementById('entry').requestSubmit()")


async def say(page: Page, text: str) -> None:
    await page.fill("text", text)
    await page.evaluate("document.getElementById('speech').requestSubmit()")


async def here(page: Page, names: str) -> None:
    await page.until(f"document.getElementById('members').textContent === 'Here: {names}'")


async def all_read(page: Page, lines: list[str]) -> None:
    read = "[...document.querySelectorAll('#messages > li')].map((line) => line.textContent)"
    await page.until(f"JSON.stringify({read}) === JSON.stringify({json.dumps(lines)})")


async def test_two_tabs_talk_on_while_workers_are_killed(tmp_path: Path) -> None:
    async with redis_server() as redis, open_browser(tmp_path) as browser:
        variables = environment(REDIS_URL=redis.url)
        command = ["serve", "examples.big_chat:chat", "--port", "0", "--workers", "2"]
        async with (
            running(*command, cwd=ROOT, env=variables) as server,
            open_tab(browser) as ana,
            open_tab(browser) as bo,
        ):
            url = (await server.line()).split()[1]
            with trio.fail_after(_PATIENCE):
                before = await processes_of(url)
                await join(ana, url, "Ana")
                await here(ana, "Ana")
                await say(ana, "before you came")
                await join(bo, url, "Bo")
                # Those who come late are given what was said.
                await all_read(bo, ["Ana: before you came"])
                await here(ana, "Ana, Bo")
                lines = ["Ana: before you came"]
                for number, process in enumerate(before):
                    os.kill(process, signal.SIGKILL)
                    await ended(process)
                    for page, name in ((ana, "Ana"), (bo, "Bo")):
                        await say(page, f"{number} and <b>on</b>")
                        lines.append(f"{name}: {number} and <b>on</b>")
                        # Whoever was away catches up, and nothing comes twice.
                        await all_read(ana, lines)
                        await all_read(bo, lines)
                    await processes_of(url)
                for page in (ana, bo):
                    await here(page, "Ana, Bo")
                server.signal(signal.SIGTERM)
                assert await server.process.wait() == 0


async def test_in_one_process_it_needs_nothing(tmp_path: Path) -> None:
    async with open_browser(tmp_path) as browser:
        command = ["serve", "examples.big_chat:chat", "--port", "0"]
        async with running(*command, cwd=ROOT) as server, open_tab(browser) as ana:
            url = (await server.line()).split()[1]
            with trio.fail_after(_PATIENCE):
                await join(ana, url, "Ana")
                await here(ana, "Ana")
                await say(ana, "alone")
                await all_read(ana, ["Ana: alone"])
                assert ana.problems == []
