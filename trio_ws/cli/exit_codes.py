"""What the commands' exit codes say."""

from __future__ import annotations

import enum
from typing import Final


class ExitCode(enum.IntEnum):
    """The same for every command."""

    OK = 0
    INTERNAL = 1
    USAGE = 2
    CONNECT = 3
    TLS = 4
    REJECTED = 5
    TIMEOUT = 6
    CLOSED = 7
    EXPECTATION = 8
    HUNG_UP = 129
    INTERRUPTED = 130
    TERMINATED = 143


#: For the end of every command's help.
EXIT_CODES: Final = (
    "Exit codes: 0 as wished; 1 this machine or this program failed; 2 usage; "
    "3 cannot resolve or connect; 4 TLS; 5 opening handshake rejected; 6 timeout; "
    "7 closed with another code than 1000 or 1001, cut off, or dead; "
    "8 an expectation or threshold was not met; 130 Ctrl-C; 143 SIGTERM. "
    "Giving up on reconnecting is the code of the last failure."
)
