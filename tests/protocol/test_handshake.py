"""The opening handshake: RFC 6455, section 4."""

from __future__ import annotations

import base64
import itertools
from contextlib import suppress

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_ws import Compression, Limits
from trio_ws.protocol.handshake import (
    BadRequest,
    BadResponse,
    ClientHandshake,
    Negotiated,
    ServerHandshake,
    accept_key,
)
from trio_ws.protocol.http import Headers, Request, Response

KEY = "dGhlIHNhbXBsZSBub25jZQ=="
LINES = [
    "GET /chat?x HTTP/1.1",
    "Host: server.example.com",
    "Upgrade: websocket",
    "Connection: Upgrade",
    f"Sec-WebSocket-Key: {KEY}",
    "Sec-WebSocket-Version: 13",
]


def head(*changes: str, drop: str = "\0", first: str = LINES[0]) -> bytes:
    """The request's head with lines added, and those that begin with *drop* left out."""
    lines = [first, *(line for line in LINES[1:] if not line.startswith(drop)), *changes]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def accept(data: bytes, **options: object) -> tuple[bytes, Negotiated]:
    server = ServerHandshake()
    assert server.receive_data(data) is not None
    return server.accept(**options)  # type: ignore[arg-type]


def status_of(data: bytes, limits: Limits | None = None) -> tuple[int, str]:
    server = ServerHandshake(limits=limits)
    with pytest.raises(BadRequest) as caught:
        assert server.receive_data(data) is not None
        server.accept()
    # What is answered is HTTP, whatever the request was.
    answer = read_answer(server.reject(caught.value.response))
    assert answer.status_code == caught.value.response.status
    return answer.status_code, str(caught.value)


def read_answer(data: bytes) -> h11.Response:
    client = h11.Connection(h11.CLIENT)
    client.send(h11.Request(method="GET", target="/", headers=[("Host", "x")]))
    client.receive_data(data)
    response = client.next_event()
    assert isinstance(response, h11.Response)
    body = b""
    while isinstance(event := client.next_event(), h11.Data):
        body += event.data
    assert len(body) == int(dict(response.headers)[b"content-length"])
    assert dict(response.headers)[b"connection"] == b"close"
    return response


# The server's side


def test_the_key_of_the_rfc() -> None:
    assert accept_key(KEY) == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


def test_a_request_is_accepted() -> None:
    server = ServerHandshake()
    request = server.receive_data(head() + b"\x81\x80....")
    assert request == Request("GET", "/chat?x", request.headers if request else Headers())
    assert request is not None
    assert request.headers["host"] == "server.example.com"
    data, negotiated = server.accept(headers={"X-Extra": "1"})
    assert data.startswith(b"HTTP/1.1 101 ")
    assert b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n" in data
    assert data.endswith(b"\r\n\r\n")
    assert negotiated.response.status == 101
    assert negotiated.response.headers["x-extra"] == "1"
    assert (negotiated.subprotocol, negotiated.extensions, negotiated.deflate) == (None, (), None)
    assert server.trailing_data == b"\x81\x80...."


@given(st.lists(st.integers(0, len(head()) + 6), max_size=8))
def test_a_request_is_the_same_whatever_way_it_is_cut(cuts: list[int]) -> None:
    stream = head() + b"frames"
    whole = ServerHandshake().receive_data(stream)
    server = ServerHandshake()
    edges = [0, *sorted(cuts), len(stream)]
    rest = b""
    request = None
    for start, stop in itertools.pairwise(edges):
        piece = stream[start:stop]
        if request is not None:
            rest += piece
        elif piece:
            request = server.receive_data(piece)
    assert request == whole
    assert server.trailing_data + rest == b"frames"


@pytest.mark.parametrize(
    "lines",
    [
        ["Upgrade: WebSocket", "Connection: keep-alive, UPGRADE"],
        ["Upgrade: h2c, websocket", "Connection: keep-alive", "Connection: Upgrade"],
    ],
)
def test_tokens_are_found_in_lists_and_in_any_case(lines: list[str]) -> None:
    data = head(*lines, drop="Upgrade").replace(b"Connection: Upgrade\r\n", b"", 1)
    assert accept(data)[1].response.status == 101


