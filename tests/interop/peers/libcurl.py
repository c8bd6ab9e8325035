"""The conversation with libcurl, by way of pycurl: a client."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pycurl
import trio

from .conversation import SUBPROTOCOL, converse, say, server_url, tls_folder

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

_CHUNK = 1 << 16
_NO_CODE = 1005


class Adapter:
    """A connection whose frames are put together and answered here: libcurl leaves that to others.

    It would answer pings, but keeps those answers until something else is sent.
    """

    def __init__(self, curl: pycurl.Curl, subprotocol: str | None) -> None:
        self._curl = curl
        self._socket = curl.getinfo(pycurl.ACTIVESOCKET)
        self._subprotocol = subprotocol
        self._message = bytearray()
        self._waiting: list[str | bytes] = []
        self._pongs: list[bytes] = []
        self._closing = False
        #: How the connection ended.
        self.closed: tuple[int, str] | None = None

    def subprotocol(self) -> str | None:
        return self._subprotocol

    async def messages(self) -> AsyncIterator[str | bytes]:
        while True:
            while self._waiting:
                yield self._waiting.pop(0)
            if self.closed is not None:
                break
            await self._receive()

    async def send(self, message: str | bytes) -> None:
        if isinstance(message, str):
            await self._send(message.encode(), pycurl.WS_TEXT)
        else:
            await self._send(message, pycurl.WS_BINARY)

    async def send_fragments(self, fragments: list[str] | list[bytes]) -> None:
        pieces: Sequence[str | bytes] = fragments
        for number, fragment in enumerate(pieces, 1):
            more = pycurl.WS_CONT if number < len(pieces) else 0
            if isinstance(fragment, str):
                await self._send(fragment.encode(), pycurl.WS_TEXT | more)
            else:
                await self._send(fragment, pycurl.WS_BINARY | more)

    async def ping(self, data: bytes) -> None:
        await self._send(data, pycurl.WS_PING)
        while data not in self._pongs:
            await self._receive()
        self._pongs.remove(data)

    async def close(self, code: int, reason: str) -> None:
        self._closing = True
        self._curl.ws_close(code, reason)
        while self.closed is None:
            await self._receive()

    async def _send(self, payload: bytes, flags: int) -> None:
        rest = memoryview(payload)
        while True:
            try:
                sent = self._curl.ws_send(rest, flags)
            except BlockingIOError:
                await trio.lowlevel.wait_writable(self._socket)
            else:
                rest = rest[sent:]
                if not rest:
                    break

    async def _receive(self) -> None:
        """Take one frame."""
        frame = bytearray()
        while True:
            try:
                data, meta = self._curl.ws_recv(_CHUNK)
            except BlockingIOError:
                await trio.lowlevel.wait_readable(self._socket)
                continue
            frame += data
            if not meta.bytesleft:
                break
        if meta.flags & pycurl.WS_CLOSE:
            await self._end(bytes(frame))
        elif meta.flags & pycurl.WS_PING:
            await self._send(bytes(frame), pycurl.WS_PONG)
        elif meta.flags & pycurl.WS_PONG:
            self._pongs.append(bytes(frame))
        elif meta.flags & (pycurl.WS_TEXT | pycurl.WS_BINARY):
            self._message += frame
            if not meta.flags & pycurl.WS_CONT:
                whole = bytes(self._message)
                self._waiting.append(whole.decode() if meta.flags & pycurl.WS_TEXT else whole)
                self._message.clear()

    async def _end(self, payload: bytes) -> None:
        if not self._closing:
            await self._send(payload, pycurl.WS_CLOSE)
        code = int.from_bytes(payload[:2], "big") if payload else None
        self.closed = (code or _NO_CODE, payload[2:].decode())


def _value(lines: list[bytes], name: str) -> str | None:
    """A header's, of the answer to the handshake."""
    for line in lines:
        found, _, value = line.decode().partition(":")
        if found.lower() == name:
            return value.strip()
    return None


async def main() -> None:
    answer: list[bytes] = []
    curl = pycurl.Curl()
    curl.setopt(pycurl.URL, server_url())
    curl.setopt(pycurl.CONNECT_ONLY, 2)
    curl.setopt(pycurl.WS_OPTIONS, pycurl.WS_NOAUTOPONG)
    curl.setopt(pycurl.HTTPHEADER, [f"Sec-WebSocket-Protocol: {SUBPROTOCOL}"])
    if (folder := tls_folder()) is not None:
        curl.setopt(pycurl.CAINFO, str(folder / "ca.pem"))
    curl.setopt(pycurl.HEADERFUNCTION, answer.append)
    try:
        curl.perform()
    except pycurl.error:
        say("refused", curl.getinfo(pycurl.RESPONSE_CODE))
        return
    adapter = Adapter(curl, _value(answer, "sec-websocket-protocol"))
    await converse(adapter)
    assert adapter.closed is not None
    code, reason = adapter.closed
    say("closed", code, reason)
    curl.close()


if __name__ == "__main__":
    trio.run(main)
