"""What the client shows: payloads on stdout, the rest on stderr, all of it in a recording."""

from __future__ import annotations

import os
import sys
import time
from collections import deque
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, BinaryIO, Final, Protocol

from .._close import CloseCode, ClosedBy, CloseReason
from ..instrumentation import (
    Connected,
    Connecting,
    ConnectionEnded,
    ConnectionOpened,
    Disconnected,
    HandshakeAnswered,
    PingReceived,
    PingSent,
    PongReceived,
    Stopped,
    Waiting,
)
from ..protocol.http import reason_phrase
from . import jsonlines
from .failures import LocalFailure, cleared, describe, innermost, redacted, say, status_of
from .jsonlines import Direction, Entry
from .options.client import Format
from .render import Renderer, escaped, wants_color
from .status import Status, draw, in_place
from .writer import open_writer, write_to

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable
    from pathlib import Path

    from ..instrumentation import Record
    from ..protocol.http import Headers
    from .options.client import OutputOptions
    from .writer import Writer

_STDOUT: Final = 1
#: Which way a close frame went, and its mark. Where the network failed, there was none.
_CLOSED_BY: Final[dict[ClosedBy, tuple[Direction | None, str]]] = {
    ClosedBy.LOCAL: ("out", ">"),
    ClosedBy.REMOTE: ("in", "<"),
    ClosedBy.NETWORK: (None, "="),
}


