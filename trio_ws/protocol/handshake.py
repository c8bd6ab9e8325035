"""The opening handshake over h11, both sides (RFC 6455, section 4).

Each side is one object that lives as long as the handshake: bytes go in until a request or an
answer comes out; what arrived behind it is `trailing_data`, the first frames. h11 parses and
bounds the head. Where it is more lenient than a server on the open internet should be, its
input is checked again here.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

import h11

from .._settings import Limits
from . import deflate
from .extensions import Extension, format_extensions, is_token, parse_extensions, parse_tokens
from .http import Headers, HeadersLike, Request, Response, problem_in, reason_phrase

if TYPE_CHECKING:
    from .._settings import Compression
    from .deflate import DeflateParameters

_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_VERSION: Final = "13"
_KEY: Final = re.compile(r"[A-Za-z0-9+/]{21}[AQgw]==")
#: A line feed that no carriage return precedes, or a line that continues the one before.
_SMUGGLING: Final = re.compile(rb"(?<!\r)\n|\n[ \t]")
_UPGRADE_ADVICE: Final = (
    "This is a WebSocket server: connect with a WebSocket client, version 13 of the protocol.\n"
)

#: A server's subprotocols by preference, or a callable that chooses among the client's.
SubprotocolChoice: TypeAlias = Sequence[str] | Callable[[Request, Sequence[str]], str | None]


@dataclass(frozen=True, slots=True)
class Negotiated:
    """What a successful handshake agreed upon.

    Attributes:
      response: the 101 answer.
      subprotocol: the one chosen, if any.
      extensions: as in the answer.
      deflate: the parameters of permessage-deflate, if it was agreed upon.
    """

    response: Response
    subprotocol: str | None
    extensions: tuple[Extension, ...]
    deflate: DeflateParameters | None


class BadRequest(Exception):
    """The request cannot become a connection; ``str()`` says why.

    Attributes:
      response: what to answer.
    """

    def __init__(self, problem: str, response: Response) -> None:
        super().__init__(problem)
        self.response = response


class BadResponse(Exception):
    """The server's answer breaks RFC 6455 or HTTP; ``str()`` says how."""


def accept_key(key: str) -> str:
    """The ``Sec-WebSocket-Accept`` that answers *key* (RFC 6455, section 4.2.2)."""
    digest = hashlib.sha1(key.encode() + _GUID, usedforsecurity=False).digest()
    return base64.b64encode(digest).decode()


def _bad(status: int, problem: str, headers: HeadersLike = ()) -> BadRequest:
    return BadRequest(problem, Response.text(status, f"{problem}\n", headers))


#: Header names and values that are the same in nearly every handshake: a connection keeps its
#: request, and shares these with all others.
_COMMON: Final = {
    text.encode(): text
    for text in (
        "GET",
        "1.1",
        "Host",
        "Upgrade",
        "Connection",
        "Origin",
        "User-Agent",
        "Sec-WebSocket-Key",
        "Sec-WebSocket-Version",
        "Sec-WebSocket-Protocol",
        "Sec-WebSocket-Extensions",
        "websocket",
        "keep-alive, Upgrade",
        _VERSION,
    )
}


#: The same for whole headers, of which each would take 56 bytes.
_COMMON_HEADERS: Final = {
    (name.encode(), value.encode()): (name, value)
    for name, value in (
        ("Upgrade", "websocket"),
        ("Connection", "Upgrade"),
        ("Connection", "keep-alive, Upgrade"),
        ("Sec-WebSocket-Version", _VERSION),
    )
}


_OFTEN_EQUAL: Final = frozenset({b"host", b"origin", b"user-agent"})


def _text(value: bytes) -> str:
    return _COMMON.get(value) or value.decode("latin-1")


def _header(name: bytes, value: bytes) -> tuple[str, str]:
    common = _COMMON_HEADERS.get((name, value))
    if common is not None:
        return common
    text = _text(value)
    # Few among many connections, and not known here.
    return _text(name), sys.intern(text) if name.lower() in _OFTEN_EQUAL else text


def _decoded(event: h11.Request | h11.Response | h11.InformationalResponse) -> Headers:
    # raw_items() keeps the names as they were spelled.
    return Headers(_header(name, value) for name, value in event.headers.raw_items())


