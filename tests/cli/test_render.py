"""How a message looks."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_ws.cli.options.client import Color, Format
from trio_ws.cli.render import _JSON_TOKEN, Renderer, escaped, pretty, wants_color

from .test_input import JSON

TS = 1_700_000_000.25


def rendered(message: str | bytes, kind: Format = Format.AUTO, **options: Any) -> bytes:
    return Renderer(format=kind, **options).render(message, TS)


@pytest.mark.parametrize(
    ("kind", "message", "shown"),
    [
        (Format.AUTO, "é\x1b", "é\x1b\n".encode()),
        (Format.AUTO, b"\x00\xff", b"\x00\xff\n"),
        (Format.RAW, "é", "é".encode()),
        (Format.RAW, b"\xff", b"\xff"),
        (Format.HEX, "é", b"c3 a9\n"),
        (Format.HEX, b"\x00\xff", b"00 ff\n"),
        (Format.BASE64, "é", b"w6k=\n"),
        (Format.BASE64, b"", b"\n"),
        (Format.PRETTY, '{"a":1}', b'{\n  "a": 1\n}\n'),
        (Format.PRETTY, "hello", b"hello\n"),
        (Format.PRETTY, b'{"a":1}', b'{"a":1}\n'),
    ],
)
def test_formats_in_a_pipe(kind: Format, message: str | bytes, shown: bytes) -> None:
    assert rendered(message, kind) == shown


def test_a_terminal_gets_no_control_characters() -> None:
    assert rendered("a\x1b[2J\tb\nc\r", terminal=True) == b"a\\x1b[2J\tb\nc\\r\n"
    assert rendered(b"\x1b\x00", terminal=True) == b"binary, 2 bytes: 1b 00\n"
    assert rendered(b"\x1b", terminal=True, color=True) == b"\x1b[2mbinary, 1 bytes: 1b\x1b[0m\n"


def test_ordinary_text_stays_as_it_is() -> None:
    text = "non\xa0breaking, \u3000wide, 👩\u200d👧, क\u094d\u200c"
    assert escaped(text) == text
    assert escaped("\u202eright to left\u2028") == "\\u202eright to left\\u2028"
    assert escaped("\x9b\x7f\ud800") == "\\x9b\\x7f\\ud800"


def test_the_time_comes_first() -> None:
    shown = rendered("x", timestamps=True).decode()
    time, _, rest = shown.partition(" ")
    assert rest == "x\n"
    assert datetime.fromisoformat(time).timestamp() == TS
    colored = rendered("x", timestamps=True, color=True).decode()
    assert colored == f"\x1b[2m{time}\x1b[0m x\n"
    assert rendered("x", timestamps=True, prefix="< ").decode() == f"< {shown}"


@pytest.mark.parametrize(
    ("setting", "terminal", "environment", "expected"),
    [
        (Color.AUTO, True, {}, True),
        (Color.AUTO, False, {}, False),
        (Color.AUTO, True, {"NO_COLOR": "1"}, False),
        (Color.AUTO, True, {"NO_COLOR": ""}, True),
        (Color.AUTO, True, {"TERM": "dumb"}, False),
        (Color.ALWAYS, False, {"NO_COLOR": "1"}, True),
        (Color.NEVER, True, {}, False),
    ],
)
def test_who_gets_colours(
    setting: Color, terminal: bool, environment: dict[str, str], expected: bool
) -> None:
    assert wants_color(setting, terminal=terminal, environment=environment) is expected


# JSON


@pytest.mark.parametrize(
    ("text", "laid_out"),
    [
        ("{}", "{}"),
        ("[ ]", "[]"),
        ("[[],{}]", "[\n  [],\n  {}\n]"),
        (
            '{"a":[1,2.50,{"b":null}],"a":"x y"}',
            '{\n  "a": [\n    1,\n    2.50,\n    {\n      "b": null\n    }\n  ],\n  "a": "x y"\n}',
        ),
        ('["\\u00e9{[,:]}\\""]', '[\n  "\\u00e9{[,:]}\\""\n]'),
        ("[1e400, 12345678901234567890.10]", "[\n  1e400,\n  12345678901234567890.10\n]"),
    ],
)
def test_json_is_laid_out(text: str, laid_out: str) -> None:
    assert pretty(text) == laid_out


@pytest.mark.parametrize("text", ["1", '"x"', "null", "{", "[1,]", "hello", "", "[" * 100_000])
def test_what_is_no_object_or_array_is_left_alone(text: str) -> None:
    assert pretty(text) is None


@given(JSON.filter(lambda value: isinstance(value, list | dict)), st.booleans())
def test_laid_out_it_means_the_same(value: Any, plain: bool) -> None:
    text = json.dumps(value, ensure_ascii=plain)
    laid_out = pretty(text)
    assert laid_out is not None
    assert json.loads(laid_out) == value
    assert laid_out.isascii() or not plain
    if plain and "\x7f" not in text:
        assert _JSON_TOKEN.findall(laid_out) == _JSON_TOKEN.findall(text)
    assert pretty(laid_out) == laid_out


@given(JSON.filter(lambda value: isinstance(value, list | dict)))
def test_nothing_in_it_moves_a_terminals_cursor(value: Any) -> None:
    laid_out = pretty(json.dumps(value, ensure_ascii=False))
    assert laid_out is not None
    assert laid_out == escaped(laid_out)


def test_json_in_colours() -> None:
    assert pretty('{"k":["v",1]}', color=True) == (
        '{\n  \x1b[34m"k"\x1b[0m: [\n    \x1b[32m"v"\x1b[0m,\n    \x1b[35m1\x1b[0m\n  ]\n}'
    )
    assert rendered("[1]", Format.PRETTY, color=True) == b"[\n  \x1b[35m1\x1b[0m\n]\n"
