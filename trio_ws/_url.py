"""WebSocket URLs (RFC 6455, section 3): from text to a `Target` that can be dialled.

A URL may come from a person, from configuration or, as a redirect's ``Location``, from a peer.
So whatever could mean one thing here and another to the next parser (control characters,
backslashes in the authority, a fragment) is refused in words, never guessed at.
"""

from __future__ import annotations

import ipaddress
import os
import re
from dataclasses import dataclass, field, replace
from typing import Final, NoReturn
from urllib.parse import quote, unquote, unquote_to_bytes, urldefrag, urljoin

import idna

from ._errors import InvalidURL

_SCHEME: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):(.*)", re.DOTALL)
#: Whether each scheme wants TLS. Redirects are HTTP's, so their locations say http and https.
_TCP_SCHEMES: Final = {"ws": False, "wss": True, "http": False, "https": True}
_UNIX_SCHEMES: Final = {"ws+unix": False, "wss+unix": True}

_DEFAULT_PORTS: Final = {False: 80, True: 443}

_AUTHORITY: Final = re.compile(
    r"(?:(?P<userinfo>.*)@)?(?P<host>\[[^]@]*\]|[^]\[:@]*)(?::(?P<port>[^:@]*))?", re.DOTALL
)
# RFC 1123 names, and the underscore that container networks put into theirs.
_HOST_NAME: Final = re.compile(r"[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})*\.?")
_ZONE: Final = re.compile(r"[A-Za-z0-9._~-]*")  # RFC 6874, section 2
_MAX_HOST_NAME: Final = 254  # RFC 1035, section 3.1: 253 characters and the root's dot.
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")

# Everything that RFC 3986 reserves stays as written, and so does "%": what is escaped stays so.
_RESOURCE_SAFE: Final = "%/:?[]@!$&'()*+,;=~"

