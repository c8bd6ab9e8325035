"""``--metrics``: what Prometheus reads."""

from __future__ import annotations

import sys

import pytest

from trio_ws.cli.failures import Usage
from trio_ws.cli.metrics import metrics
from trio_ws.instrumentation import ConnectionOpened
from trio_ws.protocol.http import Headers, Request, Response


def ask(path: str, method: str = "GET", *headers: tuple[str, str]) -> Response | None:
    hook, process_request = metrics()
    hook(ConnectionOpened(id="1", client=False, target="/", remote_address=None))
    response = process_request(Request(method, path, Headers(headers)))
    assert response is None or isinstance(response, Response)
    return response


def test_it_answers_with_what_was_counted_and_with_the_process_s_own() -> None:
    response = ask("/metrics?name=x")
    assert response is not None
    assert response.status == 200
    assert response.headers["content-type"].startswith("text/plain; version=")
    assert response.headers["cache-control"] == "no-store"
    assert b'trio_ws_connections_open{role="server"} 1.0' in response.body
    assert b"process_open_fds" in response.body


def test_other_requests_pass() -> None:
    assert ask("/metrics/") is None
    assert ask("/metrics", "GET", ("Upgrade", "websocket")) is None


def test_only_get_and_head() -> None:
    response = ask("/metrics", "DELETE")
    assert response is not None
    assert (response.status, response.headers["allow"]) == (405, "GET, HEAD")
    assert ask("/metrics", "HEAD") is not None


def test_without_the_library_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    with pytest.raises(Usage, match=r"needs prometheus-client: pip install 'trio-ws\[metrics\]'"):
        metrics()
