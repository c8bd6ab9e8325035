"""Masking: RFC 6455, section 5.3; the C part against its pure twin."""

from __future__ import annotations

import importlib
import os
import sys
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.protocol.twins import c_part
from trio_ws.protocol import masking
from trio_ws.protocol.masking import MaskingKeys, mask, mask_pure

if TYPE_CHECKING:
    from collections.abc import Callable

KEY = bytes.fromhex("37fa213d")
sizes = st.integers(0, 40) | st.sampled_from([2047, 2048, 2049, 5000, 70_001])
keys = st.binary(min_size=4, max_size=4)


def by_the_rfc(data: bytes, key: bytes, offset: int) -> bytes:
    return bytes(byte ^ key[(offset + number) % 4] for number, byte in enumerate(data))


def test_the_example_of_the_rfc() -> None:
    assert mask(b"Hello", KEY) == bytes.fromhex("7f9f4d5158")
    assert mask_pure(b"Hello", KEY) == bytes.fromhex("7f9f4d5158")


@given(sizes, keys, st.integers(0, 1000), st.sampled_from([bytes, bytearray, memoryview]))
def test_the_pure_twin_does_what_the_rfc_says(
    size: int, key: bytes, offset: int, kind: Callable[[bytes], bytes]
) -> None:
    data = (b"0123456789abcdef" * (size // 16 + 1))[:size]
    masked = mask_pure(kind(data), key, offset)
    assert masked == by_the_rfc(data, key, offset)
    assert mask_pure(masked, key, offset) == data


@given(sizes, keys, st.integers(0, 1000), st.sampled_from([bytes, bytearray, memoryview]))
def test_the_c_part_does_what_its_twin_does(
    size: int, key: bytes, offset: int, kind: Callable[[bytes], bytes]
) -> None:
    data = (b"0123456789abcdef" * (size // 16 + 1))[:size]
    assert c_part().mask(kind(data), key, offset) == mask_pure(data, key, offset)
    if offset == 0:
        assert c_part().mask(kind(data), key) == mask_pure(data, key)


@pytest.mark.parametrize("key", [b"", b"abc", b"abcde"])
def test_a_key_has_four_bytes(key: bytes) -> None:
    with pytest.raises(ValueError, match="a masking key has 4 bytes"):
        mask_pure(b"data", key)
    with pytest.raises(ValueError, match="a masking key has 4 bytes"):
        c_part().mask(b"data", key)


def test_the_c_part_refuses_what_is_no_buffer() -> None:
    function = c_part().mask
    for arguments in (
        (),
        (b"a",),
        (b"a", KEY, 0, 0),
        ("text", KEY),
        (b"a", "text"),
        (b"a", KEY, "x"),
    ):
        with pytest.raises(TypeError):
            function(*arguments)


@given(sizes, keys | st.just(b""), st.integers(0, 1000), st.integers(0, 9), st.booleans())
def test_appending_unmasked(size: int, key: bytes, offset: int, before: int, ascii_: bool) -> None:
    text = ("0123456789abcdef" * (size // 16 + 1))[:size] + ("" if ascii_ else "\u00e4")
    data = mask_pure(text.encode(), key, offset) if key else text.encode()
    for append in (masking.append_unmasked_pure, c_part().append_unmasked):
        buffer = bytearray(before)
        assert append(buffer, memoryview(data), key, offset) is ascii_
        assert buffer == bytes(before) + text.encode()


def test_appending_refuses_what_it_cannot_do() -> None:
    append = c_part().append_unmasked
    buffer = bytearray()
    for arguments in (
        (),
        (b"", b"a", KEY, 0),
        (buffer, "text", KEY, 0),
        (buffer, b"a", "text", 0),
        (buffer, b"a", KEY, "x"),
    ):
        with pytest.raises(TypeError):
            append(*arguments)
    with pytest.raises(ValueError, match="a masking key has 4 bytes"):
        append(buffer, b"a", b"abc", 0)
    with memoryview(buffer), pytest.raises(BufferError):
        append(buffer, b"a", KEY, 0)
    assert buffer == b""


@given(sizes, keys | st.just(b""), st.integers(0, 1000), st.integers(0, 9), st.booleans())
def test_filling_a_payload(size: int, key: bytes, offset: int, before: int, ascii_: bool) -> None:
    text = ("0123456789abcdef" * (size // 16 + 1))[:size] + ("" if ascii_ else "\u00e4")
    data = mask_pure(text.encode(), key, offset) if key else text.encode()
    filled = c_part().new_payload(before + len(data))
    assert c_part().fill_payload(filled, 0, bytes(before), b"", 0)
    assert c_part().fill_payload(filled, before, memoryview(data), key, offset) is ascii_
    assert filled == bytes(before) + text.encode()


def test_a_payload_is_never_overfilled() -> None:
    new, fill = c_part().new_payload, c_part().fill_payload
    payload = new(3)
    for position, data in ((-1, b"a"), (0, b"abcd"), (3, b"a"), (4, b""), (1 << 62, b"")):
        with pytest.raises(ValueError, match="no room"):
            fill(payload, position, data, KEY, 0)
    wrong: tuple[tuple[object, ...], ...] = (
        (),
        (bytearray(3), 0, b"a", KEY, 0),
        (payload, "0", b"a", KEY, 0),
        (payload, 0, "a", KEY, 0),
        (payload, 0, b"a", "key!", 0),
    )
    for arguments in wrong:
        with pytest.raises(TypeError):
            fill(*arguments)
    with pytest.raises(TypeError):
        new("3")
    with pytest.raises(ValueError, match="no negative size"):
        new(-1)


def test_the_pure_twin_can_be_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRIO_WS_NO_SPEEDUPS", "1")
    spec = importlib.util.find_spec("trio_ws.protocol.masking")
    assert spec is not None
    assert spec.loader is not None
    chosen = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(chosen)
    assert chosen.mask is chosen.mask_pure
    assert chosen.append_unmasked is chosen.append_unmasked_pure
    assert not chosen.SPEEDUPS


def test_the_c_part_is_used_where_it_was_built() -> None:
    if "TRIO_WS_NO_SPEEDUPS" not in os.environ:
        assert mask is c_part().mask
        assert masking.SPEEDUPS


def test_keys_come_from_the_system_many_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []

    def urandom(count: int) -> bytes:
        calls.append(count)
        return os.getrandom(count) if hasattr(os, "getrandom") else bytes(count)

    monkeypatch.setattr("os.urandom", urandom)
    source = MaskingKeys()
    drawn = [source.next() for _ in range(1500)]
    assert len(calls) == 2
    assert {len(key) for key in drawn} == {4}
    assert len(set(drawn)) > 1490


def test_a_child_does_not_draw_its_parents_keys() -> None:
    if sys.platform == "win32":
        pytest.skip("there is no fork")
    source = MaskingKeys()
    source.next()
    expected = source._keys[-1]
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writing, source.next())
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(reading, 4) != expected
    assert source.next() == expected
    os.close(reading)
    os.close(writing)


def test_forks_are_counted() -> None:
    before = masking._process
    masking._count_fork()
    assert masking._process == before + 1
