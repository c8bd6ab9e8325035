"""A server inside another application: it tells of the work, and stops in good order."""

from __future__ import annotations

import signal
import sys

import pytest

import trio_ws

from .programs import finished, served


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX's")
async def test_clients_are_told_before_the_work_stops(number: signal.Signals) -> None:
    async with served("embedding") as (application, url):
        async with trio_ws.connect(url, proxy=None) as one, trio_ws.connect(url, proxy=None) as two:
            done = str(await one.receive())
            assert done.endswith(" jobs done")
            # Each job that is done is told.
            assert int(str(await one.receive()).split()[0]) == int(done.split()[0]) + 1
            application.signal(number)
            for ws in (one, two):
                reason = await ws.wait_closed()
                assert reason.code == 1001
                assert reason.clean
        out, errors = await finished(application)
        assert errors == ""
        first, last = out.splitlines()
        assert first == "stopping; 2 clients are told"
        assert last.startswith("stopped after ")


async def test_without_clients_it_stops_at_once() -> None:
    async with served("embedding") as (application, _):
        application.signal(signal.SIGTERM)
        out, errors = await finished(application)
        assert errors == ""
        assert out.startswith("stopping; 0 clients are told\nstopped after ")
