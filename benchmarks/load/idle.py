"""Connections that do nothing but answer pings."""

from __future__ import annotations

import select
from typing import TYPE_CHECKING

from .. import wire
from . import opening

if TYPE_CHECKING:
    import socket
    from collections.abc import Sequence


def answer_pings(streams: Sequence[socket.socket], until: int) -> int:
    """Answer pings until the descriptor *until* can be read: how many there were."""
    poll = select.epoll()
    poll.register(until, select.EPOLLIN | select.EPOLLHUP)
    by_descriptor = {stream.fileno(): stream for stream in streams}
    for descriptor in by_descriptor:
        poll.register(descriptor, select.EPOLLIN)
    pings = 0
    while True:
        for descriptor, _ in poll.poll():
            if descriptor == until:
                return pings
            frame = opening.received_frame_or_ping(by_descriptor[descriptor])
            if frame[0] & 0xF == wire.PING:
                pings += 1
                pong = wire.frame(wire.PONG, wire.payload(frame), key=wire.MASKING_KEY)
                by_descriptor[descriptor].sendall(pong)
