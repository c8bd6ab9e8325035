"""``trio-ws client``, ``send`` and ``listen``: connect, and talk until it is over."""

from __future__ import annotations

import math
import os
import stat
import sys
from contextlib import aclosing, asynccontextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Final

import trio

from .._client import connect
from .._errors import ConnectionClosedOK
from .._keep_connected import keep_connected
from .._url import parse_url
from .connecting import complete_url, destination_of
from .conversation import Conversation, Plan
from .failures import TimedOut, Usage
from .goal import Goal
from .input import Encoding, messages_of, read_stdin
from .options.client import AtEnd, ClientOptions, Format
from .output import open_output
from .reconnecting import Classification, backoff_of, check_reconnect, offline_of
from .signals import interruptible

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Sequence
    from io import FileIO

    from .._websocket import WebSocket
    from .conversation import Messages
    from .options.client import ListenOptions, ReconnectOptions, SendingOptions, SendOptions
    from .output import Output
    from .prompt import Prompt

    Sources = Sequence[Callable[[], Messages]]

_READ_SIZE: Final = 64 * 1024
_STANDARD_INPUT: Final = "-"


def run_client(options: ClientOptions) -> None:
    """Connect; send the input, print what comes, until either side is done."""
    given = _given(options)
    if is_interactive(options):
        from .prompt import Prompt

        plan = _plan(options, given=given, delay=options.delay)
        _run(options, plan, Prompt(options, parse_url(complete_url(options.url))))
        return
    reads = not options.listen_only and not given
    ends = not options.listen_only and options.eof is AtEnd.CLOSE
    plan = _plan(
        options,
        given=given,
        more=partial(_from_stdin, options) if reads else None,
        linger=options.linger if ends else math.inf,
        delay=options.delay,
    )
    _run(options, plan)


def run_listen(options: ListenOptions) -> None:
    """Connect, and print what comes until the server closes."""
    _run(options, _plan(options))


def run_send(options: SendOptions) -> None:
    """Connect, send, wait for one reply or as many as were asked for, and leave."""
    given = _given(options)
    if not given and sys.stdin.isatty():
        raise Usage("there is nothing to send: give messages, --file, or input from a pipe")
    sources = given or [partial(_from_stdin, options)]
    _run(options, _plan(options, given=sources, delay=options.delay, usual_count=1))


def is_interactive(options: ClientOptions) -> bool:
    """Whether somebody types at a terminal, and sees there what comes."""
    return (
        sys.stdin.isatty()
        and sys.stdout.isatty()
        # It could not be drawn.
        and os.environ.get("TERM") not in {"dumb", "unknown"}
        and not options.listen_only
        and _STANDARD_INPUT not in options.file
        and options.format not in {Format.RAW, Format.JSONL}
    )


def _plan(
    options: ReconnectOptions,
    *,
    given: Sources = (),
    more: Callable[[], Messages] | None = None,
    linger: float = math.inf,
    delay: float = 0.0,
    usual_count: int | None = None,
) -> Plan:
    count = 1 if options.one else options.count
    if count is None and options.expect is None:
        count = usual_count
    # Where one connection follows another, each is begun so: see `_connected`.
    begins = bool(options.on_connect) and not options.reconnect
    first = [partial(_each, options.on_connect)] if begins else []
    beat = None if options.heartbeat is None else (options.heartbeat, options.heartbeat_every)
    return Plan(
        goal=Goal.of(count, options.expect),
        given=[*first, *given],
        more=more,
        linger=linger,
        delay=delay,
        heartbeat=beat,
    )


# What is sent


def _given(options: SendingOptions) -> Sources:
    """The messages of the command line, and of the files that it names."""
    encoding = Encoding.of(options)
    messages = [
        encoding.decode(os.fsencode(one), f"message {number}")
        for number, one in enumerate(options.message, 1)
    ]
    sources: list[Callable[[], Messages]] = [partial(_each, messages)] if messages else []
    for name in options.file:
        if name == _STANDARD_INPUT:
            sources.append(partial(_from_stdin, options))
        else:
            _check_file(name)
            sources.append(partial(_from_file, name, options))
    return sources


