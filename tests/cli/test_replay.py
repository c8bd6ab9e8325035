"""``trio-ws replay``, in memory and with a clock that jumps."""

from __future__ import annotations

import io
import os
import signal
import threading
from typing import TYPE_CHECKING, Any

import pytest
import trio

import trio_ws
from tests.network import URL, Network, echo, install
from tests.sweeps import cancel_sweep
from trio_ws.cli import replay
from trio_ws.cli.connecting import destination_of
from trio_ws.cli.failures import Interrupted, Unmet, Usage, told
from trio_ws.cli.jsonlines import Entry, encode
from trio_ws.cli.options.replay import ReplayOptions, Side
from trio_ws.cli.replay import Comparison, Recording

if TYPE_CHECKING:
    from pathlib import Path

    from trio.testing import MockClock

    from trio_ws import WebSocket


@pytest.fixture
def output(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    output: list[bytes] = []

    async def put(data: bytes) -> None:
        await trio.lowlevel.checkpoint()
        output.append(data)

    monkeypatch.setattr(replay, "write_stdout", put)
    return output


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> Network:
    return install(monkeypatch)


def recorded(*messages: tuple[float, Any, str | bytes]) -> bytes:
    """A recording of messages: when, in which direction, and what."""
    entries = [Entry(ts=100.0, conn="1", type="open", url=URL)]
    for at, direction, data in messages:
        entries.append(Entry(ts=100 + at, conn="1", type="message", dir=direction, data=data))
        entries.append(Entry(ts=100 + at, conn="1", type="ping", dir="out", data=b"x"))
    return b"".join(map(encode, entries))


CONVERSATION = recorded(
    (1, "out", "a"), (1.5, "in", "a"), (3, "out", b"\x00b"), (4, "in", b"\x00b"), (5, "out", "c")
)


async def run(
    network: Network, tmp_path: Path, recording: bytes, handler: Any = echo, **changes: Any
) -> None:
    path = tmp_path / "recording.jsonl"
    path.write_bytes(recording)
    options = ReplayOptions(**{"file": str(path), "url": URL, **changes})
    kept = Recording(str(path), "recording")
    total = options.loop * sum(1 for _ in kept.messages(options.direction))
    async with network.served(handler):
        await replay._Replay(options, kept, total).run(destination_of(options))


async def timed(
    network: Network, tmp_path: Path, recording: bytes, **changes: Any
) -> list[tuple[Any, str | bytes]]:
    """When the server got what, since the first."""
    got: list[tuple[float, str | bytes]] = []

    async def note(ws: WebSocket) -> None:
        async for message in ws:
            got.append((trio.current_time(), message))

    await run(network, tmp_path, recording, note, **changes)
    return [(pytest.approx(at - got[0][0]), message) for at, message in got]


# What is sent


async def test_messages_are_sent_when_they_were(
    network: Network, tmp_path: Path, output: list[bytes], autojump_clock: MockClock
) -> None:
    got = await timed(network, tmp_path, CONVERSATION)
    assert got == [(0, "a"), (2, b"\x00b"), (4, "c")]


@pytest.mark.parametrize(("speed", "factor"), [(2.0, 0.5), (0.5, 2), (0, 0)])
async def test_speed(
    network: Network,
    tmp_path: Path,
    output: list[bytes],
    autojump_clock: MockClock,
    speed: float,
    factor: float,
) -> None:
    got = await timed(network, tmp_path, CONVERSATION, speed=speed)
    assert got == [(0, "a"), (2 * factor, b"\x00b"), (4 * factor, "c")]


async def test_the_other_direction(
    network: Network, tmp_path: Path, output: list[bytes], autojump_clock: MockClock
) -> None:
    got = await timed(network, tmp_path, CONVERSATION, direction=Side.IN)
    assert got == [(0, "a"), (2.5, b"\x00b")]


async def test_again_and_again(
    network: Network, tmp_path: Path, output: list[bytes], autojump_clock: MockClock
) -> None:
    got = await timed(network, tmp_path, CONVERSATION, loop=2)
    assert got == [(0, "a"), (2, b"\x00b"), (4, "c"), (4, "a"), (6, b"\x00b"), (8, "c")]


async def test_a_clock_that_was_set_back_sends_at_once(
    network: Network, tmp_path: Path, output: list[bytes], autojump_clock: MockClock
) -> None:
    recording = recorded((5, "out", "a"), (2, "out", "b"), (6, "out", "c"))
    assert await timed(network, tmp_path, recording) == [(0, "a"), (0, "b"), (1, "c")]


async def test_what_the_peer_holds_up_is_made_up_for(
    network: Network,
    tmp_path: Path,
    output: list[bytes],
    autojump_clock: MockClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    send = trio_ws._connection.Connection.send

    async def slow(ws: Any, message: Any) -> None:
        await trio.sleep(1.5)
        await send(ws, message)

    monkeypatch.setattr(trio_ws._connection.Connection, "send", slow)
    recording = recorded((0, "out", "a"), (1, "out", "b"), (10, "out", "c"))
    assert await timed(network, tmp_path, recording) == [(0, "a"), (1.5, "b"), (10, "c")]


# What comes


async def test_what_comes_is_printed_and_it_ends_when_it_is_quiet(
    network: Network, tmp_path: Path, output: list[bytes], autojump_clock: MockClock
) -> None:
    async def replies_late(ws: WebSocket) -> None:
        async for message in ws:
            await trio.sleep(1)
            await ws.send(message)

    began = trio.current_time()
    await run(network, tmp_path, CONVERSATION, replies_late, speed=0, linger=1.5)
    assert output == [b"a\n", b"\x00b\n", b"c\n"]
    assert trio.current_time() - began == pytest.approx(3 + 1.5)


async def test_what_is_expected_comes(
    network: Network, tmp_path: Path, output: list[bytes], autojump_clock: MockClock
) -> None:
    recording = recorded((0, "out", "a"), (0, "in", "a"), (1, "in", b"b"), (1, "out", b"b"))
    await run(network, tmp_path, recording, expect_same=True, loop=2)
    assert output == [b"a\n", b"b\n"] * 2


@pytest.mark.parametrize(
    ("expected", "complaint"),
    [
        (["a"], "message 2 is one too many: 'b'"),
        (["a", "b", "c"], "message 3 did not come: 'c'"),
        (["a", "c"], "message 2 differs: expected 'c', got 'b'"),
        (["a", b"b"], "message 2 differs: expected binary b'b', got text 'b'"),
    ],
)
async def test_what_is_not_expected_is_an_error(
    network: Network,
    tmp_path: Path,
    output: list[bytes],
    autojump_clock: MockClock,
    expected: list[str | bytes],
    complaint: str,
) -> None:
    messages: list[Any] = [(0, "out", "a"), (0, "out", "b"), *((1, "in", e) for e in expected)]
    with pytest.raises(BaseExceptionGroup) as caught:
        await run(network, tmp_path, recorded(*messages), expect_same=True)
    code, text = told(caught.value)
    assert (code, text) == (8, complaint)


def test_differences_are_shown_where_they_are() -> None:
    comparison = Comparison(iter(["x" * 1000 + "a" + "y" * 1000]))
    with pytest.raises(Unmet) as caught:
        comparison.came("x" * 1000 + "b" + "y" * 1000)
    assert str(caught.value) == (
        f"message 1 differs: expected '...{'x' * 20}a{'y' * 39}...', "
        f"got '...{'x' * 20}b{'y' * 39}...'; they differ from character 1001"
    ).replace("'...", "...'").replace("...',", "'...,").replace("...';", "'...;")
    comparison = Comparison(iter([b"abc"]))
    with pytest.raises(Unmet, match="they differ from byte 3"):
        comparison.came(b"ab")


@pytest.mark.parametrize("code", [1000, 4000])
async def test_a_peer_that_leaves_before_all_is_sent(
    network: Network,
    tmp_path: Path,
    output: list[bytes],
    autojump_clock: MockClock,
    code: int,
) -> None:
    async def leaves(ws: WebSocket) -> None:
        await ws.receive()
        await ws.aclose(code)

    with pytest.raises(BaseExceptionGroup) as caught:
        await run(network, tmp_path, CONVERSATION, leaves)
    exit_code, text = told(caught.value)
    assert exit_code == (8 if code == 1000 else 7)
    if code == 1000:
        assert text.startswith("1 of 3 messages were sent when the connection ended: 1000")


async def test_a_peer_that_leaves_afterwards_is_done(
    network: Network, tmp_path: Path, output: list[bytes], autojump_clock: MockClock
) -> None:
    async def leaves(ws: WebSocket) -> None:
        for _ in range(3):
            await ws.receive()
        await ws.aclose()

    await run(network, tmp_path, CONVERSATION, leaves, linger=10.0)


async def test_a_signal_ends_it(
    network: Network, tmp_path: Path, output: list[bytes], autojump_clock: MockClock
) -> None:
    async def interrupted(ws: WebSocket) -> None:
        await ws.receive()
        signal.raise_signal(signal.SIGTERM)
        await trio.sleep_forever()

    with pytest.raises(BaseExceptionGroup) as caught:
        await run(network, tmp_path, CONVERSATION, interrupted)
    assert caught.group_contains(Interrupted, depth=None)


async def test_cancelled_anywhere_it_leaves_nothing(
    network: Network, tmp_path: Path, output: list[bytes]
) -> None:
    path = tmp_path / "recording.jsonl"
    path.write_bytes(CONVERSATION)
    options = ReplayOptions(file=str(path), url=URL, speed=0, linger=0)
    destination = destination_of(options)

    async def scenario() -> None:
        await replay._Replay(options, Recording(str(path), "x"), 3).run(destination)

    async def check(cancelled: bool) -> None:
        pass

    async with network.served(echo):
        await cancel_sweep(scenario, check)


# Files


def messages_in(given: str) -> list[str | bytes]:
    with replay.opened(given) as recording:
        assert os.path.exists(recording.path)
        return list(recording.repeated(Side.OUT, 2))


def test_a_file_is_read_where_it_is(tmp_path: Path) -> None:
    path = tmp_path / "recording.jsonl"
    path.write_bytes(CONVERSATION)
    with replay.opened(str(path)) as recording:
        assert recording.path == str(path)
    assert messages_in(str(path)) == ["a", b"\x00b", "c"] * 2


def test_standard_input_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(CONVERSATION)))
    with replay.opened("-") as recording:
        kept = recording.path
        assert recording.name == "standard input"
        assert len(list(recording.messages(Side.OUT))) == 3
    assert not os.path.exists(kept)


