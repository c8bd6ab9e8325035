"""``--console`` in a real browser: it connects, sends, receives, and comes back by itself."""

from __future__ import annotations

import json
import os
from functools import partial
from typing import TYPE_CHECKING

import jsonschema
import pytest
import trio

import trio_ws
from trio_ws.cli.console import console
from trio_ws.cli.jsonlines import decode

from ..cli.test_jsonlines import SCHEMA
from .browser import Page, open_page
from .processes import server_process

if TYPE_CHECKING:
    from pathlib import Path

#: Where to write the picture for the manual; nobody's business in most runs.
PICTURE = os.environ.get("TRIO_WS_CONSOLE_PICTURE")
REFUSED = "net::ERR_CONNECTION_REFUSED"


def page_of(url: str) -> str:
    scheme, _, rest = url.partition("://")
    return f"{scheme.replace('ws', 'http')}://{rest.partition('/')[0]}/"


async def until_state(page: Page, state: str) -> None:
    await page.until(f"document.getElementById('state').dataset.state === '{state}'")


async def send(page: Page, kind: str, text: str) -> None:
    """Send *text*, and wait for what comes back."""
    rows = "document.querySelectorAll('tr[data-type=message][data-dir=in]').length"
    before = await page.evaluate(rows)
    await page.evaluate(f"document.querySelector('input[value={kind}]').click()")
    await page.fill("message", text)
    await page.click("send")
    await page.until(f"{rows} > {before}")


async def cells(page: Page, name: str) -> list[str]:
    found: list[str] = await page.evaluate(
        f"Array.from(document.querySelectorAll('tr[data-kind=payload] td.{name}'),"
        " (cell) => cell.textContent)"
    )
    return found


async def saved(page: Page) -> list[str]:
    """The lines of the file that Save offers."""
    text = await page.evaluate(
        "new Promise((done) => { const made = URL.createObjectURL;"
        " HTMLAnchorElement.prototype.click = () => {};"
        " URL.createObjectURL = (blob) => { done(blob.text()); return made(blob); };"
        " document.getElementById('save').click(); })"
    )
    return str(text).splitlines()


async def test_it_sends_and_receives_and_saves(tmp_path: Path) -> None:
    async with (
        server_process("--console", "--path", "/ws", "--subprotocol", "chat") as (_, url),
        open_page(tmp_path) as page,
    ):
        await page.go(page_of(url))
        assert await page.evaluate("document.getElementById('url').value") == url
        assert await page.evaluate("document.getElementById('subprotocols').value") == "chat"
        await page.click("connect")
        await until_state(page, "open")
        markup = "grüße <img src=x onerror=alert(1)>"
        await send(page, "text", markup)
        await send(page, "hex", "00 01 fe ff")
        await send(page, "base64", "AAEC")
        assert await cells(page, "data") == [
            *[markup] * 2,
            *["00 01 fe ff"] * 2,
            *["00 01 02"] * 2,
        ]
        assert await cells(page, "type") == [*["text"] * 2, *["binary"] * 4]
        assert (await cells(page, "direction"))[:2] == ["↑ out", "↓ in"]
        assert await page.evaluate("document.images.length") == 0
        assert (await page.text("latency")).endswith(" ms")
        await page.click("connect")
        await until_state(page, "closed")
        assert "1000 (normal closure)" in await page.text("last-close")
        lines = await saved(page)
        for line in lines:
            jsonschema.validate(json.loads(line), SCHEMA)
        entries = list(decode(lines, "saved"))
        assert [entry.type for entry in entries] == ["open", *["message"] * 6, "close"]
        assert [entry.data for entry in entries[1:5]] == [*[markup] * 2, *[b"\0\1\xfe\xff"] * 2]
        assert page.problems == []


async def test_input_that_makes_no_sense_is_said_and_not_sent(tmp_path: Path) -> None:
    async with server_process("--console") as (_, url), open_page(tmp_path) as page:
        await page.go(page_of(url))
        await page.fill("url", "nonsense://x")
        await page.click("connect")
        assert await page.text("connection-error")
        assert await page.text("state-text") == "Not connected"
        await page.fill("url", url)
        await page.click("connect")
        await until_state(page, "open")
        for kind, given, said in (
            ("hex", "0g", "Not hex: two digits a byte, such as 00 ff 1a"),
            ("base64", "=", "Not Base64"),
            ("file", "", "Choose a file first"),
        ):
            await page.evaluate(f"document.querySelector('input[value={kind}]').click()")
            await page.fill("message", given)
            await page.click("send")
            await page.until(f"document.getElementById('composer-error').textContent === '{said}'")
        assert await cells(page, "data") == []
        assert page.problems == []


