"""What a load generator is told to do, and what it tells."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

#: What is measured: messages echoed; a client that receives, or that sends, as fast as it can;
#: connections opened and closed; connections that only answer pings.
Kind = Literal["echo", "receive", "send", "connects", "idle"]

#: Messages between two questions for the count, to a client that only receives.
BATCH = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """One order to the load generator.

    Attributes:
      connections: how many are open at once.
      in_flight: messages that are under way on each connection.
      size: bytes of a message's payload.
      serving: the generator is the server, and the peer a client.
      raw: the peer echoes bytes and knows nothing of WebSockets.
      pid: the peer's process, for its CPU time.
    """

    kind: Kind
    connections: int = 1
    in_flight: int = 1
    size: int = 64
    text: bool = True
    compressed: bool = False
    serving: bool = False
    raw: bool = False
    tls: bool = False
    seconds: float = 0.5
    warm_up: float = 0.15
    port: int = 0
    pid: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """What came of one measurement.

    Attributes:
      messages: how many came back, were received or sent, or how many connections were opened.
      seconds: how long that took.
      peer_cpu: CPU seconds of the peer's process in that time; likewise *generator_cpu*.
      peer_waited: seconds for which it could have run, but others did; likewise
        *generator_waited*.
      p50: median of the round trips in microseconds, 0 where several messages are under way.
      wire_ratio: bytes of the peer's messages on the wire per byte of payload.
      connections: how many were open.
      memory: KiB of the peer's memory per connection.
    """

    messages: int = 0
    seconds: float = 0.0
    peer_cpu: float = 0.0
    generator_cpu: float = 0.0
    peer_waited: float = 0.0
    generator_waited: float = 0.0
    p50: float = 0.0
    p90: float = 0.0
    p99: float = 0.0
    wire_ratio: float = 1.0
    connections: int = 1
    memory: float = 0.0

    @property
    def rate(self) -> float:
        return self.messages / self.seconds if self.seconds else 0.0

    @property
    def peer_busy(self) -> float:
        return self.peer_cpu / self.seconds if self.seconds else 0.0

    @property
    def generator_busy(self) -> float:
        return self.generator_cpu / self.seconds if self.seconds else 0.0

    @property
    def disturbed(self) -> float:
        """The part of the time in which other processes took the CPU of one of the two."""
        waited = max(self.peer_waited, self.generator_waited)
        return waited / self.seconds if self.seconds else 0.0

    @property
    def peer_cpu_per_message(self) -> float:
        """Microseconds."""
        return self.peer_cpu / self.messages * 1e6 if self.messages else 0.0


TOO_MUCH = "more came back than was sent"


class LoadError(Exception):
    """The peer did not do what it should have."""
