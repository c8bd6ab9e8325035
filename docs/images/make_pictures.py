"""Make ``bench.svg``: what ``trio-ws bench`` prints about a server of our own.

python docs/images/make_pictures.py
"""

from __future__ import annotations

import io
import re
import subprocess
import sys
from pathlib import Path

from rich.console import Console
from rich.text import Text

HERE = Path(__file__).parent
COMMAND = [sys.executable, "-m", "trio_ws.cli"]
WIDTH = 92
ARGUMENTS = ["bench", "--rate", "500", "-c", "50", "--ramp", "2", "-d", "20"]


def output_of_bench() -> str:
    """What the command prints on a terminal, with its colours."""
    server = subprocess.Popen([*COMMAND, "serve", "--port", "0"], stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    try:
        url = server.stdout.readline().split()[1]
        result = subprocess.run(
            [*COMMAND, *ARGUMENTS, url, "--color", "always", "-q"],
            env={"COLUMNS": str(WIDTH), "TERM": "xterm-256color", "PYTHONUTF8": "1"},
            capture_output=True,
            check=True,
        )
    finally:
        server.terminate()
        server.wait()
        server.stdout.close()
    return re.sub(r"127\.0\.0\.1:\d+", "localhost:8765", result.stdout.decode())


def main() -> None:
    """Run the command, and draw what it prints."""
    console = Console(record=True, width=WIDTH, force_terminal=True, file=io.StringIO())
    console.print(Text(f"$ trio-ws {' '.join(ARGUMENTS)} ws://localhost:8765", "bold"))
    console.print(Text.from_ansi(output_of_bench()))
    console.save_svg(str(HERE / "bench.svg"), title="trio-ws bench")


if __name__ == "__main__":
    main()
