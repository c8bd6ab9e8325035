"""``python -m trio_ws.cli`` is ``trio-ws``."""

from .app import main

main()
