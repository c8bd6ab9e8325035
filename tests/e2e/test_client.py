"""``trio-ws client``, ``send`` and ``listen`` as real processes: pipes, signals, exit codes."""

from __future__ import annotations

import json
import os
import signal
import socket
import ssl
import subprocess
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING

import pytest
import trio
import trustme

import trio_ws
from trio_ws.cli import jsonlines
from trio_ws.protocol.handshake import ServerHandshake

from .processes import COMMAND, echo, environment, free_port, run, running, served, shell

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path

    from trio_ws import WebSocket

QUICK = ("--linger", "0.3")
RETRYING = ("--reconnect", "--retry-max", "0.05")


async def silent(ws: WebSocket) -> None:
    async for _ in ws:
        pass


async def greet_and_leave(ws: WebSocket) -> None:
    for number in range(3):
        await ws.send(str(number))


async def flood(ws: WebSocket) -> None:
    while True:
        await ws.send("x" * 10_000)


# Pipes


async def test_lines_go_and_come_back() -> None:
    async with served() as (url, _):
        result = await run("client", url, *QUICK, given="κόσμε\r\n\nno end".encode())
        assert (result.code, result.err) == (0, "")
        assert result.out == "κόσμε\n\nno end\n".encode()


@pytest.mark.parametrize("reconnect", [(), ("--reconnect",)])
async def test_five_thousand_lines_come_back_complete_and_in_order(
    reconnect: tuple[str, ...],
) -> None:
    lines = b"".join(b"line %d\n" % number for number in range(5_000))
    async with served() as (url, _), trio.open_nursery() as nursery:
        at_once = trio.CapacityLimiter(4)

        async def go() -> None:
            async with at_once:
                result = await run("client", url, "--linger", "0.5", *reconnect, given=lines)
                assert result.code == 0
                assert result.out == lines
                said = f"trio-ws: connected to {url}/\n" if reconnect else ""
                assert result.err == said

        for _ in range(20):
            nursery.start_soon(go)


async def test_a_slow_reader_gets_everything() -> None:
    async with served() as (url, _):
        result = await shell(f"seq 30000 | $WS client {url} --linger 0.2 | (sleep 1; cat) | md5sum")
        expected = await shell("seq 30000 | md5sum")
        assert (result.code, result.out, result.err) == (0, expected.out, "")


async def test_a_closed_output_ends_quietly() -> None:
    async with served() as (url, _):
        for extra in ("", "--format jsonl", "--reconnect -q"):
            script = f"yes | $WS client {url} {extra} | head -n 1; exit ${{PIPESTATUS[1]}}"
            result = await shell(script)
            assert (result.code, result.err) == (0, "")
            assert result.out.count(b"\n") == 1


@pytest.mark.parametrize("stdin", ["0<&-", "</dev/null", "0<&- 2>&-", "0<&- 1>&- 2>&-"])
async def test_without_a_standard_input(stdin: str) -> None:
    async with served() as (url, _):
        result = await shell(f"exec $WS client {url} --linger 0.1 {stdin}")
        assert (result.code, result.out, result.err) == (0, b"", "")
        result = await shell(f"exec $WS send {url} hello {stdin}")
        assert (result.code, result.err) == (0, "")
        assert result.out == (b"" if "1>" in stdin else b"hello\n")


async def test_a_full_disk(tmp_path: Path) -> None:
    async with served() as (url, _):
        result = await shell(f"exec $WS send {url} hello > /dev/full")
        assert result.code == 1
        assert result.err == "trio-ws: error: cannot write to stdout: No space left on device\n"
        result = await run("send", url, "hello", "--record", "/dev/full")
        assert result.code == 1
        assert result.err == "trio-ws: error: cannot write to /dev/full: No space left on device\n"
        result = await run("send", url, "hello", "--record", str(tmp_path))
        assert result.err == f"trio-ws: error: --record: cannot write {tmp_path}: Is a directory\n"
        assert result.code == 1


