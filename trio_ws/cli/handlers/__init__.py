"""What ``trio-ws serve`` does with connections: a module for each way."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from ..failures import Usage, hide
from ..secrets import read_value
from .broadcast import Broadcast, FarBroadcast, redis_at
from .echo import Echo
from .mode import Around, Mode

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..._websocket import WebSocket
    from ..options.serve import HandlingOptions, ServeOptions
    from ..recording import Recorder
    from .coding import Coding

__all__ = ["Mode", "handler_of"]

DEFAULT_MAX_PROCESSES = 100


def handler_of(options: ServeOptions, recorder: Recorder | None = None) -> Mode:
    """What *options* ask for, recorded, and with its faults.

    Raises:
      Usage: they contradict each other, or what they name is not there.
    """
    from ..faults import faults_of

    _check_one(options)
    _check_processes(options)
    faults = faults_of(options)
    mode = _chosen(options)
    if recorder is not None:
        mode = Recorded(mode, recorder)
    return mode if faults is None else faults.around(mode)


class Recorded(Around):
    """A mode whose messages are recorded."""

    def __init__(self, inner: Mode, recorder: Recorder) -> None:
        super().__init__(inner)
        self._handle = recorder.handler(inner)

    async def __call__(self, ws: WebSocket) -> None:
        await self._handle(ws)


def _check_one(options: HandlingOptions) -> None:
    given = {
        str(options.handler): options.handler,
        "--echo": options.echo,
        "--broadcast": options.broadcast,
        "--exec": options.exec,
        "--interactive": options.interactive,
        "--replay": options.replay,
    }
    names = [name for name, value in given.items() if value not in {None, False}]
    if len(names) > 1:
        raise Usage(f"{' and '.join(names)} exclude each other: give one of them")
    if options.backplane is not None and not options.broadcast:
        raise Usage("--backplane carries what clients say to others: give --broadcast as well")


def _check_processes(options: HandlingOptions) -> None:
    if options.exec is not None:
        if not options.exec.strip():
            raise Usage("--exec: there is no command in it")
        if options.shared and options.max_processes is not None:
            raise Usage("--shared runs one process: --max-processes has no meaning with it")
        return
    given = {
        "--shared": options.shared,
        "--binary": options.binary,
        "--pty": options.pty,
        "--max-processes": options.max_processes is not None,
    }
    for name, value in given.items():
        if value:
            raise Usage(f"{name} says how a command runs: give --exec as well")


def _chosen(options: ServeOptions) -> Mode:
    if options.handler is not None:
        from .application import Application, load

        return Application(load(options.handler))
    if options.broadcast:
        return Broadcast() if options.backplane is None else _far_broadcast(options.backplane)
    if options.exec is not None:
        return _processes(options.exec, options)
    if options.interactive:
        from .desk import open_desk
        from .interactive import Interactive

        return Interactive(open_desk())
    if options.replay is not None:
        from .replay import Replay, read_cues

        return Replay(read_cues(options.replay))
    return Echo()


def _far_broadcast(given: str) -> Mode:
    url = read_value(given, "--backplane")
    hide(urlsplit(url).password or "")
    return FarBroadcast(redis_at(url))


def _processes(command: str, options: ServeOptions) -> Mode:
    from .exec import Exec
    from .shared import Shared

    coding = _coding(options)
    if options.shared:
        return Shared(command, coding, terminal=options.pty)
    return Exec(
        command,
        coding,
        terminal=options.pty,
        max_processes=options.max_processes or DEFAULT_MAX_PROCESSES,
    )


def _coding(options: ServeOptions) -> Callable[[], Coding]:
    from .coding import Bytes, Lines, Text

    if options.binary:
        return Bytes
    if options.pty:
        return Text
    return lambda: Lines(options.max_size)
