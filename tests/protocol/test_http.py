"""Headers, requests and responses."""

from __future__ import annotations

import h11
import pytest

from trio_ws.protocol.http import Headers, Request, Response, problem_in, reason_phrase


def test_headers_are_found_whatever_their_case() -> None:
    headers = Headers([("X-One", "1"), ("x-two", "2"), ("X-ONE", "3")])
    assert headers["x-one"] == "1, 3"
    assert headers.get_all("x-One") == ("1", "3")
    assert headers.get("missing") is None
    assert headers.get_all("missing") == ()
    assert "X-TWO" in headers
    assert list(headers) == ["x-one", "x-two"]
    assert len(headers) == 2
    assert headers.raw[0] == ("X-One", "1")
    with pytest.raises(KeyError):
        headers["missing"]


def test_headers_come_from_mappings_pairs_and_headers() -> None:
    pairs = Headers([("a", "1"), ("b", "2")])
    assert Headers({"a": "1", "b": "2"}) == pairs
    assert Headers(pairs).raw is pairs.raw
    assert Headers().raw == ()
    assert repr(pairs) == "Headers([('a', '1'), ('b', '2')])"


@pytest.mark.parametrize(
    ("target", "path", "query"),
    [("/", "/", ""), ("/a%20b?c=d?e", "/a%20b", "c=d?e"), ("/?", "/", "")],
)
def test_a_request_tells_path_from_query(target: str, path: str, query: str) -> None:
    request = Request("GET", target, Headers())
    assert (request.path, request.query) == (path, query)


def test_a_response_of_text() -> None:
    response = Response.text(404, "nö", {"X-A": "b"})
    assert response.body == "nö".encode()
    assert response.headers["content-type"] == "text/plain; charset=utf-8"
    assert response.headers["x-a"] == "b"


@pytest.mark.parametrize(
    ("response", "reason"),
    [
        (Response(404), "Not Found"),
        (Response(404, reason="Gone Fishing"), "Gone Fishing"),
        (Response(799), ""),
    ],
)
def test_the_reason_phrase(response: Response, reason: str) -> None:
    assert reason_phrase(response) == reason


@pytest.mark.parametrize("reason", ["OK\r\nSet-Cookie: a=b", "OK\n", "\x00", "nö"])
def test_a_reason_phrase_cannot_split_the_response(reason: str) -> None:
    with pytest.raises(ValueError, match="printable ASCII"):
        reason_phrase(Response(200, reason=reason))


@pytest.mark.parametrize(
    ("head", "problem"),
    [
        (b"GET / HTTP/1.1\r\nA : b\r\n\r\n", "illegal header line: 'A : b'"),
        (b"GET '\xe4 HTTP/1.1\r\n\r\n", 'illegal request line: "GET \\\'\\xe4 HTTP/1.1"'),
        (b"GET '\" HTTP/1.1\\\r\n\r\n", "illegal request line: 'GET \\'\" HTTP/1.1\\\\'"),
        (b"G@T /" + b"x" * 200 + b"\r\n\r\n", f"illegal request line: 'G@T /{'x' * 92}..."),
        (b"\x16\x03\x01", "illegal request line"),
        (
            b"GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\naXY",
            "malformed chunk footer: 'XY' (expected b'\\r\\n')",
        ),
    ],
)
def test_what_is_wrong_is_told_with_the_bytes(head: bytes, problem: str) -> None:
    connection = h11.Connection(h11.SERVER)
    connection.receive_data(head)
    with pytest.raises(h11.RemoteProtocolError) as caught:
        while connection.next_event() is not h11.NEED_DATA:
            pass
    assert problem_in(caught.value) == problem
