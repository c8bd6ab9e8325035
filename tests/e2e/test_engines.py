"""``--engine``, in real processes: each engine at either end, over sockets."""

from __future__ import annotations

import itertools

import pytest

from trio_ws.cli.options.engine import EngineName

from .processes import run, server_process

PAIRINGS = list(itertools.product(EngineName, repeat=2))


@pytest.mark.parametrize(("server", "client"), PAIRINGS)
async def test_each_engine_talks_to_each(server: EngineName, client: EngineName) -> None:
    async with server_process("--engine", server) as (_, url):
        result = await run("client", url, "--engine", client, given=b"a\nb\n")
        assert (result.code, result.out) == (0, b"a\nb\n")
        pinged = await run("ping", url, "--engine", client, "--count", "2", "--interval", "0.01")
        assert pinged.code == 0, pinged.err


@pytest.mark.parametrize(
    "arguments",
    [("serve", "--compress"), ("serve", "--stall", "5s"), ("send", "ws://x", "hi", "--compress")],
)
async def test_what_it_cannot_do_is_said_in_one_line(arguments: tuple[str, ...]) -> None:
    result = await run(*arguments, "--engine", "trio-websocket")
    assert result.code == 2
    assert "is not supported by --engine trio-websocket" in result.err
    assert result.err.count("\n") == 1
