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
from ..protocol.handshake import ClientHandshake
from ..protocol.http import Headers
from .engine import engine_of
from .failures import Usage, hide
from .heartbeats import heartbeat_of
from .secrets import read_lines, read_secret, read_value

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .._dial import Address
    from .options.connection import ConnectionOptions

_MAX_REDIRECTS: Final = 10
_SCHEME: Final = re.compile(r"[a-z][a-z0-9+.-]*:(//|/)|w(s|ss)\+unix:", re.IGNORECASE)
_RESOLVE: Final = re.compile(r"([^:\[\]]+|\[[^\]]+\]):([0-9]+):([^\[\]]+|\[[^\]]+\])")
#: Names of headers, and of what stands in a query, whose values are nobody's business.
_SENSITIVE: Final = re.compile(r"auth|cookie|token|secret|passw|api[-_]?key", re.IGNORECASE)
_QUERY_MEMBER: Final = re.compile(r"[?&]([^=&#]*)=([^&#]*)")


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
    _hide_what_is_secret_in(url)
    target = parse_url(url)
    if target.userinfo is not None:
        _hide_credentials(*target.userinfo)
    headers = _headers(options, target)
    _check_request(options, target, headers)
    return Destination(
        url,
        {
            "headers": headers,
            "origin": options.origin,
            "subprotocols": options.subprotocol,
            "compression": Compression() if options.compress else None,
            "ssl_context": _ssl_context(options),
            "server_hostname": options.sni,
            "proxy": None if options.proxy == "none" else options.proxy,
            "address": _address(options, target),
            "max_redirects": _MAX_REDIRECTS if options.location else 0,
            "engine": engine_of(options.engine, compress=options.compress),
            "heartbeat": heartbeat_of(options.ping_interval, options.ping_timeout),
            "limits": replace(DEFAULT_LIMITS, max_message_size=options.max_size),
            "timeouts": replace(DEFAULT_TIMEOUTS, open_timeout=options.connect_timeout),
        },
    )


def complete_url(given: str) -> str:
    """*given* with what people leave out: the scheme, and the host of this machine.

    Raises:
      Usage: it begins with a colon, and no port follows.
    """
    if _SCHEME.match(given):
        return given
    if given.startswith(":"):
        if not given[1:2].isdigit():
            # As where a variable was to stand there, and is empty.
            raise Usage(f"{given!r}: there is no port behind the colon")
        given = f"localhost{given}"
    return f"ws://{given}"


def _check_request(options: ConnectionOptions, target: Target, headers: Headers) -> None:
    """See whether it can be asked for, before anybody is dialled."""
    try:
        ClientHandshake(
            host=target.host_header,
            target=target.resource,
            headers=headers,
            origin=options.origin,
            subprotocols=options.subprotocol,
            limits=DEFAULT_LIMITS,
        ).request_bytes()
    except ValueError as error:
        raise Usage(f"--header, --origin or --subprotocol: {error}") from None


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
    headers = Headers(pairs)
    if len(headers.get_all("authorization")) > 1:
        raise Usage("Authorization is given twice: by --header, --auth or --bearer")
    return headers


def _given_headers(options: ConnectionOptions) -> Iterator[tuple[str, str]]:
    for number, given in enumerate(options.header, 1):
        if given.startswith("@"):
            for line_number, line in enumerate(read_lines(given[1:], "--header"), 1):
                yield _parse_header(line, f"--header: line {line_number} of {given[1:]}")
        else:
            yield _parse_header(given, f"--header: number {number}")


def _parse_header(line: str, where: str) -> tuple[str, str]:
    name, colon, value = line.partition(":")
    name, value = name.strip(), value.strip()
    if not colon or not name:
        # It is not repeated: it may be a secret.
        raise Usage(f"{where} is not written 'Name: value'")
    if _SENSITIVE.search(name):
        hide(value)
        # Without the scheme before it: the peer may quote it.
        hide(value.rpartition(" ")[2])
    return name, value


def _basic_credentials(given: str, target: Target) -> str:
    user, colon, password = read_value(given, "--auth").partition(":")
    if not colon:
        password = _ask_password(user, target)
    return _hide_credentials(user, password)


def _hide_credentials(user: str, password: str) -> str:
    """What stands for them in a header."""
    # A command line may hold bytes that are not UTF-8; they go as they are.
    pair = f"{user}:{password}".encode(errors="surrogateescape")
    credentials = base64.b64encode(pair).decode()
    hide(password)
    hide(credentials)
    return credentials


def _hide_what_is_secret_in(url: str) -> None:
    for name, value in _QUERY_MEMBER.findall(url):
        if _SENSITIVE.search(name):
            hide(value)


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
