"""From what the user asked for to the arguments of `trio_ws.connect`."""

from __future__ import annotations

import base64
import getpass
import re
import ssl
import sys
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from .._client import DEFAULT_LIMITS, DEFAULT_TIMEOUTS, ConnectOptions
from .._settings import Compression
from .._url import Target, parse_url
from ..protocol.http import Headers
from .failures import Usage, hide
from .heartbeats import heartbeat_of
from .secrets import read_lines, read_secret

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .._dial import Address
    from .options.connection import ConnectionOptions

_MAX_REDIRECTS: Final = 10
_SCHEME: Final = re.compile(r"[a-z][a-z0-9+.-]*:(//|/)|w(s|ss)\+unix:", re.IGNORECASE)
_RESOLVE: Final = re.compile(r"([^:\[\]]+|\[[^\]]+\]):(\d+):([^\[\]]+|\[[^\]]+\])")


@dataclass(frozen=True, slots=True)
class Destination:
    """Where to connect, and the further arguments of `trio_ws.connect`."""

    url: str
    options: ConnectOptions


def destination_of(options: ConnectionOptions) -> Destination:
    """What *options* mean.

    Raises:
      InvalidURL: the URL makes no sense.
      Usage: another option does not; the message names it.
    """
    url = complete_url(options.url)
    target = parse_url(url)
    if target.userinfo is not None and target.userinfo[1]:
        hide(target.userinfo[1])
    return Destination(
        url,
        {
            "headers": _headers(options, target),
            "origin": options.origin,
            "subprotocols": options.subprotocol,
            "compression": Compression() if options.compress else None,
            "ssl_context": _ssl_context(options),
            "server_hostname": options.sni,
            "proxy": None if options.proxy == "none" else options.proxy,
            "address": _address(options, target),
            "max_redirects": _MAX_REDIRECTS if options.location else 0,
            "heartbeat": heartbeat_of(options.ping_interval, options.ping_timeout),
            "limits": replace(DEFAULT_LIMITS, max_message_size=options.max_size),
            "timeouts": replace(DEFAULT_TIMEOUTS, open_timeout=options.connect_timeout),
        },
    )


def complete_url(given: str) -> str:
    """*given* with what people leave out: the scheme, and the host of this machine."""
    if _SCHEME.match(given):
        return given
    if given.startswith(":"):
        given = f"localhost{given}"
    return f"ws://{given}"


# Headers and credentials


def _headers(options: ConnectionOptions, target: Target) -> Headers:
    pairs = list(_given_headers(options))
    if options.auth is not None and options.bearer is not None:
        raise Usage("--auth and --bearer exclude each other")
    if options.auth is not None:
        pairs.append(("Authorization", f"Basic {_basic_credentials(options.auth, target)}"))
    if options.bearer is not None:
        token = read_secret(options.bearer, "--bearer")
        pairs.append(("Authorization", f"Bearer {token}"))
    try:
        headers = Headers(pairs)
    except ValueError as error:
        raise Usage(f"--header: {error}") from None
    if len(headers.get_all("authorization")) > 1:
        raise Usage("Authorization is given twice: by --header, --auth or --bearer")
    return headers


def _given_headers(options: ConnectionOptions) -> Iterator[tuple[str, str]]:
    for given in options.header:
        lines = read_lines(given[1:], "--header") if given.startswith("@") else [given]
        for line in lines:
            yield _parse_header(line)


def _parse_header(line: str) -> tuple[str, str]:
    name, colon, value = line.partition(":")
    if not colon or not name.strip():
        raise Usage(f"--header {line!r}: a header is written 'Name: value'")
    value = value.strip()
    if name.strip().lower() in {"authorization", "cookie", "proxy-authorization"}:
        hide(value)
    return name.strip(), value


def _basic_credentials(given: str, target: Target) -> str:
    user, colon, password = read_secret(given, "--auth").partition(":")
    if not colon:
        password = _ask_password(user, target)
    hide(password)
    credentials = base64.b64encode(f"{user}:{password}".encode()).decode()
    hide(credentials)
    return credentials


def _ask_password(user: str, target: Target) -> str:
    if not sys.stdin.isatty():
        raise Usage("--auth has no password, and there is no terminal to ask for it")
    return getpass.getpass(f"Password of {user} at {target.host}: ", sys.stderr)


# TLS and addresses


def _ssl_context(options: ConnectionOptions) -> ssl.SSLContext | None:
    if options.key is not None and options.cert is None:
        raise Usage("--key needs its certificate: give --cert as well")
    if not (options.cacert or options.cert or options.insecure):
        return None
    context = _trusting(options)
    if options.insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if options.cert is not None:
        _load_certificate(context, options)
    context.set_alpn_protocols(["http/1.1"])
    return context


def _load_certificate(context: ssl.SSLContext, options: ConnectionOptions) -> None:
    assert options.cert is not None
    secret = options.passphrase
    password = None if secret is None else read_secret(secret, "--passphrase")
    try:
        context.load_cert_chain(options.cert, options.key, password)
    except ssl.SSLError as error:
        raise Usage(
            f"--cert {options.cert}: not a certificate with its key in PEM, or the passphrase is "
            f"wrong: {error.reason or error}"
        ) from None
    except OSError as error:
        raise Usage(
            f"--cert: cannot read {options.key or options.cert}: {error.strerror}"
        ) from None


def _trusting(options: ConnectionOptions) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=options.cacert)
    except (OSError, ssl.SSLError) as error:
        raise Usage(
            f"--cacert {options.cacert}: not certificates in PEM: {error.strerror}"
        ) from None


def _address(options: ConnectionOptions, target: Target) -> Address | None:
    if options.unix_socket is not None:
        return options.unix_socket
    for given in options.resolve:
        match = _RESOLVE.fullmatch(given)
        if match is None:
            raise Usage(f"--resolve {given!r}: it is written HOST:PORT:ADDRESS")
        host, port, address = match[1].strip("[]"), int(match[2]), match[3].strip("[]")
        if (host.lower(), port) == (target.host, target.port):
            return address, port
    return None
