"""Uploads: files of any size arrive whole, under a name that leads nowhere else, or not at all."""

from __future__ import annotations

import hashlib
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest
import trio

import trio_ws
from examples import upload_server
from examples.upload_server import LIMITS, receive_file

from .programs import finished, interrupted, served, started

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path

#: Of the client's fragments.
FRAGMENT = 256 * 1024


@pytest.mark.parametrize("size", [0, 1, FRAGMENT, 8 * FRAGMENT + 1])
async def test_a_file_arrives_whole(size: int, tmp_path: Path) -> None:
    contents = bytes(range(256)) * (size // 256) + b"!" * (size % 256)
    file = tmp_path / "holiday #1 ä.bin"
    file.write_bytes(contents)
    target = tmp_path / "uploads"
    async with (
        served("upload_server", str(target)) as (server, url),
        started("upload_client", str(file), url) as client,
    ):
        out, errors = await finished(client)
        assert errors == ""
        *progress, last = out.splitlines()
        assert last == "the server has it all"
        sent = [int(line.split()[1]) for line in progress]
        assert sent == [*range(FRAGMENT, size, FRAGMENT), *([size] if size else [])]
        assert await server.line() == f"received {file.name!r}, {size} bytes"
        assert await interrupted(server) == ""
    assert files_in(target) == [file.name]
    assert (target / file.name).read_bytes() == contents


def files_in(directory: Path) -> list[str]:
    return [one.name for one in directory.iterdir()]


@asynccontextmanager
async def uploading(name: str, directory: Path) -> AsyncGenerator[trio_ws.WebSocket]:
    """A connection to the server in this process, for a file of that name."""
    handler = partial(receive_file, trio.Path(directory))
    async with trio.open_nursery() as nursery:
        serve = partial(trio_ws.serve, limits=LIMITS)
        server: trio_ws.Server = await nursery.start(serve, handler, "127.0.0.1", 0)
        url = f"ws://127.0.0.1:{server.port}/{quote(name, safe='')}"
        async with trio_ws.connect(url, proxy=None) as ws:
            yield ws
        await server.drain()
        assert server.statistics().crashed == 0


@pytest.mark.parametrize("name", ["../../escaped", "/etc/escaped", "a/../escaped", "escaped"])
async def test_a_name_leads_nowhere_else(name: str, tmp_path: Path) -> None:
    async with uploading(name, tmp_path) as ws:
        await ws.send([b"con", b"tents"])
        assert await ws.receive() == hashlib.sha256(b"contents").hexdigest()
    assert files_in(tmp_path) == ["escaped"]


@pytest.mark.parametrize("name", ["", "..", ".", "a/.."])
async def test_what_is_no_name_is_refused(name: str, tmp_path: Path) -> None:
    async with uploading(name, tmp_path) as ws:
        with pytest.raises(trio_ws.ConnectionClosedError) as caught:
            await ws.receive()
        assert caught.value.reason.code == 1008
    assert files_in(tmp_path) == []


async def test_nothing_is_left_of_a_file_that_is_too_large(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upload_server, "MAX_SIZE", 1000)
    async with uploading("large", tmp_path) as ws:
        with pytest.raises(trio_ws.ConnectionClosedError) as caught:
            await ws.send(bytes(100) for _ in range(11))
            await ws.receive()
        assert caught.value.reason.code == 1009
    assert files_in(tmp_path) == []


async def test_nothing_is_left_of_a_file_that_is_cut_off(tmp_path: Path) -> None:
    async with uploading("cut off", tmp_path) as ws:
        await ws.ping()

        async def fragments() -> AsyncGenerator[bytes]:
            yield b"all but"
            ws.abort()

        with pytest.raises(trio.ClosedResourceError):
            await ws.send(fragments())
    assert files_in(tmp_path) == []
