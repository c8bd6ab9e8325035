"""`Store`: the names of what stands in Redis, commands that put it there, and questions about it.

Commands take a pipeline and put themselves into it; questions take a client and wait for the
answer.
"""

from __future__ import annotations

import json
import math
import secrets
import time
from collections import deque
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import trio

from ._interface import Envelope, Position, Presence, Replay
from ._redis_wire import NOWHERE, PUBLISH, REPLAY, decode, encode_head, encode_rest

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence

    from ._interface import History
    from ._redis_wire import Message

    #: Puts commands into a pipeline, and returns what will have their answers.
    Command: TypeAlias = Callable[[Any], list[Any]]

#: Seconds for which a node's sign of life counts.
ALIVE: Final = 15
#: Seconds that who is in a topic stays in Redis when no node looks after it any more.
_PRESENCE_KEPT: Final = 60


class Store:
    """What a link's node has in Redis, and what it finds there.

    Args:
      prefix: what all names begin with.
      node: the link's.
      timeout: seconds that a question may take.
    """

    def __init__(self, prefix: str, node: str, timeout: float) -> None:
        self._prefix = prefix
        self._node = node
        self._timeout = timeout
        self._scripts: tuple[Any, Any] = (None, None)

    # Names

    def channel(self, topic: str) -> str:
        return f"{self._prefix}c:{topic}"

    def node_channel(self) -> str:
        """One that nobody publishes to."""
        return f"{self._prefix}n:{self._node}"

    def topic_of(self, channel: bytes) -> str | None:
        prefix = self.channel("").encode()
        return channel[len(prefix) :].decode() if channel.startswith(prefix) else None

    def _history_keys(self, topic: str) -> list[str]:
        # In a cluster, what stands in braces decides where a key is: both are in one place.
        return [f"{self._prefix}h:{{{topic}}}", f"{self._prefix}s:{{{topic}}}"]

    def _presence_key(self, topic: str) -> str:
        return f"{self._prefix}p:{topic}"

    def _node_key(self, node: str) -> str:
        return f"{self._prefix}n:{node}"

    # Commands

    def publish(self, envelope: Envelope, sequence: int, history: History | None) -> Command:
        head = encode_head(envelope.node, sequence, text=envelope.text)
        rest = encode_rest(envelope.payload, envelope.exclude)
        channel = self.channel(envelope.topic)
        if history is None:
            return lambda pipe: [pipe.publish(channel, head + NOWHERE + rest)]
        keys = self._history_keys(envelope.topic)
        size = len(envelope.payload)
        bounds = [history.messages, history.size]
        arguments = [_new_epoch(), kept(history), channel, head, rest, size, *bounds]
        return lambda pipe: [pipe.evalsha(self._scripts[0], keys=keys, args=arguments)]

    def announce(self, topic: str, member: Presence, *, joined: bool) -> Command:
        """Somebody has come, or gone."""
        info = dict(member.info)
        entry = json.dumps({"info": info, "at": time.time()})
        change = json.dumps({"id": member.id, "joined": joined, "info": info})
        head = encode_head(self._node, 0, text=True, presence=True)
        message = head + NOWHERE + encode_rest(change.encode())
        key, channel = self._presence_key(topic), self.channel(topic)

        def command(pipe: Any) -> list[Any]:
            if not joined:
                return [pipe.hdel(key, [member.id]), pipe.publish(channel, message)]
            return [
                pipe.hset(key, {member.id: entry}),
                pipe.expire(key, _PRESENCE_KEPT),
                pipe.publish(channel, message),
            ]

        return command

    def keep_presence(self, topic: str) -> Command:
        return lambda pipe: [pipe.expire(self._presence_key(topic), _PRESENCE_KEPT)]

    def remove_presence(self, topic: str, members: Sequence[str]) -> Command:
        return lambda pipe: [pipe.hdel(self._presence_key(topic), members)]

    def keep_history(self, topic: str, history: History) -> Command:
        keys, seconds = self._history_keys(topic), kept(history)
        return lambda pipe: [pipe.expire(key, seconds) for key in keys]

    def live(self) -> Command:
        """Give a sign of life."""
        return lambda pipe: [pipe.set(self._node_key(self._node), "1", ex=ALIVE)]

    def die(self) -> Command:
        return lambda pipe: [pipe.delete([self._node_key(self._node)])]

    # Questions

    async def open(self, client: Any) -> None:
        """Load what the others need."""
        with trio.fail_after(self._timeout):
            self._scripts = await client.script_load(PUBLISH), await client.script_load(REPLAY)
        await self._ask(client, [self.live()])

    async def read_history(
        self, client: Any, topic: str, history: History, since: Position | None
    ) -> Replay:
        """See `Link.replay`."""
        arguments = [
            _new_epoch(),
            kept(history),
            int(history.seconds * 1000),
            _epoch_of(since),
            0 if since is None else since.offset,
        ]
        with trio.fail_after(self._timeout):
            current, offset, *entries = await client.evalsha(
                self._scripts[1], keys=self._history_keys(topic), args=arguments
            )
        position = Position(bytes(current).hex(), int(offset))
        messages = (decode(bytes(entry)) for entry in entries)
        envelopes = tuple(
            envelope_of(topic, one, Position(one.epoch, one.offset)) for one in messages
        )
        recovered = since == Position.OLDEST or (
            since is not None
            and since.epoch == position.epoch
            and position.offset - since.offset == len(envelopes)
        )
        return Replay(
            envelopes=envelopes if recovered else (), position=position, recovered=recovered
        )

    async def read_presence(self, client: Any, topics: Sequence[str]) -> list[dict[str, Presence]]:
        """Who is in each of *topics*, by id, in the order of joining; of nodes that are alive."""
        answers = await self._ask(
            client, [lambda pipe: [pipe.hgetall(self._presence_key(topic)) for topic in topics]]
        )
        found: list[list[tuple[float, Presence]]] = []
        for entries in answers:
            found.append([])
            for key, entry in entries.items():
                told, name = json.loads(entry), bytes(key).decode()
                member = Presence(id=name, node=name.partition("-")[0], info=told["info"])
                found[-1].append((told["at"], member))
        gone = await self.gone_nodes(
            client, {member.node for members in found for _, member in members}
        )
        return [
            {
                member.id: member
                for _, member in sorted(members, key=lambda entry: (entry[0], entry[1].id))
                if member.node not in gone
            }
            for members in found
        ]

    async def gone_nodes(self, client: Any, nodes: Iterable[str]) -> set[str]:
        """Those that give no sign of life any more."""
        wanted = sorted(set(nodes) - {self._node})
        if not wanted:
            return set()
        alive = await self._ask(
            client, [lambda pipe: [pipe.exists([self._node_key(node)]) for node in wanted]]
        )
        return {node for node, there in zip(wanted, alive, strict=True) if not there}

    async def _ask(self, client: Any, commands: Iterable[Command]) -> list[Any]:
        with trio.fail_after(self._timeout):
            async with client.pipeline(transaction=False) as pipe:
                asked: list[Awaitable[Any]] = [one for ask in commands for one in ask(pipe)]
            return [await one for one in asked]