async def test_a_pipe_that_does_not_block() -> None:
    lines = b"".join(b"%d\n" % number for number in range(20_000))
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    async with served() as (url, _):
        async with running("client", url, *QUICK, stdout=writing) as person:
            os.close(writing)

            async def feed() -> None:
                assert person.process.stdin is not None
                await person.process.stdin.send_all(lines)
                await person.process.stdin.aclose()

            async with trio.open_nursery() as nursery:
                nursery.start_soon(feed)
                async with trio.lowlevel.FdStream(reading) as pipe:
                    printed = b"".join([bytes(piece) async for piece in pipe])
            assert printed == lines
            assert await person.process.wait() == 0


# Exit codes


async def test_cannot_connect() -> None:
    port = free_port()
    result = await run("client", f":{port}")
    assert (result.code, result.out) == (3, b"")
    assert result.err.startswith(f"trio-ws: error: cannot connect to localhost:{port}: ")
    assert "Connection refused" in result.err
    assert result.err.count("\n") == 1
    result = await run("client", "ws://nowhere.invalid")
    assert (result.code, result.err.count("\n")) == (3, 1)
    assert "nowhere.invalid" in result.err
    result = await run("send", "ws+unix:/nowhere:/", "x")
    assert (result.code, result.err.count("\n")) == (3, 1)
    assert "/nowhere" in result.err


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["client", "ftp://x"], "the scheme 'ftp' is not one of ws, wss"),
        (["client", "ws://x", "-H", "Upgrade: x"], "the header upgrade is set by the handshake"),
        (["client", "ws://x", "--auth", "user"], "no terminal to ask for it"),
        (["client", "ws://x", "--proxy", "x://y"], "x://y"),
        (["send", "ws://x", "\udcff"], "message 1 is not UTF-8 text"),
    ],
)
async def test_usage(arguments: list[str], complaint: str) -> None:
    result = await run(*arguments)
    assert result.code == 2
    assert complaint in result.err
    assert result.err.count("\n") == 1


async def test_click_has_its_own_way_to_say_so() -> None:
    for arguments in (["client"], ["client", "ws://x", "--nonsense"], ["client", "x", "-n", "-1"]):
        assert (await run(*arguments)).code == 2


async def test_bad_input_is_told_after_the_replies_to_what_came_before() -> None:
    async with served() as (url, _):
        for command in ("client", "send"):
            result = await run(
                command, url, *(QUICK if command == "client" else ()), given=b"a\n\xff\n"
            )
            assert (result.code, result.out) == (2, b"a\n")
            assert result.err == (
                "trio-ws: error: line 2 of the input is not UTF-8 text (--binary sends any bytes)\n"
            )


async def test_rejected() -> None:
    router = trio_ws.Router()
    router.add("/ws", silent)
    async with served(router) as (url, _):
        result = await run("client", f"{url}/nowhere")
        assert result.code == 5
        assert "HTTP 404" in result.err
        assert "(is the path right?)" in result.err
        assert result.err.count("\n") == 1


async def test_timeouts() -> None:
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        mute.listen()
        url = f"ws://127.0.0.1:{mute.getsockname()[1]}"
        result = await run("client", url, "--connect-timeout", "0.2")
        assert (result.code, result.err) == (6, f"trio-ws: error: {url}/: not open within 0.2 s\n")
    async with served(silent) as (url, _):
        result = await run("send", url, "hello", "--timeout", "0.3")
        assert (result.code, result.err) == (6, "trio-ws: error: not done within 0.3 s\n")


async def test_a_blocked_output_does_not_outlive_the_timeout() -> None:
    async with served(flood) as (url, _):
        async with running("listen", url, "--timeout", "0.5") as person:
            assert await person.process.wait() == 6
            assert await person.said() == "error: not done within 0.5 s"


