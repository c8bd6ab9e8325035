"""An echo server over TLS that takes a renewed certificate without a restart.

    python tls_reload.py fullchain.pem privkey.pem 8765
    kill -HUP PID      # after the files were renewed

New connections get the new certificate. Those that are open stay open, with the old one.
"""

import logging
import signal
import ssl
import sys
from functools import partial
from pathlib import Path

import trio

import trio_ws


async def echo(ws: trio_ws.WebSocket) -> None:
    """Answer every message with itself."""
    async for message in ws:
        await ws.send(message)


async def reload_on_hangup(context: ssl.SSLContext, certificate: Path, key: Path) -> None:
    """Load the files again at each SIGHUP; what cannot be loaded leaves things as they are."""
    with trio.open_signal_receiver(signal.SIGHUP) as signals:
        async for _ in signals:
            try:
                trio_ws.load_certificate(context, certificate, key)
            except OSError:
                logging.exception("the certificate was not loaded again")
            else:
                logging.info("the certificate was loaded again")


async def main(certificate: Path, key: Path, port: int) -> None:
    """Serve ``wss`` until cancelled."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    trio_ws.load_certificate(context, certificate, key)
    serve = partial(trio_ws.serve, echo, "localhost", port, ssl_context=context)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(reload_on_hangup, context, certificate, key)
        server = await nursery.start(serve)
        print(f"serving wss://localhost:{server.port}", flush=True)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    trio.run(main, Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
