"""Close codes and the reason why a connection ended (RFC 6455, section 7)."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Final


class CloseCode(enum.IntEnum):
    """The registered close codes (RFC 6455, section 7.4.1, and the IANA registry).

    Any other code from 3000 to 4999 is an application's own and travels as a plain ``int``.
    """

    NORMAL_CLOSURE = 1000
    GOING_AWAY = 1001
    PROTOCOL_ERROR = 1002
    UNSUPPORTED_DATA = 1003
    NO_STATUS_RECEIVED = 1005
    """Never on the wire: the peer's close frame held no code."""
    ABNORMAL_CLOSURE = 1006
    """Never on the wire: the connection ended without a close frame."""
    INVALID_PAYLOAD = 1007
    POLICY_VIOLATION = 1008
    MESSAGE_TOO_BIG = 1009
    MANDATORY_EXTENSION = 1010
    INTERNAL_ERROR = 1011
    SERVICE_RESTART = 1012
    TRY_AGAIN_LATER = 1013
    BAD_GATEWAY = 1014
    TLS_HANDSHAKE = 1015
    """Never on the wire: reserved for a TLS handshake that failed."""


_REGISTERED: Final = frozenset(int(code) for code in CloseCode)
_NEVER_ON_THE_WIRE: Final = frozenset(
    {CloseCode.NO_STATUS_RECEIVED, CloseCode.ABNORMAL_CLOSURE, CloseCode.TLS_HANDSHAKE}
)

#: Codes after which the peer is considered to have closed in good order.
CLEAN_CODES: Final = frozenset(
    {CloseCode.NORMAL_CLOSURE, CloseCode.GOING_AWAY, CloseCode.NO_STATUS_RECEIVED}
)

#: A close frame is a control frame of at most 125 bytes, two of which are the code.
MAX_REASON_BYTES: Final = 123


def may_be_sent(code: int) -> bool:
    """Whether *code* may stand in a close frame, sent or received (RFC 6455, section 7.4)."""
    if 3000 <= code <= 4999:
        return True
    return code in _REGISTERED and code not in _NEVER_ON_THE_WIRE


def describe_code(code: int) -> str:
    """The code with its name, for people: ``1001 (going away)``."""
    if code in _REGISTERED:
        return f"{int(code)} ({CloseCode(code).name.lower().replace('_', ' ')})"
    if 3000 <= code <= 3999:
        return f"{code} (registered by a library)"
    if 4000 <= code <= 4999:
        return f"{code} (private use)"
    return f"{code} (unknown)"


class ClosedBy(enum.StrEnum):
    """Who ended the connection."""

    LOCAL = "local"
    """This side: ``aclose``, ``abort``, or because the peer broke a rule or a limit."""
    REMOTE = "remote"
    """The peer sent the first close frame."""
    NETWORK = "network"
    """Nobody said anything: the transport was cut."""


@dataclass(frozen=True, slots=True)
class CloseReason:
    """Why and how a connection ended.

    Attributes:
      code: a `CloseCode` or an application's own code. 1005 where the peer's close frame had
        no code, 1006 where no close frame came.
      reason: the text beside the code. It comes from the peer when `closed_by` is ``REMOTE``:
        escape it before it meets a log or a terminal (``str()`` of this object does).
      closed_by: who ended it.
      clean: whether close frames went both ways (RFC 6455, section 7.1.4).
    """

    code: int
    reason: str = ""
    closed_by: ClosedBy = ClosedBy.REMOTE
    clean: bool = True

    def __str__(self) -> str:
        who = {
            ClosedBy.LOCAL: "closed here",
            ClosedBy.REMOTE: "closed by the peer",
            ClosedBy.NETWORK: "the transport was cut",
        }[self.closed_by]
        # ascii() escapes control characters and whatever a terminal might act on.
        text = f" {self.reason!a}" if self.reason else ""
        unclean = (
            ""
            if self.clean or self.closed_by is ClosedBy.NETWORK
            else ", closing handshake not completed"
        )
        return f"{describe_code(self.code)}{text}, {who}{unclean}"
