"""`Hub`: topics, joining and publishing."""

from __future__ import annotations

from trio_ws import Hub

from .crowd import pairs, received


async def test_every_member_gets_what_is_published() -> None:
    async with Hub() as hub, pairs(3) as crowd:
        async with hub.join(crowd[0].server, "room"), hub.join(crowd[1].server, "room"):
            async with hub.join(crowd[2].server, "other"):
                await hub.publish("room", "hello")
                await hub.publish("room", b"\x00\xff")
                for pair in crowd[:2]:
                    assert await received(pair.client) == ["hello", b"\x00\xff"]
                assert await received(crowd[2].client) == []
