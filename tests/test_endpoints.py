"""Where a reconnecting client connects to."""

from __future__ import annotations

from typing import Any

import pytest
import trio

from trio_ws import Endpoint, InvalidURL
from trio_ws._endpoints import Targets

HERE, THERE = "ws://here/", "ws://there/"


async def test_several_are_taken_in_turn() -> None:
    targets = Targets([HERE, Endpoint(THERE)])
    chosen = []
    for _ in range(3):
        chosen.append(await targets.choose())
        assert await targets.choose() == chosen[-1], "until it is the next one's turn"
        targets.next_turn()
    assert [one.url for one in chosen] == [HERE, THERE, HERE]
    assert not targets.renewable


async def test_a_callable_is_asked_every_time() -> None:
    answers: list[str | Endpoint] = [HERE, Endpoint(THERE)]

    async def ask() -> str | Endpoint:
        await trio.lowlevel.checkpoint()
        return answers.pop(0)

    targets = Targets(ask)
    assert targets.renewable
    assert await targets.choose() == Endpoint(HERE)
    assert await targets.choose() == Endpoint(THERE)


def test_bad_targets_are_refused_at_once() -> None:
    with pytest.raises(InvalidURL):
        Targets("nonsense")
    with pytest.raises(InvalidURL):
        Targets([HERE, Endpoint("http//x")])
    with pytest.raises(ValueError, match="at least one"):
        Targets([])


@pytest.mark.parametrize("junk", [None, 5, b"ws://here/", [HERE], Endpoint(None)], ids=repr)  # type: ignore[arg-type]
async def test_junk_says_what_is_expected(junk: Any) -> None:
    async def ask() -> Any:
        await trio.lowlevel.checkpoint()
        return junk

    with pytest.raises(TypeError, match=r"must be a (URL or an Endpoint|str), not"):
        await Targets(ask).choose()
    with pytest.raises(TypeError, match=r"must be a (URL or an Endpoint|str), not"):
        Targets([junk])


async def test_a_callable_must_be_async() -> None:
    def ask() -> Any:
        return HERE

    with pytest.raises(TypeError, match="must be async"):
        await Targets(ask).choose()


def test_own_headers_take_precedence() -> None:
    endpoint = Endpoint(HERE, headers={"X-Key": "own"})
    merged = endpoint.merged_headers({"x-key": "common", "Accept": "x"})
    assert merged.raw == (("Accept", "x"), ("X-Key", "own"))


@pytest.mark.parametrize("url", ["ws://ana:secret@here/feed?token=secret", "http//a:secret@here"])
def test_what_is_shown_holds_no_secret(url: str) -> None:
    shown = Endpoint(url).shown
    assert "here" in shown
    assert "secret" not in shown
