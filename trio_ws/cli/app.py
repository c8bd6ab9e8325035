"""The ``trio-ws`` command: its options, and nothing of what they do.

The modules that do the work are imported when their command runs, so that ``--help`` and
completion stay quick.
"""

from __future__ import annotations

import enum
import sys
from pathlib import Path
from typing import Annotated, Optional

import typer

app = typer.Typer(
    name="trio-ws",
    help="WebSockets on Trio: a server and a client.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    # A traceback with local variables would print secrets.
    pretty_exceptions_enable=False,
)

_Compress = Annotated[
    bool, typer.Option("--compress/--no-compress", help="Offer and accept permessage-deflate.")
]
_MaxSize = Annotated[
    int, typer.Option(min=1, help="Bytes of the largest message that is accepted.")
]
_PingInterval = Annotated[
    float, typer.Option(min=0, help="Seconds between pings that look for a dead peer; 0: none.")
]
_PingTimeout = Annotated[
    float, typer.Option(min=0, help="Seconds of silence after a ping until it is dead; 0: never.")
]


class LogLevel(enum.StrEnum):
    """How much of what happens is logged."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


@app.callback()
def _common() -> None:
    """WebSockets on Trio: a server and a client."""


@app.command()
def serve(
    host: Annotated[str, typer.Option(help="The address or name to listen on.")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="The TCP port; 0 takes any free one.")
    ] = 8765,
    path: Annotated[
        Optional[str],
        typer.Option(help="Serve this path only; others are answered 404. By default, every path."),
    ] = None,
    tls_cert: Annotated[
        Optional[Path],
        typer.Option(exists=True, dir_okay=False, help="Serve wss with this certificate (PEM)."),
    ] = None,
    tls_key: Annotated[
        Optional[Path],
        typer.Option(
            exists=True,
            dir_okay=False,
            help="The certificate's key, where it is a file of its own.",
        ),
    ] = None,
    compress: _Compress = False,
    max_size: _MaxSize = 1 << 20,
    ping_interval: _PingInterval = 20.0,
    ping_timeout: _PingTimeout = 20.0,
    drain_timeout: Annotated[
        float, typer.Option(min=0, help="Seconds that open connections get on SIGTERM or Ctrl-C.")
    ] = 30.0,
    log_level: Annotated[LogLevel, typer.Option(help="What is logged on stderr.")] = LogLevel.INFO,
) -> None:
    """Serve: answer every message with itself.

    SIGTERM or Ctrl-C closes the open connections in good order; a second one ends at once.
    """
    from . import serve as command

    if tls_key is not None and tls_cert is None:
        raise typer.BadParameter("a key needs its certificate: give --tls-cert as well")
    command.run(
        command.ServeOptions(
            host=host,
            port=port,
            path=path,
            tls_cert=tls_cert,
            tls_key=tls_key,
            compress=compress,
            max_size=max_size,
            ping_interval=ping_interval,
            ping_timeout=ping_timeout,
            drain_timeout=drain_timeout,
            log_level=log_level.value,
        )
    )


@app.command()
def client(
    url: Annotated[str, typer.Argument(help="ws://, wss://, or ws+unix:/path/to/socket:/resource")],
    compress: _Compress = False,
    max_size: _MaxSize = 1 << 20,
    connect_timeout: Annotated[
        float, typer.Option(min=0.001, help="Seconds for the whole opening of the connection.")
    ] = 10.0,
    linger: Annotated[
        float,
        typer.Option(min=0, help="Quiet seconds after the end of input before closing."),
    ] = 2.0,
    on_connect: Annotated[
        Optional[list[str]],
        typer.Option(
            metavar="MESSAGE",
            help="Sent first, and again after every reconnect. May be given several times.",
        ),
    ] = None,
    reconnect: Annotated[
        bool, typer.Option("--reconnect", help="Connect again when the connection is lost.")
    ] = False,
    max_attempts: Annotated[
        Optional[int],
        typer.Option(min=1, help="Attempts in a row until it gives up; by default, no bound."),
    ] = None,
    max_delay: Annotated[
        Optional[float],
        typer.Option(min=0.001, help="Seconds of the longest wait between attempts; default 60."),
    ] = None,
    ping_interval: _PingInterval = 20.0,
    ping_timeout: _PingTimeout = 20.0,
) -> None:
    """Connect: each line of input is a message, each message a line of output.

    Messages go to stdout, everything else to stderr. With --reconnect, input waits while there is
    no connection. A server that closes with 1000 is done, and so is the client; what another
    attempt cannot mend (an unknown path, a certificate that is not trusted) ends it at once.

    Exit codes: 0 closed in good order; 2 usage; 3 cannot connect; 4 TLS; 5 handshake rejected;
    6 timeout; 7 closed with another code than 1000 or 1001, or cut off; 130 Ctrl-C.
    """
    from . import client as command

    if not reconnect and (max_attempts is not None or max_delay is not None):
        raise typer.BadParameter("--max-attempts and --max-delay belong to --reconnect")
    command.run(
        command.ClientOptions(
            url=url,
            compress=compress,
            max_size=max_size,
            connect_timeout=connect_timeout,
            linger=linger,
            on_connect=tuple(on_connect or ()),
            reconnect=reconnect,
            max_attempts=max_attempts,
            max_delay=60.0 if max_delay is None else max_delay,
            ping_interval=ping_interval,
            ping_timeout=ping_timeout,
        )
    )


def main() -> None:
    """The console script's entry point."""
    from .failures import exit_code

    try:
        app()
    except BaseException as error:
        if isinstance(error, SystemExit):
            raise
        sys.exit(exit_code(error))