async def test_closes() -> None:
    async def close(ws: WebSocket) -> None:
        code, _, reason = str(await ws.receive()).partition(" ")
        await ws.aclose(int(code), reason)

    async with served(close) as (url, _):
        for code in ("1000", "1001"):
            result = await run("client", url, code)
            assert (result.code, result.err) == (0, "")
        result = await run("client", url, "4000 go \x1b[2J away")
        assert result.code == 7
        assert result.err.startswith(
            r"trio-ws: error: connection closed: 4000 (private use) 'go \x1b[2J away'"
        )
        assert result.err.count("\n") == 1
        for code in ("1000", "4000"):
            result = await run("client", url, code, "--reconnect", "--fatal-on", code, "-q")
            assert (result.code, result.err.count("\n")) == (7, 1)
            assert code in result.err
        result = await run("client", url, "1000", "--reconnect", "-q")
        assert (result.code, result.err) == (0, "")


async def test_a_dead_server() -> None:
    async def freeze(stream: trio.abc.Stream) -> None:
        data = b""
        while b"\r\n\r\n" not in data:
            data += await stream.receive_some()
        handshake = ServerHandshake()
        handshake.receive_data(data)
        await stream.send_all(handshake.accept()[0])
        await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(trio.serve_tcp, freeze, 0)
        port = listeners[0].socket.getsockname()[1]
        watch = ("--ping-interval", "0.3", "--ping-timeout", "0.3")
        result = await run("listen", f"ws://127.0.0.1:{port}", *watch)
        nursery.cancel_scope.cancel()
    assert (result.code, result.err.count("\n")) == (7, 1)
    assert "no sign of life" in result.err


async def test_expectations() -> None:
    async with served(greet_and_leave) as (url, _):
        result = await run("listen", url, "-n", "5")
        assert (result.code, result.out) == (8, b"0\n1\n2\n")
        assert (
            result.err
            == "trio-ws: error: 3 messages came, where 5 were expected, and then the end\n"
        )
        result = await run("listen", url, "--expect", "x")
        assert result.code == 8
        assert result.err == "trio-ws: error: no message matched 'x'; 3 messages came\n"
        result = await run("listen", url, "--expect", "[1-9]")
        assert (result.code, result.out) == (0, b"0\n1\n")
        result = await run("listen", url, "-1")
        assert (result.code, result.out) == (0, b"0\n")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
async def test_signals(number: signal.Signals, code: int) -> None:
    async with served() as (url, _):
        async with running("client", url) as person:
            await person.type("connected")
            assert await person.line() == "connected"
            person.signal(number)
            assert await person.process.wait() == code
            assert await person.rest("stderr") == ""


async def test_a_signal_twice() -> None:
    async with served() as (url, _):
        async with running("client", url, "-q") as person:
            await person.type("connected")
            assert await person.line() == "connected"
            person.signal(signal.SIGINT)
            person.signal(signal.SIGINT)
            assert await person.process.wait() == 130
            assert await person.rest("stderr") == ""


async def test_a_signal_with_a_blocked_output(tmp_path: Path) -> None:
    record = tmp_path / "record.jsonl"
    async with served(flood) as (url, _):
        async with running("listen", url, "--record", str(record)) as person:
            # More than the pipe and the client hold comes only when nobody reads.
            while not record.exists() or record.stat().st_size < 300_000:  # noqa: ASYNC110
                await trio.sleep(0.01)
            person.signal(signal.SIGINT)
            assert await person.process.wait() == 130
    entries = list(jsonlines.decode(record.read_bytes().splitlines(), "it"))
    assert entries[0].type == "open"
    assert entries[-1].type == "close"


async def test_interrupting_a_wait() -> None:
    async with running("client", f"ws://127.0.0.1:{free_port()}", "--reconnect") as person:
        assert (await person.said()).startswith("attempt 2 in")
        person.signal(signal.SIGINT)
        assert await person.process.wait() == 130


# Secrets


