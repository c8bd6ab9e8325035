"""Masking (RFC 6455, section 5.3): the XOR, and where the keys come from.

The XOR is done in C where the extension was built, else by a pure-Python twin.
``TRIO_WS_NO_SPEEDUPS=1`` in the environment selects the twin at import.
"""

from __future__ import annotations

import os
import struct
from functools import cache
from typing import Final, TypeAlias

Buffer: TypeAlias = bytes | bytearray | memoryview

#: From this size on, four lanes through `bytes.translate` beat one big integer. Measured here:
#: at 64 bytes 0.5 us against 1.6 us for the lanes, at 1 KiB 2.6 against 2.9, at 4 KiB 9.7
#: against 7.0, at 1 MiB 3.9 ms against 1.6 ms.
_LANES_FROM: Final = 2048
#: As many masking keys are drawn at once.
_KEYS: Final = struct.Struct("4s" * 1024)


@cache
def _xor_table(value: int) -> bytes:
    # Made when first needed: with the C part, never, and all 256 of them take 25 ms.
    return bytes(byte ^ value for byte in range(256))


def mask_pure(data: Buffer, key: bytes, offset: int = 0) -> bytes:
    """The pure-Python twin of `mask`."""
    if len(key) != 4:
        raise ValueError(f"a masking key has 4 bytes, not {len(key)}")
    if offset & 3:
        key = key[offset & 3 :] + key[: offset & 3]
    size = len(data)
    if size < _LANES_FROM:
        repeated = (key * (size // 4 + 1))[:size]
        return (int.from_bytes(data, "little") ^ int.from_bytes(repeated, "little")).to_bytes(
            size, "little"
        )
    masked = bytearray(size)
    for lane in range(4):
        masked[lane::4] = bytes(data[lane::4]).translate(_xor_table(key[lane]))
    return bytes(masked)


def append_unmasked_pure(buffer: bytearray, data: Buffer, key: bytes, offset: int) -> bool:
    """Append *data*, unmasked where the key is not empty; return whether that was all ASCII."""
    piece = mask_pure(data, key, offset) if key else bytes(data)
    buffer += piece
    return piece.isascii()


try:
    if os.environ.get("TRIO_WS_NO_SPEEDUPS"):
        raise ImportError("switched off by TRIO_WS_NO_SPEEDUPS")
    from ._speedups import append_unmasked as append_unmasked
    from ._speedups import mask as mask
except ImportError:
    append_unmasked = append_unmasked_pure
    mask = mask_pure

#: Whether the C part is in use.
SPEEDUPS: Final = mask is not mask_pure


def unmasked(data: Buffer, key: bytes, offset: int = 0) -> bytes:
    """The payload *data* in an object of its own; where there is no key, it was not masked."""
    return mask(data, key, offset) if key else bytes(data)


class MaskedPayload:
    """A payload that is masked a slice at a time, as it is written.

    New memory for the whole of a large one costs more than masking it.
    """

    __slots__ = ("_key", "_payload")

    def __init__(self, payload: bytes | memoryview, key: bytes) -> None:
        self._payload = memoryview(payload)
        self._key = key

    def __len__(self) -> int:
        return len(self._payload)

    def __getitem__(self, part: slice) -> bytes:
        """The bytes of that part, of steps of one."""
        start, _, _ = part.indices(len(self))
        return mask(self._payload[part], self._key, start)


class MaskingKeys:
    """Masking keys from the system's strong random source, many per system call.

    A server that could foresee a key could make the client send bytes of its choosing, which is
    what masking is there to prevent (section 10.3). A forked child draws a pool of its own.
    """

    __slots__ = ("_keys", "_process")

    def __init__(self) -> None:
        self._keys: list[bytes] = []
        self._process = -1

    def next(self) -> bytes:
        """Four bytes that nobody can foresee."""
        if not self._keys or self._process != _process:
            self._keys = list(_KEYS.unpack(os.urandom(_KEYS.size)))
            self._process = _process
        return self._keys.pop()


#: Counts forks between the first process and this one: cheaper to compare than os.getpid().
_process = 0


def _count_fork() -> None:
    global _process
    _process += 1


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_count_fork)
