"""The console's page, without a browser; with one in tests/e2e/test_console.py."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re

import pytest

from trio_ws.cli.console import console
from trio_ws.protocol.http import Headers, Request, Response


def ask(
    path: str = "/",
    method: str = "GET",
    *headers: tuple[str, str],
    where: str = "/ws",
    subprotocols: tuple[str, ...] = (),
) -> Response | None:
    hook = console(path=where, subprotocols=subprotocols, echo=True)
    response = hook(Request(method, path, Headers(headers)))
    assert response is None or isinstance(response, Response)
    return response


def page(where: str = "/ws", subprotocols: tuple[str, ...] = ()) -> str:
    response = ask(where=where, subprotocols=subprotocols)
    assert response is not None
    return response.body.decode()


@pytest.mark.parametrize("path", ["/x", "/index.html", "//"])
def test_other_paths_pass(path: str) -> None:
    assert ask(path) is None


def test_requests_for_a_websocket_pass() -> None:
    assert ask("/", "GET", ("Upgrade", "websocket")) is None


def test_only_get_and_head() -> None:
    response = ask("/?query", "POST")
    assert response is not None
    assert (response.status, response.headers["allow"]) == (405, "GET, HEAD")
    response = ask("/", "HEAD")
    assert response is not None
    assert response.status == 200


def test_its_style_and_script_are_let_in_by_their_hashes_and_nothing_else() -> None:
    response = ask()
    assert response is not None
    policy = response.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; ")
    assert "unsafe" not in policy
    for tag in ("script", "style"):
        (inline,) = re.findall(rf"<{tag}>(.*?)</{tag}>", response.body.decode(), re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(inline.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy
        assert len(inline) > 1_000


def test_nothing_comes_from_elsewhere_and_nothing_is_inline_that_the_policy_stops() -> None:
    text = page()
    assert not re.search(r"""(src|href)=["'](?!data:)""", text)
    assert not re.search(r"<[^>]+\s(style|on[a-z]+)=", text)
    assert "innerHTML" not in text
    assert "insertAdjacentHTML" not in text


def test_every_field_and_button_has_a_name() -> None:
    text = page()
    body = text[text.index("<body>") : text.index("<script>")]
    for field in re.finditer(r"<(input|textarea)\b[^>]*>", body):
        label = body.rindex("<label", 0, field.start())
        assert body.find("</label>", label) > field.start()
    for button in re.findall(r"<button\b[^>]*>(.*?)</button>", body):
        assert button.strip()


def test_the_settings_are_data_and_never_markup() -> None:
    evil = """/"><script>alert('1')</script>&{style}"""
    text = page(evil, ("chat", "v2"))
    (settings,) = re.findall(r'<html lang="en" data-settings="([^"]*)">', text)
    assert json.loads(html.unescape(settings)) == {
        "path": evil,
        "subprotocols": ["chat", "v2"],
        "echo": True,
    }
    assert "<script>alert" not in text