class ServerHandshake:
    """The server's side.

    Args:
      limits: bounds on the head; beyond, 431.
    """

    def __init__(self, *, limits: Limits | None = None) -> None:
        self._limits = limits or Limits()
        self._connection = h11.Connection(
            h11.SERVER, max_incomplete_event_size=self._limits.max_head_size
        )
        self._head = bytearray()
        self._request: Request | None = None

    @property
    def trailing_data(self) -> bytes:
        """What arrived behind the request."""
        return bytes(self._connection.trailing_data[0])

    def receive_data(self, data: bytes) -> Request | None:
        """Take bytes from the client.

        Returns:
          The request, once its head is complete. Call no more afterwards.

        Raises:
          BadRequest: it is malformed, too large, or has a body.
        """
        self._take_head(data)
        try:
            self._connection.receive_data(data)
            event = self._connection.next_event()
        except h11.RemoteProtocolError as error:
            raise _bad(error.error_status_hint or 400, problem_in(error)) from None
        if not isinstance(event, h11.Request):
            return None
        request = Request(
            _text(event.method),
            event.target.decode("latin-1"),
            _decoded(event),
            _text(event.http_version),
        )
        self._check(request)
        self._head.clear()
        self._request = request
        return request

    def receive_eof(self) -> None:
        """The client will send no more.

        Raises:
          EOFError: it never sent anything: a probe.
          BadRequest: it left in the middle of its request.
        """
        if not self._head:
            raise EOFError
        # It was whole, perhaps, and cut on the way: 408 is what clients try again after.
        raise _bad(408, "the request ended in the middle of its head")

    def _take_head(self, data: bytes) -> None:
        """Check what has come of the head, each byte once."""
        limits, head = self._limits, self._head
        checked = len(head)
        head += data
        end = head.find(b"\r\n\r\n", max(0, checked - 3))
        size = len(head) if end < 0 else end
        line_end = head.find(b"\r\n", 0, limits.max_request_line + 2)
        if line_end < 0 and size > limits.max_request_line:
            raise _bad(431, "the request line is too long")
        # What follows the head may be anything.
        if _SMUGGLING.search(head, max(0, checked - 1), size):
            raise _bad(400, "bare line feeds and folded header lines are not accepted")
        if size > limits.max_head_size:
            raise _bad(431, "the request head is too large")

    def _check(self, request: Request) -> None:
        headers = request.headers
        if len(headers.raw) > self._limits.max_headers:
            raise _bad(431, "too many headers")
        if len(headers.get_all("host")) != 1 and request.http_version != "1.0":
            raise _bad(400, "exactly one Host header is needed")
        lengths = headers.get_all("content-length")
        if "transfer-encoding" in headers or len(lengths) > 1 or set(lengths) - {"0"}:
            raise _bad(400, "a request with a body is not accepted")

    def accept(
        self,
        *,
        subprotocols: SubprotocolChoice = (),
        compression: Compression | None = None,
        headers: HeadersLike = (),
    ) -> tuple[bytes, Negotiated]:
        """Accept the request that `receive_data` returned.

        Args:
          subprotocols: the server's, by preference, or a callable that is given the request and
            the client's, and returns its choice or ``None``.
          compression: how permessage-deflate may be used; ``None``: not at all.
          headers: further headers for the answer.

        Returns:
          The bytes of the 101 answer, and what was agreed upon.

        Raises:
          BadRequest: it is no WebSocket request, or not one of version 13.
          ValueError: the callable chose a subprotocol that was not offered.
        """
        request = self._request
        assert request is not None
        key = _check_upgrade(request)
        subprotocol = _choose_subprotocol(request, subprotocols)
        chosen = None if compression is None else deflate.choose(_offers(request), compression)
        answer = [
            ("Upgrade", "websocket"),
            ("Connection", "Upgrade"),
            ("Sec-WebSocket-Accept", accept_key(key)),
        ]
        if subprotocol is not None:
            answer.append(("Sec-WebSocket-Protocol", subprotocol))
        if chosen is not None:
            answer.append(("Sec-WebSocket-Extensions", format_extensions([chosen[1]])))
        response = Response(
            101, Headers([*answer, *Headers(headers).raw]), b"", "Switching Protocols"
        )
        event = h11.InformationalResponse(
            status_code=101, headers=list(response.headers.raw), reason=b"Switching Protocols"
        )
        data = self._connection.send(event)
        assert data is not None
        extensions = () if chosen is None else (chosen[1],)
        parameters = None if chosen is None else chosen[0]
        return data, Negotiated(response, subprotocol, extensions, parameters)

    def reject(self, response: Response) -> bytes:
        """The bytes of an HTTP answer that ends the handshake."""
        headers = [
            *((name, value) for name, value in response.headers.raw if not _frames_body(name)),
            ("Content-Length", str(len(response.body))),
            ("Connection", "close"),
        ]
        event = h11.Response(
            status_code=response.status, headers=headers, reason=reason_phrase(response).encode()
        )
        head = self._connection.send(event)
        assert head is not None
        if self._request is not None and self._request.method == "HEAD":
            return head
        return head + response.body