@pytest.mark.parametrize(
    ("data", "status", "problem"),
    [
        (head(drop="Upgrade"), 426, "not a WebSocket request"),
        (head(drop="Connection"), 426, "not a WebSocket request"),
        (head("Connection: (bad)", drop="Connection"), 426, "not a WebSocket request"),
        (head(first="GET / HTTP/1.0"), 426, "not a WebSocket request"),
        (head(drop="Sec-WebSocket-Version"), 426, "not version 13"),
        (head("Sec-WebSocket-Version: 12", drop="Sec-WebSocket-Version"), 426, "not version 13"),
        (head(first="POST /chat HTTP/1.1"), 405, "opened with GET, not POST"),
        (head(drop="Sec-WebSocket-Key"), 400, "exactly one Sec-WebSocket-Key"),
        (head(f"Sec-WebSocket-Key: {KEY}"), 400, "exactly one Sec-WebSocket-Key"),
        (head("Sec-WebSocket-Key: c2hvcnQ=", drop="Sec-WebSocket-Key"), 400, "Sec-WebSocket-Key"),
        (head("Sec-WebSocket-Protocol: a b"), 400, "bad Sec-WebSocket-Protocol"),
        (head(drop="Host"), 400, "Host"),
        (head("Host: other"), 400, "Host"),
        (head("Content-Length: 5"), 400, "a request with a body"),
        (head("Content-Length: 0", "Content-Length: 5"), 400, ""),
        (head("Transfer-Encoding: chunked"), 400, "a request with a body"),
        (head("X: 1").replace(b"\r\nX", b"\nX"), 400, "bare line feeds"),
        (head("X: 1").replace(b"X: 1\r\n", b"X: 1\r\n folded\r\n"), 400, "folded"),
        (head(first="GET / HTTP/2.0"), 426, ""),
        (head(first="G@T / HTTP/1.1"), 400, ""),
        (b"\x16\x03\x01\x02\x00\x01\r\n\r\n", 400, ""),
        (head(first=f"GET /{'x' * 9000} HTTP/1.1"), 431, "request line"),
        (b"GET /" + b"x" * 9000, 431, "request line"),
        (head(*["X: y"] * 60), 431, "too many headers"),
        (head("X: " + "y" * 33_000), 431, ""),
        (head("X: " + "y" * 33_000)[:-2], 431, ""),
    ],
)
def test_bad_requests_have_their_status(data: bytes, status: int, problem: str) -> None:
    found, said = status_of(data, Limits(max_headers=64))
    assert found == status
    assert problem in said


def test_advice_comes_with_426() -> None:
    with pytest.raises(BadRequest) as caught:
        accept(head(drop="Upgrade"))
    response = caught.value.response
    assert response.headers["sec-websocket-version"] == "13"
    assert response.headers["upgrade"] == "websocket"
    assert b"version 13" in response.body


def test_a_zero_content_length_is_no_body() -> None:
    assert accept(head("Content-Length: 0"))[1].response.status == 101


def test_plain_http_1_0_is_a_request() -> None:
    request = ServerHandshake().receive_data(b"GET /health HTTP/1.0\r\n\r\n")
    assert request is not None
    assert (request.path, request.http_version) == ("/health", "1.0")


def test_a_head_of_many_small_pieces_is_looked_at_once() -> None:
    server = ServerHandshake()
    data = head("X: " + "y" * 20_000)
    for number in range(len(data) - 1):
        assert server.receive_data(data[number : number + 1]) is None
    assert server.receive_data(data[-1:]) is not None


def test_the_end_of_the_stream() -> None:
    with pytest.raises(EOFError):
        ServerHandshake().receive_eof()
    server = ServerHandshake()
    server.receive_data(b"GET")
    with pytest.raises(BadRequest, match="in the middle of its head") as caught:
        server.receive_eof()
    assert caught.value.response.status == 408


@given(st.binary(max_size=200), st.booleans())
def test_nonsense_raises_nothing_but_what_is_documented(data: bytes, prefixed: bool) -> None:
    server = ServerHandshake()
    with suppress(BadRequest):
        if server.receive_data((head()[:-2] if prefixed else b"") + data) is not None:
            server.accept()


def test_the_servers_preference_decides_about_subprotocols() -> None:
    data = head("Sec-WebSocket-Protocol: a, b", "Sec-WebSocket-Protocol: c")
    assert accept(data, subprotocols=["x", "c", "a"])[1].subprotocol == "c"
    assert accept(data, subprotocols=["x"])[1].subprotocol is None
    assert b"Sec-WebSocket-Protocol: c\r\n" in accept(data, subprotocols=["c"])[0]


