"""What a server answers over plain HTTP, and in which order."""

from __future__ import annotations

import base64
import inspect
from typing import TYPE_CHECKING

import pytest

import trio_ws
from trio_ws.cli.failures import Usage
from trio_ws.cli.options.serve import ServeOptions
from trio_ws.cli.site import site
from trio_ws.protocol.http import Headers, Request, Response

if TYPE_CHECKING:
    from pathlib import Path

CREDENTIALS = ("Authorization", f"Basic {base64.b64encode(b'user:password').decode()}")
UPGRADE = ("Upgrade", "websocket")


def metrics(request: Request) -> Response | None:
    return Response.text(200, "metrics") if request.path == "/metrics" else None


async def ask(options: ServeOptions, path: str, *headers: tuple[str, str]) -> tuple[int, bytes]:
    """Status and body; 0 where nothing answers."""
    hook = trio_ws.all_of(*site(options, trio_ws.health(), metrics))
    answer = hook(Request("GET", path, Headers(headers)))
    response = await answer if inspect.isawaitable(answer) else answer
    assert response is None or isinstance(response, Response)
    return (0, b"") if response is None else (response.status, response.body)


@pytest.fixture
def everything(tmp_path: Path) -> ServeOptions:
    for name in ("index.html", "healthz", "metrics", "ws"):
        (tmp_path / name).write_text("static")
    return ServeOptions(
        auth=("user:password",), console=True, static=tmp_path, metrics=True, path="/ws"
    )


async def test_health_is_for_everybody_and_the_rest_behind_credentials(
    everything: ServeOptions,
) -> None:
    assert await ask(everything, "/healthz") == (200, b"ok\n")
    for path in ("/", "/metrics", "/ws", "/nowhere"):
        assert (await ask(everything, path))[0] == 401
        assert (await ask(everything, path, UPGRADE))[0] == 401


async def test_with_credentials_each_answers_in_its_place(everything: ServeOptions) -> None:
    assert await ask(everything, "/metrics", CREDENTIALS) == (200, b"metrics")
    assert b"trio-ws console" in (await ask(everything, "/", CREDENTIALS))[1]
    assert await ask(everything, "/index.html", CREDENTIALS) == (200, b"static")
    assert await ask(everything, "/ws", CREDENTIALS) == (200, b"static")
    assert (await ask(everything, "/nowhere", CREDENTIALS))[0] == 404


async def test_a_websocket_is_had_at_the_path_alone(everything: ServeOptions) -> None:
    assert await ask(everything, "/ws", CREDENTIALS, UPGRADE) == (0, b"")
    for path in ("/", "/index.html", "/nowhere"):
        assert (await ask(everything, path, CREDENTIALS, UPGRADE))[0] == 404


async def test_without_options_everything_is_a_websocket() -> None:
    hook = trio_ws.all_of(*site(ServeOptions(), trio_ws.health()))
    for path in ("/", "/anything"):
        answer = hook(Request("GET", path, Headers([UPGRADE])))
        assert inspect.isawaitable(answer)
        assert await answer is None


async def test_the_path_may_have_parts_that_vary() -> None:
    options = ServeOptions(path="/rooms/{room}")
    assert await ask(options, "/rooms/7", UPGRADE) == (0, b"")
    assert (await ask(options, "/rooms", UPGRADE))[0] == 404


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (ServeOptions(path="ws"), "--path ws: 'ws': a path begins with a slash"),
        (ServeOptions(static=None, path="/{a"), "--path /{a: "),
    ],
)
def test_a_path_that_is_none_is_named(options: ServeOptions, message: str) -> None:
    with pytest.raises(Usage) as caught:
        list(site(options, trio_ws.health()))
    assert str(caught.value).startswith(message)


def test_a_directory_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(Usage, match="no-such: there is no such directory"):
        list(site(ServeOptions(static=tmp_path / "no-such"), trio_ws.health()))
