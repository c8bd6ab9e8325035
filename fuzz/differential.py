"""Random conversations, received by ours and by the core of `websockets`, and compared.

A conversation is what one of the two sends, whole or with a fault in it: both receive it, in pieces
of any size. Where they disagree, one of `DIFFERENCES` says why; what none explains is a fault.

    python -m fuzz.differential --conversations 10000 --seed 1
"""

from __future__ import annotations

import argparse
import re
import sys
from collections import Counter
from dataclasses import dataclass, field, replace
from random import Random
from typing import Final

from websockets.exceptions import PayloadTooBig, ProtocolError
from websockets.extensions.permessage_deflate import PerMessageDeflate as TheirDeflate
from websockets.frames import Opcode as TheirOpcode
from websockets.protocol import OPEN, Protocol, Side

from trio_ws import Compression, Limits
from trio_ws.protocol import (
    Close,
    DeflateParameters,
    Failure,
    Machine,
    Opcode,
    PerMessageDeflate,
    Ping,
    Pong,
    encode_frame,
)

from .model import Model

_MAX_SIZE: Final = 5000
_TEXTS: Final = ("", "a", "hällo", "€uro 😀", "x" * 126, "ÿ" * 400)


@dataclass(frozen=True)
class Conversation:
    """What one side sends.

    Attributes:
      client: whether the client receives it.
      deflate: whether permessage-deflate was agreed upon.
      takeover: whether with context takeover.
      pieces: the bytes, as they arrive.
      faulty: whether something was done to them.
    """

    client: bool
    deflate: bool
    takeover: bool
    pieces: tuple[bytes, ...]
    faulty: bool


@dataclass
class Heard:
    """What a receiver made of a conversation.

    Attributes:
      events: messages and control frames.
      end: the close code that was received, or that it fails with; ``None`` while open.
      failed: whether it fails.
      why: what it says of that.
    """

    events: list[object] = field(default_factory=list)
    end: int | None = None
    failed: bool = False
    why: str = ""


# Making conversations


def converse(random: Random) -> Conversation:
    client, deflate, takeover = (random.random() < 0.5 for _ in range(3))
    say = random.choice((_ours_say, _theirs_say))
    data = say(random, client=client, deflate=deflate, takeover=takeover)
    faulty = random.random() < 0.5
    if faulty:
        data = _spoilt(random, data)
    cuts = sorted(random.randrange(len(data) + 1) for _ in range(random.randrange(6)))
    pieces = tuple(
        data[start:stop] for start, stop in zip([0, *cuts], [*cuts, len(data)], strict=True)
    )
    return Conversation(client, deflate, takeover, pieces, faulty)


def _message(random: Random) -> str | bytes:
    if random.random() < 0.5:
        return random.choice(_TEXTS) * random.randrange(1, 4)
    return random.randbytes(random.choice((0, 1, 125, 126, 700)))


def _ours_say(random: Random, *, client: bool, deflate: bool, takeover: bool) -> bytes:
    sender = Machine(
        client=not client, deflate=_our_deflate(client=not client, takeover=takeover, on=deflate)
    )
    said = b""
    for _ in range(random.randrange(1, 8)):
        kind = random.randrange(5)
        message = _message(random)
        if kind == 0:
            cut = random.randrange(len(message) + 1)
            said += sender.send_part(message[:cut], final=False)
            if random.random() < 0.3:
                said += sender.send_ping(b"between")
            said += sender.send_part(message[cut:], final=True)
        elif kind == 1:
            said += sender.send_ping(random.randbytes(random.randrange(126)))
        elif kind == 2:
            said += sender.send_pong(random.randbytes(random.randrange(126)))
        else:
            said += sender.send_message(message)
    if random.random() < 0.3:
        code, reason = random.choice(((1000, "bye"), (1005, ""), (4999, "ü"), (1001, "")))
        said += sender.send_close(code, reason)
    return said


def _theirs_say(random: Random, *, client: bool, deflate: bool, takeover: bool) -> bytes:
    sender = _their_protocol(client=not client, deflate=deflate, takeover=takeover)
    for _ in range(random.randrange(1, 8)):
        kind = random.randrange(5)
        message = _message(random)
        payload = message.encode() if isinstance(message, str) else message
        send = sender.send_text if isinstance(message, str) else sender.send_binary
        if kind == 0:
            cut = random.randrange(len(payload) + 1)
            send(payload[:cut], fin=False)
            if random.random() < 0.3:
                sender.send_ping(b"between")
            sender.send_continuation(payload[cut:], fin=True)
        elif kind == 1:
            sender.send_ping(random.randbytes(random.randrange(126)))
        elif kind == 2:
            sender.send_pong(random.randbytes(random.randrange(126)))
        else:
            send(payload)
    if random.random() < 0.3:
        sender.send_close(random.choice((1000, 1001, 4000)), "bye")
    return b"".join(sender.data_to_send())