def test_a_callable_may_decide() -> None:
    data = head("Sec-WebSocket-Protocol: a, b")
    seen: list[object] = []

    def choose(request: Request, offered: tuple[str, ...]) -> str | None:
        seen.append((request.path, offered))
        return offered[-1]

    assert accept(data, subprotocols=choose)[1].subprotocol == "b"
    assert seen == [("/chat", ("a", "b"))]
    assert accept(data, subprotocols=lambda request, offered: None)[1].subprotocol is None
    with pytest.raises(ValueError, match="'z' is not among those offered"):
        accept(data, subprotocols=lambda request, offered: "z")


def test_compression_is_agreed_upon() -> None:
    data = head("Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits")
    answer, negotiated = accept(data, compression=Compression())
    assert b"Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=12" in answer
    assert negotiated.deflate is not None
    assert accept(data)[1].deflate is None
    with pytest.raises(BadRequest, match="bad Sec-WebSocket-Extensions"):
        accept(head("Sec-WebSocket-Extensions: ;"), compression=Compression())
    other = head("Sec-WebSocket-Extensions: x-other")
    assert accept(other, compression=Compression())[1].extensions == ()


def test_a_rejection_is_a_whole_answer() -> None:
    server = ServerHandshake()
    server.receive_data(head())
    response = Response(403, Headers({"X-Why": "because", "Content-Length": "999"}), b"no")
    data = server.reject(response)
    assert data.endswith(b"\r\n\r\nno")
    answer = read_answer(data)
    assert dict(answer.headers)[b"x-why"] == b"because"
    assert answer.reason == b"Forbidden"


def test_a_rejected_head_request_has_no_body() -> None:
    server = ServerHandshake()
    server.receive_data(b"HEAD / HTTP/1.1\r\nHost: x\r\n\r\n")
    assert server.reject(Response.text(200, "body")).endswith(b"\r\n\r\n")


# The client's side


def client(**options: object) -> ClientHandshake:
    defaults: dict[str, object] = {
        "host": "server.example.com",
        "target": "/chat?x",
        "key": base64.b64decode(KEY),
    }
    return ClientHandshake(**{**defaults, **options})  # type: ignore[arg-type]


ANSWER = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
)


def with_lines(*lines: bytes) -> bytes:
    return ANSWER[:-2] + b"\r\n".join([*lines, b"", b""])


def test_what_a_client_asks() -> None:
    handshake = client(
        headers={"X-Extra": "1"},
        origin="https://example.com",
        subprotocols=["a", "b"],
        compression=Compression(),
    )
    lines = handshake.request_bytes().decode().split("\r\n")
    assert lines[0] == "GET /chat?x HTTP/1.1"
    assert {
        "Host: server.example.com",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Key: {KEY}",
        "Sec-WebSocket-Version: 13",
        "Origin: https://example.com",
        "Sec-WebSocket-Protocol: a, b",
        "X-Extra: 1",
    } < set(lines)
    assert handshake.request.headers["x-extra"] == "1"


def test_each_client_has_a_key_of_its_own() -> None:
    keys = {client(key=None).request.headers["sec-websocket-key"] for _ in range(20)}
    assert len(keys) == 20


