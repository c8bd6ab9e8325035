"""Plain HTTP on a WebSocket port, and who is let in."""

from __future__ import annotations

import base64
import inspect
from typing import Any

import pytest

from trio_ws import Headers, Request, Response, all_of, basic_auth, bearer_auth, health
from trio_ws._http import Origins


def request(target: str = "/", **headers: str) -> Request:
    pairs = [(name.replace("_", "-"), value) for name, value in headers.items()]
    return Request("GET", target, Headers(pairs))


async def ask(hook: Any, asked: Request) -> int | None:
    answer = hook(asked)
    response = await answer if inspect.isawaitable(answer) else answer
    return None if response is None else response.status


# Hooks


async def test_the_first_answer_wins() -> None:
    calls: list[str] = []

    def sync_hook(asked: Request) -> None:
        calls.append("sync")

    async def async_hook(asked: Request) -> Response:
        calls.append("async")
        return Response(418)

    assert await ask(all_of(sync_hook, async_hook, sync_hook), request()) == 418
    assert calls == ["sync", "async"]
    assert await ask(all_of(sync_hook), request()) is None
    assert await ask(all_of(), request()) is None


async def test_health() -> None:
    assert await ask(health(), request("/healthz?probe")) == 200
    assert await ask(health("/up"), request("/healthz")) is None
    assert await ask(health(), request("/healthz", upgrade="websocket")) is None


# Authentication


def basic(user: str, password: str, scheme: str = "Basic") -> Request:
    encoded = base64.b64encode(f"{user}:{password}".encode()).decode()
    return request(authorization=f"{scheme} {encoded}")


@pytest.mark.parametrize(
    ("asked", "let_in"),
    [
        (basic("ana", "s3cret"), True),
        (basic("ana", "s3cret", "bASIC"), True),
        (basic("zoë", "pä:ss"), True),
        (basic("ana", "wrong"), False),
        (basic("nobody", "s3cret"), False),
        (basic("nobody", "\0"), False),
        (basic("ana", "s3cret", "Bearer"), False),
        (request(), False),
        (request(authorization="Basic"), False),
        (request(authorization="Basic !!!"), False),
        (request(authorization="Basic /////w=="), False),
        (request(authorization="Basic zo\xeb"), False),
        (request(authorization="Basic " + base64.b64encode(b"nocolon").decode()), False),
        (Request("GET", "/", Headers([("Authorization", "Basic x")] * 2)), False),
    ],
)
async def test_basic_auth(asked: Request, let_in: bool) -> None:
    hook = basic_auth({"ana": "s3cret", "zoë": "pä:ss"})
    assert await ask(hook, asked) == (None if let_in else 401)


async def test_basic_auth_by_a_callable() -> None:
    async def check(user: str, password: str) -> bool:
        return user == password

    assert await ask(basic_auth(check), basic("same", "same")) is None
    assert await ask(basic_auth(lambda user, password: False), basic("a", "a")) == 401


async def test_no_token_is_no_token() -> None:
    for empty in ("Bearer", "Bearer "):
        assert await ask(bearer_auth(lambda token: True), request(authorization=empty)) == 401
    with pytest.raises(ValueError, match="empty token"):
        bearer_auth(["s3cret", ""])


async def test_the_challenge_names_the_realm() -> None:
    answer = basic_auth({}, realm='a "b"')(request())
    assert inspect.isawaitable(answer)
    response = await answer
    assert response is not None
    assert response.headers["www-authenticate"] == 'Basic realm="a \\"b\\"", charset="UTF-8"'
    with pytest.raises(ValueError, match="printable ASCII"):
        bearer_auth(["x"], realm="a\nb")


@pytest.mark.parametrize(
    ("authorization", "let_in"),
    [
        ("Bearer t1", True),
        ("bearer t2", True),
        ("Bearer t3", False),
        ("Basic t1", False),
        ("", False),
    ],
)
async def test_bearer_auth(authorization: str, let_in: bool) -> None:
    hook = bearer_auth(["t1", "t2"])
    assert await ask(hook, request(authorization=authorization)) == (None if let_in else 401)


async def test_bearer_auth_by_a_callable() -> None:
    assert (
        await ask(bearer_auth(lambda token: token == "x"), request(authorization="Bearer x"))
        is None
    )
    with pytest.raises(TypeError, match="not as one string"):
        bearer_auth("token")


# Origins


@pytest.mark.parametrize(
    ("origin", "host", "let_in"),
    [
        ("https://example.com", "example.com", True),
        ("http://example.com", "example.com", True),
        ("HTTPS://EXAMPLE.COM", "Example.com", True),
        ("https://example.com", "example.com:443", True),
        ("http://example.com:8080", "example.com:8080", True),
        ("http://[::1]:8080", "[::1]:8080", True),
        ("https://example.com:8443", "example.com", False),
        ("http://example.com", "example.com:8080", False),
        ("https://good.com.evil", "good.com", False),
        ("https://evil.com", "good.com", False),
        ("null", "good.com", False),
        ("", "good.com", False),
        ("https://good.com@evil.com", "good.com", False),
        ("https://evil.com@good.com", "good.com", False),
        ("https://good.com/path", "good.com", False),
        ("https://good.com#x", "good.com", False),
        ("https://good.com, https://evil.com", "good.com", False),
        ("good.com", "good.com", False),
        ("https://good.com evil", "good.com", False),
        ("https://good.com:443:1", "good.com", False),
        ("https://good.com\\", "good.com\\", False),
        ("https://good.com", "", False),
        ("x-app://good.com", "good.com", True),
    ],
)
def test_the_same_origin(origin: str, host: str, let_in: bool) -> None:
    answer = Origins.parse("same").check(request(origin=origin, host=host))
    assert (answer is None) is let_in
    assert answer is None or answer.status == 403


def test_requests_without_an_origin_pass_and_with_two_do_not() -> None:
    assert Origins.parse([]).check(request(host="good.com")) is None
    twice = Request("GET", "/", Headers([("Origin", "https://good.com")] * 2))
    assert Origins.parse(["https://good.com"]).check(twice) is not None
    assert Origins.parse("*").check(twice) is None


@pytest.mark.parametrize(
    ("pattern", "origin", "let_in"),
    [
        ("https://example.com", "https://example.com", True),
        ("https://example.com", "https://example.com:443", True),
        ("https://example.com", "http://example.com", False),
        ("https://example.com", "https://example.com:444", False),
        ("example.com", "http://example.com:81", True),
        ("example.com", "https://a.example.com", False),
        ("*.example.com", "https://a.example.com", True),
        ("*.example.com", "https://a.b.example.com", True),
        ("*.example.com", "https://example.com", False),
        ("*.example.com", "https://evilexample.com", False),
        ("*.example.com", "https://example.com.evil", False),
        ("*.example.com", "https://evil.com,.example.com", False),
        ("*.example.com", "https://evil.com%2f.example.com", False),
        ("https://*.example.com:8443", "https://a.example.com:8443", True),
        ("https://*.example.com:8443", "https://a.example.com", False),
        ("same", "https://testserver", True),
        ("*", "null", True),
    ],
)
def test_patterns(pattern: str, origin: str, let_in: bool) -> None:
    asked = request(origin=origin, host="testserver")
    assert (Origins.parse([pattern]).check(asked) is None) is let_in


@pytest.mark.parametrize(
    "bad", ["", "https://", "https://a/b", "a b", "a:80", "ex*mple.com", "*.*.com"]
)
def test_bad_patterns_are_refused(bad: str) -> None:
    with pytest.raises(ValueError, match="not an origin"):
        Origins.parse([bad])
