"""Load from several processes, as one: each does its share, and reports what it has counted.

A worker is `trio_ws.cli.bench.worker`. It is given its share in a line of JSON on its standard
input, and says, in lines of JSON on its standard output, when its connections are settled
(``{"settled": 5}``), then now and then and at the end what it has counted (``{"tally": {...}}``).
When all are settled, each is told its rate (``{"rate": 100.0}``). The end of its input, which
also comes when this process dies, tells a worker to stop, report and end.
"""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import aclosing, suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import trio

from ...protocol.http import Headers
from ..options.bench import BenchOptions
from .tally import Tally

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from ..connecting import Destination

#: Seconds that workers have for their last words.
_LAST_WORDS: Final = 5.0
_WORKER: Final = (sys.executable, "-m", "trio_ws.cli.bench.worker")


class Processes:
    """All shares, in processes of their own.

    Args:
      destination: where to.
      options: what is asked for.
      command: what starts a worker.
    """

    def __init__(
        self,
        destination: Destination,
        options: BenchOptions,
        *,
        command: tuple[str, ...] = _WORKER,
    ) -> None:
        headers = Headers(destination.options["headers"])
        # Secrets are read once, and never stand in a list of processes.
        self._options = replace(
            options,
            auth=None,
            bearer=None,
            header=tuple(f"{name}: {value}" for name, value in headers.raw),
        )
        self._command = command
        self._workers: list[_Worker] = []
        self._unsettled = options.processes
        self._all_settled = trio.Event()

    @property
    def tally(self) -> Tally:
        """What has been counted, as of the workers' last reports."""
        tally = Tally()
        for worker in self._workers:
            tally.merge(worker.tally)
        return tally

    def update(self) -> Tally:
        """The same."""
        return self.tally

    async def run(self) -> None:
        """All of it.

        Cancellation: workers are told to stop, and have some seconds to report. None is left.
        """
        working = trio.CancelScope(shield=True)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._stop_when_cancelled, working)
            with working:
                async with trio.open_nursery() as workers:
                    for share in range(self._options.processes):
                        worker = _Worker(self._settle)
                        self._workers.append(worker)
                        workers.start_soon(worker.run, self._command, self._job(share))
                    workers.start_soon(self._begin)
            nursery.cancel_scope.cancel()

    def _job(self, share: int) -> dict[str, Any]:
        return {"share": share, "options": options_to_json(self._options)}

    async def _stop_when_cancelled(self, working: trio.CancelScope) -> None:
        try:
            await trio.sleep_forever()
        finally:
            working.deadline = trio.current_time() + _LAST_WORDS
            for worker in self._workers:
                worker.stop()

    def _settle(self) -> None:
        self._unsettled -= 1
        if not self._unsettled:
            self._all_settled.set()

    async def _begin(self) -> None:
        await self._all_settled.wait()
        opened = sum(worker.opened for worker in self._workers)
        for worker in self._workers:
            rate = self._options.rate
            share = None if rate is None else rate * worker.opened / max(1, opened)
            await worker.tell({"rate": share})


class _Worker:
    """One worker, as seen from here.

    Attributes:
      opened: connections that it has opened.
      tally: its last report.
    """

    def __init__(self, settle: Callable[[], None]) -> None:
        self.opened = 0
        self.tally = Tally()
        self._settle = settle
        self._settled = False
        self._stopping = trio.Event()
        self._process: trio.Process | None = None

    async def run(self, command: tuple[str, ...], job: dict[str, Any]) -> None:
        """Start it, hear it, and see that it ends."""
        process = self._process = await trio.lowlevel.open_process(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            # Ctrl-C is for this process, which passes it on in its own words.
            process_group=0,
        )
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._close_input, process.stdin)
                await self.tell(job)
                async with aclosing(read_json_lines(process.stdout)) as lines:
                    async for members in lines:
                        self._hear(members)
                if await process.wait():
                    self._failed()
                nursery.cancel_scope.cancel()
        finally:
            if process.returncode is None:
                process.kill()
                self._failed()
            with trio.CancelScope(shield=True):
                await process.wait()
            for pipe in (process.stdin, process.stdout):
                await trio.aclose_forcefully(pipe)
            self._now_settled()

    async def _close_input(self, stdin: trio.abc.SendStream) -> None:
        await self._stopping.wait()
        await trio.aclose_forcefully(stdin)

    def _failed(self) -> None:
        self.tally.crashed = 1
        self.tally.open = 0

    def _hear(self, members: dict[str, Any]) -> None:
        if "settled" in members:
            self.opened = members["settled"]
            self._now_settled()
        else:
            self.tally = Tally.from_json(members["tally"])

    def _now_settled(self) -> None:
        if not self._settled:
            self._settled = True
            self._settle()

    async def tell(self, members: dict[str, Any]) -> None:
        """Tell it something, unless it is gone or going."""
        assert self._process is not None
        assert self._process.stdin is not None
        # That it is gone is seen where it is heard.
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            await self._process.stdin.send_all(json_line(members))

    def stop(self) -> None:
        """Tell it to stop and to report. Idempotent."""
        self._stopping.set()


# What is said between the processes

_PATHS: Final = ("unix_socket", "cacert", "cert", "key")


def options_to_json(options: BenchOptions) -> dict[str, Any]:
    """*options* for a worker."""
    return {
        name: str(value) if isinstance(value, Path) else value
        for name, value in asdict(options).items()
    }


def options_from_json(members: dict[str, Any]) -> BenchOptions:
    """What `options_to_json` was called with."""
    values: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in members.items()
    }
    values.update({name: Path(values[name]) for name in _PATHS if values[name] is not None})
    return BenchOptions(**values)


def json_line(members: dict[str, Any]) -> bytes:
    """An object as a line."""
    return f"{json.dumps(members)}\n".encode()


async def read_json_lines(stream: trio.abc.ReceiveStream) -> AsyncGenerator[dict[str, Any]]:
    """The objects that stand in a stream, one a line."""
    rest = b""
    async for data in stream:
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            yield json.loads(line)