async def test_secrets_are_never_shown(tmp_path: Path) -> None:
    def refuse(request: trio_ws.Request) -> trio_ws.Response:
        return trio_ws.Response.text(401, f"wrong: {request.headers['authorization']}")

    token = tmp_path / "token"
    token.write_text("hunter2-secret\n")
    loud = ("-v", "--debug", "--show-control")
    async with served(silent, process_request=refuse) as (url, _):
        with_password = url.replace("ws://", "ws://user:hunter2-secret@")
        for arguments, variables in (
            ((url, "--bearer", "hunter2-secret"), {}),
            ((url, "--bearer", f"@{token}"), {}),
            ((url, "--bearer", "-"), {}),
            ((url, "--auth", "user:hunter2-secret"), {}),
            ((url, "-H", "Authorization: Token hunter2-secret"), {}),
            ((with_password,), {}),
            ((url,), {"TRIO_WS_BEARER": "hunter2-secret"}),
            ((url,), {"TRIO_WS_LISTEN_AUTH": "user:hunter2-secret"}),
        ):
            result = await run("listen", *arguments, *loud, given=b"hunter2-secret\n", **variables)
            assert result.code == 5, result.err
            assert "HTTP 401" in result.err
            assert "Authorization: " in result.err
            assert "***" in result.err
            assert "Traceback" in result.err
            assert "hunter2" not in result.err
            # The same in Base64, behind "user:".
            assert "aHVudGVy" not in result.err
            assert "dXNlcjpodW50ZXI" not in result.err
    result = await run("listen", "ws://x", "--bearer", "hunter2\nsecret")
    assert result.code == 2
    assert "hunter2" not in result.err
    result = await run(
        "listen", "ws://127.0.0.1:1/?token=hunter2", "--reconnect", "--max-retries", "0"
    )
    assert result.code == 3
    assert "hunter2" not in result.err


async def test_what_follows_a_secret_in_the_input_is_sent() -> None:
    async with served() as (url, _):
        result = await run("client", url, *QUICK, "--bearer", "-", given=b"token\na\nb\n")
        assert (result.code, result.out) == (0, b"a\nb\n")


# Sending


async def test_what_is_sent(tmp_path: Path) -> None:
    async def describe(ws: WebSocket) -> None:
        async for message in ws:
            await ws.send(ascii(message))

    lines, blob = tmp_path / "lines", tmp_path / "blob"
    lines.write_text("x\ny\n")
    blob.write_bytes(b"\x00\n\xff")
    async with served(describe) as (url, _):
        for arguments, given, printed in (
            (["a", "b", "--file", str(lines)], b"unread", "'a' 'b' 'x' 'y'"),
            (["a", "--file", "-"], b"in\n", "'a' 'in'"),
            (["--file", str(blob), "--binary"], b"", r"b'\x00\n\xff'"),
            (["--binary", "é"], b"", r"b'\xc3\xa9'"),
            (["--hex", "00 ff", "61"], b"", r"b'\x00\xff' b'a'"),
            (["--hex"], b"0a\n0b\n", r"b'\n' b'\x0b'"),
            (["--base64"], b"AP8=\n", r"b'\x00\xff'"),
            (["--split", "null"], b"a\nb\0c", r"'a\nb' 'c'"),
            (["--split", "none"], b"a\nb\n", r"'a\nb\n'"),
            (["--split", "json"], b'{"a":\n1}[2] 3', r"""'{"a":\n1}' '[2]' '3'"""),
            (["--on-connect", "first", "x"], b"", "'first' 'x'"),
            (["a", "b", "--delay", "0.05"], b"", "'a' 'b'"),
        ):
            result = await run("client", url, *QUICK, *arguments, given=given)
            assert (result.code, result.err) == (0, "")
            assert result.out.decode().split("\n") == [*printed.split(" "), ""]


