"""`RedisBackplane` against a real Redis, which is killed, stopped, slow, and far away."""

from __future__ import annotations

import gc
import logging
import ssl
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
import trio
import trustme
from coredis import Redis, RedisCluster, Sentinel
from coredis.connection import TCPLocation
from coredis.retry import NoRetryPolicy

from trio_ws import Backoff, Hub
from trio_ws.backplane import History, Position
from trio_ws.backplane import _redis_link as module
from trio_ws.backplane import _redis_store as store
from trio_ws.backplane.redis import RedisBackplane
from trio_ws.instrumentation import BackplaneChanged, MessagesMissed

from .contract import HISTORY, Contract, Recorder, connected, publish, subscribe
from .redis_server import RedisServer, cluster, redis_server, sentinel

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterator
    from pathlib import Path

    from trio_ws.backplane import Link

_PATIENCE = 30
#: coredis leaves channels of its own open when a connection fails.
pytestmark = [
    pytest.mark.filterwarnings("ignore:Unclosed <MemoryObject"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture(autouse=True)
def _collected() -> Iterator[None]:
    """What coredis has left is not found in somebody else's test."""
    yield
    gc.collect()


@pytest.fixture
async def server() -> AsyncGenerator[RedisServer]:
    async with redis_server() as server:
        yield server


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """No pause between attempts is long, nor between looks."""
    monkeypatch.setattr(module, "_BACKOFF", Backoff(initial=0.05, maximum=0.2))
    monkeypatch.setattr(module, "_PULSE", 0.3)


def backplane_of(server: RedisServer, **options: Any) -> RedisBackplane:
    return RedisBackplane(server.url, **{"timeout": 1.0, **options})


def unreachable() -> Any:
    return RedisBackplane("redis://127.0.0.1:1").make_client()


class TestContract(Contract):
    @pytest.fixture
    def backplane(self, server: RedisServer) -> RedisBackplane:
        return RedisBackplane(server.url)

    @pytest.fixture
    def elsewhere(self, server: RedisServer) -> RedisBackplane:
        return RedisBackplane(server.url)


async def until_connected(link: Link, recorder: Recorder, *, connected: bool = True) -> None:
    """Wait until the link is connected, or is not."""
    with trio.fail_after(_PATIENCE):
        while link.connected is not connected:
            await recorder.told()


async def both_hear(here: tuple[Link, Recorder], there: tuple[Link, Recorder], text: str) -> None:
    """Publish here, and wait until both have it."""
    publish(here[0], "room", text, history=HISTORY)
    for _, recorder in (here, there):
        with trio.fail_after(_PATIENCE):
            while not recorder.envelopes or recorder.envelopes[-1].message != text:
                await recorder.told()


async def until(condition: Callable[[], bool]) -> None:
    """Wait until *condition* is true of hubs, which tell only their hooks."""
    with trio.fail_after(_PATIENCE):
        while True:
            if condition():
                return
            await trio.sleep(0.01)


# What it is given


async def test_the_arguments_are_checked() -> None:
    for timeout in (0, -1, float("inf"), float("nan")):
        with pytest.raises(ValueError, match="timeout must be"):
            RedisBackplane("redis://localhost", timeout=timeout)
    assert "secret" not in repr(RedisBackplane("redis://me:secret@localhost"))


async def test_users_passwords_databases_and_prefixes(server: RedisServer) -> None:
    await server.cli(
        *("ACL", "SETUSER", "hub", "on", ">s3cret", "~chat:*", "&chat:*", "+@all", "-@dangerous")
    )
    url = server.url.replace("//", "//hub:s3cret@").replace("/0", "/3")
    backplane = RedisBackplane(url, prefix="chat:", timeout=2)
    async with connected(backplane, backplane) as (here, there):
        assert here[0].connected
        await subscribe("room", here[0], there[0], history=HISTORY)
        await both_hear(here, there, "hello")
    assert "chat:h:{room}" in await server.cli("-n", "3", "KEYS", "*")
    assert await server.cli("-n", "0", "KEYS", "*") == ""


async def test_a_wrong_password_is_told(server: RedisServer) -> None:
    await server.cli("CONFIG", "SET", "requirepass", "right")
    url = server.url.replace("//", "//:wrong@")
    recorder = Recorder()
    async with RedisBackplane(url, timeout=2).connect(recorder) as link:
        assert not link.connected
        assert recorder.connections[0][0] is False
        assert "WRONGPASS" in recorder.connections[0][1] or "password" in recorder.connections[0][1]


async def test_over_tls(tmp_path: Path) -> None:
    authority = trustme.CA()
    issued = authority.issue_cert("localhost")
    issued.private_key_pem.write_to_path(tmp_path / "key")
    (tmp_path / "cert").write_bytes(b"".join(pem.bytes() for pem in issued.cert_chain_pems))
    authority.cert_pem.write_to_path(tmp_path / "ca")
    context = ssl.create_default_context()
    authority.configure_trust(context)
    from ..e2e.processes import free_port

    port = free_port()
    options = [
        *("--tls-port", str(port), "--tls-cert-file", str(tmp_path / "cert")),
        *("--tls-key-file", str(tmp_path / "key"), "--tls-ca-cert-file", str(tmp_path / "ca")),
        *("--tls-auth-clients", "no"),
    ]
    async with redis_server(*options):
        backplane = RedisBackplane(f"rediss://localhost:{port}/0", ssl_context=context, timeout=2)
        async with connected(backplane, backplane) as (here, there):
            assert here[0].connected
            await subscribe("room", here[0], there[0])
            publish(here[0], "room", "hello")
            assert await there[1].messages(1) == ["hello"]


async def test_a_function_may_make_the_client(server: RedisServer) -> None:
    def make() -> Any:
        return Redis("127.0.0.1", server.port, retry_policy=NoRetryPolicy(), stream_timeout=2)

    async with connected(RedisBackplane(make)) as ((link, recorder),):
        await subscribe("room", link)
        publish(link, "room", "hello")
        assert await recorder.messages(1) == ["hello"]


# More than one


async def test_a_sentinel_leads_to_the_new_primary(server: RedisServer, tmp_path: Path) -> None:
    async with (
        redis_server("--replicaof", f"127.0.0.1 {server.port}") as replica,
        sentinel(server, replica, tmp_path) as port,
        Sentinel([TCPLocation("127.0.0.1", port)], connect_timeout=1) as manager,
    ):
        backplane = RedisBackplane(
            lambda: manager.primary_for("main", stream_timeout=1, connect_timeout=1), timeout=1
        )
        async with connected(backplane, backplane) as (here, there):
            await subscribe("room", here[0], there[0], history=HISTORY)
            await both_hear(here, there, "before")
            await server.kill()
            for link, recorder in (here, there):
                with trio.fail_after(_PATIENCE):
                    while [up for up, _ in recorder.connections][-2:] != [False, True]:
                        await recorder.told()
                await link.wait_subscribed("room")
            await both_hear(here, there, "after")


async def test_a_cluster_is_one() -> None:
    async with cluster(3) as nodes:

        def make() -> Any:
            return RedisCluster(
                startup_nodes=[TCPLocation("127.0.0.1", node.port) for node in nodes],
                retry_policy=NoRetryPolicy(),
                stream_timeout=2,
                connect_timeout=2,
            )

        async with connected(RedisBackplane(make), RedisBackplane(make)) as (here, there):
            # Of which there are some in each node.
            topics = ["room", *(f"topic {number}" for number in range(20))]
            for topic in topics:
                await subscribe(topic, here[0], there[0], history=HISTORY)
                publish(here[0], topic, topic, history=HISTORY)
            for _, recorder in (here, there):
                assert set(await recorder.messages(len(topics))) == set(topics)
            await both_hear(here, there, "last")
        holding = [await node.cli("KEYS", "*") for node in nodes]
        assert all(holding)


# Redis goes, and comes


async def test_it_need_not_be_there_at_the_start(server: RedisServer) -> None:
    await server.kill()
    with trio.fail_after(_PATIENCE):
        async with connected(backplane_of(server)) as ((link, recorder),):
            assert not link.connected
            assert [told for told, _ in recorder.connections] == [False]
            # Nobody waits for it, and members of this process lack nothing.
            link.subscribe("room")
            await link.wait_subscribed("room")
            publish(link, "room", "alone")
            assert await recorder.messages(1) == ["alone"]
            assert link.dropped == 1
            assert link.has_room("room")
            assert not (await link.replay("room", Position.OLDEST)).recovered
            ann = link.enter("room", {"name": "ann"})
            assert await link.present("room") == (ann,)
            await server.start()
            await until_connected(link, recorder)
            await link.wait_subscribed("room")
            publish(link, "room", "with the others")
            assert await recorder.messages(2) == ["alone", "with the others"]
            assert await link.present("room") == (ann,)


@pytest.mark.parametrize("history", [None, HISTORY])
async def test_it_may_be_killed_amid_traffic(server: RedisServer, history: History | None) -> None:
    async with connected(backplane_of(server), backplane_of(server)) as (here, there):
        (link, recorder), (_, other) = here, there
        await subscribe("room", link, there[0], history=history)
        count = 0
        over = trio.Event()

        async def publish_on() -> None:
            nonlocal count
            while not over.is_set():
                publish(link, "room", str(count), history=history)
                count += 1
                await trio.sleep(0.001)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(publish_on)
            await other.messages(50)
            await server.kill()
            await until_connected(link, recorder, connected=False)
            lost = link.dropped
            await until_connected(there[0], other, connected=False)
            with trio.fail_after(_PATIENCE):
                while link.dropped < lost + 50:
                    await recorder.told()
            await server.start()
            await until_connected(link, recorder)
            await until_connected(there[0], other)
            await link.wait_subscribed("room")
            await there[0].wait_subscribed("room")
            seen = len(other.envelopes)
            await other.messages(seen + 50)
            over.set()
        # Here everything came, once and in order.
        await recorder.messages(count)
        assert [int(one.message) for one in recorder.envelopes] == list(range(count))
        # There something is missing, and that was told; what came is in order.
        numbers = [int(one.message) for one in other.envelopes]
        assert numbers == sorted(set(numbers))
        assert len(numbers) < count
        assert [gap.topic for gap in other.gaps] == ["room"]
        assert link.dropped > 0


async def test_what_was_missed_is_read_from_the_history(server: RedisServer) -> None:
    """One node is cut off while another publishes on."""
    async with connected(backplane_of(server), backplane_of(server)) as (here, there):
        await subscribe("room", here[0], there[0], history=HISTORY)
        await both_hear(here, there, "before")
        # Its connections are cut, and it may not come back for a while.
        there[0]._make_client, make = unreachable, there[0]._make_client  # type: ignore[attr-defined]
        for connection in (await server.cli("CLIENT", "LIST", "TYPE", "PUBSUB")).splitlines():
            await server.cli("CLIENT", "KILL", "ID", connection.split()[0].removeprefix("id="))
        await until_connected(there[0], there[1], connected=False)
        await until_connected(here[0], here[1])
        await here[0].wait_subscribed("room")
        for number in range(5):
            publish(here[0], "room", f"missed {number}", history=HISTORY)
        with trio.fail_after(_PATIENCE):
            while here[1].envelopes[-1].message != "missed 4":
                await here[1].told()
        there[0]._make_client = make  # type: ignore[attr-defined]
        await until_connected(there[0], there[1])
        await both_hear(here, there, "after")
        messages = [one.message for one in there[1].envelopes]
        assert messages == ["before", *(f"missed {number}" for number in range(5)), "after"]
        positions = [one.position for one in there[1].envelopes]
        assert [one.offset for one in positions if one is not None] == list(range(1, 8))
        assert there[1].gaps == []


async def test_a_history_that_does_not_reach_back_is_a_gap(server: RedisServer) -> None:
    async with connected(backplane_of(server)) as ((link, recorder),):
        await subscribe("room", link, history=HISTORY)
        publish(link, "room", "before", history=HISTORY)
        await recorder.messages(1)
        await server.kill()
        await until_connected(link, recorder, connected=False)
        await server.start()
        await until_connected(link, recorder)
        publish(link, "room", "after", history=HISTORY)
        assert await recorder.messages(2) == ["before", "after"]
        assert len(recorder.gaps) == 1
        before, after = (one.position for one in recorder.envelopes)
        assert before is not None
        assert after is not None
        assert before.epoch != after.epoch


async def test_each_connection_may_be_cut(server: RedisServer) -> None:
    async with connected(backplane_of(server), backplane_of(server)) as (here, there):
        await subscribe("room", here[0], there[0], history=HISTORY)
        await both_hear(here, there, "first")
        sent = ["first"]
        for kind in ("pubsub", "normal", "pubsub"):
            await server.cli("CLIENT", "KILL", "TYPE", kind)
            # One that went out on the connection that was cut may be lost; the next is not.
            with trio.fail_after(_PATIENCE):
                while there[1].envelopes[-1].message == sent[-1] or not there[0].connected:
                    sent.append(f"{len(sent)} after {kind}")
                    publish(here[0], "room", sent[-1], history=HISTORY)
                    with trio.move_on_after(0.5):
                        while there[1].envelopes[-1].message != sent[-1]:
                            await there[1].told()
        # Here all of them came; there, all that reached Redis.
        assert [one.message for one in here[1].envelopes] == sent
        messages = [str(one.message) for one in there[1].envelopes]
        assert messages == [one for one in sent if one in messages]
        assert (here[1].gaps, there[1].gaps) == ([], [])


async def test_one_that_stands_still_is_taken_for_gone(server: RedisServer) -> None:
    async with connected(backplane_of(server)) as ((link, recorder),):
        await subscribe("room", link)
        publish(link, "room", "first")
        await recorder.messages(1)
        server.stand_still()
        publish(link, "room", "second")
        # It was on its way: delivered here once Redis is given up.
        with trio.fail_after(_PATIENCE):
            assert await recorder.messages(2) == ["first", "second"]
        assert not link.connected
        server.go_on()
        await until_connected(link, recorder)
        await link.wait_subscribed("room")
        publish(link, "room", "third")
        # Nothing of what Redis held meanwhile comes twice.
        assert await recorder.messages(3) == ["first", "second", "third"]


async def test_a_pause_within_the_timeout_costs_nothing(server: RedisServer) -> None:
    async with connected(backplane_of(server, timeout=10.0)) as ((link, recorder),):
        await subscribe("room", link)
        await server.cli("CLIENT", "PAUSE", "500")
        for number in range(100):
            publish(link, "room", str(number))
        assert await recorder.messages(100) == list(map(str, range(100)))
        assert recorder.connections == [(True, "")]


async def test_a_dead_redis_grows_no_memory_and_stalls_nobody(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_MAX_PENDING", 100_000)
    async with connected(backplane_of(server)) as ((link, recorder),):
        await subscribe("room", link)
        server.stand_still()
        published = 0
        with trio.fail_after(_PATIENCE):
            # Publishers that wait do so until it is given up.
            while link.connected:
                if link.has_room("room"):
                    publish(link, "room", "x" * 1000)
                    published += 1
                await link.wait_room("room")
        assert published < 300
        assert await recorder.messages(published)
        # Those that do not wait are bounded as well.
        for _ in range(1000):
            publish(link, "room", "x" * 1000)
        await recorder.messages(published + 1000)
        assert link._outgoing.size == 0  # type: ignore[attr-defined]
        server.go_on()


async def test_who_does_not_wait_for_room_goes_alone(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_MAX_PENDING", 10_000)
    async with connected(backplane_of(server)) as ((link, recorder),):
        await subscribe("room", link)
        for _ in range(100):
            publish(link, "room", "x" * 1000)
        assert 0 < link.dropped < 100
        await recorder.messages(100)


async def test_what_is_published_to_a_topic_of_others_need_not_come_back(
    server: RedisServer,
) -> None:
    async with connected(backplane_of(server), backplane_of(server)) as (here, there):
        await subscribe("room", there[0])
        publish(here[0], "room", "first")
        assert await there[1].messages(1) == ["first"]
        # Two seconds of looks at what is on its way.
        with trio.move_on_after(2.0):
            await here[1].told()
        assert here[1].connections == [(True, "")]
        publish(here[0], "room", "second")
        assert await there[1].messages(2) == ["first", "second"]
        assert here[1].envelopes == []


async def test_a_script_that_redis_has_forgotten_is_loaded_again(server: RedisServer) -> None:
    async with connected(backplane_of(server)) as ((link, recorder),):
        await subscribe("room", link, history=HISTORY)
        await server.cli("SCRIPT", "FLUSH")
        publish(link, "room", "first", history=HISTORY)
        assert await recorder.messages(1) == ["first"]
        await until_connected(link, recorder)
        publish(link, "room", "second", history=HISTORY)
        assert await recorder.messages(2) == ["first", "second"]


async def test_what_redis_refuses_is_delivered_here(
    server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    async with connected(backplane_of(server)) as ((link, recorder),):
        await subscribe("room", link, history=HISTORY)
        await server.cli("SET", "trio-ws:h:{room}", "not a hash")
        publish(link, "room", "hello", history=HISTORY)
        assert await recorder.messages(1) == ["hello"]
        assert link.dropped == 1
        assert link.connected
    assert any("Redis refused" in message for message in caplog.messages)


async def test_strange_messages_are_ignored(
    server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    async with connected(backplane_of(server)) as ((link, recorder),):
        await subscribe("room", link)
        await server.cli("PUBLISH", "trio-ws:c:room", "hello?")
        publish(link, "room", "hello")
        assert await recorder.messages(1) == ["hello"]
    assert "'room': no message of a hub" in "".join(caplog.messages)


async def test_a_slow_network(server: RedisServer) -> None:
    async def relay(stream: trio.SocketStream) -> None:
        async with stream, await trio.open_tcp_stream("127.0.0.1", server.port) as behind:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(copy, stream, behind, nursery)
                nursery.start_soon(copy, behind, stream, nursery)

    async def copy(
        source: trio.SocketStream, target: trio.SocketStream, nursery: trio.Nursery
    ) -> None:
        async for data in source:
            await trio.sleep(0.05)
            await target.send_all(data)
        nursery.cancel_scope.cancel()

    async with trio.open_nursery() as nursery:
        (listener,) = await nursery.start(partial(trio.serve_tcp, relay, 0, host="127.0.0.1"))
        port = listener.socket.getsockname()[1]
        backplane = RedisBackplane(f"redis://127.0.0.1:{port}/0", timeout=5)
        async with connected(backplane, backplane_of(server)) as (here, there):
            await subscribe("room", here[0], there[0], history=HISTORY)
            for number in range(5):
                await both_hear(here, there, f"far {number}")
                await both_hear(there, here, f"near {number}")
        nursery.cancel_scope.cancel()


async def test_a_subscriber_that_redis_gives_up_catches_up(server: RedisServer) -> None:
    """Redis ends connections for which too much waits; nobody is told when they read on."""
    history = History(messages=1000, seconds=60)
    flowing = trio.Event()
    flowing.set()

    async def relay(stream: trio.SocketStream) -> None:
        async with stream, await trio.open_tcp_stream("127.0.0.1", server.port) as behind:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(copy, stream, behind, nursery)
                nursery.start_soon(copy, behind, stream, nursery)

    async def copy(
        source: trio.SocketStream, target: trio.SocketStream, nursery: trio.Nursery
    ) -> None:
        with suppress(trio.BrokenResourceError):
            async for data in source:
                await flowing.wait()
                await target.send_all(data)
        nursery.cancel_scope.cancel()

    await server.cli("CONFIG", "SET", "client-output-buffer-limit", "pubsub 200000 200000 0")
    async with trio.open_nursery() as nursery:
        (listener,) = await nursery.start(partial(trio.serve_tcp, relay, 0, host="127.0.0.1"))
        port = listener.socket.getsockname()[1]
        far = RedisBackplane(f"redis://127.0.0.1:{port}/0", timeout=_PATIENCE)
        async with connected(backplane_of(server), far) as (here, there):
            await subscribe("room", here[0], there[0], history=history)
            await both_hear(here, there, "first")
            flowing = trio.Event()
            sent = ["first"]
            # More than the buffers of sockets take.
            while len((await server.cli("CLIENT", "LIST", "TYPE", "PUBSUB")).splitlines()) > 1:
                sent.append(f"{len(sent)} {'x' * 100_000}")
                publish(here[0], "room", sent[-1], history=history)
                await here[1].messages(len(sent))
            assert here[0].connected
            assert len(there[1].envelopes) < len(sent)
            flowing.set()
            assert await there[1].messages(len(sent)) == sent
            assert there[1].gaps == []
        nursery.cancel_scope.cancel()


async def test_what_comes_faster_than_it_is_taken_is_read_again(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    history = History(messages=1000, seconds=60)
    texts = [str(number) for number in range(100)]
    async with connected(backplane_of(server), backplane_of(server)) as (here, there):
        await subscribe("room", here[0], there[0], history=history)
        monkeypatch.setattr(module, "_MOST_UNTAKEN", 50)
        take = there[0]._take  # type: ignore[attr-defined]

        async def take_time(*message: Any) -> None:
            await here[1].messages(len(texts))
            # All of them are on their way by now; those of one connection come in order.
            await trio.sleep(0.2)
            await take(*message)

        monkeypatch.setattr(there[0], "_take", take_time)
        for text in texts:
            publish(here[0], "room", text, history=history)
        assert await here[1].messages(len(texts)) == texts
        assert await there[1].messages(len(texts)) == texts
        assert there[1].gaps == []
        causes = [cause for _, cause in there[1].connections]
        assert "it sends faster than this process takes: 50 messages wait" in causes


async def test_thousands_of_topics(server: RedisServer) -> None:
    topics = [f"topic {number}" for number in range(3500)]
    async with connected(backplane_of(server, timeout=10.0)) as ((link, recorder),):
        for topic in topics:
            link.subscribe(topic)
        with trio.fail_after(_PATIENCE):
            for topic in topics:
                await link.wait_subscribed(topic)
        for topic in topics:
            publish(link, topic, topic)
        assert sorted(map(str, await recorder.messages(len(topics)))) == sorted(topics)


async def test_an_empty_topic_is_unsubscribed_from_after_a_while(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_LINGER", 0.2)

    async def channels() -> list[str]:
        return (await server.cli("PUBSUB", "CHANNELS", "trio-ws:c:*")).splitlines()

    async with connected(backplane_of(server)) as ((link, recorder),):
        await subscribe("room", link)
        await subscribe("lobby", link)
        link.unsubscribe("room")
        # Who comes back soon finds it as it was.
        assert len(await channels()) == 2
        with trio.fail_after(_PATIENCE):
            while await channels() != ["trio-ws:c:lobby"]:
                await trio.lowlevel.checkpoint()
        await subscribe("room", link)
        publish(link, "room", "again")
        assert await recorder.messages(1) == ["again"]


# Presence


async def test_a_node_that_dies_is_missed(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "ALIVE", 1)
    async with connected(backplane_of(server)) as ((here, one),):
        await subscribe("room", here)
        async with trio.open_nursery() as nursery:
            recorder = Recorder()
            opened = trio.Event()

            async def die() -> None:
                async with backplane_of(server).connect(recorder) as there:
                    await subscribe("room", there)
                    there.enter("room", {"name": "ann"})
                    await one.presences(1)
                    monkeypatch.setattr(there, "close", trio.lowlevel.checkpoint)
                    # Without a word.
                    there._own.clear()  # type: ignore[attr-defined]
                    there._outgoing.put = lambda *_: None  # type: ignore[attr-defined]
                    opened.set()
                    await trio.sleep_forever()

            nursery.start_soon(die)
            await opened.wait()
            nursery.cancel_scope.cancel()
        with trio.fail_after(_PATIENCE):
            assert await one.presences(2) == [(True, "ann"), (False, "ann")]
        assert await here.present("room") == ()


async def test_who_came_and_went_meanwhile_is_told(server: RedisServer) -> None:
    async with connected(backplane_of(server), backplane_of(server)) as (here, there):
        await subscribe("room", here[0], there[0])
        ann = there[0].enter("room", {"name": "ann"})
        await here[1].presences(1)
        here[0]._make_client, make = unreachable, here[0]._make_client  # type: ignore[attr-defined]
        await server.cli("CLIENT", "KILL", "TYPE", "pubsub")
        await until_connected(here[0], here[1], connected=False)
        await until_connected(there[0], there[1])
        there[0].leave("room", ann)
        bob = there[0].enter("room", {"name": "bob"})
        assert await there[0].present("room") == (bob,)
        here[0]._make_client = make  # type: ignore[attr-defined]
        await until_connected(here[0], here[1])
        first, *others = await here[1].presences(3)
        assert first == (True, "ann")
        # In whichever order the two come to be known.
        assert set(others) == {(False, "ann"), (True, "bob")}
        assert await here[0].present("room") == (bob,)


# With hubs


async def test_hubs_of_two_processes_are_one(
    server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    records: list[object] = []
    options: dict[str, Any] = {"history": HISTORY, "hooks": [records.append]}
    async with (
        Hub(backplane=backplane_of(server), **options) as here,
        Hub(backplane=backplane_of(server), **options) as there,
    ):
        async with here.subscribe("room") as one, there.subscribe("room") as two:
            await here.publish("room", "hello")
            await there.publish("room", b"\0")
            for channel in (one, two):
                assert {await channel.receive(), await channel.receive()} == {"hello", b"\0"}
            await server.kill()
            await until(lambda: not (here.connected or there.connected))
            await here.publish("room", "alone")
            assert await one.receive() == "alone"
            await server.start()
            await until(lambda: here.connected and there.connected)
            await here.publish("room", "together")
            assert await two.receive() == "together"
            assert here.statistics().not_sent == 1
    assert [one.connected for one in records if isinstance(one, BackplaneChanged)].count(False) == 2
    assert any(isinstance(one, MessagesMissed) for one in records)
