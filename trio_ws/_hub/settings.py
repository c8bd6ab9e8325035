"""`HubLimits`: how much a hub holds for its members."""

from __future__ import annotations

from dataclasses import dataclass, fields

from .._settings import MIB


@dataclass(frozen=True, slots=True, kw_only=True)
class HubLimits:
    """How much waits for members that do not keep up, and for how long.

    What waits for a member comes on top of ``Limits.outbox_bytes`` of its connection. Members share
    the memory of a message that waits for several of them.

    Attributes:
      backlog_messages: messages that wait for one member before its policy (``slow=``) applies.
      backlog_bytes: the same bound in bytes of payload, whichever is met first.
      max_backlog_bytes: bytes of payload beyond which a member is evicted, whatever its policy
        and however fast it reads.
      progress_timeout: seconds. A member over the first two bounds, or whose messages are dropped
        because of them, is evicted when its peer's system has taken nothing for this long. A slow
        one that moves survives.
      pending_messages: messages of one topic that have still to be given to its members; beyond,
        ``publish`` waits. That is about how fast this process is, not about how slow members are.
      pending_bytes: the same bound in bytes of payload.
      presence_changes: what a `PresenceWatch` holds before the oldest make room.
    """

    backlog_messages: int = 1024
    backlog_bytes: int = MIB
    max_backlog_bytes: int = 8 * MIB
    progress_timeout: float = 30.0
    pending_messages: int = 256
    pending_bytes: int = MIB
    presence_changes: int = 1024

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not isinstance(value, int | float) or isinstance(value, bool) or not value > 0:
                raise ValueError(f"HubLimits.{field.name} must be a positive number, not {value!r}")