async def test_a_named_pipe_is_opened_once(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    async with served() as (url, _):
        result = await shell(f"(echo a > {fifo}) & $WS client {url} --linger 0.2 --file {fifo}")
        assert (result.code, result.out) == (0, b"a\n")
        # Nobody writes to it, and nobody waits for that.
        async with running("client", url, "first", "--file", str(fifo)) as person:
            assert await person.line() == "first"
            person.signal(signal.SIGINT)
            assert await person.process.wait() == 130


async def test_send_waits_for_a_reply() -> None:
    async def late(ws: WebSocket) -> None:
        async for message in ws:
            await trio.sleep(0.2)
            await ws.send(f"re: {message!s}")

    async with served(late) as (url, _):
        assert (await run("send", url, "a", "b")).out == b"re: a\n"
        assert (await run("send", url, "a", "b", "-n", "2")).out == b"re: a\nre: b\n"
        assert (await run("send", url, "a", "b", "--expect", "b")).out == b"re: a\nre: b\n"
        assert (await run("send", url, given=b"a\nb\n")).out == b"re: a\n"
        result = await run("send", url, "a", "--count", "0")
        assert (result.code, result.out) == (0, b"")


async def test_listen_never_reads_the_input() -> None:
    async with served() as (url, _):
        result = await run(
            "listen", url, "--on-connect", "a", "--on-connect", "b", "-n", "2", given=b"never\n"
        )
        assert (result.code, result.out) == (0, b"a\nb\n")


async def test_the_end_of_the_input() -> None:
    async def late(ws: WebSocket) -> None:
        async for message in ws:
            await trio.sleep(0.5)
            await ws.send(message)
            await ws.aclose(1000)

    async with served(late) as (url, _):
        assert (await run("client", url, "--linger", "0", given=b"a\n")).out == b""
        assert (await run("client", url, "--linger", "2", given=b"a\n")).out == b"a\n"
        assert (
            await run("client", url, "--eof", "keep", "--linger", "0", given=b"a\n")
        ).out == b"a\n"
        assert (await run("client", url, "a", "--listen-only", "--linger", "0")).out == b"a\n"


async def test_application_heartbeats() -> None:
    async with served() as (url, _):
        beat = ("--heartbeat", "beat", "--heartbeat-every", "0.1")
        result = await run("listen", url, *beat, "-n", "2")
        assert (result.code, result.out) == (0, b"beat\nbeat\n")


# Output


async def test_formats() -> None:
    async with served() as (url, _):
        for name, expected in (
            ("auto", b'{"a":[]}\n'),
            ("raw", b'{"a":[]}'),
            ("pretty", b'{\n  "a": []\n}\n'),
            ("hex", b"7b 22 61 22 3a 5b 5d 7d\n"),
            ("base64", b"eyJhIjpbXX0=\n"),
        ):
            assert (await run("send", url, '{"a":[]}', "--format", name)).out == expected
        result = await run("send", url, "é", "--format", "jsonl")
        entries = [json.loads(line) for line in result.out.splitlines()]
        assert [entry["type"] for entry in entries] == ["open", "message", "message", "close"]
        assert [entry.get("dir") for entry in entries] == [None, "out", "in", "out"]
        assert [entry.get("data") for entry in entries] == [None, "é", "é", None]
        stamped = (await run("send", url, "x", "-t")).out.decode()
        assert stamped.endswith(" x\n")
        assert len(stamped) > len("2000-01-01T00:00:00.000 x\n")


async def test_a_recording_can_be_read(tmp_path: Path) -> None:
    record = tmp_path / "it.jsonl"
    async with served() as (url, _):
        result = await run(
            "client", url, "a", "--file", "-", *QUICK, "--record", str(record), given=b"b\n"
        )
        assert result.out == b"a\nb\n"
        entries = list(jsonlines.decode(record.read_bytes().splitlines(), "it"))
        said = [(entry.dir, entry.data) for entry in entries if entry.type == "message"]
        assert sorted(said, key=str) == [("in", "a"), ("in", "b"), ("out", "a"), ("out", "b")]
        assert [entry.type for entry in entries][:: len(entries) - 1] == ["open", "close"]
    result = await run("client", url, "--record", str(record))
    (entry,) = jsonlines.decode(record.read_bytes().splitlines(), "it")
    assert (entry.type, entry.reason) == (
        "error",
        result.err.removeprefix("trio-ws: error: ").strip(),
    )


async def test_what_is_said() -> None:
    async with served() as (url, _):
        origin = url.replace("ws:", "http:")
        result = await run("send", url, "x", "-v", "-H", "X-Mine: 1", "-o", origin, "-s", "chat")
        lines = [line.removeprefix("trio-ws: ") for line in result.err.splitlines()]
        assert lines[0] == "> GET / HTTP/1.1"
        assert {"> X-Mine: 1", f"> Origin: {origin}", "> Sec-WebSocket-Protocol: chat"} <= set(
            lines
        )
        assert any(line.startswith("< HTTP/1.1 101") for line in lines)
        assert lines[-1].startswith("> close 1000 (normal closure)")
        result = await run("send", url, "x", "--show-control")
        assert result.err.startswith("trio-ws: > close 1000 (normal closure)")
        assert (await run("send", url, "x", "-v", "-q")).err == ""


async def test_the_environment() -> None:
    async with served() as (url, _):
        result = await run("send", url, "é", TRIO_WS_FORMAT="hex")
        assert result.out == b"c3 a9\n"
        result = await run("send", url, "é", TRIO_WS_FORMAT="hex", TRIO_WS_SEND_FORMAT="base64")
        assert result.out == b"w6k=\n"
        result = await run("listen", url, "-n", "2", TRIO_WS_ON_CONNECT="a\nb")
        assert result.out == b"a\nb\n"
        assert (
            await run("client", url, "x", TRIO_WS_LINGER="0.1", TRIO_WS_PORT="tcp://x")
        ).code == 0


# Where to


async def test_another_address(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()
    listeners = [trio.SocketListener(trio.socket.from_stdlib_socket(listener))]
    async with served() as (_, server):
        resolve = f"example.invalid:80:127.0.0.1:{server.port}"
        result = await run("send", "ws://example.invalid", "x", "--resolve", resolve)
        assert result.code == 2
        port = server.port
        resolve = f"example.invalid:{port}:127.0.0.1"
        result = await run("send", f"ws://example.invalid:{port}", "x", "--resolve", resolve)
        assert (result.code, result.out) == (0, b"x\n")
        result = await run("send", f"http://127.0.0.1:{port}", "x")
        assert result.out == b"x\n"
    async with trio.open_nursery() as nursery:
        await nursery.start(partial(trio_ws.serve, echo, listeners=listeners))
        result = await run("send", "ws://example.invalid", "x", "--unix-socket", str(path))
        assert (result.code, result.out) == (0, b"x\n")
        assert (await run("send", f"ws+unix:{path}:/", "x")).out == b"x\n"
        nursery.cancel_scope.cancel()


async def test_redirects() -> None:
    def redirect(request: trio_ws.Request) -> trio_ws.Response | None:
        if request.path == "/":
            return trio_ws.Response(302, trio_ws.Headers([("Location", "/there")]))
        return None

    async with served(process_request=redirect) as (url, _):
        result = await run("send", url, "x")
        assert result.code == 5
        assert "leads to '/there'" in result.err
        assert "--location follows it" in result.err
        assert (await run("send", url, "x", "-L")).out == b"x\n"


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


async def test_tls(authority: trustme.CA, tmp_path: Path) -> None:
    trusted = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(trusted))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("chat.example").configure_cert(context)
    async with served(ssl_context=context) as (url, _):
        result = await run("send", url, "x")
        assert (result.code, result.err.count("\n")) == (4, 1)
        assert "certificate verify failed" in result.err
        assert "--insecure" in result.err
        result = await run("send", url, "x", "--cacert", str(trusted))
        assert result.code == 4
        assert "127.0.0.1" in result.err
        named = ("--cacert", str(trusted), "--sni", "chat.example")
        assert (await run("send", url, "x", *named)).out == b"x\n"
        assert (await run("send", url, "x", "-k")).out == b"x\n"


async def test_mutual_tls(authority: trustme.CA, tmp_path: Path) -> None:
    trusted, cert, key = tmp_path / "ca.pem", tmp_path / "cert.pem", tmp_path / "key.pem"
    authority.cert_pem.write_to_path(str(trusted))
    ours = authority.issue_cert("client.example")
    ours.cert_chain_pems[0].write_to_path(str(cert))
    ours.private_key_pem.write_to_path(str(key))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(trusted))
    context.verify_mode = ssl.CERT_REQUIRED
    authority.issue_cert("127.0.0.1").configure_cert(context)
    async with served(ssl_context=context) as (url, _):
        trusting = ("--cacert", str(trusted))
        result = await run("send", url, "x", *trusting, "--cert", str(cert), "--key", str(key))
        assert (result.code, result.out) == (0, b"x\n")
    # OpenSSL tells the client what it misses; a server on Trio just hangs up.
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"wss://127.0.0.1:{listener.getsockname()[1]}"

        def refuse() -> None:
            plain, _ = listener.accept()
            with context.wrap_socket(
                plain, server_side=True, do_handshake_on_connect=False
            ) as connection:
                with pytest.raises(ssl.SSLError):
                    connection.do_handshake()
                # Closed with something unread, the alert would be lost.
                while os.read(connection.fileno(), 4096):
                    pass

        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.to_thread.run_sync, refuse)
            result = await run("send", url, "x", *trusting)
    assert (result.code, result.err.count("\n")) == (4, 1), result.err
    assert "certificate required (" in result.err
    assert "(the server may want --cert)" in result.err