def _frames_body(name: str) -> bool:
    return name.lower() in {"content-length", "transfer-encoding", "connection"}


def _tokens(headers: Headers, name: str) -> tuple[str, ...]:
    """The tokens of a list header over all its lines; a list that is malformed has none."""
    try:
        return parse_tokens(headers.get(name, ""))
    except ValueError:
        return ()


def _has_token(headers: Headers, name: str, token: str) -> bool:
    return token in (one.lower() for one in _tokens(headers, name))


def _check_upgrade(request: Request) -> str:
    """Check that *request* asks for a WebSocket (section 4.2.1); return its key."""
    headers = request.headers
    if request.method != "GET":
        raise _bad(405, f"a WebSocket is opened with GET, not {request.method}", [("Allow", "GET")])
    if not (
        request.http_version == "1.1"
        and _has_token(headers, "upgrade", "websocket")
        and _has_token(headers, "connection", "upgrade")
    ):
        raise _upgrade_required("not a WebSocket request")
    if headers.get("sec-websocket-version", "").strip() != _VERSION:
        raise _upgrade_required("not version 13 of the WebSocket protocol")
    keys = headers.get_all("sec-websocket-key")
    if len(keys) != 1 or not _KEY.fullmatch(keys[0].strip()):
        raise _bad(400, "exactly one Sec-WebSocket-Key of 16 bytes is needed")
    return keys[0].strip()


def _upgrade_required(problem: str) -> BadRequest:
    headers = [
        ("Upgrade", "websocket"),
        ("Sec-WebSocket-Version", _VERSION),
    ]
    return BadRequest(problem, Response.text(426, _UPGRADE_ADVICE, headers))


def _offers(request: Request) -> tuple[Extension, ...]:
    try:
        return parse_extensions(request.headers.get("sec-websocket-extensions", ""))
    except ValueError as error:
        raise _bad(400, f"bad Sec-WebSocket-Extensions: {error}") from None


def _choose_subprotocol(request: Request, choice: SubprotocolChoice) -> str | None:
    try:
        offered = parse_tokens(request.headers.get("sec-websocket-protocol", ""))
    except ValueError:
        raise _bad(400, "bad Sec-WebSocket-Protocol") from None
    if not callable(choice):
        return next((one for one in choice if one in offered), None)
    chosen = choice(request, offered)
    if chosen is not None and chosen not in offered:
        raise ValueError(f"the chosen subprotocol {chosen!r} is not among those offered: {offered}")
    return chosen