def test_the_host_can_be_overruled() -> None:
    assert client(headers={"host": "other"}).request.headers.get_all("host") == ("other",)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"headers": {"Upgrade": "x"}}, "the header upgrade is set by the handshake itself"),
        ({"headers": {"sec-websocket-key": "x"}}, "is set by the handshake itself"),
        ({"headers": {"X": "a\r\nY: b"}}, "cannot be sent"),
        ({"headers": {"bad name": "x"}}, "cannot be sent"),
        ({"subprotocols": ["a b"]}, "must be a token"),
        ({"subprotocols": ["a", "a"]}, "given twice"),
    ],
)
def test_what_cannot_be_asked(options: dict[str, object], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        client(**options)


@given(st.lists(st.integers(0, len(ANSWER) + 6), max_size=8))
def test_an_answer_is_the_same_whatever_way_it_is_cut(cuts: list[int]) -> None:
    stream = ANSWER + b"frames"
    handshake = client()
    handshake.request_bytes()
    edges = [0, *sorted(cuts), len(stream)]
    answer, rest = None, b""
    for start, stop in itertools.pairwise(edges):
        piece = stream[start:stop]
        if answer is not None:
            rest += piece
        elif piece:
            answer = handshake.receive_data(piece)
    assert isinstance(answer, Negotiated)
    assert handshake.trailing_data + rest == b"frames"


def answered(data: bytes, **options: object) -> Negotiated | Response | None:
    handshake = client(**options)
    handshake.request_bytes()
    return handshake.receive_data(data)


def test_an_answer_with_all_that_was_asked_for() -> None:
    negotiated = answered(
        with_lines(
            b"Sec-WebSocket-Protocol: b",
            b"Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=12",
        ),
        subprotocols=["a", "b"],
        compression=Compression(),
    )
    assert isinstance(negotiated, Negotiated)
    assert negotiated.subprotocol == "b"
    assert negotiated.deflate is not None


def test_other_interim_answers_are_skipped() -> None:
    assert isinstance(answered(b"HTTP/1.1 103 Early Hints\r\n\r\n" + ANSWER), Negotiated)


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (b"garbage\r\n\r\n", "not valid HTTP"),
        (ANSWER.replace(b"websocket", b"other"), "does not upgrade"),
        (ANSWER.replace(b"Connection: Upgrade", b"Connection: close"), "no Connection: Upgrade"),
        (ANSWER.replace(b"s3pP", b"xxxx"), "does not match the key"),
        (with_lines(b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "does not match"),
        (with_lines(b"Sec-WebSocket-Protocol: z"), "not offered: 'z'"),
        (with_lines(b"Sec-WebSocket-Protocol: a", b"Sec-WebSocket-Protocol: b"), "not offered"),
        (with_lines(b"Sec-WebSocket-Extensions: x-other"), "not offered|was not offered"),
        (with_lines(b"Sec-WebSocket-Extensions: permessage-deflate, x"), "not offered"),
        (with_lines(b"Sec-WebSocket-Extensions: ;"), "was expected"),
        (with_lines(b"Sec-WebSocket-Extensions: permessage-deflate; x"), "bad parameter"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"y" * 40_000, "not valid HTTP"),
    ],
)
def test_bad_answers_are_named(answer: bytes, problem: str) -> None:
    with pytest.raises(BadResponse, match=problem):
        answered(answer, subprotocols=["a", "b"], compression=Compression())


def test_an_extension_that_was_not_asked_for_is_refused() -> None:
    with pytest.raises(BadResponse, match="not offered: permessage-deflate"):
        answered(with_lines(b"Sec-WebSocket-Extensions: permessage-deflate"))


@pytest.mark.parametrize("framing", ["length", "chunked", "eof"])
def test_a_rejection_has_its_body(framing: str) -> None:
    head = b"HTTP/1.1 403 Forbidden\r\nX-Why: because\r\n"
    handshake = client()
    handshake.request_bytes()
    if framing == "length":
        answer = handshake.receive_data(head + b"Content-Length: 2\r\n\r\nno")
    elif framing == "chunked":
        answer = handshake.receive_data(
            head + b"Transfer-Encoding: chunked\r\n\r\n2\r\nno\r\n0\r\n\r\n"
        )
    else:
        assert handshake.receive_data(head + b"\r\nno") is None
        answer = handshake.receive_eof()
    assert isinstance(answer, Response)
    assert (answer.status, answer.reason, answer.body) == (403, "Forbidden", b"no")
    assert answer.headers["x-why"] == "because"


def test_the_body_of_a_rejection_is_cut_at_its_bound() -> None:
    data = b"HTTP/1.1 500 Oops\r\n\r\n" + b"x" * 5000
    answer = answered(data, limits=Limits(max_body_size=1000))
    assert isinstance(answer, Response)
    assert answer.body == b"x" * 1000


def test_the_end_of_the_stream_before_an_answer() -> None:
    handshake = client()
    handshake.request_bytes()
    assert handshake.receive_eof() is None


@given(st.binary(max_size=200), st.booleans())
def test_nonsense_from_a_server_raises_nothing_but_what_is_documented(
    data: bytes, prefixed: bool
) -> None:
    with suppress(BadResponse):
        answered((ANSWER[:-2] if prefixed else b"") + data)
