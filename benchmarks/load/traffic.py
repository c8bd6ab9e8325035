"""The bytes that a load generator sends, made beforehand, and what should come back."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from .. import wire
from .orders import BATCH

if TYPE_CHECKING:
    from .orders import Load

#: Asks a client that only receives for its count, which it tells in 12 digits.
QUESTION = b"?"
#: Different messages in a row where they are compressed: the same again would compress to nothing.
VARIETY = 64


@dataclass(frozen=True, kw_only=True)
class Traffic:
    """An endless repetition of the same messages.

    Attributes:
      messages: frames, or what stands in their place, that are sent in turn.
      reply_size: bytes of each reply, 0 if they differ.
      probe: sent on its own first.
      expected: what the first reply has to carry.
      opening: the first byte of each reply.
      weight: messages that one reply stands for.
      size: bytes of what a message carries, on average.
    """

    messages: tuple[bytes, ...]
    reply_size: int
    probe: bytes
    expected: bytes
    opening: bytes = b""
    raw: bool = False
    weight: int = 1
    size: float = 0.0

    @cached_property
    def period(self) -> int:
        """Bytes after which it all repeats."""
        return sum(map(len, self.messages))

    def stretch(self, in_flight: int) -> memoryview:
        """Enough of it that *in_flight* messages are one slice, wherever they begin."""
        times = in_flight // len(self.messages) + 2
        return memoryview(b"".join(self.messages) * times)

    def carried(self, reply: bytes) -> bytes:
        """The message in a reply."""
        if self.raw:
            return reply
        content = wire.payload(reply)
        return wire.inflated(content) if reply[0] & 0x40 else content


def made(load: Load) -> Traffic:
    """The traffic for *load*."""
    if load.compressed:
        return _compressed(load)
    if load.kind == "receive":
        return _batches(load)
    if load.kind == "send":
        return _none(load)
    content = text(load.size)
    opcode = wire.TEXT if load.text else wire.BINARY
    key = b"" if load.serving else wire.MASKING_KEY
    sent = wire.frame(opcode, content, key=key)
    reply = wire.frame(opcode, content, key=wire.MASKING_KEY if load.serving else b"")
    return Traffic(
        messages=(sent,),
        reply_size=len(sent) if load.raw else len(reply),
        probe=sent,
        expected=sent if load.raw else content,
        opening=reply[:1],
        raw=load.raw,
    )


def text(size: int) -> bytes:
    """Letters and digits, the same in every run."""
    return bytes(random.Random(size).choices(b"abcdefghijklmnopqrstuvwxyz0123456789 ", k=size))


def json_text(size: int, seed: int) -> bytes:
    """A JSON array of records like a market's ticks, of at least *size* bytes."""
    rng = random.Random(seed)
    records: list[str] = []
    length = 0
    while length < size:
        records.append(_record(rng))
        length += len(records[-1]) + len(", ")
    return f"[{', '.join(records)}]".encode()


def _record(rng: random.Random) -> str:
    return json.dumps(
        {
            "symbol": rng.choice(["AAPL", "MSFT", "NVDA", "TSLA", "AMZN"]),
            "price": round(rng.uniform(50, 500), 2),
            "size": rng.randrange(1, 1_000),
            "time": 1_700_000_000_000 + rng.randrange(10**9),
        }
    )


def _compressed(load: Load) -> Traffic:
    contents = [json_text(load.size, seed) for seed in range(VARIETY)]
    frames = [
        wire.frame(wire.TEXT, wire.deflated(one), key=wire.MASKING_KEY, compressed=True)
        for one in contents
    ]
    return Traffic(
        messages=tuple(frames),
        reply_size=0,
        probe=frames[0],
        expected=contents[0],
        size=sum(map(len, contents)) / VARIETY,
    )


def _batches(load: Load) -> Traffic:
    opcode = wire.TEXT if load.text else wire.BINARY
    question = wire.frame(wire.TEXT, QUESTION)
    return Traffic(
        messages=(wire.frame(opcode, text(load.size)) * BATCH + question,),
        reply_size=len(wire.frame(wire.TEXT, b"0" * 12, key=wire.MASKING_KEY)),
        probe=question,
        expected=b"0" * 12,
        opening=question[:1],
        weight=BATCH,
    )


def _none(load: Load) -> Traffic:
    opcode = wire.TEXT if load.text else wire.BINARY
    content = b"x" * load.size
    size = len(wire.frame(opcode, content, key=wire.MASKING_KEY))
    return Traffic(
        messages=(b"",),
        reply_size=size,
        probe=b"",
        expected=content,
        opening=wire.frame(opcode, b"")[:1],
    )