@asynccontextmanager
async def connect_proxy() -> AsyncGenerator[tuple[int, list[str]]]:
    """A proxy that knows CONNECT; its port, and the heads of what it was asked for."""
    asked: list[str] = []

    async def pump(source: trio.abc.Stream, sink: trio.abc.Stream) -> None:
        async for data in source:
            await sink.send_all(data)

    async def tunnel(stream: trio.SocketStream) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            head += await stream.receive_some()
        asked.append(head.decode())
        host, _, port = head.split()[1].decode().rpartition(":")
        if host == "refused.invalid":
            await stream.send_all(b"HTTP/1.1 403 Not There\r\n\r\n")
            return
        async with await trio.open_tcp_stream("127.0.0.1", int(port)) as there:
            await stream.send_all(b"HTTP/1.1 200 OK\r\n\r\n")
            async with trio.open_nursery() as nursery:
                nursery.start_soon(pump, there, stream)
                await pump(stream, there)
                nursery.cancel_scope.cancel()

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(trio.serve_tcp, tunnel, 0)
        yield listeners[0].socket.getsockname()[1], asked
        nursery.cancel_scope.cancel()


async def test_proxies() -> None:
    async with served() as (url, server), connect_proxy() as (port, asked):
        target = f"ws://somewhere.invalid:{server.port}"
        proxy = f"http://user:hunter2@127.0.0.1:{port}"
        result = await run("send", target, "x", "--proxy", proxy, "-v")
        assert (result.code, result.out) == (0, b"x\n")
        assert asked[0].startswith(f"CONNECT somewhere.invalid:{server.port} HTTP/1.1\r\n")
        assert "hunter2" not in result.err
        result = await run("send", target, "x", HTTP_PROXY=proxy)
        assert result.out == b"x\n"
        result = await run("send", url, "x", "--proxy", "none", HTTP_PROXY="http://127.0.0.1:1")
        assert result.out == b"x\n"
        result = await run("send", "ws://refused.invalid", "x", "--proxy", proxy, "--debug")
        assert result.code == 5
        assert "403" in result.err
        assert "hunter2" not in result.err


