"""The quiz, and the tests that show how it is tested."""

from __future__ import annotations

import subprocess
import sys

import trio

from ..e2e.processes import environment
from .programs import ROOT, finished, interrupted, served, started


async def test_the_programs() -> None:
    async with (
        served("quiz_server") as (server, url),
        started("conversation_client", url) as player,
    ):
        assert await player.line() == "connected; type quit to end"
        for question, answer in (
            ("What is 6 times 7?", "42"),
            ("Which RFC describes WebSockets?", "6455"),
        ):
            assert await player.line() == question
            await player.type(answer)
        out, errors = await finished(player)
        assert out == "2 of 2 points\n1000 (normal closure), closed by the peer\n"
        assert errors == ""
        assert await interrupted(server) == ""


async def test_its_tests_pass_as_its_docstring_says() -> None:
    command = [
        *(sys.executable, "-m", "pytest", "-o", "trio_mode=true"),
        *("-p", "no:cacheprovider", "examples/test_quiz_server.py"),
    ]
    result = await trio.run_process(
        command,
        cwd=ROOT,
        env=environment(),
        stdin=subprocess.DEVNULL,
        capture_stdout=True,
        capture_stderr=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout.decode()
    assert b"4 passed" in result.stdout