class ClientHandshake:
    """The client's side.

    Args:
      host: the ``Host`` header.
      target: path and query, percent-encoded.
      headers: further headers.
      origin: the ``Origin`` header, if any.
      subprotocols: to offer, by preference.
      compression: to offer permessage-deflate.
      limits: bounds on the answer.
      key: the nonce, 16 bytes; for tests.

    Attributes:
      request: what will be sent.

    Raises:
      ValueError: a header is malformed, or one that the handshake itself sets.
    """

    def __init__(
        self,
        *,
        host: str,
        target: str,
        headers: HeadersLike = (),
        origin: str | None = None,
        subprotocols: Sequence[str] = (),
        compression: Compression | None = None,
        limits: Limits | None = None,
        key: bytes | None = None,
    ) -> None:
        self._limits = limits or Limits()
        self._compression = compression
        self._subprotocols = tuple(subprotocols)
        self._key = base64.b64encode(os.urandom(16) if key is None else key).decode()
        self._connection = h11.Connection(
            h11.CLIENT, max_incomplete_event_size=self._limits.max_head_size
        )
        self._answer: Response | None = None
        self._body = bytearray()
        self.request = Request(
            "GET", target, Headers(self._headers(host, origin, Headers(headers)))
        )
        self._event = self._as_event()

    def _headers(self, host: str, origin: str | None, additional: Headers) -> list[tuple[str, str]]:
        headers = [
            ("Host", host),
            ("Upgrade", "websocket"),
            ("Connection", "Upgrade"),
            ("Sec-WebSocket-Key", self._key),
            ("Sec-WebSocket-Version", _VERSION),
        ]
        if origin is not None:
            headers.append(("Origin", origin))
        for subprotocol in self._subprotocols:
            if not is_token(subprotocol):
                raise ValueError(f"a subprotocol must be a token, not {subprotocol!r}")
        if len(set(self._subprotocols)) < len(self._subprotocols):
            raise ValueError("a subprotocol is given twice")
        if self._subprotocols:
            headers.append(("Sec-WebSocket-Protocol", ", ".join(self._subprotocols)))
        if self._compression is not None:
            offered = format_extensions(deflate.offer(self._compression))
            headers.append(("Sec-WebSocket-Extensions", offered))
        set_here = {name.lower() for name, _ in headers} - {"host"}
        for name in additional:
            if name in set_here:
                raise ValueError(f"the header {name} is set by the handshake itself")
        if "host" in additional:
            headers = headers[1:]
        return [*headers, *additional.raw]

    def _as_event(self) -> h11.Request:
        try:
            return h11.Request(
                method="GET", target=self.request.target, headers=list(self.request.headers.raw)
            )
        except h11.LocalProtocolError as error:
            raise ValueError(f"the request cannot be sent: {error}") from None

    @property
    def trailing_data(self) -> bytes:
        """What arrived behind the answer."""
        return bytes(self._connection.trailing_data[0])

    def request_bytes(self) -> bytes:
        """The request as it goes on the wire. Call once."""
        head = self._connection.send(self._event)
        self._connection.send(h11.EndOfMessage())
        assert head is not None
        return head

    def receive_data(self, data: bytes) -> Negotiated | Response | None:
        """Take bytes from the server.

        Returns:
          What was agreed upon; or an answer other than 101, its body cut at
          ``Limits.max_body_size``; or ``None`` when more is needed.

        Raises:
          BadResponse: the answer breaks HTTP or RFC 6455.
        """
        try:
            self._connection.receive_data(data)
            return self._next_answer()
        except h11.RemoteProtocolError as error:
            raise BadResponse(f"the answer is not valid HTTP: {problem_in(error)}") from None

    def receive_eof(self) -> Response | None:
        """The server will send no more.

        Returns:
          The answer whose body ends here, or the part of it that came; ``None``, when there
          was no answer.
        """
        if self._answer is None:
            return None
        return self._rejection(self._answer)

    def _next_answer(self) -> Negotiated | Response | None:
        while True:
            event = self._connection.next_event()
            if isinstance(event, h11.InformationalResponse):
                if event.status_code == 101:
                    return self._negotiated(_as_response(event))
            elif isinstance(event, h11.Response):
                self._answer = _as_response(event)
            elif isinstance(event, h11.Data):
                self._body += event.data
                if len(self._body) >= self._limits.max_body_size:
                    break
            elif isinstance(event, h11.EndOfMessage):
                break
            else:
                return None
        assert self._answer is not None
        return self._rejection(self._answer)

    def _rejection(self, answer: Response) -> Response:
        body = bytes(self._body[: self._limits.max_body_size])
        return Response(answer.status, answer.headers, body, answer.reason)

    def _negotiated(self, response: Response) -> Negotiated:
        """Check the 101 answer (section 4.1)."""
        headers = response.headers
        if not _has_token(headers, "upgrade", "websocket"):
            raise BadResponse("the answer does not upgrade to websocket")
        if not _has_token(headers, "connection", "upgrade"):
            raise BadResponse("the answer has no Connection: Upgrade")
        accepts = headers.get_all("sec-websocket-accept")
        if len(accepts) != 1 or accepts[0].strip() != accept_key(self._key):
            raise BadResponse("the answer's Sec-WebSocket-Accept does not match the key")
        extensions, parameters = self._agreed_extensions(headers)
        return Negotiated(response, self._agreed_subprotocol(headers), extensions, parameters)

    def _agreed_subprotocol(self, headers: Headers) -> str | None:
        values = headers.get_all("sec-websocket-protocol")
        if not values:
            return None
        if len(values) > 1 or values[0].strip() not in self._subprotocols:
            raise BadResponse(
                f"the server chose a subprotocol that was not offered: {values[0][:40]!r}"
            )
        return values[0].strip()

    def _agreed_extensions(
        self, headers: Headers
    ) -> tuple[tuple[Extension, ...], DeflateParameters | None]:
        try:
            extensions = parse_extensions(headers.get("sec-websocket-extensions", ""))
            if not extensions:
                return (), None
            if self._compression is None or len(extensions) > 1:
                raise ValueError(f"not offered: {format_extensions(extensions)[:80]}")
            return extensions, deflate.check_response(extensions[0], self._compression)
        except ValueError as error:
            raise BadResponse(f"bad Sec-WebSocket-Extensions: {error}") from None


def _as_response(event: h11.Response | h11.InformationalResponse) -> Response:
    reason = bytes(event.reason).decode("latin-1")
    return Response(event.status_code, _decoded(event), b"", reason)
