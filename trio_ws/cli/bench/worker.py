"""One process of several that share the load; `trio_ws.cli.bench.processes` says how they talk."""

from __future__ import annotations

import os
import sys
from contextlib import aclosing, suppress
from typing import TYPE_CHECKING, Any, Final

import trio

from ..failures import exit_code
from .load import Load, destination_for
from .processes import json_line, options_from_json, read_json_lines

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

#: Seconds between reports.
_REPORTS: Final = 0.5


async def work(orders: trio.abc.ReceiveStream, reports: trio.abc.SendStream) -> None:
    """Do what the orders say, and report, until they end."""
    async with aclosing(read_json_lines(orders)) as lines:
        await _Worker(lines, reports).run()


class _Worker:
    def __init__(
        self, orders: AsyncGenerator[dict[str, Any]], reports: trio.abc.SendStream
    ) -> None:
        self._orders = orders
        self._reports = reports
        self._reporting = trio.Lock()
        self._rate: float | None = None
        self._begin = trio.Event()
        self._loading = trio.CancelScope()

    async def run(self) -> None:
        job = await anext(self._orders, None)
        if job is None:
            return
        options = options_from_json(job["options"])
        load = Load(
            destination_for(options), options, share=job["share"], settled=self._wait_for_others
        )
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._obey)
            nursery.start_soon(self._report_regularly, load)
            with self._loading:
                await load.run()
            await self._report(load)
            nursery.cancel_scope.cancel()

    async def _wait_for_others(self, opened: int) -> float | None:
        await self._tell({"settled": opened})
        await self._begin.wait()
        return self._rate

    async def _obey(self) -> None:
        async for order in self._orders:
            self._rate = order["rate"]
            self._begin.set()
        self._loading.cancel()

    async def _report_regularly(self, load: Load) -> None:
        while True:
            await trio.sleep(_REPORTS)
            await self._report(load)

    async def _report(self, load: Load) -> None:
        await self._tell({"tally": load.update().to_json()})

    async def _tell(self, members: dict[str, Any]) -> None:
        async with self._reporting:
            # Whole lines, whatever is cancelled meanwhile. Where nobody reads them any more, the
            # orders have ended too.
            with trio.CancelScope(shield=True), suppress(trio.BrokenResourceError):
                await self._reports.send_all(json_line(members))


def main() -> None:
    """The process."""
    try:
        trio.run(work, trio.lowlevel.FdStream(os.dup(0)), trio.lowlevel.FdStream(os.dup(1)))
    except BaseException as error:
        sys.exit(exit_code(error))


if __name__ == "__main__":
    main()
