"""Messages that go to many: encoded once, and readable by every peer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_ws import Compression, Limits
from trio_ws.protocol import DeflateParameters, LocalProtocolError, Machine, PerMessageDeflate
from trio_ws.protocol.prepared import Prepared, PreparedRun

if TYPE_CHECKING:
    from trio_ws.protocol import Event

LONG = "the quick brown fox jumps over the lazy dog " * 50


def machines(
    parameters: DeflateParameters | None, compression: Compression | None = None
) -> tuple[Machine, Machine]:
    """A server's and a client's side of one connection."""

    def deflate(*, client: bool) -> PerMessageDeflate | None:
        if parameters is None:
            return None
        return PerMessageDeflate(
            parameters, client=client, compression=compression or Compression(), limits=Limits()
        )

    return (
        Machine(client=False, deflate=deflate(client=False)),
        Machine(client=True, deflate=deflate(client=True)),
    )


def received(client: Machine, data: bytes) -> list[Event]:
    return client.receive_data(data)


@pytest.mark.parametrize("message", ["", "hello", "grüße", b"", b"\x00\xff", LONG, LONG.encode()])
@pytest.mark.parametrize("parameters", [None, DeflateParameters()])
def test_the_peer_receives_the_message(
    message: str | bytes, parameters: DeflateParameters | None
) -> None:
    server, client = machines(parameters)
    assert received(client, server.send_prepared(Prepared.of(message))) == [message]


def test_what_came_as_payload_is_the_same_as_what_came_as_message() -> None:
    prepared = Prepared("grüße".encode(), text=True)
    assert prepared.message == "grüße"
    assert prepared.message is prepared.message
    assert len(prepared) == len("grüße".encode())
    assert prepared.frames(None) == Prepared.of("grüße").frames(None)


def test_a_lone_surrogate_is_refused_at_once() -> None:
    with pytest.raises(UnicodeEncodeError):
        Prepared.of("\ud800")


def test_connections_of_one_setting_share_the_bytes() -> None:
    prepared = Prepared.of(LONG)
    first, _ = machines(DeflateParameters())
    second, _ = machines(DeflateParameters())
    assert first.send_prepared(prepared) is second.send_prepared(prepared)
    plain, _ = machines(None)
    uncompressed = plain.send_prepared(prepared)
    assert len(uncompressed) > len(LONG) > len(first.send_prepared(prepared))


def test_windows_of_different_sizes_do_not_share() -> None:
    prepared = Prepared.of(LONG)
    wide, _ = machines(DeflateParameters(), Compression(window_bits=15))
    narrow, client = machines(DeflateParameters(server_max_window_bits=9))
    assert wide.send_prepared(prepared) is not narrow.send_prepared(prepared)
    assert received(client, narrow.send_prepared(prepared)) == [LONG]


def test_short_messages_go_as_they_are() -> None:
    prepared = Prepared.of("short")
    server, client = machines(DeflateParameters())
    assert server.send_prepared(prepared) == prepared.frames(None)[0]
    assert received(client, prepared.frames(None)[0]) == ["short"]


def test_so_do_those_that_compressing_makes_longer() -> None:
    server, _ = machines(DeflateParameters(), Compression(threshold=0))
    assert server.send_prepared(Prepared.of("x")) == Prepared.of("x").frames(None)[0]


def test_a_run_is_its_messages_one_after_the_other() -> None:
    run = PreparedRun([Prepared.of("a"), Prepared.of(LONG), Prepared.of(b"c")])
    assert run.count == 3
    for parameters in (None, DeflateParameters()):
        server, client = machines(parameters)
        data = server.send_prepared(run)
        assert data is server.send_prepared(run)
        assert received(client, data) == ["a", LONG, b"c"]


def test_what_was_sent_before_a_shared_message_is_not_referred_to_after_it() -> None:
    server, client = machines(DeflateParameters())
    own, shared = "0123456789abcdef" * 50, "something else entirely, " * 40
    for _ in range(3):
        assert received(client, server.send_message(own, True)) == [own]
        assert received(client, server.send_prepared(Prepared.of(shared))) == [shared]


#: Alike in parts, and so worth referring to.
TEXTS = ["".join(map(str, range(start, start + 60))) for start in (0, 20, 40, 50, 1000)]


@given(
    st.lists(
        st.tuples(st.booleans(), st.sampled_from(TEXTS) | st.text(alphabet="abcd", max_size=60)),
        max_size=12,
    ),
    st.booleans(),
)
def test_own_messages_in_between_are_readable(
    messages: list[tuple[bool, str]], no_takeover: bool
) -> None:
    """Whatever a connection's own compressor remembers, it never refers over a shared message."""
    parameters = DeflateParameters(server_no_context_takeover=no_takeover)
    server, client = machines(parameters, Compression(threshold=0))
    for shared, text in messages:
        data = (
            server.send_prepared(Prepared.of(text)) if shared else server.send_message(text, True)
        )
        assert received(client, data) == [text]


def test_nothing_goes_into_another_message_or_behind_the_close_frame() -> None:
    server, _ = machines(None)
    server.send_part("half", final=False)
    with pytest.raises(LocalProtocolError):
        server.send_prepared(Prepared.of("hello"))
    server.send_part("", final=True)
    server.send_close()
    with pytest.raises(LocalProtocolError):
        server.send_prepared(Prepared.of("hello"))
