"""How to test an application: without sockets, in no time, and with an exact clock.

::

    pip install pytest pytest-trio
    python -m pytest -o trio_mode=true examples/test_quiz_server.py

`trio_ws.testing.open_pair` gives both ends of a connection in memory, and ``autojump_clock``,
pytest-trio's `trio.testing.MockClock`, skips whatever time nobody would do anything in.
"""

import pytest
import trio
import trio.testing

import trio_ws
import trio_ws.testing
from examples.quiz_server import quiz


async def test_right_answers_are_counted() -> None:
    async with trio_ws.testing.open_pair() as (client, server), trio.open_nursery() as nursery:
        nursery.start_soon(quiz, server)
        assert await client.receive() == "What is 6 times 7?"
        await client.send("42")
        assert await client.receive() == "Which RFC describes WebSockets?"
        await client.send("2616")
        assert await client.receive() == "1 of 2 points"


async def test_there_are_ten_seconds_for_each(autojump_clock: trio.testing.MockClock) -> None:
    async with trio_ws.testing.open_pair() as (client, server), trio.open_nursery() as nursery:
        nursery.start_soon(quiz, server)
        began = trio.current_time()
        said = [await client.receive() for _ in range(5)]
        assert said[1::2] == ["Too late!", "Too late!"]
        assert trio.current_time() - began == 20


async def test_an_answer_just_in_time(autojump_clock: trio.testing.MockClock) -> None:
    async with trio_ws.testing.open_pair() as (client, server), trio.open_nursery() as nursery:
        nursery.start_soon(quiz, server)
        await client.receive()
        await trio.sleep(9.99)
        await client.send("42")
        assert await client.receive() == "Which RFC describes WebSockets?"
        nursery.cancel_scope.cancel()


async def test_a_player_who_leaves() -> None:
    async with trio_ws.testing.open_pair() as (client, server):
        await client.aclose()
        # That is what serve() expects of a handler whose connection has ended: that it lets out
        # what says so.
        with pytest.raises(trio_ws.ConnectionClosedOK):
            await quiz(server)