# Staying connected


async def test_it_goes_on_when_the_server_is_started_again() -> None:
    port = free_port()
    url = f"ws://127.0.0.1:{port}"
    async with running("client", url, *RETRYING, "--on-connect", "log in") as person:
        assert "Connection refused" in await person.said()
        async with served(port=port):
            while (line := await person.said()).startswith("attempt"):
                pass
            assert line == f"connected to {url}/"
            await person.type("first")
            assert [await person.line() for _ in range(2)] == ["log in", "first"]
        lost = await person.said()
        assert lost.startswith("connection lost after")
        assert "2 messages sent since the last pong may be lost" in lost
        await person.type("typed while there was no server")
        async with served(port=port):
            while (line := await person.said()).startswith("attempt"):
                pass
            assert line.startswith("connected again after")
            assert await person.line() == "log in"
            assert await person.line() == "typed while there was no server"
            person.signal(signal.SIGINT)
            assert await person.process.wait() == 130


async def test_giving_up_has_the_exit_code_of_its_cause() -> None:
    url = f"ws://127.0.0.1:{free_port()}"
    result = await run("client", url, *RETRYING, "--max-retries", "2")
    assert (result.code, result.out) == (3, b"")
    assert len([line for line in result.err.splitlines() if "attempt " in line]) == 2
    assert result.err.splitlines()[-1].startswith(f"trio-ws: error: {url}/: 3 attempts failed")
    result = await run("client", url, *RETRYING, "--max-elapsed", "0.2", "-q")
    assert (result.code, result.err.count("\n")) == (3, 1)
    result = await run("client", "ftp://x", "--reconnect")
    assert (result.code, result.err.count("\n")) == (2, 1)


