"""A browser's own WebSocket, through the cases and through what only browsers do."""

from __future__ import annotations

import urllib.parse
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import trio

import trio_ws
from trio_ws import ClosedBy, CloseReason

from ..e2e.browser import Page, open_page
from .cases import CASES, Case
from .matrix import cell
from .programs import Certificates, accepting

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from .programs import Accepted

PAGE = (Path(__file__).parent / "browser_page.html").read_bytes()
_PATIENCE = 60
_GONE = CloseReason(1001, "", ClosedBy.REMOTE)
#: Scripts cannot do this.
CANNOT = {
    "fragments from the peer",
    "compression: fragments from the peer",
    "pings from the peer",
}


def _possible(case: Case) -> Case:
    """Without the codes that scripts may not close with."""
    if case.name != "closed by the peer":
        return case
    allowed = tuple(one for one in case.details if one[0] == 1000 or one[0] >= 3000)
    return replace(case, details=allowed)


def give_page(request: trio_ws.Request) -> trio_ws.Response | None:
    if "upgrade" in request.headers:
        return None
    return trio_ws.Response(200, trio_ws.Headers({"Content-Type": "text/html"}), PAGE)


@asynccontextmanager
async def serving_the_page(**options: Any) -> AsyncGenerator[tuple[str, Accepted]]:
    async with accepting(process_request=give_page, **options) as (url, accepted):
        yield url.replace("ws", "http", 1), accepted


class Tab:
    """The browser as the cases see it."""

    def __init__(self, page: Page) -> None:
        self._page = page

    async def closed(self) -> tuple[int, str]:
        code, reason = await self._page.evaluate("closed")
        return code, reason


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(
            _possible(case),
            id=case.name.replace(" ", "-"),
            marks=cell("the peer is the client", case.name, "Chromium"),
        )
        for case in CASES
        if case.name not in CANNOT
    ],
)
async def test_it_talks_with_us(case: Case, tmp_path: Path) -> None:
    tls = {"ssl_context": Certificates.made(tmp_path).server} if case.tls else {}
    async with open_page(tmp_path / "profile") as page:
        for detail, options in case.variants():
            async with serving_the_page(**options, **tls) as (url, accepted):
                with trio.fail_after(_PATIENCE):
                    await page.go(url)
                    await case.run(await accepted.receive(), Tab(page), detail)


@cell("browsers", "a page of another origin is refused", "Chromium")
async def test_a_page_of_another_origin_is_refused(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with (
        open_page(tmp_path) as page,
        serving_the_page() as (here, _),
        accepting() as (elsewhere, accepted),
    ):
        with trio.fail_after(_PATIENCE):
            await page.go(f"{here}?{urllib.parse.urlencode({'url': elsewhere})}")
            # All that a script may know.
            assert await Tab(page).closed() == (1006, "")
        with pytest.raises(trio.WouldBlock):
            accepted.receive_nowait()
    assert any("403" in problem for problem in page.problems)


@cell("browsers", "a page of an allowed origin is let in", "Chromium")
async def test_a_page_of_an_allowed_origin_is_let_in(tmp_path: Path) -> None:
    async with open_page(tmp_path) as page, serving_the_page() as (here, _):
        async with accepting(origins=[here.rstrip("/")]) as (elsewhere, accepted):
            with trio.fail_after(_PATIENCE):
                await page.go(f"{here}?{urllib.parse.urlencode({'url': elsewhere})}")
                ws = await accepted.receive()
                await ws.send("hello")
                assert await ws.receive() == "hello"


@cell("browsers", "closing the tab is 1001", "Chromium")
async def test_closing_the_tab_is_going_away(tmp_path: Path) -> None:
    async with open_page(tmp_path) as page, serving_the_page() as (url, accepted):
        with trio.fail_after(_PATIENCE):
            await page.go(url)
            ws = await accepted.receive()
            await page.call("Page.close")
            assert await ws.wait_closed() == _GONE


@cell("browsers", "a page that is loaded again leaves with 1001 and comes back", "Chromium")
async def test_a_page_that_is_loaded_again_comes_back(tmp_path: Path) -> None:
    async with open_page(tmp_path) as page, serving_the_page() as (url, accepted):
        with trio.fail_after(_PATIENCE):
            await page.go(url)
            first = await accepted.receive()
            await page.call("Page.reload")
            assert await first.wait_closed() == _GONE
            second = await accepted.receive()
            await second.send("again")
            assert await second.receive() == "again"
