"""A WebSocket server inside an application that does something else, and stops in good order.

::

    python examples/embedding.py [PORT]                # 8765 unless you say so; 0 takes a free one
    python examples/conversation_client.py [URL]       # in another terminal

The application works through jobs, and tells every client that connects of each that is done.
Ctrl-C, or SIGTERM, lets the clients go with 1001 before the work stops.
"""

import signal
import sys

import trio

import trio_ws


class Application:
    def __init__(self) -> None:
        self.done = 0
        self._progress = trio.Event()

    async def work(self) -> None:
        """What the application is there for."""
        while True:
            await trio.sleep(0.5)
            self.done += 1
            self._progress.set()
            self._progress = trio.Event()

    async def tell(self, ws: trio_ws.WebSocket) -> None:
        """Tell one client how far the work has come, until it goes."""
        while True:
            await ws.send(f"{self.done} jobs done")
            await self._progress.wait()


async def main(port: int) -> None:
    application = Application()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(application.work)
        server: trio_ws.Server = await nursery.start(
            trio_ws.serve, application.tell, "127.0.0.1", port
        )
        with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            print(f"listening on ws://127.0.0.1:{server.port}")
            async for _ in signals:
                break
        # From here on, a second Ctrl-C stops everything at once.
        print(f"stopping; {len(server.connections)} clients are told")
        await server.drain(timeout=10)
        nursery.cancel_scope.cancel()
    print(f"stopped after {application.done} jobs")


if __name__ == "__main__":
    try:
        trio.run(main, int(sys.argv[1]) if len(sys.argv) > 1 else 8765)
    except* KeyboardInterrupt:
        pass
