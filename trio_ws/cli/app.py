"""The ``trio-ws`` command: which commands there are, and nothing of what they do.

The modules that do the work are imported when their command runs, so that ``--help`` and
completion stay quick.
"""

from __future__ import annotations

import sys

import typer

from .exit_codes import EXIT_CODES
from .options.client import ClientOptions, ListenOptions, SendOptions
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
    """Serve: answer every message with itself.

    SIGTERM or Ctrl-C closes the open connections in good order; a second one ends at once.
    """
    from .serve import run

    run(options)


@app.command(epilog=_EPILOG)
@takes(ClientOptions)
def client(options: ClientOptions) -> None:
    """Connect: each line of input is a message, each message a line of output.

    At a terminal there is a prompt, with a history and commands such as /help. Messages go to
    stdout, everything else to stderr. Where MESSAGE or --file say what to send, the input is not
    read, unless at a terminal. With --reconnect, input waits while there is no connection; a
    server that closes with 1000 is done, and so is the client.
    """
    from .client import run_client

    run_client(options)


@app.command(epilog=_EPILOG)
@takes(SendOptions)
def send(options: SendOptions) -> None:
    """Connect, send, print one reply, and leave; --count says how many replies.

    Without MESSAGE and --file it sends the input. With --expect, the reply is the first message
    that matches.
    """
    from .client import run_send

    run_send(options)


@app.command(epilog=_EPILOG)
@takes(ListenOptions)
def listen(options: ListenOptions) -> None:
    """Connect, and print what comes; never reads the input.

    What --on-connect says is sent first, to log in or to subscribe.
    """
    from .client import run_listen

    run_listen(options)


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
