"""JSON lines: what is written is what is read, and what the schema says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_ws.cli.failures import Usage
from trio_ws.cli.jsonlines import Entry, decode, encode

REFERENCE = Path(__file__).parents[2] / "docs" / "reference"
SCHEMA = json.loads((REFERENCE / "json-lines.schema.json").read_text(encoding="utf-8"))
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)

texts = st.text(st.characters(exclude_categories=["Cs"]))
codes = st.integers(1000, 4999)
common = {"ts": st.integers(0, 2**52).map(lambda us: us / 1e6), "conn": texts}
directions = st.sampled_from(["in", "out"])
payloads = texts | st.binary()
entries = st.one_of(
    st.builds(Entry, type=st.just("open"), url=texts, **common),
    st.builds(Entry, type=st.just("message"), dir=directions, data=payloads, **common),
    st.builds(
        Entry,
        type=st.sampled_from(["ping", "pong"]),
        dir=directions,
        data=st.none() | payloads,
        **common,
    ),
    st.builds(
        Entry,
        type=st.just("close"),
        dir=st.none() | directions,
        code=codes,
        reason=st.none() | texts,
        **common,
    ),
    st.builds(
        Entry,
        type=st.just("retry"),
        code=st.none() | st.integers(100, 599),
        reason=texts,
        delay=st.floats(0, 1e6),
        attempt=st.integers(0, 1000),
        **common,
    ),
    st.builds(Entry, type=st.just("error"), reason=texts, **common),
)


def read(*lines: str | bytes) -> list[Entry]:
    return list(decode(lines, "record.jsonl"))


@given(st.lists(entries, max_size=5))
def test_what_is_written_is_what_is_read(written: list[Entry]) -> None:
    lines = [encode(entry) for entry in written]
    assert read(*lines) == written
    assert read(*(line.decode() for line in lines)) == written


@given(entries)
def test_every_line_is_one_line_and_holds_to_the_schema(entry: Entry) -> None:
    line = encode(entry)
    assert line.count(b"\n") == 1
    assert line.endswith(b"\n")
    VALIDATOR.validate(json.loads(line))


def test_the_schema_is_a_schema_and_knows_every_member() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    fields = set(Entry.__dataclass_fields__)
    assert set(SCHEMA["properties"]) == fields | {"op", "enc", "bytes"}
    page = (REFERENCE / "json-lines.md").read_text(encoding="utf-8")
    for name in SCHEMA["properties"]:
        assert f"`{name}`" in page


def test_the_examples_in_the_documentation_hold_to_the_schema_and_are_read() -> None:
    page = (REFERENCE / "json-lines.md").read_text(encoding="utf-8")
    lines = page.partition("```json\n")[2].partition("```")[0].splitlines()
    for line in lines:
        VALIDATOR.validate(json.loads(line))
    assert [encode(entry).decode().rstrip("\n") for entry in read(*lines)] == lines


@pytest.mark.parametrize(
    "members",
    [
        {"type": "message", "dir": "in"},
        {"type": "message", "op": "text", "data": "", "enc": "utf-8", "bytes": 0},
        {"type": "message", "dir": "in", "op": "text", "data": "", "enc": "base64", "bytes": 0},
        {"type": "message", "dir": "in", "op": "ping", "data": "", "enc": "utf-8", "bytes": 0},
        {"type": "ping", "dir": "in", "data": ""},
        {"type": "ping", "dir": "in", "op": "pong", "data": "", "enc": "base64", "bytes": 0},
        {"type": "open", "op": "text", "data": "", "enc": "utf-8", "bytes": 0},
        {"type": "close"},
        {"type": "error", "reason": None},
        {"type": "error", "more": 1},
        {"type": "gone"},
    ],
)
def test_the_schema_refuses(members: dict[str, Any]) -> None:
    assert not VALIDATOR.is_valid({"ts": 0, "conn": "1", **members})


def test_members_stand_in_one_order_and_say_what_the_payload_is() -> None:
    entry = Entry(ts=1.23456789, conn="c", type="message", dir="out", data=b"\0\1")
    assert encode(entry) == (
        b'{"ts":1.234568,"conn":"c","type":"message","dir":"out",'
        b'"op":"binary","data":"AAE=","enc":"base64","bytes":2}\n'
    )
    text = json.loads(encode(Entry(ts=0, conn="c", type="message", dir="in", data="grüße")))
    assert (text["op"], text["data"], text["enc"], text["bytes"]) == ("text", "grüße", "utf-8", 7)


def test_what_is_written_by_hand_may_leave_things_out() -> None:
    assert read('{"ts": 0, "type": "message", "data": "hello"}\n', "", " \n") == [
        Entry(ts=0.0, conn="", type="message", data="hello")
    ]


@pytest.mark.parametrize(
    ("members", "data"),
    [
        ({"data": "aGk=", "enc": "base64"}, b"hi"),
        ({"data": "aGk=", "enc": "base64", "op": "text"}, "hi"),
        ({"data": "hi", "op": "binary"}, b"hi"),
        ({"data": "hi", "op": "text", "enc": "utf-8", "bytes": 99}, "hi"),
    ],
)
def test_op_says_what_it_is_and_enc_how_it_is_written(
    members: dict[str, Any], data: str | bytes
) -> None:
    (entry,) = read(json.dumps({"ts": 0, "type": "message", **members}))
    assert entry.data == data


def test_members_that_are_not_known_are_passed_over() -> None:
    assert read('{"ts": 1, "type": "open", "data": 3, "later": {}}') == [
        Entry(ts=1.0, conn="", type="open")
    ]


_START = '"ts": 0, "type": "message"'


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("nonsense", "not an object in JSON"),
        (b"\xff", "not an object in JSON"),
        ("[" * 100_000, "not an object in JSON"),
        ("[]", "not an object in JSON"),
        ('{"ts": 0}', "there is no 'type'"),
        ('{"type": "open"}', "there is no 'ts'"),
        ('{"ts": 0, "type": "message"}', "there is no 'data'"),
        (
            '{"ts": 0, "type": "gone"}',
            "type is 'open', 'message', 'ping', 'pong', 'close', 'retry' or 'error', not 'gone'",
        ),
        ('{"ts": true, "type": "open"}', "ts is not a number from 0 on: True"),
        ('{"ts": NaN, "type": "open"}', "ts is not a number from 0 on: nan"),
        ('{"ts": Infinity, "type": "open"}', "ts is not a number from 0 on: inf"),
        ('{"ts": -1, "type": "open"}', "ts is not a number from 0 on: -1"),
        (f'{{"ts": {10**400}, "type": "open"}}', f"ts is not a number from 0 on: {10**400}"),
        ('{"ts": "1", "type": "open"}', "ts is not a number from 0 on: '1'"),
        ('{"ts": 0, "type": "open", "conn": 7}', "conn is not a string: 7"),
        ('{"ts": 0, "type": "open", "url": []}', "url is not a string: []"),
        ('{"ts": 0, "type": "close", "code": "x"}', "code is not a whole number from 0 on: 'x'"),
        ('{"ts": 0, "type": "close", "code": true}', "code is not a whole number from 0 on: True"),
        ('{"ts": 0, "type": "close", "reason": 1}', "reason is not a string: 1"),
        ('{"ts": 0, "type": "retry", "delay": "1"}', "delay is not a number from 0 on: '1'"),
        ('{"ts": 0, "type": "retry", "attempt": 1.5}', "attempt is not a whole number from 0 on: "),
        (f'{{{_START}, "data": "", "dir": "up"}}', "dir is 'in' or 'out', not 'up'"),
        (f'{{{_START}, "data": 1}}', "data is not a string: 1"),
        (f'{{{_START}, "data": "a", "enc": "hex"}}', "enc is 'utf-8' or 'base64', not 'hex'"),
        (f'{{{_START}, "data": "a", "op": "ping"}}', "op is 'text' or 'binary', not 'ping'"),
        ('{"ts": 0, "type": "ping", "op": "text"}', "op is 'ping', not 'text'"),
        (f'{{{_START}, "data": "a", "enc": "base64"}}', "data is not Base64"),
        (f'{{{_START}, "data": "é", "enc": "base64"}}', "data is not Base64"),
        (
            f'{{{_START}, "data": "/w==", "enc": "base64", "op": "text"}}',
            "data is not UTF-8 text, though op is 'text'",
        ),
        (
            f'{{{_START}, "data": "\\ud800"}}',
            "data holds half a surrogate pair, which UTF-8 cannot carry",
        ),
    ],
)
def test_what_is_wrong_is_said_with_the_line(line: str | bytes, complaint: str) -> None:
    with pytest.raises(Usage) as caught:
        read('{"ts": 0, "type": "open"}', line)
    assert str(caught.value).startswith(f"record.jsonl, line 2: {complaint}")