class Outgoing:
    """Commands that wait to be written, their sizes, and the numbers of those that are messages."""

    def __init__(self) -> None:
        self.size = 0
        self._items: deque[tuple[Command, int, int | None]] = deque()
        self._wake = trio.Event()
        self.idle = trio.Event()
        self.idle.set()

    def put(self, command: Command, size: int = 0, sequence: int | None = None) -> None:
        self._items.append((command, size, sequence))
        self.size += size
        self._wake.set()
        self.idle = trio.Event() if self.idle.is_set() else self.idle

    async def take(self) -> list[tuple[Command, int, int | None]]:
        """Wait until there is something, and take it all, with what the rest of the turn brings."""
        await self._wake.wait()
        await trio.lowlevel.checkpoint()
        self._wake = trio.Event()
        taken = list(self._items)
        self._items.clear()
        return taken

    def done(self, size: int) -> None:
        self.size -= size
        if not self._items:
            self.idle.set()

    def clear(self) -> int:
        """Forget all; return how many were messages."""
        messages = sum(sequence is not None for _, _, sequence in self._items)
        self._items.clear()
        self.size = 0
        self._wake = trio.Event()
        self.idle.set()
        return messages


def kept(history: History) -> int:
    """Seconds that a topic's history stays in Redis when nobody looks after it any more."""
    return 2 * math.ceil(history.seconds) + 60


def envelope_of(topic: str, message: Message, position: Position | None) -> Envelope:
    return Envelope(
        topic=topic,
        payload=message.payload,
        text=message.text,
        node=message.node,
        exclude=message.exclude,
        position=position,
    )


def _new_epoch() -> bytes:
    return secrets.token_bytes(6)


def _epoch_of(since: Position | None) -> bytes:
    """What the script is told: ``*`` for all that is kept."""
    if since == Position.OLDEST:
        return b"*"
    try:
        return b"" if since is None else bytes.fromhex(since.epoch)
    except ValueError:
        # Clients may say anything.
        return b""
