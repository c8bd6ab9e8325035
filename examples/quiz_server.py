"""A server that asks, and gives ten seconds to answer. How it is tested: ``test_quiz_server.py``.

::

    python examples/quiz_server.py [PORT]              # 8765 unless you say so; 0 takes a free one
    python examples/conversation_client.py [URL]       # in another terminal
"""

import sys

import trio

import trio_ws

SECONDS = 10
QUESTIONS = {"What is 6 times 7?": "42", "Which RFC describes WebSockets?": "6455"}


async def quiz(ws: trio_ws.WebSocket) -> None:
    points = 0
    for question, answer in QUESTIONS.items():
        await ws.send(question)
        with trio.move_on_after(SECONDS) as patience:
            if await ws.receive() == answer:
                points += 1
        if patience.cancelled_caught:
            await ws.send("Too late!")
    await ws.send(f"{points} of {len(QUESTIONS)} points")


async def main(port: int) -> None:
    async with trio.open_nursery() as nursery:
        server = await nursery.start(trio_ws.serve, quiz, "127.0.0.1", port)
        print(f"listening on ws://127.0.0.1:{server.port}")


if __name__ == "__main__":
    try:
        trio.run(main, int(sys.argv[1]) if len(sys.argv) > 1 else 8765)
    except* KeyboardInterrupt:
        pass
