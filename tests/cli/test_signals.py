"""SIGINT and SIGTERM cancel the work and become exit codes."""

from __future__ import annotations

import signal

import pytest
import trio

from trio_ws.cli.exit_codes import ExitCode
from trio_ws.cli.failures import Interrupted
from trio_ws.cli.signals import interruptible


@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGINT, ExitCode.INTERRUPTED), (signal.SIGTERM, ExitCode.TERMINATED)],
)
async def test_a_signal_cancels_the_block(number: signal.Signals, code: ExitCode) -> None:
    with pytest.raises(Interrupted) as caught:
        async with interruptible():
            signal.raise_signal(number)
            await trio.sleep_forever()
    assert caught.value.code == code


async def test_without_one_nothing_happens() -> None:
    async with interruptible():
        await trio.lowlevel.checkpoint()


async def test_failures_leave_it() -> None:
    with pytest.raises(BaseExceptionGroup) as caught:
        async with interruptible():
            raise ValueError("wrong")
    assert caught.group_contains(ValueError, match="wrong")


async def test_what_fails_while_being_cancelled_is_not_the_reason() -> None:
    with pytest.raises(Interrupted):
        async with interruptible():
            signal.raise_signal(signal.SIGINT)
            try:
                await trio.sleep_forever()
            finally:
                raise ValueError("on the way out")
