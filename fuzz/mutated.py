"""One target over a corpus and what becomes of it by chance, without a guide.

    python -m fuzz.mutated TARGET CORPUS --seconds 60 --seed 1

For where atheris cannot go along, as under AddressSanitizer, whose hooks it would need. Of the C
part, the corpus of the guided run leads everywhere: its pure twin has the same branches.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Final

from .targets import TARGETS

if TYPE_CHECKING:
    from collections.abc import Sequence

_LENGTHS: Final = (0, 1, 2, 3, 4, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 125, 126, 127, 4096)


def mutate(random: Random, corpus: Sequence[bytes]) -> bytes:
    """One of *corpus*, changed in one to four places."""
    data = bytearray(random.choice(corpus))
    for _ in range(random.randrange(1, 5)):
        place = random.randrange(len(data) + 1)
        kind = random.randrange(6)
        if kind == 0 and place < len(data):
            data[place] ^= 1 << random.randrange(8)
        elif kind == 1:
            data[place : place + random.randrange(9)] = b""
        elif kind == 2:
            data[place:place] = random.randbytes(random.randrange(9))
        elif kind == 3:
            del data[place:]
        elif kind == 4:
            data[place:place] = bytes([random.choice((0, 0x20, 0x41, 0x7F, 0x80, 0xFF))]) * (
                random.choice(_LENGTHS)
            )
        else:
            other = random.choice(corpus)
            data[place:] = other[random.randrange(len(other) + 1) :]
    return bytes(data)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("target", choices=TARGETS)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    target = TARGETS[options.target]
    corpus = [path.read_bytes() for path in sorted(options.corpus.iterdir())]
    random = Random(options.seed)
    end = time.monotonic() + options.seconds
    inputs = 0
    current = b""
    try:
        for current in corpus:
            target(current)
            inputs += 1
        while time.monotonic() < end:
            current = mutate(random, corpus)
            target(current)
            inputs += 1
    except BaseException:
        print(f"{options.target} failed at input {inputs:,}: {current!r}", flush=True)
        raise
    print(f"{options.target:17} {inputs:10,} inputs, of which {len(corpus):,} were kept   ok")


if __name__ == "__main__":
    main()
