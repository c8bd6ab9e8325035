"""``--tls-cert``, ``--tls-key``, ``--tls-self-signed``, ``--client-ca``: the server's TLS."""

from __future__ import annotations

import datetime
import hashlib
import ipaddress
import os
import socket
import ssl
import tempfile
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NoReturn, Self

import idna

from .failures import Usage

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    from .options.serve import ServeOptions

#: How long a certificate made for a run is good for. Apple's systems take none of more than 825
#: days, browsers none of more than 398; and a run may last.
_VALIDITY: Final = datetime.timedelta(days=397)
#: Addresses to listen on that are nobody's to connect to.
_WILDCARDS: Final = frozenset({"", "0.0.0.0", "::"})


@dataclass(frozen=True, slots=True)
class SelfSigned:
    """A certificate made for one run.

    Attributes:
      authority: the file with the certificate to trust, for ``--cacert``.
      names: what the certificate is for.
      fingerprint: its SHA-256, as browsers show it.
    """

    authority: str
    names: tuple[str, ...]
    fingerprint: str


@contextmanager
def server_tls(
    options: ServeOptions,
) -> Generator[tuple[ssl.SSLContext | None, SelfSigned | None]]:
    """What the options ask for: how to serve TLS, and the certificate that was made for it.

    The file that the latter names is there until the block ends.

    Raises:
      Usage: the options contradict each other, or name what cannot be used.
    """
    _check(options)
    if options.tls_self_signed:
        with _self_signed(options) as (context, made):
            yield context, made
    elif options.tls_cert is not None:
        yield RenewableContext(partial(_with_certificate, options)), None
    else:
        yield None, None


def _check(options: ServeOptions) -> None:
    if options.tls_key is not None and options.tls_cert is None:
        raise Usage("--tls-key needs its certificate: give --tls-cert as well")
    if options.tls_self_signed and options.tls_cert is not None:
        raise Usage("--tls-self-signed makes a certificate and --tls-cert gives one: choose")
    if options.client_ca is not None and not (options.tls_cert or options.tls_self_signed):
        raise Usage("--client-ca needs TLS: give --tls-cert or --tls-self-signed as well")


class RenewableContext(ssl.SSLContext):
    """A server's context in whose stead the newest of those that *make* made serves connections.

    A certificate that is loaded into a context takes the place of one for the same kind of key
    only, and stays there by halves when its key does not fit.

    Attributes:
      newest: for connections from now on.

    Raises:
      Usage: from *make*.
    """

    def __new__(cls, make: Callable[[], ssl.SSLContext]) -> Self:
        return super().__new__(cls, ssl.PROTOCOL_TLS_SERVER)

    def __init__(self, make: Callable[[], ssl.SSLContext]) -> None:
        self._make = make
        self.renew()

    def renew(self) -> None:
        """Make another; what *make* raises leaves the last in use."""
        self.newest = self._make()

    def wrap_socket(self, *args: Any, **options: Any) -> ssl.SSLSocket:
        return self.newest.wrap_socket(*args, **options)


def _with_certificate(options: ServeOptions) -> ssl.SSLContext:
    """A context with ``--tls-cert``, ``--tls-key`` and ``--client-ca``, as they are now."""
    context = _context(options)
    assert options.tls_cert is not None
    certificate = os.fspath(options.tls_cert)
    key = None if options.tls_key is None else os.fspath(options.tls_key)
    for option, path in (("--tls-cert", certificate), ("--tls-key", key)):
        if path is not None:
            _check_readable(option, path)
    try:
        context.load_cert_chain(certificate, key, _refuse_encrypted)
    except OSError as error:
        # `ssl.SSLError` is one. Others come where a file is replaced just now.
        reason = _reason(error) if isinstance(error, ssl.SSLError) else error.strerror
        where = certificate if key is None else f"{certificate} and {key}"
        raise Usage(f"{where}: not a certificate with its key in PEM: {reason}") from None
    return context


def _context(options: ServeOptions) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    if options.client_ca is None:
        return context
    path = os.fspath(options.client_ca)
    _check_readable("--client-ca", path)
    try:
        context.load_verify_locations(path)
    except ssl.SSLError as error:
        raise Usage(f"{path}: no certificates in PEM: {_reason(error)}") from None
    context.verify_mode = ssl.CERT_REQUIRED
    return context


def _check_readable(option: str, path: str) -> None:
    # OpenSSL says that something was not there, but not what.
    try:
        with open(path, "rb"):
            pass
    except OSError as error:
        raise Usage(f"{option}: cannot read {path}: {error.strerror}") from None


def _refuse_encrypted() -> NoReturn:
    # Otherwise OpenSSL would ask the terminal, and a service would hang.
    raise Usage("the key is encrypted: decrypt it first (openssl pkey -in KEY -out PLAIN)")


def _reason(error: ssl.SSLError) -> str:
    return (error.reason or str(error)).replace("_", " ").lower()


@contextmanager
def _self_signed(options: ServeOptions) -> Generator[tuple[ssl.SSLContext, SelfSigned]]:
    try:
        import trustme
    except ImportError:
        raise Usage("--tls-self-signed needs trustme: pip install 'trio-ws[tls]'") from None
    context = _context(options)
    authority = trustme.CA(organization_name="trio-ws", organization_unit_name="made for one run")
    names = tuple(_names(options.host))
    until = datetime.datetime.now(datetime.UTC) + _VALIDITY
    leaf = authority.issue_cert(*names, not_after=until)
    leaf.configure_cert(context)
    der = ssl.PEM_cert_to_DER_cert(leaf.cert_chain_pems[0].bytes().decode())
    with _private_file(authority.cert_pem.bytes()) as path:
        yield context, SelfSigned(path, names, _fingerprint(der))


def _fingerprint(der: bytes) -> str:
    return hashlib.sha256(der).digest().hex(":").upper()


def _names(host: str) -> Iterator[str]:
    """What clients may call this server, each once."""
    names = ("localhost", "127.0.0.1", "::1", host, socket.gethostname())
    for name in dict.fromkeys(names):
        if name not in _WILDCARDS and _can_be_certified(name):
            yield name


def _can_be_certified(name: str) -> bool:
    """Whether *name* is an address or a domain name; some machines' names are neither."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        try:
            idna.encode(name, uts46=True)
        except idna.IDNAError:
            return False
    return True


@contextmanager
def _private_file(content: bytes) -> Generator[str]:
    """A new file that only this user can read, removed at the end of the block."""
    descriptor, path = tempfile.mkstemp(prefix="trio-ws-", suffix=".pem")
    try:
        with open(descriptor, "wb") as file:
            file.write(content)
        yield path
    finally:
        # Somebody may have tidied up before.
        with suppress(FileNotFoundError):
            os.unlink(path)
