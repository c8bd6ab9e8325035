"""The entry point of ``trio-ws``, and ``python -m trio_ws.cli``."""

import sys


def main() -> None:
    """Run the command."""
    try:
        # Half of what starting takes; a Ctrl-C may come meanwhile.
        from .app import main as run
    except KeyboardInterrupt:
        sys.exit(130)
    run()


if __name__ == "__main__":
    main()
