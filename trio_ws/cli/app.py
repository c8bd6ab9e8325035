"""The ``trio-ws`` command: which commands there are, and nothing of what they do.

The modules that do the work are imported when their command runs, so that ``--help`` and
completion stay quick.
"""

from __future__ import annotations

import sys

import typer

from .exit_codes import EXIT_CODES
from .options.client import ClientOptions
from .options.serve import ServeOptions
from .signature import takes

app = typer.Typer(
    name="trio-ws",
    help="WebSockets on Trio: a server and a client.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    # A traceback with local variables would print secrets.
    pretty_exceptions_enable=False,
)

_VARIABLES = (
    "Options are also taken from the environment: TRIO_WS_BEARER is --bearer of every command, "
    "TRIO_WS_CLIENT_BEARER that of client."
)
_EPILOG = f"{_VARIABLES} {EXIT_CODES}"


@app.callback(epilog=_EPILOG)
def _common() -> None:
    """WebSockets on Trio: a server and a client."""


@app.command(epilog=_EPILOG)
@takes(ServeOptions)
def serve(options: ServeOptions) -> None:
    """Serve: answer every message with itself, or do what else is asked for.

    SIGTERM or Ctrl-C closes the open connections in good order; a second one ends at once.
    """
    from .serve import run

    run(options)


@app.command(epilog=_EPILOG)
@takes(ClientOptions)
def client(options: ClientOptions) -> None:
    """Connect: each line of input is a message, each message a line of output.

    Messages go to stdout, everything else to stderr. With --reconnect, input waits while there is
    no connection. A server that closes with 1000 is done, and so is the client; what another
    attempt cannot mend (an unknown path, a certificate that is not trusted) ends it at once.
    """
    from .client import run

    run(options)


def main() -> None:
    """The console script's entry point."""
    try:
        app()
    except BaseException as error:
        if isinstance(error, SystemExit):
            raise
        from .failures import exit_code

        # Looked for by hand: what goes wrong may do so before options are read.
        sys.exit(exit_code(error, debug="--debug" in sys.argv))
