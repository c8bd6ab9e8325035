"""``--replay``: what is read, what is refused, and when what is sent."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

import trio_ws
from tests.network import URL, install
from trio_ws.cli.failures import Usage
from trio_ws.cli.handlers.replay import Cue, Replay, read_cues
from trio_ws.cli.jsonlines import Entry, encode

if TYPE_CHECKING:
    from pathlib import Path

RECORDED = (
    Entry(ts=100.0, conn="c1", type="open", url="ws://x"),
    Entry(ts=100.5, conn="c1", type="message", dir="out", data="asked"),
    Entry(ts=101.0, conn="c1", type="message", dir="in", data="first"),
    Entry(ts=101.5, conn="c1", type="ping", dir="in", data=b"x"),
    Entry(ts=104.0, conn="c1", type="message", dir="in", data=b"\xff"),
    Entry(ts=103.0, conn="c1", type="message", dir="in", data="the clock was set back"),
)
CUES = (Cue(1.0, "first"), Cue(4.0, b"\xff"), Cue(4.0, "the clock was set back"))


def recording(tmp_path: Path, *entries: Entry) -> Path:
    path = tmp_path / "recorded.jsonl"
    path.write_bytes(b"".join(map(encode, entries)))
    return path


def test_received_messages_are_read_with_their_times(tmp_path: Path) -> None:
    assert read_cues(recording(tmp_path, *RECORDED)) == CUES


def test_bad_files_are_usage_errors(tmp_path: Path) -> None:
    path = recording(tmp_path, *RECORDED[:2])
    with pytest.raises(Usage, match="no message that was received"):
        read_cues(path)
    path.write_text("{}")
    with pytest.raises(Usage, match="line 1"):
        read_cues(path)
    with pytest.raises(Usage, match=f"--replay {tmp_path}: Is a directory"):
        read_cues(tmp_path)


async def test_messages_are_sent_at_their_times_and_then_it_is_closed(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.testing.MockClock
) -> None:
    network = install(monkeypatch)
    async with network.served(Replay(CUES)):
        async with trio_ws.connect(URL, heartbeat=None) as ws:
            beginning = trio.current_time()
            for after, message in CUES:
                await ws.send("what is said meanwhile is dropped")
                assert await ws.receive() == message
                assert trio.current_time() == pytest.approx(beginning + after)
            with pytest.raises(trio_ws.ConnectionClosedOK) as caught:
                await ws.receive()
            assert caught.value.reason.code == 1000


async def test_a_client_that_leaves_ends_it(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.testing.MockClock
) -> None:
    network = install(monkeypatch)
    async with network.served(Replay([Cue(0, "a"), Cue(1e6, "never")])) as server:
        async with trio_ws.connect(URL, heartbeat=None) as ws:
            assert await ws.receive() == "a"
            ws.abort()
        await trio.sleep(1)
        assert not server.connections
        assert server.statistics().crashed == 0