def test_a_pipe_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)

    def feed() -> None:
        with open(path, "wb") as pipe:
            pipe.write(CONVERSATION)

    thread = threading.Thread(target=feed)
    thread.start()
    assert messages_in(str(path)) == ["a", b"\x00b", "c"] * 2
    thread.join()


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (None, "cannot read .*recording.jsonl: No such file"),
        (b"", "there is no message with dir out"),
        (recorded((0, "in", "a")), "there is no message with dir out"),
        (CONVERSATION + b"nonsense\n", "recording.jsonl, line 12: not an object in JSON"),
        (b'{"ts": "now", "type": "open"}', "line 1: ts is not a number"),
    ],
)
def test_a_bad_file_is_refused_before_connecting(
    network: Network, tmp_path: Path, content: bytes | None, complaint: str
) -> None:
    path = tmp_path / "recording.jsonl"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(Usage, match=complaint):
        replay.run(ReplayOptions(file=str(path), url=URL))
    assert network.attempts == []


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Usage, match=r"cannot read .*: Is a directory"):
        messages_in(str(tmp_path))


def test_a_file_that_is_gone_meanwhile_is_named(tmp_path: Path) -> None:
    recording = Recording(str(tmp_path / "gone"), "recording")
    with pytest.raises(Usage, match=r"cannot read recording: No such file"):
        next(recording.messages(Side.OUT))


def test_what_goes_wrong_in_the_connection_is_no_matter_of_the_file(
    network: Network, tmp_path: Path
) -> None:
    path = tmp_path / "recording.jsonl"
    path.write_bytes(CONVERSATION)
    network.down = ConnectionRefusedError(111, "refused")
    with pytest.raises(BaseExceptionGroup) as caught:
        replay.run(ReplayOptions(file=str(path), url=URL))
    assert told(caught.value) == (3, "refused")
