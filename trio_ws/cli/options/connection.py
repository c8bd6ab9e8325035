"""How to reach a server: the options that every client command has."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from .engine import ClientEngine, EngineName

_CONNECTION = "Connection"
_TLS = "TLS"
_LIVENESS = "Heartbeat"

_URL_HELP = (
    "ws://, wss://, http(s)://, host/path, :port, or ws+unix:/path/to/socket:/resource. "
    "Without a scheme it is ws://."
)


# Only what a command takes is ever made; methods for those in between would take time at start.
@dataclass(frozen=True, kw_only=True, init=False, repr=False, eq=False)
class ConnectionOptions:
    """Where to, and how."""

    url: Annotated[str, typer.Argument(help=_URL_HELP, show_default=False)]
    header: Annotated[
        tuple[str, ...],
        typer.Option(
            "--header",
            "-H",
            metavar="'NAME: VALUE'|@FILE",
            help="A request header. May be given several times; a file holds one a line.",
            rich_help_panel=_CONNECTION,
        ),
    ] = ()
    auth: Annotated[
        str | None,
        typer.Option(
            metavar="USER[:PASSWORD]|@FILE|-",
            help="Basic credentials; a password that is left out is asked for.",
            rich_help_panel=_CONNECTION,
        ),
    ] = None
    bearer: Annotated[
        str | None,
        typer.Option(metavar="TOKEN|@FILE|-", help="A bearer token.", rich_help_panel=_CONNECTION),
    ] = None
    origin: Annotated[
        str | None,
        typer.Option(
            "--origin",
            "-o",
            help="The Origin header, as a browser would.",
            rich_help_panel=_CONNECTION,
        ),
    ] = None
    subprotocol: Annotated[
        tuple[str, ...],
        typer.Option(
            "--subprotocol",
            "-s",
            help="One that is offered; several by preference.",
            rich_help_panel=_CONNECTION,
        ),
    ] = ()
    proxy: Annotated[
        str,
        typer.Option(
            metavar="URL|none",
            help="http, https, socks5, socks5h or socks4. By default, as HTTPS_PROXY and the like "
            "say.",
            rich_help_panel=_CONNECTION,
        ),
    ] = "environment"
    resolve: Annotated[
        tuple[str, ...],
        typer.Option(
            metavar="HOST:PORT:ADDRESS",
            help="Dial ADDRESS where the URL says HOST:PORT.",
            rich_help_panel=_CONNECTION,
        ),
    ] = ()
    unix_socket: Annotated[
        Path | None,
        typer.Option(
            help="Dial this Unix socket, wherever the URL leads.", rich_help_panel=_CONNECTION
        ),
    ] = None
    location: Annotated[
        bool,
        typer.Option("--location", "-L", help="Follow redirects.", rich_help_panel=_CONNECTION),
    ] = False
    connect_timeout: Annotated[
        float,
        typer.Option(
            metavar="SECONDS",
            min=0.001,
            help="Seconds for the whole opening of a connection.",
            rich_help_panel=_CONNECTION,
        ),
    ] = 10.0
    compress: Annotated[
        bool,
        typer.Option(
            "--compress/--no-compress",
            help="Offer permessage-deflate.",
            rich_help_panel=_CONNECTION,
        ),
    ] = False
    max_size: Annotated[
        int,
        typer.Option(
            metavar="BYTES",
            min=1,
            help="Bytes of the largest message that is accepted.",
            rich_help_panel=_CONNECTION,
        ),
    ] = 1 << 20
    engine: ClientEngine = EngineName.BUILT_IN
    cacert: Annotated[
        Path | None,
        typer.Option(
            help="Trust these certificates (PEM) instead of the system's.", rich_help_panel=_TLS
        ),
    ] = None
    cert: Annotated[
        Path | None,
        typer.Option(
            help="The client's certificate (PEM), perhaps with its key.", rich_help_panel=_TLS
        ),
    ] = None
    key: Annotated[
        Path | None,
        typer.Option(help="The key of --cert, in a file of its own.", rich_help_panel=_TLS),
    ] = None
    passphrase: Annotated[
        str | None,
        typer.Option(
            metavar="TEXT|@FILE|-",
            help="Of an encrypted key; by default it is asked for.",
            rich_help_panel=_TLS,
        ),
    ] = None
    insecure: Annotated[
        bool,
        typer.Option(
            "--insecure", "-k", help="Do not check the server's certificate.", rich_help_panel=_TLS
        ),
    ] = False
    sni: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="The name to ask for, and to find in the certificate, instead of the URL's host.",
            rich_help_panel=_TLS,
        ),
    ] = None
    ping_interval: Annotated[
        float,
        typer.Option(
            metavar="SECONDS",
            min=0,
            help="Seconds between pings that look for a dead server; 0: none.",
            rich_help_panel=_LIVENESS,
        ),
    ] = 20.0
    ping_timeout: Annotated[
        float,
        typer.Option(
            metavar="SECONDS",
            min=0,
            help="Seconds of silence after a ping until it is dead; 0: never.",
            rich_help_panel=_LIVENESS,
        ),
    ] = 20.0
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the traceback of what goes wrong.")
    ] = False
