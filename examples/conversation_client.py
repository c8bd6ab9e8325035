"""A client that sends and receives in tasks of their own, until you type ``quit``.

::

    python examples/conversation_server.py             # first, in another terminal
    python examples/conversation_client.py [URL]       # ws://127.0.0.1:8765 unless you say so
"""

import io
import sys

import trio

import trio_ws

# Unbuffered: a thread that is left waiting in sys.stdin holds a lock that Python needs to exit.
STDIN = io.FileIO(0, closefd=False)


async def send_lines(ws: trio_ws.WebSocket, conversation: trio.CancelScope) -> None:
    """Send what is typed, up to ``quit`` or the end of input."""
    while True:
        # In a thread, which is left behind when the server ends the conversation first.
        line = await trio.to_thread.run_sync(STDIN.readline, abandon_on_cancel=True)
        text = line.decode(errors="replace").rstrip("\n")
        if not line or text == "quit":
            break
        await ws.send(text)
    conversation.cancel()


async def print_messages(ws: trio_ws.WebSocket, conversation: trio.CancelScope) -> None:
    """Print what comes, until the server closes."""
    async for message in ws:
        print(message)
    conversation.cancel()


async def main(url: str) -> None:
    try:
        async with trio_ws.connect(url) as ws:
            print("connected; type quit to end")
            try:
                # Whichever task is done first ends the other.
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(send_lines, ws, nursery.cancel_scope)
                    nursery.start_soon(print_messages, ws, nursery.cancel_scope)
            except* trio_ws.ConnectionClosed:
                pass  # why is told below
            if ws.close_reason is not None:
                print(ws.close_reason)
    except (OSError, trio_ws.TrioWSError) as error:
        sys.exit(str(error))


if __name__ == "__main__":
    try:
        trio.run(main, sys.argv[1] if len(sys.argv) > 1 else "ws://127.0.0.1:8765")
    except* KeyboardInterrupt:
        pass
