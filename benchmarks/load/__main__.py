"""Carry out the orders on the lines of the standard input; tell on the standard output.

What is told is a line of JSON each: the port, where the peer is the client (the next line of the
input is its process id); that all idle connections are there (they stay until there is more
input, or it ends); and the measurement, or the error.
"""

from __future__ import annotations

import dataclasses
import gc
import json
import sys

from .orders import Load, LoadError
from .work import carried_out, tell


def main() -> None:
    gc.disable()  # and done between orders
    for line in iter(sys.stdin.readline, ""):
        try:
            measurement = carried_out(Load(**json.loads(line)))
        except (LoadError, OSError) as error:
            tell(error=str(error) or type(error).__name__)
        else:
            tell(measurement=dataclasses.asdict(measurement))
        gc.collect()


if __name__ == "__main__":
    main()
