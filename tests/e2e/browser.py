"""A headless Chromium, driven over its DevTools protocol with our own client."""

from __future__ import annotations

import base64
import itertools
import json
import shutil
import subprocess
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import trio

import trio_ws

from ..requirements import require_tool

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path

_NAMES = ("chromium", "chromium-browser", "google-chrome")
#: Screenshots are larger than what is usual.
_LIMITS = replace(trio_ws.Limits(), max_message_size=64 << 20, inbox_messages=10_000)
#: Seconds that anything may take on a busy machine before the test is given up.
_PATIENCE = 60
_FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--ignore-certificate-errors",
    "--remote-debugging-port=0",
)


class Page:
    """One page of a browser.

    Attributes:
      problems: what the page's console and the browser's log have complained of.
    """

    def __init__(self, ws: trio_ws.WebSocket) -> None:
        self._ws = ws
        self._numbers = itertools.count(1)
        self._answers: dict[int, dict[str, Any]] = {}
        self._changed = trio.Event()
        self._session: dict[str, str] = {}
        self.problems: list[str] = []

    async def read(self) -> None:
        """Take what the browser says, until it ends."""
        async for message in self._ws:
            told = json.loads(message)
            if "id" in told:
                self._answers[told["id"]] = told
                self._changed.set()
                self._changed = trio.Event()
            else:
                self._note(told["method"], told["params"])

    def _note(self, method: str, parameters: dict[str, Any]) -> None:
        if method == "Runtime.exceptionThrown":
            self.problems.append(json.dumps(parameters["exceptionDetails"]))
        elif method == "Runtime.consoleAPICalled" and parameters["type"] in {"error", "warning"}:
            self.problems.append(json.dumps(parameters["args"]))
        elif method == "Log.entryAdded" and parameters["entry"]["level"] in {"error", "warning"}:
            self.problems.append(parameters["entry"]["text"])

    async def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Call a method of the protocol."""
        number = next(self._numbers)
        request = {"id": number, "method": method, "params": parameters, **self._session}
        await self._ws.send(json.dumps(request))
        with trio.fail_after(_PATIENCE):
            while number not in self._answers:
                await self._changed.wait()
        answer = self._answers.pop(number)
        assert "error" not in answer, answer
        result: dict[str, Any] = answer["result"]
        return result

    async def open(self, width: int, height: int) -> None:
        target = (await self.call("Target.createTarget", url="about:blank"))["targetId"]
        attached = await self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = {"sessionId": attached["sessionId"]}
        for domain in ("Page", "Runtime", "Log"):
            await self.call(f"{domain}.enable")
        await self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )

    async def go(self, url: str) -> None:
        """Load *url*."""
        await self.call("Page.navigate", url=url)
        await self.until("document.readyState === 'complete' && location.href !== 'about:blank'")

    async def evaluate(self, expression: str) -> Any:
        """The value of *expression* in the page; promises are awaited."""
        answer = await self.call(
            "Runtime.evaluate",
            expression=expression,
            returnByValue=True,
            awaitPromise=True,
            userGesture=True,
        )
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    async def until(self, condition: str) -> None:
        """Wait until *condition* holds in the page."""
        await self.evaluate(
            "new Promise((done) => {"
            f"  const look = () => ({condition}) ? done(true) : setTimeout(look, 20);"
            "  look(); })"
        )

    async def click(self, name: str) -> None:
        """Click the element with this id."""
        await self.evaluate(f"document.getElementById({json.dumps(name)}).click()")

    async def fill(self, name: str, value: str) -> None:
        """Put *value* into the field with this id."""
        await self.evaluate(
            f"(() => {{ const field = document.getElementById({json.dumps(name)});"
            f" field.value = {json.dumps(value)};"
            " field.dispatchEvent(new Event('input', {bubbles: true})); })()"
        )

    async def text(self, name: str) -> str:
        """What the element with this id says."""
        content = await self.evaluate(f"document.getElementById({json.dumps(name)}).textContent")
        return str(content)

    async def screenshot(self, path: Path) -> None:
        """Write a picture of the page."""
        taken = await self.call("Page.captureScreenshot", format="png")
        await trio.Path(path).write_bytes(base64.b64decode(taken["data"]))


@asynccontextmanager
async def open_page(profile: Path, *, width: int = 1100, height: int = 760) -> AsyncGenerator[Page]:
    """A page of a new browser; skips the test where there is no Chromium."""
    async with open_browser(profile) as url, open_tab(url, width=width, height=height) as page:
        yield page


@asynccontextmanager
async def open_browser(profile: Path) -> AsyncGenerator[str]:
    """A new browser's address for `open_tab`; skips the test where there is no Chromium."""
    found = next(filter(None, map(shutil.which, _NAMES)), None)
    require_tool("chromium", available=found is not None, reason="no Chromium on this machine")
    assert found is not None
    process = await trio.lowlevel.open_process(
        [found, *_FLAGS, f"--user-data-dir={profile}", "about:blank"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        with trio.fail_after(_PATIENCE):
            url = await _debugger_of(process, profile)
        yield url
    finally:
        process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()


@asynccontextmanager
async def open_tab(url: str, *, width: int = 1100, height: int = 760) -> AsyncGenerator[Page]:
    """A page of the browser at *url*, beside those that it has."""
    async with (
        trio_ws.connect(url, limits=_LIMITS, heartbeat=None, proxy=None) as ws,
        trio.open_nursery() as nursery,
    ):
        page = Page(ws)
        nursery.start_soon(page.read)
        with trio.fail_after(_PATIENCE):
            await page.open(width, height)
        yield page
        nursery.cancel_scope.cancel()


async def _debugger_of(process: trio.Process, profile: Path) -> str:
    """Where the browser listens: it writes that down once it does."""
    file = trio.Path(profile / "DevToolsActivePort")
    while True:
        assert process.poll() is None, "the browser did not start"
        if await file.exists():
            lines = (await file.read_text()).splitlines()
            if len(lines) == 2:
                return f"ws://127.0.0.1:{lines[0]}{lines[1]}"
        # No condition to wait for but a file in another process's hands.
        await trio.sleep(0.02)
