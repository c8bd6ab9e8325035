"""Headers that hold lists: RFC 6455, section 9.1, and RFC 9110, section 5.6."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_ws.protocol.extensions import (
    Extension,
    format_extensions,
    is_token,
    parse_extensions,
    parse_tokens,
)


@pytest.mark.parametrize(
    ("value", "parsed"),
    [
        ("", ()),
        (" , ,", ()),
        ("foo", (Extension("foo"),)),
        ("foo, bar", (Extension("foo"), Extension("bar"))),
        ("foo,,bar,", (Extension("foo"), Extension("bar"))),
        (
            'foo; bar; baz=2 ; q="quoted" , foo',
            (Extension("foo", (("bar", None), ("baz", "2"), ("q", "quoted"))), Extension("foo")),
        ),
        ('a;b="\\c\\d"', (Extension("a", (("b", "cd"),)),)),
        ("a\t;\tb = c", (Extension("a", (("b", "c"),)),)),
    ],
)
def test_what_follows_the_grammar_is_parsed(value: str, parsed: tuple[Extension, ...]) -> None:
    assert parse_extensions(value) == parsed


@pytest.mark.parametrize(
    "value",
    [
        ";",
        "foo;",
        "foo; bar=",
        "foo bar",
        "foo; =x",
        'foo; a="b',
        'foo; a="b\\',
        'foo; a="not a token"',
        'foo; a=""',
        "föö",
        "foo; a=b c",
        "(foo)",
    ],
)
def test_what_does_not_is_refused(value: str) -> None:
    with pytest.raises(ValueError, match="was expected at character"):
        parse_extensions(value)


@pytest.mark.parametrize(
    "value",
    ["b" + " " * 100_000 + "x", 'a;b="' + '\\"' * 50_000, "," * 100_000 + ";", ';b="' * 25_000],
)
def test_hostile_input_is_refused_by_looking_at_each_character_once(value: str) -> None:
    with pytest.raises(ValueError):
        parse_extensions(value)


tokens = st.text("abcXYZ019!#$%&'*+-.^_`|~", min_size=1, max_size=8)
extensions = st.builds(
    Extension, tokens, st.lists(st.tuples(tokens, st.none() | tokens), max_size=3).map(tuple)
)


@given(st.lists(extensions, max_size=4))
def test_what_is_formatted_is_parsed_back(some: list[Extension]) -> None:
    assert parse_extensions(format_extensions(some)) == tuple(some)
    assert [str(one) for one in some] == [format_extensions([one]) for one in some]


@given(st.text(max_size=50))
def test_only_value_errors_come_out(value: str) -> None:
    for parse in (parse_extensions, parse_tokens):
        with suppress(ValueError):
            parse(value)


def test_lists_of_tokens() -> None:
    assert parse_tokens("keep-alive, Upgrade") == ("keep-alive", "Upgrade")
    assert parse_tokens(" ,a,, b\t,") == ("a", "b")
    assert parse_tokens("") == ()
    with pytest.raises(ValueError, match="not a token: 'b c'"):
        parse_tokens("a, b c")


def test_what_a_token_is() -> None:
    assert is_token("permessage-deflate")
    assert not any(map(is_token, ["", "a b", "a,b", "é", '"']))