async def test_it_keeps_a_thousand_rows_filters_and_shows_json_prettily(tmp_path: Path) -> None:
    async def flood(ws: trio_ws.WebSocket) -> None:
        for number in range(1_500):
            await ws.send(f'{{"number":{number}}}')
        await ws.send("x" * 5_000)
        await ws.receive()

    async with trio.open_nursery() as nursery, open_page(tmp_path) as page:
        hook = console(echo=False)
        server = await nursery.start(
            partial(trio_ws.serve, flood, "127.0.0.1", 0, process_request=hook)
        )
        await page.go(f"http://127.0.0.1:{server.port}/")
        await page.click("connect")
        await page.until("document.getElementById('shown').textContent.includes('of 1,502')")
        assert await page.text("shown") == "the last 1,000 of 1,502 frames"
        assert await page.evaluate("document.querySelectorAll('#rows tr').length") == 1_000
        assert await page.text("latency") == "n/a"
        assert (await cells(page, "data"))[-1] == "x" * 2_000 + "… 3,000 characters more: show"
        await page.evaluate("document.querySelector('td.data button').click()")
        assert (await cells(page, "data"))[-1] == "x" * 5_000
        await page.fill("filter", '"number":1499')
        assert (
            await page.evaluate("document.querySelectorAll('#rows tr:not([hidden])').length") == 1
        )
        await page.click("pretty")
        assert (await cells(page, "data"))[-2] == '{\n  "number": 1499\n}'
        await page.click("clear")
        assert await page.evaluate("document.querySelectorAll('#rows tr').length") == 0
        assert page.problems == []
        nursery.cancel_scope.cancel()


async def test_it_comes_back_when_the_server_does(tmp_path: Path) -> None:
    async with open_page(tmp_path) as page:
        async with server_process("--console") as (process, url):
            await page.go(page_of(url))
            await page.click("connect")
            await until_state(page, "open")
            await send(page, "text", "before")
            process.kill()
            await until_state(page, "waiting")
            assert "1006 (cut off)" in await page.text("last-close")
            # Full jitter may draw next to nothing: wait for a delay that can be seen.
            await page.until(
                "/^in \\d+\\.\\d s$/.test(document.getElementById('countdown').textContent)"
            )
            assert not await page.evaluate("document.getElementById('now').hidden")
        async with server_process("--console", "--port", url.rpartition(":")[2]):
            await page.evaluate("document.getElementById('now').click()")
            await until_state(page, "open")
            await send(page, "text", "after")
            assert await cells(page, "data") == [*["before"] * 2, *["after"] * 2]
            assert await page.text("connections") == "2"
            if PICTURE is not None:
                await take_picture(page)
            await page.click("connect")
            await until_state(page, "closed")
        # What the browser itself says of a refused connection is no fault of the page's.
        assert [one for one in page.problems if REFUSED not in one] == []


async def take_picture(page: Page) -> None:
    assert PICTURE is not None
    await send(page, "text", '{"subscribe":["trades","book"],"symbol":"BTC-EUR","depth":10}')
    await send(page, "hex", "00 01 fe ff 68 65 6c 6c 6f")
    await page.evaluate("document.querySelector('input[value=text]').click()")
    await page.fill("message", "hello again")
    await page.screenshot(trio.Path(PICTURE))  # type: ignore[arg-type]


async def test_it_does_not_come_back_when_told_so_or_when_the_server_is_done(
    tmp_path: Path,
) -> None:
    async def close(ws: trio_ws.WebSocket) -> None:
        code = await ws.receive()
        await ws.aclose(int(code), "so <b>be</b> it")

    async with trio.open_nursery() as nursery, open_page(tmp_path) as page:
        hook = console(echo=False)
        server = await nursery.start(
            partial(trio_ws.serve, close, "127.0.0.1", 0, process_request=hook)
        )
        await page.go(f"http://127.0.0.1:{server.port}/")
        for code in ("1000", "4001"):
            await page.click("connect")
            await until_state(page, "open")
            await page.fill("message", code)
            await page.click("send")
            await until_state(page, "closed")
            assert (await page.text("last-close")).endswith("so <b>be</b> it")
        await page.click("reconnect")
        await page.click("connect")
        await until_state(page, "open")
        await page.fill("message", "1001")
        await page.click("send")
        await until_state(page, "closed")
        assert page.problems == []
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("arguments", [(), ("--allow-origin", "https://elsewhere.example")])
async def test_a_page_from_elsewhere_is_let_in_only_where_that_is_allowed(
    arguments: tuple[str, ...], tmp_path: Path
) -> None:
    allowed = not arguments
    async with (
        server_process("--console") as (_, here),
        server_process(*arguments) as (_, there),
        open_page(tmp_path) as page,
    ):
        await page.go(page_of(here))
        await page.click("reconnect")
        await page.fill("url", there)
        await page.click("connect")
        await until_state(page, "open" if allowed else "closed")
        assert await page.text("state-text") == ("Connected" if allowed else "Could not connect")


async def test_over_tls_and_behind_a_password_the_page_connects_as_well(tmp_path: Path) -> None:
    async with (
        server_process("--console", "--tls-self-signed", "--auth", "user:password") as (_, url),
        open_page(tmp_path) as page,
    ):
        await page.go(page_of(url).replace("://", "://user:password@"))
        assert await page.evaluate("document.getElementById('url').value") == url + "/"
        assert url.startswith("wss://")
        # The browser lends the page the password that it was opened with.
        await page.click("connect")
        await until_state(page, "open")
        await send(page, "text", "hello")
