"""What stands in Redis, and what goes through it: without I/O.

A topic's messages go through one channel. A message is a head, its place in the topic's history,
and the rest::

    1 byte   version
    1 byte   flags: text, presence
    6 bytes  the node that published it
    8 bytes  its number among that node's
    6 bytes  epoch and
    8 bytes  offset, which Redis fills in; zeros where the topic has no history
    2 bytes  how many connections of the node do not get it; of each, a byte of length and its id
    the payload, as it is

Where a topic has a history, one script gives a message its offset, keeps it in a stream, and
publishes it, so that there is one order.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

_VERSION: Final = 1
_TEXT, _PRESENCE = 1, 2
_HEAD: Final = struct.Struct("!BB6sQ")
_PLACE: Final = struct.Struct("!6sQ")
_COUNT: Final = struct.Struct("!H")
#: The place of a message without a history.
NOWHERE: Final = bytes(_PLACE.size)
_NO_EPOCH: Final = bytes(6)


@dataclass(frozen=True, slots=True)
class Message:
    """A message as it came from Redis.

    Attributes:
      node: who published it.
      sequence: its number among that node's.
      text: whether it is text.
      presence: whether it says that somebody came or went, not for members' ears.
      exclude: ids of that node's connections which do not get it.
      payload: the message.
      epoch: of its position; empty where it has none.
      offset: of its position.
    """

    node: str
    sequence: int
    text: bool
    presence: bool
    exclude: frozenset[str]
    payload: bytes
    epoch: str
    offset: int


def encode_head(node: str, sequence: int, *, text: bool, presence: bool = False) -> bytes:
    """What comes before the place."""
    flags = (_TEXT if text else 0) | (_PRESENCE if presence else 0)
    return _HEAD.pack(_VERSION, flags, bytes.fromhex(node), sequence)


def encode_rest(payload: bytes, exclude: frozenset[str] = frozenset()) -> bytes:
    """What comes behind it."""
    ids = [name.encode() for name in exclude]
    listed = b"".join(bytes([len(name)]) + name for name in ids)
    return _COUNT.pack(len(ids)) + listed + payload


def decode(data: bytes) -> Message:
    """Read a message.

    Raises:
      ValueError: it is none of ours, or of a version to come.
    """
    try:
        version, flags, node, sequence = _HEAD.unpack_from(data)
        epoch, offset = _PLACE.unpack_from(data, _HEAD.size)
        position = _HEAD.size + _PLACE.size
        (count,) = _COUNT.unpack_from(data, position)
        position += _COUNT.size
        exclude = []
        for _ in range(count):
            end = position + 1 + data[position]
            exclude.append(data[position + 1 : end].decode())
            position = end
    except (struct.error, IndexError) as error:
        raise ValueError(f"no message of a hub: {error}") from None
    if version != _VERSION or position > len(data):
        raise ValueError("no message of a hub, or of a version that is not known")
    return Message(
        node=node.hex(),
        sequence=sequence,
        text=bool(flags & _TEXT),
        presence=bool(flags & _PRESENCE),
        exclude=frozenset(exclude),
        payload=data[position:],
        epoch="" if epoch == _NO_EPOCH else epoch.hex(),
        offset=offset,
    )


_EPOCH: Final = """
local epoch = redis.call('HGET', KEYS[1], 'epoch')
if not epoch then
  epoch = ARGV[1]
  redis.call('HSET', KEYS[1], 'epoch', epoch, 'size', 0)
  redis.call('DEL', KEYS[2])
end
local function forget(entry)
  redis.call('XDEL', KEYS[2], entry[1])
  return redis.call('HINCRBY', KEYS[1], 'size', -tonumber(entry[2][6]))
end
local function keep()
  redis.call('EXPIRE', KEYS[1], ARGV[2])
  redis.call('EXPIRE', KEYS[2], ARGV[2])
end
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
"""

#: Number a message, keep it, and publish it. Keys: the topic's state, and its stream. Arguments:
#: an epoch if there is none, seconds to keep both, channel, head, rest, bytes of payload, and how
#: many messages and bytes are kept.
PUBLISH: Final = (
    _EPOCH
    + """
local offset = redis.call('HINCRBY', KEYS[1], 'offset', 1)
local message = ARGV[4] .. epoch .. struct.pack('>I8', offset) .. ARGV[5]
redis.call('XADD', KEYS[2], offset .. '-1', 'm', message, 't', now, 's', ARGV[6])
local size = redis.call('HINCRBY', KEYS[1], 'size', ARGV[6])
local count = redis.call('XLEN', KEYS[2])
while count > 0 and (count > tonumber(ARGV[7]) or size > tonumber(ARGV[8])) do
  size = forget(redis.call('XRANGE', KEYS[2], '-', '+', 'COUNT', 1)[1])
  count = count - 1
end
keep()
redis.call('PUBLISH', ARGV[3], message)
return offset
"""
)

#: Where a topic is, and what is kept of it. The same keys. Arguments: an epoch if there is none,
#: seconds to keep both, milliseconds that a message is kept, and the epoch and offset behind which
#: messages are wanted: ``*`` for all, nothing for none.
REPLAY: Final = (
    _EPOCH
    + """
while true do
  local first = redis.call('XRANGE', KEYS[2], '-', '+', 'COUNT', 1)[1]
  if not first or first[2][4] + ARGV[3] > now then break end
  forget(first)
end
keep()
local offset = redis.call('HGET', KEYS[1], 'offset') or '0'
local answer = {epoch, tonumber(offset)}
local after = nil
if ARGV[4] == '*' then after = '-' end
if ARGV[4] == epoch then after = (ARGV[5] + 1) .. '-1' end
if after then
  for _, entry in ipairs(redis.call('XRANGE', KEYS[2], after, '+')) do
    answer[#answer + 1] = entry[2][2]
  end
end
return answer
"""
)
