"""What every mode is, and what one around another leaves alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio

import trio_ws
from tests.network import install
from trio_ws.cli.handlers.echo import Echo
from trio_ws.cli.handlers.mode import Around, Mode

if TYPE_CHECKING:
    from trio_ws.protocol.http import Request


class Refusing(Mode):
    """Refuses whatever asks."""

    def process_request(self, request: Request) -> trio_ws.Response:
        return trio_ws.Response.text(418, "no")


async def test_what_is_around_asks_what_is_inside(monkeypatch: pytest.MonkeyPatch) -> None:
    network = install(monkeypatch)
    async with network.served(Around(Refusing())):
        with pytest.raises(trio_ws.ConnectionRejected) as caught:
            async with trio_ws.connect("ws://testserver/ws"):
                pass
        assert caught.value.status == 418


async def test_a_mode_runs_until_cancelled_and_is_not_over(autojump_clock: object) -> None:
    mode = Around(Echo())
    async with trio.open_nursery() as nursery:
        await nursery.start(mode.run)
        with trio.move_on_after(1_000) as waited:
            await mode.over.wait()
        nursery.cancel_scope.cancel()
    assert waited.cancelled_caught


async def test_a_mode_of_its_own_handles_nothing() -> None:
    with pytest.raises(NotImplementedError):
        await Mode()(None)  # type: ignore[arg-type]
