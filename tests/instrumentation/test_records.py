"""What is told to hooks."""

from __future__ import annotations

import dataclasses
import inspect
from typing import get_args

import pytest

from tests.instrumentation.records import answered, one_of_each
from trio_ws import Headers, Request, instrumentation
from trio_ws.instrumentation import HandshakeAnswered, HubEvent, ReconnectEvent, Record, _records

KINDS = get_args(Record)


def test_a_record_is_any_of_those_defined() -> None:
    defined = {
        thing
        for thing in vars(_records).values()
        if isinstance(thing, type) and dataclasses.is_dataclass(thing)
    }
    assert set(KINDS) == defined
    assert set(get_args(ReconnectEvent)) < defined


def test_the_examples_are_one_of_each() -> None:
    assert {type(record) for record in one_of_each()} == set(KINDS)


@pytest.mark.parametrize("record", one_of_each(), ids=lambda record: type(record).__name__)
def test_a_record_is_frozen_and_says_first_whose_it_is(record: Record) -> None:
    names = [field.name for field in dataclasses.fields(record)]
    if isinstance(record, HubEvent):
        assert names[0] in {"topic", "connected"}
    else:
        of_client = isinstance(record, ReconnectEvent | HandshakeAnswered)
        assert names[0] == ("target" if of_client else "id")
    for name in names:
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(record, name, None)
    assert not hasattr(record, "__dict__")


def test_credentials_that_were_asked_with_are_not_in_the_repr() -> None:
    headers = Headers({"Authorization": "Bearer secret", "Cookie": "session=secret"})
    record = dataclasses.replace(answered(), request=Request("GET", "/chat", headers))
    assert "secret" not in repr(record)
    assert "403" in repr(record)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_each_kind_is_public_and_says_what_its_fields_are(kind: type[Record]) -> None:
    assert getattr(instrumentation, kind.__name__) is kind
    documentation = inspect.getdoc(kind) or ""
    names = [field.name for field in dataclasses.fields(kind)]
    if names != ["id"]:
        for name in names:
            assert f"\n  {name}: " in documentation
