"""The ``trio-ws`` command: which commands there are, and nothing of what they do.

What a command can be asked for, and what does the work, is imported when it is named on the
command line: the options of all commands together take longer to read than most commands run.
"""

from __future__ import annotations

import os
import signal
import sys
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from .exit_codes import EXIT_CODES, ExitCode

if TYPE_CHECKING:
    from collections.abc import Callable, Container

_HELP: Final = "WebSockets on Trio: a server, a client, and tools beside them."
_VARIABLES: Final = (
    "Options are also taken from the environment: TRIO_WS_BEARER is --bearer of every command, "
    "TRIO_WS_CLIENT_BEARER that of client."
)
#: Set by shells that ask for completions.
_COMPLETING: Final = "_TRIO_WS_COMPLETE"


@dataclass(frozen=True)
class Command:
    """One command.

    Attributes:
      name: what it is called.
      options: the class of its options, with its module in `trio_ws.cli.options`.
      run: the function that does it, with its module in `trio_ws.cli`.
      help: what it is for; the first paragraph stands in the list of commands.
      examples: commands to begin with.
    """

    name: str
    options: str
    run: str
    help: str
    examples: tuple[str, ...]

    def callback(self) -> Callable[..., None]:
        """The function that Typer reads the options from."""
        from .signature import takes

        def run(options: Any) -> None:
            _named(self.run)(options)

        run.__name__ = self.name
        run.__doc__ = self.help
        return takes(_named(f"options.{self.options}"))(run)

    def stand_in(self) -> Callable[..., None]:
        """One for the list of commands."""

        def run() -> None:
            raise AssertionError(f"{self.name} was not named")

        run.__doc__ = self.help
        return run


def _named(name: str) -> Any:
    """What is called *name* in a module of this package: ``module.name``."""
    module, _, attribute = name.rpartition(".")
    return getattr(import_module(f".{module}", __package__), attribute)


COMMANDS: Final = (
    Command(
        "serve",
        "serve.ServeOptions",
        "serve.run",
        """Serve: answer every message with itself, or do what else is asked for.

        SIGTERM or Ctrl-C closes the open connections in good order; a second one ends at once.
        """,
        (
            "trio-ws serve --broadcast --console",
            "trio-ws serve --exec 'sed -u s/^/you-said:/' --port 9000",
            "trio-ws serve chat:handler --tls-self-signed",
            "trio-ws serve --latency 0.1-0.5 --drop-after 20 --seed 1",
        ),
    ),
    Command(
        "client",
        "client.ClientOptions",
        "client.run_client",
        """Connect: each line of input is a message, each message a line of output.

        At a terminal there is a prompt, with a history and commands such as /help. Messages go
        to stdout, everything else to stderr. Where MESSAGE or --file say what to send, the input
        is not read, unless at a terminal. With --reconnect, input waits while there is no
        connection; a server that closes with 1000 is done, and so is the client.
        """,
        (
            'trio-ws client wss://example.com --reconnect --on-connect \'{"op": "subscribe"}\'',
            "seq 1000 | trio-ws client :8765 > replies",
            "trio-ws client :8765 --file photo.jpg --binary --count 1",
            "trio-ws client :8765 --format jsonl | jq .data",
        ),
    ),
    Command(
        "send",
        "client.SendOptions",
        "client.run_send",
        """Connect, send, print one reply, and leave; --count says how many replies.

        Without MESSAGE and --file it sends the input. With --expect, the reply is the first message
        that matches.
        """,
        (
            "trio-ws send :8765 hello",
            'trio-ws send :8765 \'{"op": "login"}\' --expect \'"ok": *true\' --timeout 5',
            "git log -1 | trio-ws send :8765 --split none --count 0",
        ),
    ),
    Command(
        "listen",
        "client.ListenOptions",
        "client.run_listen",
        """Connect, and print what comes; never reads the input.

        What --on-connect says is sent first, to log in or to subscribe.
        """,
        (
            "trio-ws listen wss://example.com/feed --reconnect --format jsonl --record feed.jsonl",
            'trio-ws listen :8765 --on-connect \'{"op": "subscribe"}\' -n 10',
        ),
    ),
    Command(
        "ping",
        "ping.PingOptions",
        "ping.run",
        """Ping: how long a server takes to connect to, and to answer.

        A line for each pong, and a summary at the end, also after Ctrl-C. Exit code 0 where any
        pong came, 6 where none did.
        """,
        (
            "trio-ws ping wss://example.com -c 5",
            "trio-ws ping :8765 -i 0.2 -q",
        ),
    ),
    Command(
        "replay",
        "replay.ReplayOptions",
        "replay.run",
        """Replay: send what was recorded, when it was recorded.

        Each message that comes is a line of output. The whole file is checked before the connection
        is made.
        """,
        (
            "trio-ws replay feed.jsonl :8765 --direction in --speed 10",
            "trio-ws replay talk.jsonl :8765 --expect-same",
        ),
    ),
    Command(
        "bench",
        "bench.BenchOptions",
        "bench.command.run",
        """Bench: how fast an echo server answers under load.

        With --rate, latencies count from when each message was due, which corrects for coordinated
        omission. Without it, a server that stalls is sent less, and latencies look better than they
        would be for users who do not wait.
        """,
        (
            "trio-ws bench :8765 -c 100 --rate 5000 --duration 30",
            "trio-ws bench :8765 -c 50 --rate 2000 --fail-if 'p99>50ms' --fail-if 'errors>0'",
            "trio-ws bench :8765 --pipeline 100 --processes 2 --json",
        ),
    ),
)


def make_app(names: Container[str] | None = None) -> typer.Typer:
    """The command line.

    Args:
      names: the commands whose options are read, ``None`` for all; the others are only listed.
    """
    app = typer.Typer(
        name="trio-ws",
        help=_HELP,
        no_args_is_help=True,
        context_settings={"help_option_names": ["-h", "--help"]},
        # A traceback with local variables would print secrets.
        pretty_exceptions_enable=False,
    )
    app.callback(
        epilog=_epilog(
            "trio-ws serve --console",
            "trio-ws client :8765",
            'trio-ws send wss://example.com/api \'{"op": "time"}\' --bearer @token',
        )
    )(_common)
    for command in COMMANDS:
        wanted = names is None or command.name in names
        callback = command.callback() if wanted else command.stand_in()
        app.command(command.name, epilog=_epilog(*command.examples))(callback)
    return app


def _epilog(*examples: str) -> str:
    """What stands below a command's help, a paragraph a line."""
    return "\n\n".join(["Examples:", *examples, "", _VARIABLES, EXIT_CODES])


def _show_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"trio-ws {version('trio-ws')}")
        raise typer.Exit


def _common(
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Show the version and exit.", callback=_show_version, is_eager=True
        ),
    ] = False,
) -> None:
    pass


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
        make_app(None if _COMPLETING in os.environ else sys.argv[1:])()
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