class Output:
    """Shows messages, and what a hook is told.

    Args:
      options: how.
      stdout: where payloads go.
      recording: where everything goes, as JSON lines, if anywhere.
      renderer: how a message looks.
      status: how it stands with the connection.
      interactive: whether somebody types below what is shown.
      clock: seconds since 1970.
    """

    def __init__(
        self,
        options: OutputOptions,
        *,
        stdout: Writer,
        recording: Writer | None,
        renderer: Renderer,
        status: Status,
        interactive: bool = False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.status = status
        self.renderer = renderer
        self._options = options
        self._interactive = interactive
        self._stdout = stdout
        self._recording = recording
        self._clock = clock
        self._conn = ""
        self._is_open = False
        #: Messages that wait for a connection.
        self._queued = 0
        self._unconfirmed = Unconfirmed()

    @property
    def as_json_lines(self) -> bool:
        """Whether stdout gets JSON lines."""
        return self.renderer.format is Format.JSONL

    # Messages

    async def received(self, message: str | bytes) -> None:
        """Show a message that came; wait while whoever reads the output is behind."""
        now = self._clock()
        if not self.as_json_lines:
            self._stdout.put(self.renderer.render(message, now))
        self._note(Entry(ts=now, conn=self._conn, type="message", dir="in", data=message))
        await self._room(shown=True)

    async def sent(self, message: str | bytes) -> None:
        """Note a message that went out; wait while what it is noted in is behind."""
        if self._is_open:
            self._unconfirmed.sent()
        else:
            self._queued += 1
        now = self._clock()
        self._note(Entry(ts=now, conn=self._conn, type="message", dir="out", data=message))
        await self._room(shown=self.as_json_lines)

    async def _room(self, *, shown: bool) -> None:
        if shown:
            await self._stdout.room()
        if self._recording is not None:
            await self._recording.room()

    def show(self, line: str) -> None:
        """Show a line of text where messages are shown."""
        self._stdout.put(f"{escaped(line)}\n".encode())

    def say(self, text: str) -> None:
        """Answer what somebody typed: where they look, and even where nothing else is said."""
        self._stdout.put(self.renderer.aside(cleared(text)))

    def toggle_pretty(self) -> bool:
        """Switch between ``pretty`` and the format asked for; return whether it is ``pretty``."""
        usual = self._options.format if self._options.format is not Format.PRETTY else Format.AUTO
        is_pretty = self.renderer.format is not Format.PRETTY
        self.renderer = replace(self.renderer, format=Format.PRETTY if is_pretty else usual)
        return is_pretty

    # What happens besides

    def failed(self, error: BaseException) -> None:
        """Note what ended it."""
        error = innermost(error)
        self._note_now(type="error", reason=cleared(describe(error)), code=status_of(error))

    def tell(self, record: Record) -> None:
        """A hook: note a record, and say what a person wants to know of it."""
        match record:
            case ConnectionOpened():
                self._conn = record.id
                self._is_open = True
                self._unconfirmed = Unconfirmed(self._queued)
                self._queued = 0
                self._note_now(type="open", url=redacted(record.target))
            case ConnectionEnded():
                self._tell_ended(record)
            case PingSent() | PingReceived() | PongReceived():
                self._tell_control(record)
            case HandshakeAnswered() if self._options.verbose:
                for line in _heads(record):
                    self.status.say(line)
            case Connected() | Connecting() | Disconnected() | Waiting() | Stopped():
                self._tell_state(record)

    def _tell_ended(self, record: ConnectionEnded) -> None:
        self._is_open = False
        reason = record.reason
        direction, mark = _CLOSED_BY[reason.closed_by]
        self._note_now(
            type="close", dir=direction, code=reason.code, reason=redacted(reason.reason)
        )
        wanted = self._options.show_control or self._options.verbose
        if wanted or (self._interactive and reason.closed_by is ClosedBy.REMOTE):
            self.status.say(f"{mark} close {reason}")

    def _tell_control(self, record: PingSent | PingReceived | PongReceived) -> None:
        match record:
            case PingSent():
                self._unconfirmed.ping_sent()
                self._note_now(type="ping", dir="out")
                shown = "> ping"
            case PingReceived():
                self._note_now(type="ping", dir="in", data=record.payload)
                shown = f"< ping {_payload(record.payload)}"
            case PongReceived():
                self._note_now(type="pong", dir="in", data=record.payload)
                shown = f"< pong {_payload(record.payload)}"
                if record.round_trip is not None:
                    self._unconfirmed.pong_received()
                    shown += f" after {record.round_trip * 1000:.1f} ms"
        if self._options.show_control:
            self.status.say(shown)

    def _tell_state(
        self, record: Connected | Connecting | Disconnected | Waiting | Stopped
    ) -> None:
        match record:
            case Connected(again=True):
                self.status.connected(f"connected again after {record.offline:.1f} s")
            case Connected():
                self.status.connected(f"connected to {record.target}")
            case Disconnected(by_choice=True):
                # Whoever chose knows.
                pass
            case Disconnected(reason=CloseReason(code=CloseCode.NORMAL_CLOSURE)):
                self.status.say(f"closed after {record.open_for:.1f} s: {record.reason}")
            case Disconnected():
                lost = f"connection lost after {record.open_for:.1f} s: {record.reason}"
                self.status.say(lost + self._unconfirmed.warning())
            case Waiting():
                self._note_now(
                    type="retry",
                    delay=record.delay,
                    attempt=record.attempt,
                    reason=redacted(record.cause),
                )
                self.status.waiting(record)
            case Stopped() if self._queued:
                self.status.no_longer_waiting()
                self.status.say(f"{_messages(self._queued)} waited for a connection: not sent")
            case _:
                # An attempt shows in its outcome; the end is an exit code, and a line where it
                # is an error.
                self.status.no_longer_waiting()

    # JSON lines

    def _note_now(self, **members: object) -> None:
        self._note(Entry(ts=self._clock(), conn=self._conn, **members))  # type: ignore[arg-type]

    def _note(self, entry: Entry) -> None:
        if self._recording is None and not self.as_json_lines:
            return
        line = jsonlines.encode(entry)
        if self.as_json_lines:
            self._stdout.put(line)
        if self._recording is not None:
            self._recording.put(line)


class Unconfirmed:
    """Counts the messages of one connection that may not have reached the peer.

    A ping goes behind the messages that were sent before it, so its pong says that they came.
    """

    def __init__(self, sent: int = 0) -> None:
        self._sent = sent
        self._confirmed = 0
        self._at_pings: deque[int] = deque()

    def sent(self) -> None:
        """A message went out."""
        self._sent += 1

    def ping_sent(self) -> None:
        """So did a ping."""
        self._at_pings.append(self._sent)

    def pong_received(self) -> None:
        """The oldest ping was answered."""
        if self._at_pings:
            self._confirmed = self._at_pings.popleft()

    def warning(self) -> str:
        """What to add to the news that the connection is lost."""
        count = self._sent - self._confirmed
        if not count:
            return ""
        return (
            f"; {_messages(count)} sent since the last pong may be lost, and will not be sent again"
        )


def _messages(count: int) -> str:
    return "1 message" if count == 1 else f"{count} messages"


def _payload(payload: bytes) -> str:
    return ascii(payload)[1:] if payload else ""


def _heads(record: HandshakeAnswered) -> list[str]:
    """Both heads of a handshake, a line each."""
    request, response = record.request, record.response
    status = f"{response.status} {reason_phrase(response)}".rstrip()
    return [
        f"> {request.method} {request.target} HTTP/{request.http_version}",
        *_header_lines(">", request.headers),
        f"< HTTP/1.1 {status}",
        *_header_lines("<", response.headers),
    ]


def _header_lines(mark: str, headers: Headers) -> list[str]:
    return [f"{mark} {name}: {value}" for name, value in headers.raw]


class Screen(Protocol):
    """A terminal with a prompt at its end."""

    def write(self, data: bytes) -> None:
        """Write *data* above the prompt. May block."""

    def draw(self, text: str) -> bool:
        """Say with the prompt how it stands; return whether there is a prompt yet."""


@asynccontextmanager
async def open_output(
    options: OutputOptions, screen: Screen | None = None
) -> AsyncGenerator[Output]:
    """The output that *options* ask for; it is complete when the block ends.

    Args:
      options: how.
      screen: shows payloads, and what is said, instead of stdout and stderr.

    Raises:
      LocalFailure: a file cannot be written.
      BrokenPipeError: nobody reads stdout any more.
    """
    write = write_to(_STDOUT, "stdout") if screen is None else screen.write
    async with AsyncExitStack() as stack:
        recording = None
        if options.record is not None:
            file = stack.enter_context(_open_recording(options.record))
            recording = await stack.enter_async_context(
                open_writer(write_to(file.fileno(), str(options.record)))
            )
        stdout = await stack.enter_async_context(open_writer(write))
        renderer = _renderer(options, interactive=screen is not None)
        status = _status(options, stdout, renderer, screen)
        await stack.enter_async_context(status.kept_up())
        yield Output(
            options,
            stdout=stdout,
            recording=recording,
            renderer=renderer,
            status=status,
            interactive=screen is not None,
        )


def _renderer(options: OutputOptions, *, interactive: bool) -> Renderer:
    terminal = sys.stdout.isatty()
    return Renderer(
        format=options.format,
        terminal=terminal,
        color=wants_color(options.color, terminal=terminal, environment=os.environ),
        timestamps=options.timestamps,
        prefix="< " if interactive else "",
    )


def _status(
    options: OutputOptions, stdout: Writer, renderer: Renderer, screen: Screen | None
) -> Status:
    """How it stands is said on stderr, which may be the terminal that the prompt is on."""
    if screen is None:
        lives = sys.stderr.isatty() and not options.quiet
        return Status(say, quiet=options.quiet, draw=draw if lives else None)

    def say_above(text: str) -> None:
        stdout.put(renderer.aside(cleared(text)))

    def draw_below(text: str) -> None:
        if not screen.draw(text):
            stdout.put(in_place(text).encode())

    tell = say_above if sys.stderr.isatty() else say
    return Status(tell, quiet=options.quiet, draw=draw_below)


def _open_recording(path: Path) -> BinaryIO:
    try:
        return open(path, "wb", buffering=0)
    except OSError as error:
        raise LocalFailure(f"--record: cannot write {path}: {error.strerror}") from None