# Strictly a password ends before the path; the second branch catches one with a "/" in it,
# which makes the URL wrong, and wrong URLs are printed.
_PASSWORD: Final = re.compile(r"((?:\A|//)[^/?#:@\[]*):(?:[^/?#]*@|(?!\d*[/?#]).*@)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Target:
    """Where a WebSocket URL leads.

    Attributes:
      secure: whether TLS is spoken.
      host: the name in ASCII (IDNA where it was not), or an IP address; IPv6 without brackets.
        ``localhost`` for a Unix socket.
      port: 1 to 65535. The scheme's default for a Unix socket.
      resource: what to request: the path and, behind ``?``, the query, percent-encoded.
      userinfo: user name and password, percent-decoded. Not in the repr.
      unix_path: the Unix socket's path (Linux: in the abstract namespace when it begins with
        NUL), or ``None`` for TCP.
    """

    secure: bool
    host: str
    port: int
    resource: str = "/"
    userinfo: tuple[str, str] | None = field(default=None, repr=False)
    unix_path: str | None = None

    @property
    def host_header(self) -> str:
        """The value of the ``Host`` header: the default port is left out (RFC 6455, 4.1)."""
        # A zone means something on this machine only (RFC 6874, section 4).
        host = self.host.partition("%")[0]
        return host_port(host, self._shown_port)

    @property
    def origin(self) -> str:
        """Scheme, host and port; equal for two targets exactly when credentials may be shared."""
        if self.unix_path is not None:
            return f"{self._scheme}:{quote(os.fsencode(self.unix_path), safe='/')}"
        return f"{self._scheme}://{host_port(self._quoted_host, self.port)}"

    @property
    def _scheme(self) -> str:
        return ("wss" if self.secure else "ws") + ("" if self.unix_path is None else "+unix")

    @property
    def _quoted_host(self) -> str:
        return self.host.replace("%", "%25")  # RFC 6874, section 2

    @property
    def _shown_port(self) -> int | None:
        return None if self.port == _DEFAULT_PORTS[self.secure] else self.port

    def __str__(self) -> str:
        """The URL, without credentials."""
        if self.unix_path is not None:
            return f"{self.origin}:{self.resource}"
        return f"{self._scheme}://{host_port(self._quoted_host, self._shown_port)}{self.resource}"

    def join(self, location: str) -> Target:
        """The target that *location* leads to, seen from this one (RFC 3986, section 5).

        User name and password go along only within one origin. From a Unix socket, a location
        at the host that was asked for is on the same socket. A fragment is dropped: HTTP
        allows one in a ``Location``, and it is never sent (RFC 9110, section 10.2.2).

        Raises:
          InvalidURL: the location is not a WebSocket or HTTP URL, or names a Unix socket: a
            peer must not choose what is opened on this machine.
        """
        base = replace(self, unix_path=None)
        # urljoin drops control characters; here they are an error.
        _refuse_control_characters(location)
        joined = _parse_joined(str(base), location)
        if joined.unix_path is not None:
            raise InvalidURL(redact(location), "a redirect must not lead to a Unix socket")
        if joined.origin != base.origin:
            return joined
        return replace(self, resource=joined.resource, userinfo=joined.userinfo or self.userinfo)


def _parse_joined(base: str, location: str) -> Target:
    try:
        return parse_url(urljoin(base, urldefrag(location).url))
    except InvalidURL:
        raise
    except ValueError as error:
        raise InvalidURL(redact(location), str(error)) from None


def parse_url(url: str) -> Target:
    """Read a WebSocket URL.

    ``ws://`` and ``wss://``, with ``http://`` and ``https://`` as other names for them, and
    ``ws+unix:/path/to/socket:/resource?query`` or ``wss+unix:...``, where the socket's path is
    percent-decoded (``%3A`` for a colon) and the resource is ``/`` when left out.

    Raises:
      InvalidURL: it is none of these; the message says what is wrong with it.
    """
    _refuse_control_characters(url)
    matched = _SCHEME.fullmatch(url)
    scheme, rest = (matched[1].lower(), matched[2]) if matched else ("", url)
    if "#" in rest:
        _refuse(url, "a WebSocket URL must not have a fragment (write # as %23)")
    if scheme in _UNIX_SCHEMES:
        return _parse_unix(url, rest, secure=_UNIX_SCHEMES[scheme])
    if scheme not in _TCP_SCHEMES:
        _refuse(url, _scheme_problem(scheme, rest))
    return _parse_tcp(url, rest, secure=_TCP_SCHEMES[scheme])


def _scheme_problem(scheme: str, rest: str) -> str:
    # Without the slashes it is localhost:8765, not a scheme of that name.
    if not scheme or not rest.startswith("//"):
        return "it has no scheme: it should begin with ws:// or wss://"
    known = ", ".join([*_TCP_SCHEMES, *_UNIX_SCHEMES])
    return f"the scheme {scheme!r} is not one of {known}"


def _parse_tcp(url: str, rest: str, *, secure: bool) -> Target:
    if not rest.startswith("//"):
        _refuse(url, "it has no host: // is missing behind the scheme")
    authority, resource = _split_at_any(rest[2:], "/?")
    userinfo, host, port = parse_authority(url, authority)
    port = _DEFAULT_PORTS[secure] if port is None else port
    return Target(secure, host, port, _encode_resource(url, resource), userinfo)


def _parse_unix(url: str, rest: str, *, secure: bool) -> Target:
    # Some write ws+unix:///path, with an empty authority; nothing else can stand there.
    if rest.startswith("//"):
        rest = rest[2:]
        if not rest.startswith("/"):
            _refuse(url, "a Unix socket has no host: write ws+unix:/path/to/socket:/resource")
    quoted_path, resource = _split_at_any(rest, ":?")
    resource = resource.removeprefix(":")
    path = os.fsdecode(unquote_to_bytes(_require_text(url, quoted_path)))
    if path in {"", "\0"}:
        _refuse(url, "it has no socket path: write ws+unix:/path/to/socket:/resource")
    if "\0" in path[1:]:
        _refuse(url, "the socket path holds a NUL")
    if resource and resource[0] not in "/?":
        _refuse(url, "the resource behind the socket path must begin with /")
    encoded = _encode_resource(url, resource)
    return Target(secure, "localhost", _DEFAULT_PORTS[secure], encoded, unix_path=path)


def parse_authority(url: str, authority: str) -> tuple[tuple[str, str] | None, str, int | None]:
    """Take ``user:password@host:port`` apart: user and password, host, port; also for proxies.

    Raises:
      InvalidURL: naming *url*, with what is wrong.
    """
    # Browsers take a backslash for a slash, so one here may name another host to them.
    if "\\" in authority:
        _refuse(url, "a backslash must not stand before the path")
    matched = _AUTHORITY.fullmatch(authority)
    if matched is None:
        _refuse(url, "the host and port cannot be told apart (IPv6 addresses go in brackets)")
    host = _parse_host(url, matched["host"])
    return _parse_userinfo(url, matched["userinfo"]), host, _parse_port(url, matched["port"])


def _parse_userinfo(url: str, text: str | None) -> tuple[str, str] | None:
    if not text:
        return None
    user, _, password = (unquote(part) for part in _require_text(url, text).partition(":"))
    if ":" in user or _CONTROL.search(user + password):  # RFC 7617, section 2
        _refuse(url, "a user name must not hold a colon, nor a password control characters")
    return user, password


def _parse_host(url: str, text: str) -> str:
    if not text:
        _refuse(url, "it has no host")
    host = unquote(_require_text(url, text))
    if host.startswith("["):
        return _parse_ipv6(url, host[1:-1])
    try:
        name = host.lower() if host.isascii() else idna.encode(host, uts46=True).decode("ascii")
    except idna.IDNAError as error:
        _refuse(url, f"the host is not a valid name: {_printable(str(error))}")
    if len(name) > _MAX_HOST_NAME or not _HOST_NAME.fullmatch(name):
        _refuse(url, "the host is not a valid name")
    return name


def _parse_ipv6(url: str, text: str) -> str:
    try:
        address = ipaddress.IPv6Address(text)
    except ValueError:
        _refuse(url, "what stands in brackets is not an IPv6 address")
    if not _ZONE.fullmatch(address.scope_id or ""):
        _refuse(url, "the zone of the IPv6 address is not a valid name")
    return str(address)


def _parse_port(url: str, text: str | None) -> int | None:
    if not text:
        return None
    # Not int() alone: it takes signs, blanks, underscores and other scripts' digits.
    if not re.fullmatch(r"[0-9]{1,5}", text) or not 1 <= int(text) <= 65535:
        _refuse(url, "the port must be a number from 1 to 65535")
    return int(text)


def _encode_resource(url: str, resource: str) -> str:
    encoded = quote(_require_text(url, resource), safe=_RESOURCE_SAFE)
    return encoded if encoded.startswith("/") else f"/{encoded}"


def _split_at_any(text: str, delimiters: str) -> tuple[str, str]:
    """*text* up to the first of *delimiters*, and the rest with it."""
    found = re.search(f"[{re.escape(delimiters)}]", text)
    at = found.start() if found else len(text)
    return text[:at], text[at:]


def host_port(host: str, port: int | None) -> str:
    """``host:port`` as URLs and headers write it: IPv6 in brackets, ``None`` for no port."""
    host = f"[{host}]" if ":" in host else host
    return host if port is None else f"{host}:{port}"


def _refuse_control_characters(url: str) -> None:
    if _CONTROL.search(url):
        _refuse(url, "it contains control characters")


def _require_text(url: str, text: str) -> str:
    """*text*, unless it holds lone surrogates: bytes of a command line that were not UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError:
        _refuse(url, "it contains bytes that are not UTF-8 (write them as %XX)")
    return text


def _printable(text: str) -> str:
    """*text* safe for a log or a terminal: a redirect's location comes from the peer."""
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)


def redact(url: str) -> str:
    """*url* for people: a password in it as ``***``, nothing in it that a terminal acts on."""
    return _printable(_PASSWORD.sub(r"\1:***@", url, count=1))


def _refuse(url: str, problem: str) -> NoReturn:
    raise InvalidURL(redact(url), problem)
