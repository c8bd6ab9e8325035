"""Who is let in: credentials, origins and subprotocols from the command's options."""

from __future__ import annotations

import base64
import inspect
from typing import TYPE_CHECKING

import pytest

from trio_ws.cli import failures
from trio_ws.cli.admission import authentication, origins_of, subprotocols_of
from trio_ws.cli.failures import Usage, redacted
from trio_ws.cli.options.serve import ServeOptions
from trio_ws.protocol.http import Headers, Request, Response

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def _no_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(failures, "_secrets", set())


def basic(user: str, password: str) -> str:
    return f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"


async def ask(options: ServeOptions, authorization: str | None) -> Response | None:
    hook = authentication(options)
    assert hook is not None
    headers = [] if authorization is None else [("Authorization", authorization)]
    answer = hook(Request("GET", "/", Headers(headers)))
    response = await answer if inspect.isawaitable(answer) else answer
    assert response is None or isinstance(response, Response)
    return response


async def is_let_in(options: ServeOptions, authorization: str | None) -> bool:
    return await ask(options, authorization) is None


def test_nothing_is_asked_for_by_default() -> None:
    assert authentication(ServeOptions()) is None


async def test_users_and_their_passwords(tmp_path: Path) -> None:
    file = tmp_path / "users"
    file.write_text("carol:c:d\n\ndave:ü\n")
    options = ServeOptions(auth=("alice:a", "bob:b", f"@{file}"))
    for user, password in (("alice", "a"), ("bob", "b"), ("carol", "c:d"), ("dave", "ü")):
        assert await is_let_in(options, basic(user, password))
    assert not await is_let_in(options, basic("alice", "b"))
    assert not await is_let_in(options, None)
    assert not await is_let_in(options, "Bearer a")


async def test_tokens(tmp_path: Path) -> None:
    file = tmp_path / "tokens"
    file.write_text("two\nthree \n")
    options = ServeOptions(bearer=("one", f"@{file}"))
    for token in ("one", "two", "three"):
        assert await is_let_in(options, f"Bearer {token}")
    assert not await is_let_in(options, "Bearer four")


async def test_with_both_either_lets_in_and_both_are_named() -> None:
    options = ServeOptions(auth=("user:password",), bearer=("token",))
    assert await is_let_in(options, basic("user", "password"))
    assert await is_let_in(options, "Bearer token")
    refusal = await ask(options, "Bearer password")
    assert refusal is not None
    assert refusal.status == 401
    assert refusal.headers.get_all("www-authenticate") == (
        'Basic realm="trio-ws", charset="UTF-8"',
        'Bearer realm="trio-ws"',
    )


def test_secrets_are_hidden() -> None:
    authentication(ServeOptions(auth=("someone:pass-word",), bearer=("tok-en",)))
    assert redacted("someone, pass-word, tok-en") == "someone, ***, ***"
    assert "c29tZW9uZTpwYXNzLXdvcmQ=" not in redacted("Basic c29tZW9uZTpwYXNzLXdvcmQ=")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (ServeOptions(auth=("hunter2",)), "--auth: write USER:PASSWORD, or @FILE"),
        (ServeOptions(auth=("user:",)), "--auth: write USER:PASSWORD, or @FILE"),
        (ServeOptions(auth=(":password",)), "--auth: write USER:PASSWORD, or @FILE"),
        (ServeOptions(auth=("u:1", "u:2")), "--auth: the user u is given twice"),
        (ServeOptions(auth=("@/nowhere",)), "--auth: cannot read /nowhere"),
        (ServeOptions(auth=("@/dev/null",)), "--auth: there is nothing in /dev/null"),
        (ServeOptions(bearer=("",)), "--bearer: there is nothing in it"),
        (ServeOptions(bearer=("a b",)), "--bearer: a token is printable ASCII without spaces"),
        (ServeOptions(bearer=("ü",)), "--bearer: a token is printable ASCII without spaces"),
        (ServeOptions(bearer=("  ",)), "--bearer: a token is printable ASCII without spaces"),
    ],
)
def test_what_makes_no_sense_is_said_without_the_secret(
    options: ServeOptions, message: str
) -> None:
    with pytest.raises(Usage) as caught:
        authentication(options)
    assert str(caught.value).startswith(message)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "origins"),
    [
        (ServeOptions(), ("*",)),
        (ServeOptions(echo=True), ("*",)),
        (ServeOptions(broadcast=True), ("*",)),
        (ServeOptions(auth=("u:p",)), ("same",)),
        (ServeOptions(broadcast=True, bearer=("t",)), ("same",)),
        (ServeOptions(exec="cat"), ("same",)),
        (ServeOptions(interactive=True), ("same",)),
        (ServeOptions(handler="app:main"), ("same",)),
        (
            ServeOptions(exec="cat", allow_origin=("same", "*.example.com")),
            ("same", "*.example.com"),
        ),
    ],
)
def test_origins(options: ServeOptions, origins: tuple[str, ...]) -> None:
    assert origins_of(options) == origins


def test_an_origin_that_is_none_is_named() -> None:
    with pytest.raises(Usage, match="--allow-origin: not an origin: 'a/b'"):
        origins_of(ServeOptions(allow_origin=("a/b",)))


def test_subprotocols() -> None:
    assert subprotocols_of(ServeOptions(subprotocol=("chat.v2", "chat"))) == ("chat.v2", "chat")
    for name in ("", "a b", "a,b", "ü"):
        with pytest.raises(Usage, match=r"--subprotocol .*: not a name"):
            subprotocols_of(ServeOptions(subprotocol=(name,)))
