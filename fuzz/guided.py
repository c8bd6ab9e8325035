"""One target under atheris, which looks for bytes that lead to code not seen before.

python -m fuzz.guided TARGET [CORPUS ...] [-LIBFUZZER_OPTION=VALUE ...]
"""

from __future__ import annotations

import sys

import atheris


def main() -> None:
    name = sys.argv.pop(1)
    with atheris.instrument_imports(include=["trio_ws.protocol", "trio_ws._url", "trio_ws.cli"]):
        from .targets import TARGETS
    atheris.Setup(sys.argv, TARGETS[name])
    atheris.Fuzz()


if __name__ == "__main__":
    main()
