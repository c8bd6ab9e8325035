"""What a process is told of its client."""

from __future__ import annotations

import os
from typing import Any

import pytest

from trio_ws.cli.handlers import environment
from trio_ws.protocol.http import Headers, Request


class Client:
    """What there is of a connection to be told of."""

    id = "s7"
    remote_address: object = ("2001:db8::7", 4711, 0, 0)
    local_address: object = ("::1", 80, 0, 0)

    def __init__(self, target: str = "/", *headers: tuple[str, str]) -> None:
        self.request = Request("GET", target, Headers(headers))


def told(*given: Any) -> dict[str, str]:
    return dict(environment.environment_of(Client(*given)))  # type: ignore[arg-type]


def test_the_variables_of_cgi() -> None:
    variables = told("/a%20b/%C3%A9?x=1&y=%20", ("User-Agent", "me"), ("X-A", "1"), ("x-a", "2"))
    expected = {
        "GATEWAY_INTERFACE": "CGI/1.1",
        "REQUEST_METHOD": "GET",
        "REQUEST_URI": "/a%20b/%C3%A9?x=1&y=%20",
        "SCRIPT_NAME": "",
        "PATH_INFO": "/a b/é",
        "QUERY_STRING": "x=1&y=%20",
        "REMOTE_ADDR": "2001:db8::7",
        "REMOTE_HOST": "2001:db8::7",
        "REMOTE_PORT": "4711",
        "SERVER_NAME": "::1",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "UNIQUE_ID": "s7",
        "HTTP_USER_AGENT": "me",
        "HTTP_X_A": "1, 2",
    }
    assert {name: variables[name] for name in expected} == expected
    assert variables["SERVER_SOFTWARE"].startswith("trio-ws/")
    assert variables["PATH"] == os.environ["PATH"]


@pytest.mark.parametrize(
    ("name", "variable"),
    [
        ("Proxy", "HTTP_PROXY"),
        ("Authorization", "HTTP_AUTHORIZATION"),
        ("Proxy-Authorization", "HTTP_PROXY_AUTHORIZATION"),
        ("X_Forwarded_For", "HTTP_X_FORWARDED_FOR"),
        ("x.y", "HTTP_X.Y"),
    ],
)
def test_headers_that_could_do_harm_are_withheld(name: str, variable: str) -> None:
    assert variable not in told("/", (name, "harm"))


def test_our_own_options_are_no_business_of_a_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRIO_WS_SERVE_BEARER", "secret")
    assert "TRIO_WS_SERVE_BEARER" not in told()


@pytest.mark.parametrize("target", ["/%00", "/%FF", "/\xff", "*"])
def test_whatever_is_asked_for_can_be_a_variable(target: str) -> None:
    path = told(target)["PATH_INFO"]
    assert b"\0" not in os.fsencode(path)
    assert path != "/"


def test_a_local_client_has_no_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Client, "remote_address", "")
    assert told()["REMOTE_ADDR"] == told()["REMOTE_PORT"] == ""
