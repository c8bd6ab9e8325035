"""What every peer's program is told on its command line, and how it tells its port."""

from __future__ import annotations

import argparse
import json
import ssl
from dataclasses import dataclass

#: Bytes of a message that every peer accepts; several refuse the 1 MiB of a case by default.
MAX_MESSAGE = 4 * 1024 * 1024
#: zlib's, for every peer that lets it be set.
MEMORY_LEVEL = 5
WINDOW_BITS = 12
#: Seconds between the pings of a peer that sends none unless asked.
HEARTBEAT = 20.0


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """How the program runs: ``serve`` (echo), or as a client: ``echo``, ``receive``, ``send``."""

    mode: str
    port: int
    connections: int
    size: int
    text: bool
    certificate: str
    key: str
    compress: bool
    heartbeat: bool

    @property
    def uri(self) -> str:
        return f"ws://127.0.0.1:{self.port}"

    @property
    def message(self) -> str | bytes:
        """What a client sends that only sends."""
        return "x" * self.size if self.text else b"x" * self.size

    @property
    def ssl_context(self) -> ssl.SSLContext | None:
        if not self.certificate:
            return None
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(self.certificate, self.key)
        return context


def parsed(argv: list[str] | None = None) -> Arguments:
    parser = argparse.ArgumentParser()
    parser.add_argument("mode", choices=["serve", "echo", "receive", "send"])
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--connections", type=int, default=1)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--text", action="store_true")
    parser.add_argument("--certificate", default="")
    parser.add_argument("--key", default="")
    parser.add_argument("--compress", action="store_true")
    parser.add_argument("--heartbeat", action="store_true")
    return Arguments(**vars(parser.parse_args(argv)))


def announce(port: int) -> None:
    print(json.dumps(port), flush=True)


class Count:
    """What a client that only receives has received, and how it is asked."""

    def __init__(self) -> None:
        self.messages = 0

    def answer(self) -> str:
        return f"{self.messages:012}"
