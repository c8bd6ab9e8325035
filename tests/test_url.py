"""WebSocket URLs: RFC 6455, section 3."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_ws import InvalidURL
from trio_ws._url import Target, parse_url, redact


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("ws://example.com", Target(False, "example.com", 80)),
        ("wss://example.com", Target(True, "example.com", 443)),
        ("http://example.com:8080/a?b", Target(False, "example.com", 8080, "/a?b")),
        ("HTTPS://EXAMPLE.com/", Target(True, "example.com", 443)),
        ("ws://example.com?b", Target(False, "example.com", 80, "/?b")),
        ("ws://example.com/a b/é?ü", Target(False, "example.com", 80, "/a%20b/%C3%A9?%C3%BC")),
        ("ws://example.com/%20", Target(False, "example.com", 80, "/%20")),
        ("ws://[::1]:9000/", Target(False, "::1", 9000)),
        ("ws://127.0.0.1:1", Target(False, "127.0.0.1", 1)),
        ("ws://bücher.example", Target(False, "xn--bcher-kva.example", 80)),
        ("ws://my_service/", Target(False, "my_service", 80)),
        ("ws://u:p%40@example.com", Target(False, "example.com", 80, "/", ("u", "p@"))),
        ("ws://u@example.com", Target(False, "example.com", 80, "/", ("u", ""))),
        ("ws://@example.com:/", Target(False, "example.com", 80)),
        ("ws+unix:/run/a.sock", Target(False, "localhost", 80, "/", unix_path="/run/a.sock")),
        ("ws+unix:/a:/b?c", Target(False, "localhost", 80, "/b?c", unix_path="/a")),
        ("ws+unix:///a%3Ab:/c", Target(False, "localhost", 80, "/c", unix_path="/a:b")),
        ("wss+unix:rel?q", Target(True, "localhost", 443, "/?q", unix_path="rel")),
        ("ws+unix:%00name", Target(False, "localhost", 80, "/", unix_path="\0name")),
    ],
)
def test_urls_that_lead_somewhere(url: str, target: Target) -> None:
    assert parse_url(url) == target


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("", "no scheme"),
        ("example.com", "no scheme"),
        ("localhost:8765", "no scheme"),
        ("ftp://example.com", "the scheme 'ftp' is not one of"),
        ("ws:example.com", "no host: // is missing"),
        ("ws://", "no host"),
        ("ws://:80", "no host"),
        ("ws://example.com:0", "port must be a number"),
        ("ws://example.com:65536", "port must be a number"),
        ("ws://example.com:8O", "port must be a number"),
        ("ws://example.com:+1", "port must be a number"),
        ("ws://exa mple.com", "not a valid name"),
        ("ws://" + "a" * 64, "not a valid name"),
        ("ws://" + ".".join(["a" * 60] * 5), "not a valid name"),
        ("ws://[::1", "cannot be told apart"),
        ("ws://::1", "cannot be told apart"),
        ("ws://[nonsense]", "not an IPv6 address"),
        ("ws://[fe80::1%25a b]/", "zone of the IPv6 address"),
        ("ws://\u2066.example", "not a valid name"),
        ("ws://a\\b", "backslash"),
        ("ws://u%3Ax:p@host", "user name must not hold a colon"),
        ("ws://u:%0A@host", "control characters"),
        ("ws://host/#fragment", "must not have a fragment"),
        ("ws://host/\r\nX: y", "control characters"),
        ("ws://host/\udcff", "not UTF-8"),
        ("ws+unix:", "no socket path"),
        ("ws+unix:%00", "no socket path"),
        ("ws+unix:/a%00b", "holds a NUL"),
        ("ws+unix:/a:b", "must begin with /"),
        ("ws+unix://host/a", "has no host"),
    ],
)
def test_urls_that_lead_nowhere(url: str, problem: str) -> None:
    with pytest.raises(InvalidURL) as caught:
        parse_url(url)
    assert problem in str(caught.value)
    assert str(caught.value).isprintable()


def test_passwords_are_not_shown() -> None:
    with pytest.raises(InvalidURL) as caught:
        parse_url("ws://user:secret@host:x/")
    assert "secret" not in str(caught.value)
    assert "user:***@host" in str(caught.value)
    target = parse_url("ws://user:secret@host/")
    assert "secret" not in repr(target) + str(target)
    assert redact("user:sec/ret@host") == "user:***@host"


@pytest.mark.parametrize(
    ("url", "host_header", "text"),
    [
        ("ws://h", "h", "ws://h/"),
        ("ws://h:80/x", "h", "ws://h/x"),
        ("wss://h:80", "h:80", "wss://h:80/"),
        ("ws://[::1]:8080", "[::1]:8080", "ws://[::1]:8080/"),
        ("ws://[fe80::1%25eth0]", "[fe80::1]", "ws://[fe80::1%25eth0]/"),
        ("wss+unix:/a b:/x", "localhost", "wss+unix:/a%20b:/x"),
    ],
)
def test_how_a_target_is_written(url: str, host_header: str, text: str) -> None:
    target = parse_url(url)
    assert target.host_header == host_header
    assert str(target) == text
    assert parse_url(str(target)) == target


def test_origins_tell_whether_credentials_may_be_shared() -> None:
    same = {parse_url(url).origin for url in ("ws://h/a", "ws://u:p@H:80/b", "http://h")}
    assert same == {"ws://h:80"}
    others = ("wss://h", "ws://h:81", "ws://g", "ws+unix:/h")
    assert len({parse_url(url).origin for url in others} - same) == len(others)


@pytest.mark.parametrize(
    ("location", "leads_to"),
    [
        ("/b?c", "ws://u:p@host/b?c"),
        ("b", "ws://u:p@host/dir/b"),
        ("?q", "ws://u:p@host/dir/a?q"),
        ("/b#fragment", "ws://u:p@host/b"),
        ("ws://host:80/x", "ws://u:p@host/x"),
        ("http://host/x", "ws://u:p@host/x"),
        ("//other/x", "ws://other/x"),
        ("wss://host/x", "wss://host/x"),
        ("ws://v:q@host/x", "ws://v:q@host/x"),
    ],
)
def test_where_redirects_lead(location: str, leads_to: str) -> None:
    assert parse_url("ws://u:p@host/dir/a").join(location) == parse_url(leads_to)


def test_redirects_on_a_unix_socket_stay_on_it() -> None:
    target = parse_url("ws+unix:/a:/x")
    assert target.join("/y") == parse_url("ws+unix:/a:/y")
    assert target.join("ws://other/") == parse_url("ws://other/")


@pytest.mark.parametrize(
    "location", ["ftp://host/", "ws+unix:/etc/x", "/a\r\nb", "ws://[::1", "http://[nonsense]/"]
)
def test_redirects_that_lead_nowhere(location: str) -> None:
    with pytest.raises(InvalidURL):
        parse_url("ws://host/").join(location)


@given(st.text(max_size=40), st.sampled_from(["", "ws://", "ws+unix:", "ws://h/"]))
def test_nothing_but_invalid_urls_comes_out(text: str, prefix: str) -> None:
    with suppress(InvalidURL):
        target = parse_url(prefix + text)
        assert target.resource.isascii()
        assert target.resource.startswith("/")
        assert target.host.isascii()
    with suppress(InvalidURL):
        parse_url("ws://host/").join(text)
