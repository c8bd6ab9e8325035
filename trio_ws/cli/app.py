"""The ``trio-ws`` command: which commands there are, and nothing of what they do.

The modules that do the work are imported when their command runs, so that ``--help`` and
completion stay quick.
"""

from __future__ import annotations

import sys

import typer

from .exit_codes import EXIT_CODES
from .options.bench import BenchOptions
from .options.client import ClientOptions
from .options.ping import PingOptions
from .options.replay import ReplayOptions
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

    Messages go to stdout, everything else to stderr. With --reconnect, input waits while there is
    no connection. A server that closes with 1000 is done, and so is the client; what another
    attempt cannot mend (an unknown path, a certificate that is not trusted) ends it at once.
    """
    from .client import run

    run(options)


@app.command(epilog=_EPILOG)
@takes(PingOptions)
def ping(options: PingOptions) -> None:
    """Ping: how long a server takes to connect to, and to answer.

    A line for each pong, and a summary at the end, also after Ctrl-C. Exit code 0 where any pong
    came, 6 where none did.
    """
    from .ping import run

    run(options)


@app.command(epilog=_EPILOG)
@takes(ReplayOptions)
def replay(options: ReplayOptions) -> None:
    """Replay: send what was recorded, when it was recorded.

    Each message that comes is a line of output. The whole file is checked before the connection
    is made.
    """
    from .replay import run

    run(options)


@app.command(epilog=_EPILOG)
@takes(BenchOptions)
def bench(options: BenchOptions) -> None:
    """Bench: how fast an echo server answers under load.

    With --rate, latencies count from when each message was due, which corrects for coordinated
    omission. Without it, a server that stalls is sent less, and latencies look better than they
    would be for users who do not wait.
    """
    from .bench.command import run

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
