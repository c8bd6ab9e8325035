"""Sweeps: a scenario, cancelled at its every checkpoint, or cut after its every byte.

`cancel_sweep` finds out how many checkpoints a scenario has by running it, and then runs it once
for each of them with the cancellation arriving there. The scenario's own assertions say what
must hold afterwards.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from typing import TYPE_CHECKING

import trio
import trio.testing

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

#: A scenario with more is not meant.
MAX_CHECKPOINTS = 2_000


_FOR_ALL = ("Poller._read_sockets", "_Watch._look")


def living_tasks() -> int:
    """How many tasks there are, but for those that do something for all connections."""
    root = trio.lowlevel.current_root_task()
    assert root is not None
    tasks = [root]
    for task in tasks:
        for nursery in task.child_nurseries:
            tasks += nursery.child_tasks
    return sum(not task.name.endswith(_FOR_ALL) for task in tasks)


def open_sockets() -> int:
    """How many sockets this process has open."""
    count = 0
    for name in os.listdir("/dev/fd"):
        # The one that the list is read from is gone.
        with suppress(OSError):
            count += stat.S_ISSOCK(os.stat(f"/dev/fd/{name}").st_mode)
    return count


class CancelAt(trio.abc.Instrument):
    """Cancels a scope when one task, or any, is about to run for the k-th time."""

    def __init__(self, task: trio.lowlevel.Task | None, scope: trio.CancelScope, at: int) -> None:
        self._task = task
        self._scope = scope
        self._left = at

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        if self._task is None or task is self._task:
            if self._left == 0:
                self._scope.cancel()
            self._left -= 1


async def cancel_sweep(
    scenario: Callable[[], Awaitable[None]],
    check: Callable[[bool], Awaitable[None]],
    *,
    every_task: bool = False,
) -> int:
    """Run *scenario* with a cancellation at its k-th step, for every k.

    With *every_task*, the steps of all tasks count, not only those of the scenario's own.
    *check* is awaited after each run and told whether the scenario was cancelled; afterwards no
    task may be left that was not there before. Returns how many steps were swept.
    """
    tasks = living_tasks()
    for step in range(MAX_CHECKPOINTS):
        cancelled = await _cancelled_at(step, scenario, every_task)
        await check(cancelled)
        # What the kernel still has to deliver is delivered first.
        await trio.testing.wait_all_tasks_blocked(0.002)
        assert living_tasks() == tasks, f"cancelled at {step}"
        if not cancelled:
            return step
    raise AssertionError("the scenario does not end")


async def _cancelled_at(
    step: int, scenario: Callable[[], Awaitable[None]], every_task: bool
) -> bool:
    scope = trio.CancelScope()

    async def run() -> None:
        task = None if every_task else trio.lowlevel.current_task()
        instrument = CancelAt(task, scope, step)
        trio.lowlevel.add_instrument(instrument)
        try:
            with scope:
                await scenario()
        finally:
            trio.lowlevel.remove_instrument(instrument)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run)
    return scope.cancelled_caught


class CutStream(trio.abc.HalfCloseableStream):
    """A stream whose transport fails once *budget* bytes have gone in one direction."""

    def __init__(
        self, inner: trio.abc.Stream, *, send: int | None = None, receive: int | None = None
    ) -> None:
        self._inner = inner
        self._send = send
        self._receive = receive

    async def _cut(self) -> None:
        await trio.aclose_forcefully(self._inner)
        raise trio.BrokenResourceError("cut")

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        if self._send is not None and len(data) > self._send:
            await self._inner.send_all(bytes(data)[: self._send])
            await self._cut()
        await self._inner.send_all(data)
        if self._send is not None:
            self._send -= len(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._inner.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        if self._receive is None:
            return bytes(await self._inner.receive_some(max_bytes))
        if self._receive == 0:
            await self._cut()
        data = bytes(await self._inner.receive_some(min(max_bytes or 65536, self._receive)))
        self._receive -= len(data)
        return data

    async def send_eof(self) -> None:
        assert isinstance(self._inner, trio.abc.HalfCloseableStream)
        await self._inner.send_eof()

    async def aclose(self) -> None:
        await self._inner.aclose()