async def _each(messages: Sequence[str | bytes]) -> Messages:
    for message in messages:
        yield message


def _from_stdin(options: SendingOptions) -> Messages:
    return _messages(read_stdin, "the input", options)


async def _from_file(name: str, options: SendingOptions) -> Messages:
    # Opening a named pipe takes until somebody writes to it.
    with await trio.to_thread.run_sync(_open_file, name, abandon_on_cancel=True) as file:
        async with aclosing(_messages(partial(file.read, _READ_SIZE), name, options)) as messages:
            async for message in messages:
                yield message


def _messages(read: Callable[[], bytes], name: str, options: SendingOptions) -> Messages:
    encoding = Encoding.of(options)
    return messages_of(read, name, encoding, options.split or encoding.usual_split)


def _check_file(name: str) -> None:
    """Say now what is wrong with it, not when it is its turn."""
    with suppress(OSError):
        if stat.S_ISFIFO(os.stat(name).st_mode):
            # Who writes to it would take this for its reader.
            return
    _open_file(name).close()


def _open_file(name: str) -> FileIO:
    try:
        # Without a buffer, whose lock an abandoned read would hold.
        return open(name, "rb", buffering=0)
    except OSError as error:
        raise Usage(f"--file: cannot read {name}: {error.strerror}") from None


# Connecting


def _run(options: ReconnectOptions, plan: Plan, prompt: Prompt | None = None) -> None:
    if options.timestamps and options.format is Format.RAW:
        raise Usage("--format raw is the payload and no more: --timestamps has no place in it")
    check_reconnect(options)
    _check_texts(options)
    trio.run(_main, options, plan, prompt)


def _check_texts(options: ReconnectOptions) -> None:
    for option, texts in (
        ("--on-connect", options.on_connect),
        ("--heartbeat", [options.heartbeat or ""]),
    ):
        for text in texts:
            try:
                text.encode()
            except UnicodeEncodeError:
                raise Usage(f"{option} is not UTF-8 text") from None


async def _main(options: ReconnectOptions, plan: Plan, prompt: Prompt | None) -> None:
    seconds = math.inf if options.timeout is None else options.timeout
    late = TimedOut(f"not done within {seconds:g} s")
    async with interruptible():
        with trio.move_on_after(seconds) as scope:
            async with open_output(options) if prompt is None else prompt.open() as output:
                try:
                    await _converse(options, plan, output, prompt)
                except BaseException as error:
                    if scope.cancel_called:
                        output.failed(late)
                    elif isinstance(error, Exception):
                        output.failed(error)
                    raise
        if scope.cancelled_caught:
            raise late


async def _converse(
    options: ReconnectOptions, plan: Plan, output: Output, prompt: Prompt | None = None
) -> None:
    try:
        async with _connected(options, output) as ws:
            talk = None if prompt is None else partial(prompt.talk, ws)
            await Conversation(ws, plan, output, talk).run()
    except ConnectionClosedOK:
        # The server was done before the conversation could begin.
        plan.goal.check()


@asynccontextmanager
async def _connected(options: ReconnectOptions, output: Output) -> AsyncGenerator[WebSocket]:
    async def send_first(ws: WebSocket) -> None:
        for message in options.on_connect:
            await ws.send(message)
            await output.sent(message)

    destination = destination_of(options)
    if options.reconnect:
        async with keep_connected(
            destination.url,
            offline=offline_of(options),
            on_connect=send_first,
            backoff=backoff_of(options),
            should_retry=Classification.of(options),
            hooks=[output.tell],
            **destination.options,
        ) as kept:
            yield kept
    else:
        async with connect(destination.url, hooks=[output.tell], **destination.options) as ws:
            yield ws