async def test_what_is_retried_and_what_is_fatal() -> None:
    served_so_far = 0

    async def leave(ws: WebSocket) -> None:
        nonlocal served_so_far
        served_so_far += 1
        await ws.send(str(served_so_far))
        await ws.aclose(4001 if served_so_far % 3 else 1011)

    async with served(leave) as (url, _):
        result = await run(
            "listen", url, *RETRYING, "--retry-on", "4000-4099", "--fatal-on", "1011"
        )
        assert (result.code, result.out) == (7, b"1\n2\n3\n")
        assert "1011" in result.err.splitlines()[-1]
        result = await run("listen", url, *RETRYING)
        assert (result.code, result.out) == (7, b"4\n")


@pytest.mark.parametrize(("offline", "code"), [("queue", 0), ("wait", 0), ("raise", 7)])
async def test_input_without_a_connection(offline: str, code: int) -> None:
    port = free_port()
    url = f"ws://127.0.0.1:{port}"
    options = (*RETRYING, "--offline", offline, *QUICK)
    async with running("client", url, *options) as person:
        async with served(port=port):
            while not (await person.said()).startswith("connected to"):
                pass
        assert (await person.said()).startswith("connection lost")
        await person.type("a")
        await person.type("b")
        if offline == "raise":
            assert await person.process.wait() == code
            assert "error: connection closed: 1001" in await person.rest("stderr")
            return
        async with served(port=port):
            assert [await person.line(), await person.line()] == ["a", "b"]
            assert person.process.stdin is not None
            await person.process.stdin.aclose()
            assert await person.process.wait() == code


async def test_starting_is_quick_enough_to_be_typed() -> None:
    """No clock: what is slow is not imported."""
    slow = ("rich", "prompt_toolkit", "pygments", "trio_websocket", "asyncio")
    async with served() as (url, _):
        script = (
            "import sys; from trio_ws.cli.app import make_app\n"
            f"make_app()(['send', {url!r}, 'x'], standalone_mode=False)\n"
            f"print(*[name for name in {slow} if name in sys.modules])"
        )
        result = await trio.run_process(
            [COMMAND[0], "-c", script],
            capture_stdout=True,
            env=environment(),
            stdin=subprocess.DEVNULL,
        )
    assert result.stdout == b"x\n\n"
