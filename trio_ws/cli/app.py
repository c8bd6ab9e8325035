"""The ``trio-ws`` command: which commands there are, and nothing of what they do.

The modules that do the work are imported when their command runs, so that ``--help`` and
completion stay quick.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import Annotated

import typer

from .exit_codes import EXIT_CODES, ExitCode
from .options.bench import BenchOptions
from .options.client import ClientOptions, ListenOptions, SendOptions
from .options.ping import PingOptions
from .options.replay import ReplayOptions
from .options.serve import ServeOptions
from .signature import takes

app = typer.Typer(
    name="trio-ws",
    help="WebSockets on Trio: a server, a client, and tools beside them.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    # A traceback with local variables would print secrets.
    pretty_exceptions_enable=False,
)

_VARIABLES = (
    "Options are also taken from the environment: TRIO_WS_BEARER is --bearer of every command, "
    "TRIO_WS_CLIENT_BEARER that of client."
)


def _epilog(*examples: str) -> str:
    """What stands below a command's help, a paragraph a line."""
    return "\n\n".join(["Examples:", *examples, "", _VARIABLES, EXIT_CODES])


def _show_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"trio-ws {version('trio-ws')}")
        raise typer.Exit


@app.callback(
    epilog=_epilog(
        "trio-ws serve --console",
        "trio-ws client :8765",
        'trio-ws send wss://example.com/api \'{"op": "time"}\' --bearer @token',
    )
)
def _common(
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Show the version and exit.", callback=_show_version, is_eager=True
        ),
    ] = False,
) -> None:
    """WebSockets on Trio: a server, a client, and tools beside them."""


@app.command(
    epilog=_epilog(
        "trio-ws serve --broadcast --console",
        "trio-ws serve --exec 'tr a-z A-Z' --port 9000",
        "trio-ws serve chat:handler --tls-self-signed",
        "trio-ws serve --latency 0.1-0.5 --drop-after 20 --seed 1",
    )
)
@takes(ServeOptions)
def serve(options: ServeOptions) -> None:
    """Serve: answer every message with itself, or do what else is asked for.

    SIGTERM or Ctrl-C closes the open connections in good order; a second one ends at once.
    """
    from .serve import run

    run(options)


@app.command(
    epilog=_epilog(
        'trio-ws client wss://example.com/feed --reconnect --on-connect \'{"op": "subscribe"}\'',
        "seq 1000 | trio-ws client :8765 > replies",
        "trio-ws client :8765 --file photo.jpg --binary --count 1",
        "trio-ws client :8765 --format jsonl | jq .data",
    )
)
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


@app.command(
    epilog=_epilog(
        "trio-ws send :8765 hello",
        'trio-ws send :8765 \'{"op": "login"}\' --expect \'"ok": *true\' --timeout 5',
        "git log -1 | trio-ws send :8765 --split none --count 0",
    )
)
@takes(SendOptions)
def send(options: SendOptions) -> None:
    """Connect, send, print one reply, and leave; --count says how many replies.

    Without MESSAGE and --file it sends the input. With --expect, the reply is the first message
    that matches.
    """
    from .client import run_send

    run_send(options)


@app.command(
    epilog=_epilog(
        "trio-ws listen wss://example.com/feed --reconnect --format jsonl --record feed.jsonl",
        'trio-ws listen :8765 --on-connect \'{"op": "subscribe"}\' -n 10',
    )
)
@takes(ListenOptions)
def listen(options: ListenOptions) -> None:
    """Connect, and print what comes; never reads the input.

    What --on-connect says is sent first, to log in or to subscribe.
    """
    from .client import run_listen

    run_listen(options)


@app.command(epilog=_epilog("trio-ws ping wss://example.com -c 5", "trio-ws ping :8765 -i 0.2 -q"))
@takes(PingOptions)
def ping(options: PingOptions) -> None:
    """Ping: how long a server takes to connect to, and to answer.

    A line for each pong, and a summary at the end, also after Ctrl-C. Exit code 0 where any pong
    came, 6 where none did.
    """
    from .ping import run

    run(options)


@app.command(
    epilog=_epilog(
        "trio-ws replay feed.jsonl :8765 --direction in --speed 10",
        "trio-ws replay talk.jsonl :8765 --expect-same",
    )
)
@takes(ReplayOptions)
def replay(options: ReplayOptions) -> None:
    """Replay: send what was recorded, when it was recorded.

    Each message that comes is a line of output. The whole file is checked before the connection
    is made.
    """
    from .replay import run

    run(options)


@app.command(
    epilog=_epilog(
        "trio-ws bench :8765 -c 100 --rate 5000 --duration 30",
        "trio-ws bench :8765 -c 50 --rate 2000 --fail-if 'p99>50ms' --fail-if 'errors>0'",
        "trio-ws bench :8765 --pipeline 100 --processes 2 --json",
    )
)
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
    _replace_closed_streams()
    try:
        code = _run()
    except KeyboardInterrupt:
        # Once more, while the first was dealt with.
        code = ExitCode.INTERRUPTED
    # It ends now, and another Ctrl-C has nothing left to change.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.exit(code)


def _run() -> int | str | None:
    """Run the command; return what to exit with."""
    try:
        app()
    except SystemExit as error:
        return error.code
    except BaseException as error:
        from .failures import exit_code

        # Looked for by hand: what goes wrong may do so before options are read.
        debug = "--debug" in sys.argv or os.environ.get("TRIO_WS_DEBUG", "0") not in {"", "0"}
        return exit_code(error, debug=debug)
    return ExitCode.OK


def _replace_closed_streams() -> None:
    """Put the null device where standard input, output or error are closed, as in ``<&-``.

    Else the next file or socket would take the number, and be read from or written to.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            # In order: each gets the lowest number that is free, which is its own.
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115