def _spoilt(random: Random, data: bytes) -> bytes:
    for _ in range(random.randrange(1, 3)):
        place = random.randrange(len(data) + 1)
        kind = random.randrange(6)
        if kind == 0:
            data = data[:place]
        elif kind == 1:
            data = data[:place] + data[place + 1 :]
        elif kind == 2:
            data = data[:place] + random.randbytes(random.randrange(1, 4)) + data[place:]
        elif kind == 3:
            frame = encode_frame(
                random.choice(list(Opcode)),
                random.randbytes(random.choice((0, 1, 2, 125, 126, 6000))),
                random.choice((b"", b"keys")),
                fin=random.random() < 0.7,
                rsv1=random.random() < 0.3,
            )
            data = data[:place] + frame + data[place:]
        elif kind == 4:
            # A length that is not in its shortest form.
            size, mask = random.choice((b"\x7e\x00\x02", b"\x7f" + bytes(7) + b"\x02")), b"keys"
            masked = random.random() < 0.5
            header = bytes([0x82, size[0] | 0x80 * masked]) + size[1:] + mask * masked
            data = data[:place] + header + b"hi" + data[place:]
        else:
            changed = bytearray(data)
            if place < len(data):
                changed[place] ^= 1 << random.randrange(8)
            data = bytes(changed)
    return data


# Receiving them


def _our_deflate(*, client: bool, takeover: bool, on: bool) -> PerMessageDeflate | None:
    if not on:
        return None
    return PerMessageDeflate(
        DeflateParameters(
            server_no_context_takeover=not takeover, client_no_context_takeover=not takeover
        ),
        client=client,
        compression=Compression(threshold=0),
        limits=_LIMITS,
    )


_LIMITS: Final = Limits(max_message_size=_MAX_SIZE, max_inflate_ratio=1 << 30)


def ours_hear(conversation: Conversation) -> Heard:
    receiver = Machine(
        client=conversation.client,
        limits=_LIMITS,
        deflate=_our_deflate(
            client=conversation.client, takeover=conversation.takeover, on=conversation.deflate
        ),
    )
    heard = Heard()
    for piece in conversation.pieces:
        for event in receiver.receive_data(piece):
            if isinstance(event, Failure):
                heard.end, heard.failed, heard.why = event.code, True, event.reason
            elif isinstance(event, Close):
                heard.end = event.code
                heard.why = event.reason
            else:
                heard.events.append(event)
    return heard


def _their_protocol(*, client: bool, deflate: bool, takeover: bool) -> Protocol:
    protocol = Protocol(Side.CLIENT if client else Side.SERVER, state=OPEN, max_size=_MAX_SIZE)
    if deflate:
        protocol.extensions = [TheirDeflate(not takeover, not takeover, 15, 15)]
    return protocol


def theirs_hear(conversation: Conversation) -> Heard:
    receiver = _their_protocol(
        client=conversation.client, deflate=conversation.deflate, takeover=conversation.takeover
    )
    heard = Heard()
    message: list[bytes] = []
    text = False
    for piece in conversation.pieces:
        receiver.receive_data(piece)
        for frame in receiver.events_received():
            if frame.opcode in {TheirOpcode.PING, TheirOpcode.PONG}:
                kind = Ping if frame.opcode is TheirOpcode.PING else Pong
                heard.events.append(kind(bytes(frame.data)))
            elif frame.opcode is not TheirOpcode.CLOSE:
                if frame.opcode is not TheirOpcode.CONT:
                    text, message = frame.opcode is TheirOpcode.TEXT, []
                message.append(bytes(frame.data))
                if frame.fin:
                    whole = b"".join(message)
                    try:
                        heard.events.append(whole.decode() if text else whole)
                    except UnicodeDecodeError:
                        # Their core leaves this to what is built on it.
                        heard.end, heard.failed, heard.why = 1007, True, "UTF-8"
                        return heard
    if isinstance(receiver.parser_exc, ProtocolError | PayloadTooBig | UnicodeDecodeError):
        sent = receiver.close_sent
        heard.end, heard.failed = sent and sent.code, True
        heard.why = str(receiver.parser_exc.__cause__ or receiver.parser_exc)
    elif receiver.close_rcvd is not None:
        heard.end = receiver.close_rcvd.code
        heard.why = receiver.close_rcvd.reason
    return heard


