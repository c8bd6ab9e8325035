"""What is fuzzed. Each target takes any bytes, and raises when something is wrong with ours.

The bytes begin with what the target chooses by, such as where to cut the stream, so that whoever
looks for new ways through the code can look for those as well.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import h11

from trio_ws import Compression, InvalidURL, Limits
from trio_ws._url import parse_url
from trio_ws.cli.failures import Usage
from trio_ws.cli.jsonlines import decode, encode
from trio_ws.protocol import (
    BadRequest,
    BadResponse,
    ClientHandshake,
    DeflateParameters,
    Event,
    Failure,
    InflatedTooBig,
    InflateError,
    Machine,
    Negotiated,
    Part,
    PerMessageDeflate,
    Request,
    Response,
    ServerHandshake,
    Violation,
    encode_frame,
    format_extensions,
    parse_extensions,
    parse_header,
)
from trio_ws.protocol.deflate import NegotiationError, check_response, choose
from trio_ws.protocol.extensions import parse_tokens
from trio_ws.protocol.frames import (
    encode_message_pure,
    take_whole_messages_pure,
    utf8_of_pure,
)
from trio_ws.protocol.masking import append_unmasked_pure, mask_pure
from trio_ws.protocol.proxy import BadProxyHeader, parse_proxy_header

from .model import Model

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

    from trio_ws.protocol.masking import Buffer

_KEY: Final = b"\x37\xfa\x21\x3d"
_MAX_MESSAGE: Final = 300
_MAX_INFLATED: Final = 20_000


class _Choices:
    """The first bytes of an input, which choose; what is left is the input."""

    def __init__(self, data: bytes, count: int) -> None:
        self._chosen = data[:count].ljust(count, b"\0")
        self.rest = data[count:]

    def flag(self, number: int) -> bool:
        """One of eight in the first byte."""
        return bool(self._chosen[0] >> number & 1)

    def cut(self, number: int) -> int:
        return self._chosen[number]

    def pieces(self, *numbers: int) -> list[bytes]:
        """What is left, cut in pieces of chosen sizes, again and again; 0 is all that is left."""
        pieces, rest, turn = [], self.rest, 0
        while rest:
            size = self.cut(numbers[turn % len(numbers)]) or len(rest)
            pieces.append(rest[:size])
            rest = rest[size:]
            turn += 1
        return pieces


def frames(data: bytes) -> None:
    """A header is refused, or waited for, or says what was encoded."""
    for masked in (False, True):
        try:
            header = parse_header(data, 0, masked=masked)
        except Violation:
            continue
        if header is None:
            # More bytes decide: nothing that was known is taken back.
            assert len(data) < 14
            continue
        payload = bytes(min(header.length, 70_000))
        whole = encode_frame(header.opcode, payload, header.key, fin=header.fin, rsv1=header.rsv1)
        if len(payload) == header.length:
            assert whole[: header.payload_start] == data[: header.payload_start]
        for stop in range(header.payload_start):
            assert parse_header(data[:stop], 0, masked=masked) is None


def machine(data: bytes) -> None:
    """Any bytes give what the model says, whatever way they come."""
    choices = _Choices(data, 3)
    client, deflate, takeover = choices.flag(0), choices.flag(1), choices.flag(2)
    # How often something inflates depends on how it is cut, and has tests of its own.
    limits = Limits(max_message_size=_MAX_MESSAGE, max_inflate_ratio=1 << 30)
    expected = Model(
        client=client, max_size=_MAX_MESSAGE, deflate=deflate, takeover=takeover
    ).receive(choices.rest)
    for pieces in ([choices.rest], choices.pieces(1, 2)):
        receiver = Machine(
            client=client,
            limits=limits,
            deflate=_codec(limits, client=client, takeover=takeover) if deflate else None,
        )
        events: list[Event] = []
        for piece in pieces:
            events += receiver.receive_data(piece)
            assert receiver.held_bytes <= _MAX_MESSAGE
        if receiver.failure is not None:
            assert events[-1] is receiver.failure
            events[-1] = Failure(_code(receiver.failure, expected), "")
        assert events == expected, (events, expected)


def _code(failure: Failure, expected: list[Event]) -> int:
    """The code of *failure*, or of what was expected where zlib may see more than the model.

    It looks at what comes next before it asks for room. What is wrong directly behind the bound
    is found first if it has come already.
    """
    looked_ahead = failure.reason == "compressed data is not valid"
    too_big = Failure(1009, "")
    return too_big.code if looked_ahead and expected[-1:] == [too_big] else failure.code


def streaming(data: bytes) -> None:
    """Messages in parts are, joined, what they are whole."""
    choices = _Choices(data, 3)
    client, deflate, takeover = choices.flag(0), choices.flag(1), choices.flag(2)
    limits = Limits(max_message_size=None, max_inflate_ratio=1 << 30)
    outcomes = []
    for is_streaming in (False, True):
        receiver = Machine(
            client=client,
            limits=limits,
            deflate=_codec(limits, client=client, takeover=takeover) if deflate else None,
        )
        receiver.streaming = is_streaming
        events: list[Event] = []
        for piece in choices.pieces(1, 2):
            events += receiver.receive_data(piece)
        outcomes.append(_joined(events))
    assert outcomes[0] == outcomes[1], outcomes


def _joined(events: list[Event]) -> list[object]:
    """The events, with messages made whole, behind whatever came between their parts."""
    joined: list[object] = []
    parts: list[Any] = []
    for event in events:
        if not isinstance(event, Part):
            joined.append(event)
            continue
        parts.append(event.data)
        if event.final:
            joined.append(type(event.data)().join(parts))
            parts = []
    return joined


def _codec(limits: Limits, *, client: bool, takeover: bool) -> PerMessageDeflate:
    parameters = DeflateParameters(
        server_no_context_takeover=not takeover, client_no_context_takeover=not takeover
    )
    return PerMessageDeflate(
        parameters, client=client, compression=Compression(threshold=0), limits=limits
    )


def deflate(data: bytes) -> None:
    """What is no deflate is refused, what is too much is not inflated, and all else comes back."""
    choices = _Choices(data, 3)
    limits = Limits(max_message_size=_MAX_INFLATED, max_inflate_ratio=20, inflate_ratio_floor=1000)
    takeover = choices.flag(0)
    sender = _codec(limits, client=True, takeover=takeover)
    receiver = _codec(limits, client=False, takeover=takeover)
    sent = choices.rest[:_MAX_INFLATED]
    parts = _Choices(data, 3).pieces(1, 2)
    plain = replace(limits, max_inflate_ratio=1 << 30)
    keen = _codec(plain, client=False, takeover=takeover)
    for message in (parts, [sent]):
        inflated = [
            keen.inflate(sender.compress(part, final=last), final=last)
            for part, last in _with_last(message)
        ]
        assert b"".join(inflated) == b"".join(message)
    size = 0
    try:
        for part, last in _with_last(parts):
            piece = receiver.inflate(part, final=last)
            size += len(piece)
            assert size <= _MAX_INFLATED
    except (InflateError, InflatedTooBig):
        pass


def _with_last(parts: list[bytes]) -> list[tuple[bytes, bool]]:
    return [(part, number == len(parts)) for number, part in enumerate(parts, 1)]


def extensions(data: bytes) -> None:
    """A header that holds a list is refused, or says the same when it is written again."""
    value = data.decode("latin-1")
    with suppress(ValueError):
        assert all(parse_tokens(value))
    try:
        parsed = parse_extensions(value)
    except ValueError:
        return
    assert parse_extensions(format_extensions(parsed)) == parsed
    compression = Compression()
    chosen = choose(parsed, compression)
    if chosen is not None:
        # What our server answers, our client understands.
        check_response(chosen[1], compression)
    for extension in parsed:
        with suppress(NegotiationError):
            check_response(extension, compression)


def server_handshake(data: bytes) -> None:
    """A request is understood, or refused, the same way however it comes."""
    choices = _Choices(data, 3)
    outcomes = []
    for pieces in ([choices.rest], choices.pieces(1, 2)):
        handshake = ServerHandshake(limits=Limits(max_head_size=4096, max_request_line=500))
        outcome: Request | int | None = None
        try:
            for number, piece in enumerate(pieces):
                outcome = handshake.receive_data(piece)
                if outcome is not None:
                    behind = handshake.trailing_data + b"".join(pieces[number + 1 :])
                    assert choices.rest.endswith(behind)
                    _answer(handshake, outcome)
                    break
        except BadRequest as bad:
            outcome = bad.response.status
            _check_answer(handshake.reject(bad.response), outcome)
        outcomes.append(outcome)
    first, second = outcomes
    if isinstance(first, int) and isinstance(second, int):
        # Which rule is broken first may depend on how much is there.
        assert {first, second} <= {400, 405, 426, 431, 501, 505}
    elif not (isinstance(first, int) or isinstance(second, int)):
        assert _facts(first) == _facts(second), outcomes


def _facts(request: Request | None) -> object:
    return request and (request.method, request.target, request.headers.raw, request.http_version)


def _answer(handshake: ServerHandshake, request: Request) -> None:
    try:
        answer, _ = handshake.accept(subprotocols=["chat"], compression=Compression())
    except BadRequest as bad:
        _check_answer(handshake.reject(bad.response), bad.response.status)
    else:
        assert request.method == "GET"
        _check_answer(answer, 101)


def _check_answer(answer: bytes, status: int) -> None:
    peer = h11.Connection(h11.CLIENT)
    peer.send(h11.Request(method="GET", target="/", headers=[("Host", "a"), ("Upgrade", "b")]))
    peer.send(h11.EndOfMessage())
    peer.receive_data(answer)
    event = peer.next_event()
    assert isinstance(event, h11.Response | h11.InformationalResponse)
    assert event.status_code == status


def client_handshake(data: bytes) -> None:
    """An answer is understood, or refused, the same way however it comes."""
    choices = _Choices(data, 3)
    outcomes = []
    for pieces in ([choices.rest], choices.pieces(1, 2)):
        handshake = ClientHandshake(
            host="example.com",
            target="/",
            subprotocols=["chat"],
            compression=Compression(),
            key=b"the sample nonce",
            limits=Limits(max_head_size=4096, max_body_size=100),
        )
        handshake.request_bytes()
        outcome: Negotiated | Response | str | None = None
        try:
            for piece in pieces:
                outcome = handshake.receive_data(piece)
                if outcome is not None:
                    assert choices.rest.find(handshake.trailing_data) >= 0
                    break
            else:
                outcome = handshake.receive_eof()
        except BadResponse:
            outcome = "refused"
        if isinstance(outcome, Response):
            assert len(outcome.body) <= 100
        outcomes.append(outcome)
    if "refused" not in outcomes:
        assert _outcome(outcomes[0]) == _outcome(outcomes[1]), outcomes


def _outcome(outcome: Negotiated | Response | str | None) -> object:
    if isinstance(outcome, Response):
        return outcome.status, outcome.headers.raw, outcome.body
    return isinstance(outcome, Negotiated)


def proxy(data: bytes) -> None:
    """A PROXY header is refused or parsed, and no byte behind it is asked for."""
    read = 0
    while True:
        try:
            parsed = parse_proxy_header(data[:read])
        except BadProxyHeader:
            return
        if not isinstance(parsed, int):
            assert all(isinstance(parse_proxy_header(data[:stop]), int) for stop in range(read))
            return
        assert parsed > 0
        read += parsed
        if read > len(data):
            return


def json_lines(data: bytes) -> None:
    """A recording is refused, or says the same when it is written again."""
    try:
        entries = list(decode(data.splitlines(keepends=True), "fuzzed"))
    except Usage:
        return
    for entry in entries:
        try:
            line = encode(entry)
        except UnicodeEncodeError:
            # JSON can say half a surrogate pair, which UTF-8 cannot.
            continue
        [again] = decode([line], "again")
        assert replace(again, ts=0.0) == replace(entry, ts=0.0), (entry, again)


def url(data: bytes) -> None:
    """A URL is refused, or understood again in the same way."""
    text = data.decode("utf-8", "surrogateescape")
    try:
        parsed = parse_url(text)
    except InvalidURL:
        return
    assert 0 < parsed.port < 65536
    assert parsed.resource.startswith("/")
    assert parsed.resource.isascii()
    if parsed.unix_path is None:
        assert parse_url(parsed.origin + parsed.resource) == replace(parsed, userinfo=None)


def speedups(data: bytes) -> None:
    """The C part does what its pure twins do, byte for byte, and fails where they fail."""
    module = _c_part()
    choices = _Choices(data, 4)
    rest = choices.rest
    key = _KEY if choices.flag(0) else b""
    offset = choices.cut(1)
    buffers: list[Buffer] = [rest, bytearray(rest), memoryview(rest)]
    buffer = buffers[choices.cut(2) % 3]
    assert module.mask(buffer, _KEY, offset) == mask_pure(buffer, _KEY, offset)
    ours, twins = bytearray(b"before"), bytearray(b"before")
    assert module.append_unmasked(ours, buffer, key, offset) == append_unmasked_pure(
        twins, buffer, key, offset
    )
    assert ours == twins
    payload = module.new_payload(len(rest) + offset)
    is_ascii = module.fill_payload(payload, offset, buffer, key, offset)
    assert payload[offset:] == twins[6:]
    assert is_ascii == payload[offset:].isascii()
    found: list[list[str | bytes]] = [[], []]
    stops = [
        take(buffer, min(offset, len(rest)), choices.flag(1), choices.cut(3) * 8, messages)
        for take, messages in zip(
            (module.take_whole_messages, take_whole_messages_pure), found, strict=True
        )
    ]
    assert stops[0] == stops[1]
    assert found[0] == found[1]
    text = (
        rest.decode("utf-8", "surrogatepass" if choices.flag(2) else "replace")
        if (choices.flag(3) and _decodes(rest))
        else rest.decode("latin-1")
    )
    for message in (rest, text):
        assert _said(module.encode_message, message, key) == _said(
            encode_message_pure, message, key
        )
    assert _said(module.utf8_of, text) == _said(utf8_of_pure, text)


def _decodes(data: bytes) -> bool:
    try:
        data.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return False
    return True


def _said(function: Callable[..., object], *arguments: object) -> object:
    try:
        said = function(*arguments)
    except UnicodeEncodeError as error:
        return error.start, error.end, error.object
    return bytes(said) if isinstance(said, memoryview) else said


def _c_part() -> ModuleType:
    from trio_ws.protocol import _speedups

    return _speedups


#: By name.
TARGETS: Final[dict[str, Callable[[bytes], None]]] = {
    target.__name__: target
    for target in (
        frames,
        machine,
        streaming,
        deflate,
        extensions,
        server_handshake,
        client_handshake,
        proxy,
        url,
        json_lines,
        speedups,
    )
}