# Comparing them


#: Why they may give different codes for the same broken rule, as (ours, theirs) say it.
DIFFERENCES: Final[dict[str, tuple[str, str]]] = {
    "1007 for what is no deflate, theirs 1002 (RFC 7692 names none)": (
        "compressed data is not valid",
        "while decompressing",
    ),
    "a header's broken rule before its length's bound": (
        "reserved bit|control frame|over 63 bits|masked frame|opcode|without|before the last one",
        "frame with ",
    ),
    "a close code's rule before its reason's": ("close code", "codec can't decode"),
}


def explain(conversation: Conversation) -> str | None:
    """Why they disagree: ``""`` where they do not, ``None`` where nothing explains it."""
    ours, theirs = ours_hear(conversation), theirs_hear(conversation)
    if (ours.events, ours.end, ours.failed) == (theirs.events, theirs.end, theirs.failed):
        return ""
    if _theirs_stops_at_a_last_block(conversation, theirs):
        return "data behind a last block is read (RFC 7692, section 7.2.3.5); theirs drops it"
    if conversation.deflate and "exceeds limit" in theirs.why and ours.events == theirs.events:
        return "of a compressed frame, its message's size is bounded; theirs bounds its own as well"
    if "exceeds limit" in theirs.why and ours.events == theirs.events and not ours.failed:
        with_key = replace(conversation, pieces=(*conversation.pieces, b"keys"))
        if ours_hear(with_key).end == 1009:
            return "ours looks at a length when the masking key behind it is there"
    if "shortest form" in ours.why and theirs.events[: len(ours.events)] == ours.events:
        return "a length not in its shortest form is refused (RFC 6455, section 5.2)"
    if not ours.failed:
        if "incomplete fragmented" in theirs.why and ours.end is not None:
            return "a close frame may come between fragments (RFC 6455, section 5.4)"
        return None
    if not _agree_until_ours_fails(conversation):
        return None
    if not theirs.failed or _theirs_goes_on(conversation):
        return "ours fails at the first byte that is wrong"
    for name, (of_ours, of_theirs) in DIFFERENCES.items():
        if re.search(of_ours, ours.why) and of_theirs in theirs.why:
            return name
    return None


def _theirs_stops_at_a_last_block(conversation: Conversation, theirs: Heard) -> bool:
    events, reading_on = (
        [
            event
            for event in Model(
                client=conversation.client,
                max_size=_MAX_SIZE,
                deflate=conversation.deflate,
                takeover=conversation.takeover,
                reads_on=reads_on,
            ).receive(b"".join(conversation.pieces))
            if not isinstance(event, Close | Failure)
        ]
        for reads_on in (False, True)
    )
    return events != reading_on and events == theirs.events


def _until_ours_fails(conversation: Conversation) -> Conversation:
    """The conversation up to the byte at which ours fails."""
    data = b"".join(conversation.pieces)
    low, high = 0, len(data)
    while low < high:
        middle = (low + high) // 2
        if ours_hear(replace(conversation, pieces=(data[:middle],))).failed:
            high = middle
        else:
            low = middle + 1
    return replace(conversation, pieces=(data[:low],))


def _agree_until_ours_fails(conversation: Conversation) -> bool:
    short = _until_ours_fails(conversation)
    return ours_hear(short).events == theirs_hear(short).events


def _theirs_goes_on(conversation: Conversation) -> bool:
    """Whether theirs has nothing against what ours fails at."""
    return theirs_hear(_until_ours_fails(conversation)).end is None


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--conversations", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    counts: Counter[str | None] = Counter()
    for number in range(options.conversations):
        conversation = converse(Random(f"{options.seed}/{number}"))
        why = explain(conversation)
        counts[why] += 1
        if why is None:
            print(f"not explained: {options.seed}/{number}: {conversation}")
            print(f"  ours:   {ours_hear(conversation)}\n  theirs: {theirs_hear(conversation)}")
    for why, count in counts.most_common():
        print(f"{count:7,}  {'not explained' if why is None else why or 'the same'}")
    return 1 if counts[None] else 0


if __name__ == "__main__":
    sys.exit(main())
